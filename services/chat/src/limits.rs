//! How often somebody may do something.
//! Reads: the time that the caller gives. Writes: memory only, so each process counts for itself. Never: grows without
//! limit: buckets that are full again are forgotten, and if none is, strangers share one.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Buckets kept before those that are full again are forgotten.
const BUCKETS_MAX: usize = 20_000;
/// The bucket of all for whom there is no room; nobody is called so.
const STRANGERS: &str = "";

/// A rate: so many a second in the long run, so many at once.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// In the long run.
    pub per_second: f64,
    /// At once.
    pub burst: u32,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// Token buckets by name.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Limiter {
    /// A limiter without any bucket.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one; or says how long until there is one.
    ///
    /// # Errors
    /// The time until it may be tried again.
    pub fn take(&self, name: &str, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut name = name;
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(name) {
            buckets.retain(|_, bucket| self.level(bucket, now) < f64::from(self.rate.burst));
            if buckets.len() >= BUCKETS_MAX {
                name = STRANGERS;
            }
        }
        let full = Bucket { left: f64::from(self.rate.burst), at: now };
        let bucket = buckets.entry(name.to_owned()).or_insert(full);
        let level = self.level(bucket, now);
        bucket.at = now;
        if level >= 1.0 {
            bucket.left = level - 1.0;
            return Ok(());
        }
        bucket.left = level;
        Err(Duration::from_secs_f64((1.0 - level) / self.rate.per_second))
    }

    fn level(&self, bucket: &Bucket, now: Instant) -> f64 {
        let grown = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate.per_second;
        (bucket.left + grown).min(f64::from(self.rate.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate() {
        let limiter = Limiter::new(Rate { per_second: 2.0, burst: 2 });
        let start = campana_bus::clock::monotonic();
        assert!(limiter.take("a", start).is_ok() && limiter.take("a", start).is_ok());
        let wait = limiter.take("a", start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(500));
        assert!(limiter.take("b", start).is_ok(), "others have their own");
        assert!(limiter.take("a", start + wait).is_ok());
        assert!(limiter.take("a", start + wait).is_err());
    }

    #[test]
    fn the_table_is_bounded() {
        let limiter = Limiter::new(Rate { per_second: 1.0, burst: 1 });
        let start = campana_bus::clock::monotonic();
        for number in 0..BUCKETS_MAX {
            limiter.take(&number.to_string(), start).unwrap();
        }
        assert!(limiter.take("one more", start).is_ok());
        assert!(limiter.take("and another", start).is_err(), "strangers share a bucket");
        assert_eq!(limiter.buckets.lock().unwrap().len(), BUCKETS_MAX + 1);
        assert!(limiter.take("later", start + Duration::from_secs(2)).is_ok());
        assert_eq!(limiter.buckets.lock().unwrap().len(), 1);
    }
}
