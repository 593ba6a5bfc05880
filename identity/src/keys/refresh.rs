//! When to fetch a JWKS document again: a state without I/O, asked and told by the shell that fetches.
//! Reads: the time and what became of each attempt. Writes: its own few numbers.
//! Never: fetches, sleeps, or lets strangers decide how often: tokens with invented key ids cost at most one
//! attempt per `unknown_key_interval_seconds`.
//!
//! The shell asks [`JwksRefresh::due`] on its timer and [`JwksRefresh::unknown_key`] when a token names a key
//! that is not there; on `true` it fetches, which counts as begun, and tells [`JwksRefresh::succeeded`] or
//! [`JwksRefresh::failed`]. Before it uses the keys it asks [`JwksRefresh::standing`].

use serde::{Deserialize, Serialize};

/// How often, and for how long the last good document is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefreshOptions {
    /// Seconds until a document is fetched again. A `max-age` of the answer shortens it, never lengthens it.
    pub ttl_seconds: i64,
    /// Seconds between two fetches because of tokens that name an unknown key.
    pub unknown_key_interval_seconds: i64,
    /// Seconds until the first attempt after a failed one; doubled with each further failure.
    pub retry_seconds: i64,
    /// Seconds between two attempts at most.
    pub retry_seconds_max: i64,
    /// Seconds that the keys of the last good document stay in use while the source does not answer. A key
    /// that its issuer withdraws in that time goes on to be believed.
    pub stale_seconds_max: i64,
    /// Seconds after which an attempt without a result counts as failed.
    pub attempt_seconds_max: i64,
}

impl Default for RefreshOptions {
    fn default() -> Self {
        Self {
            ttl_seconds: 3_600,
            unknown_key_interval_seconds: 30,
            retry_seconds: 2,
            retry_seconds_max: 60,
            stale_seconds_max: 24 * 3_600,
            attempt_seconds_max: 30,
        }
    }
}

impl RefreshOptions {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// Names the option and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let ranges = [
            ("ttl_seconds", self.ttl_seconds, 10, 7 * 86_400),
            ("unknown_key_interval_seconds", self.unknown_key_interval_seconds, 1, 3_600),
            ("retry_seconds", self.retry_seconds, 1, 3_600),
            ("retry_seconds_max", self.retry_seconds_max, 1, 3_600),
            ("stale_seconds_max", self.stale_seconds_max, 0, 30 * 86_400),
            ("attempt_seconds_max", self.attempt_seconds_max, 1, 300),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} must be between {least} and {most}"));
            }
        }
        if self.retry_seconds > self.retry_seconds_max {
            return Err("retry_seconds must not be more than retry_seconds_max".to_owned());
        }
        Ok(())
    }
}

/// Whether the keys at hand may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There has never been a document.
    Missing,
    /// The document is within its time.
    Fresh,
    /// Its time is over and there is no newer one, but it may still be used.
    Stale,
    /// Too old to be believed: drop the keys.
    TooOld,
}

/// What is known about one source. Times are seconds since the Unix epoch.
#[derive(Debug, Clone)]
pub struct JwksRefresh {
    options: RefreshOptions,
    /// When the last good document came, and how long it lives.
    good: Option<(i64, i64)>,
    /// When an attempt began, while it runs.
    running: Option<i64>,
    /// When the last attempt began.
    tried: Option<i64>,
    failures: u32,
    /// Shortens waits by up to a tenth, so that many nodes do not fetch in one second.
    spread: i64,
}

impl JwksRefresh {
    /// A source that was never asked. `seed` differs from node to node and spreads their fetches.
    #[must_use]
    pub fn new(options: RefreshOptions, seed: u64) -> Self {
        let spread = i64::try_from(seed % 101).unwrap_or(0);
        Self { options, good: None, running: None, tried: None, failures: 0, spread }
    }

    /// Whether to fetch now by the clock; if so, the attempt counts as begun.
    pub fn due(&mut self, now: i64) -> bool {
        self.begin(now, self.next().is_none_or(|(since, wait)| passed(since, wait, now)))
    }

    /// Whether to fetch now because a token names a key that is not there; if so, the attempt counts as begun.
    pub fn unknown_key(&mut self, now: i64) -> bool {
        let wait = if self.failures == 0 {
            self.options.unknown_key_interval_seconds
        } else {
            self.retry_wait()
        };
        self.begin(now, self.tried.is_none_or(|at| passed(at, wait, now)))
    }

    /// The attempt brought a good document, which its source says may be kept for `max_age_seconds`.
    pub fn succeeded(&mut self, now: i64, max_age_seconds: Option<i64>) {
        let options = &self.options;
        // An answer that may never be kept would have us fetch for ever.
        let least = options.unknown_key_interval_seconds.min(options.ttl_seconds);
        let lives = max_age_seconds
            .map_or(options.ttl_seconds, |age| age.clamp(least, options.ttl_seconds));
        self.good = Some((now, lives));
        self.running = None;
        self.failures = 0;
    }

    /// The attempt brought no answer, or none that can be used.
    pub fn failed(&mut self) {
        self.running = None;
        self.failures = self.failures.saturating_add(1);
    }

    /// Whether the keys of the last good document may be used.
    #[must_use]
    pub fn standing(&self, now: i64) -> Standing {
        let Some((at, lives)) = self.good else { return Standing::Missing };
        // A clock set back makes a document young, not old: the keys must not vanish for a second.
        let age = now.saturating_sub(at);
        if age < lives {
            Standing::Fresh
        } else if age < lives.saturating_add(self.options.stale_seconds_max) {
            Standing::Stale
        } else {
            Standing::TooOld
        }
    }

    /// When [`Self::due`] is worth asking again, if nothing happens before.
    #[must_use]
    pub fn due_at(&self, now: i64) -> i64 {
        match self.next() {
            Some((since, wait)) if !passed(since, wait, now) => since.min(now).saturating_add(wait),
            _ => now,
        }
    }

    /// Since when, and how long, to wait for the next attempt; nothing for not at all.
    fn next(&self) -> Option<(i64, i64)> {
        if let Some(began) = self.running {
            return Some((began, self.options.attempt_seconds_max));
        }
        let by_failure = self.tried.filter(|_| self.failures > 0).map(|at| (at, self.retry_wait()));
        by_failure.or_else(|| self.good.map(|(at, lives)| (at, self.earlier(lives))))
    }

    fn begin(&mut self, now: i64, wanted: bool) -> bool {
        if let Some(began) = self.running {
            if !passed(began, self.options.attempt_seconds_max, now) {
                return false;
            }
            // Whoever ran it is gone without a word.
            self.failed();
        } else if !wanted {
            return false;
        }
        self.running = Some(now);
        self.tried = Some(now);
        true
    }

    fn retry_wait(&self) -> i64 {
        let doublings = self.failures.saturating_sub(1).min(16);
        let wait = self.options.retry_seconds.saturating_mul(1 << doublings);
        self.earlier(wait.min(self.options.retry_seconds_max)).max(1)
    }

    fn earlier(&self, wait: i64) -> i64 {
        wait.saturating_sub(wait.saturating_mul(self.spread) / 1_000)
    }
}

/// Whether `wait` seconds have gone by since `at`. If the clock was set back by more than that, `at` says
/// nothing any more and counts as long ago, so that nothing stops for as long as the clock was wrong.
fn passed(at: i64, wait: i64, now: i64) -> bool {
    now.saturating_sub(at) >= wait || at.saturating_sub(now) > wait
}

#[cfg(test)]
mod tests;
