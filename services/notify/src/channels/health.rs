//! Whether a provider may be asked now.
//! Reads: its arguments. Writes: memory. Never: reads a clock or sleeps.
//!
//! A circuit for each provider (for webhooks: each host). Five failures in a row, or a wish to slow down,
//! or a refused login open it; after the pause one request goes ahead as a probe, and its answer closes
//! the circuit or opens it for twice as long.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::classify::{Class, MessageAction, ProviderAction};
use crate::cache::Cache;

const FAILURES_MAX: u32 = 5;
const OPEN_FIRST: Duration = Duration::from_secs(2);
const OPEN_MAX: Duration = Duration::from_secs(120);
/// A probe that never answers does not keep the circuit half open for ever.
const PROBE_MAX: Duration = Duration::from_secs(60);
/// What the others wait while a probe is under way.
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// Circuits that are remembered.
const CIRCUITS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, Default)]
struct Circuit {
    failures: u32,
    opened: u32,
    open_until: Option<Instant>,
    probing_until: Option<Instant>,
}

/// All circuits of one worker.
pub(super) struct Health {
    circuits: Mutex<Cache<String, Circuit>>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { circuits: Mutex::new(Cache::new(CIRCUITS_MAX)) }
    }

    fn with<T>(&self, key: &str, change: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut circuits = self.circuits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut circuit = circuits.get(&key.to_owned()).unwrap_or_default();
        let result = change(&mut circuit);
        circuits.insert(key.to_owned(), circuit);
        result
    }

    /// May a request go ahead? If not: ask again after this time.
    pub(super) fn admit(&self, key: &str, now: Instant) -> Result<(), Duration> {
        self.with(key, |circuit| {
            let Some(until) = circuit.open_until else {
                return Ok(());
            };
            if now < until {
                return Err(until - now);
            }
            if circuit.probing_until.is_some_and(|until| now < until) {
                return Err(PROBE_WAIT);
            }
            circuit.probing_until = Some(now + PROBE_MAX);
            Ok(())
        })
    }

    /// The provider answered, well or badly. Returns the state for the gauge: 0 closed, 2 open.
    pub(super) fn report(
        &self,
        key: &str,
        class: Option<&Class>,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> u8 {
        self.with(key, |circuit| {
            if circuit.open_until.is_some_and(|until| now < until) {
                // The answer to a request that was under way when the circuit opened: it neither closes
                // the circuit early nor opens it for twice as long.
                return 2;
            }
            if let Some(pause) = class.and_then(|class| pause(circuit, class, retry_after)) {
                circuit.opened += 1;
                circuit.probing_until = None;
                circuit.open_until = Some(now + pause);
                return 2;
            }
            if class.is_none_or(|class| class.provider != ProviderAction::Breaker) {
                *circuit = Circuit::default();
            }
            0
        })
    }
}

/// How long the circuit opens; `None` leaves it as it is.
fn pause(circuit: &mut Circuit, class: &Class, retry_after: Option<Duration>) -> Option<Duration> {
    let step = OPEN_FIRST.saturating_mul(1 << circuit.opened.min(6)).min(OPEN_MAX);
    match class.provider {
        ProviderAction::None => None,
        ProviderAction::Slow => {
            Some(retry_after.unwrap_or(step).max(class.wait).min(Duration::from_secs(3_600)))
        }
        ProviderAction::Breaker if class.message == MessageAction::Hold => {
            Some(step.max(class.wait))
        }
        ProviderAction::Breaker => {
            circuit.failures += 1;
            let probe_failed = circuit.probing_until.is_some();
            (probe_failed || circuit.failures >= FAILURES_MAX).then_some(step)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::classify::{Signal, classify};
    use super::*;

    #[test]
    fn five_failures_open_and_one_probe_closes() {
        let health = Health::new();
        let start = campana_bus::clock::monotonic();
        let lost = classify(&Signal::Lost { protocol: "smtp", unconfirmed: false });
        for _ in 0..4 {
            assert_eq!(health.report("a", Some(&lost), None, start), 0);
        }
        assert_eq!(health.admit("a", start), Ok(()));
        assert_eq!(health.report("a", Some(&lost), None, start), 2);
        assert_eq!(health.admit("a", start), Err(OPEN_FIRST));
        assert_eq!(health.admit("b", start), Ok(()), "another host is not concerned");

        let later = start + OPEN_FIRST;
        assert_eq!(health.admit("a", later), Ok(()), "the probe");
        assert_eq!(health.admit("a", later), Err(PROBE_WAIT));
        assert_eq!(health.report("a", Some(&lost), None, later), 2);
        assert_eq!(
            health.admit("a", later),
            Err(OPEN_FIRST * 2),
            "a failed probe opens for longer"
        );

        let later = later + OPEN_FIRST * 2;
        assert_eq!(health.admit("a", later), Ok(()));
        assert_eq!(health.report("a", None, None, later), 0);
        assert_eq!(health.admit("a", later), Ok(()));
        assert_eq!(health.admit("a", later), Ok(()));
    }

    #[test]
    fn a_wish_to_slow_down_and_a_refused_login_open_at_once() {
        let health = Health::new();
        let start = campana_bus::clock::monotonic();
        let busy = classify(&Signal::Webhook { status: 429 });
        health.report("a", Some(&busy), Some(Duration::from_secs(7)), start);
        assert_eq!(health.admit("a", start), Err(Duration::from_secs(7)));
        let login = classify(&Signal::Twilio { status: 401, code: Some(20_003) });
        health.report("b", Some(&login), None, start);
        assert_eq!(health.admit("b", start), Err(Duration::from_secs(60)));
    }

    #[test]
    fn answers_that_were_under_way_do_not_move_an_open_circuit() {
        let health = Health::new();
        let start = campana_bus::clock::monotonic();
        let lost = classify(&Signal::Lost { protocol: "smtp", unconfirmed: true });
        for _ in 0..20 {
            health.report("a", Some(&lost), None, start);
        }
        assert_eq!(health.admit("a", start), Err(OPEN_FIRST));
        assert_eq!(health.report("a", None, None, start), 2);
        assert_eq!(health.admit("a", start), Err(OPEN_FIRST));
    }

    #[test]
    fn a_refused_message_says_nothing_about_the_provider() {
        let health = Health::new();
        let start = campana_bus::clock::monotonic();
        let refused = classify(&Signal::Smtp { code: 550, enhanced: None });
        for _ in 0..100 {
            health.report("a", Some(&refused), None, start);
        }
        assert_eq!(health.admit("a", start), Ok(()));
    }
}
