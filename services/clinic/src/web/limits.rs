//! How often somebody may ask.
//! Reads: the time that it is given. Writes: a bounded table. Never: grows without end: a full table forgets windows
//! that are over, and if none is, counts strangers together.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Callers that are counted at the same time.
const CALLERS_MAX: usize = 20_000;

/// Requests of one caller within a window.
#[derive(Debug)]
pub struct Limit {
    most: u32,
    window: Duration,
    callers: Mutex<HashMap<String, (Instant, u32)>>,
}

impl Limit {
    /// At most so many within this time.
    pub fn new(most: u32, window: Duration) -> Self {
        Self { most, window, callers: Mutex::new(HashMap::new()) }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// If it is one too many: the seconds until the window ends.
    pub fn count(&self, caller: &str, now: Instant) -> Result<(), u64> {
        let Ok(mut callers) = self.callers.lock() else { return Ok(()) };
        if callers.len() >= CALLERS_MAX && !callers.contains_key(caller) {
            callers.retain(|_, (since, _)| now.duration_since(*since) < self.window);
        }
        let name =
            if callers.len() >= CALLERS_MAX && !callers.contains_key(caller) { "" } else { caller };
        let (since, used) = callers.entry(name.to_owned()).or_insert((now, 0));
        if now.duration_since(*since) >= self.window {
            (*since, *used) = (now, 0);
        }
        if *used >= self.most {
            let left = self.window.saturating_sub(now.duration_since(*since));
            return Err(left.as_secs().saturating_add(1));
        }
        *used += 1;
        Ok(())
    }
}

/// The limits of all handlers.
#[derive(Debug)]
pub struct Limits {
    /// Attempts to sign in with one e-mail address.
    pub sign_in: Limit,
    /// Attempts to sign in or up from one network address.
    pub address: Limit,
    /// Changes by one account.
    pub changes: Limit,
    /// All requests of one account.
    pub account: Limit,
    /// Tokens and marks of one account's bell.
    pub bell: Limit,
}

impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            sign_in: Limit::new(10, 5 * minute),
            address: Limit::new(60, minute),
            changes: Limit::new(60, minute),
            account: Limit::new(1_200, minute),
            bell: Limit::new(120, minute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lets_so_many_pass() {
        let limit = Limit::new(2, Duration::from_secs(10));
        let start = campana_bus::clock::monotonic();
        assert!(limit.count("a", start).is_ok() && limit.count("a", start).is_ok());
        assert_eq!(limit.count("a", start + Duration::from_secs(4)), Err(7));
        assert!(limit.count("b", start).is_ok());
        assert!(limit.count("a", start + Duration::from_secs(10)).is_ok());
    }

    #[test]
    fn the_table_is_bounded() {
        let limit = Limit::new(1, Duration::from_secs(10));
        let start = campana_bus::clock::monotonic();
        for number in 0..CALLERS_MAX {
            limit.count(&number.to_string(), start).unwrap();
        }
        assert!(limit.count("one more", start).is_ok());
        assert!(limit.count("and another", start).is_err(), "strangers are counted together");
        assert!(limit.callers.lock().unwrap().len() <= CALLERS_MAX + 1);
        assert!(limit.count("later", start + Duration::from_secs(11)).is_ok());
        assert_eq!(limit.callers.lock().unwrap().len(), 1);
    }
}
