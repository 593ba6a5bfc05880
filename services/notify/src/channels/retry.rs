//! When to try again.
//! Reads: its arguments. Writes: nothing. Never: draws a random number: the spread comes from the
//! delivery's id, so that a repeated decision is the same decision.

use std::time::Duration;

use campana_bus::ids::DeliveryId;

use super::classify::{Class, MessageAction};

/// The least pause after an answer that says "not soon".
const SLOW_MIN: Duration = Duration::from_secs(600);
/// The longest pause that a provider may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// The pause after attempt `attempt` (1 for the first): the channel's own step, but never less than the
/// table or the provider asks for, and up to a fifth more, so that messages which failed together do not
/// come back together.
#[must_use]
pub(super) fn pause(
    steps: &[u64],
    attempt: u32,
    class: &Class,
    retry_after: Option<Duration>,
    id: DeliveryId,
) -> Duration {
    let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    let step = steps.get(index).or(steps.last()).copied().unwrap_or(60);
    let slow = if class.message == MessageAction::RetrySlow {
        SLOW_MIN.max(class.wait)
    } else {
        class.wait
    };
    let least = retry_after.map_or(slow, |wish| slow.max(wish.min(RETRY_AFTER_MAX)));
    let base = Duration::from_secs(step).max(least);
    base + base.mul_f64(0.2 * spread(id, attempt))
}

/// Uniform in 0..1, from the id.
pub(super) fn spread(id: DeliveryId, attempt: u32) -> f64 {
    // FNV-1a: enough to spread, no dependency.
    let hash = format!("{id}:{attempt}").bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    f64::from(u32::try_from(hash >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::classify::{Enhanced, Signal, classify};
    use super::*;

    #[test]
    fn steps_waits_and_wishes() {
        let id = DeliveryId::derived(&["x"]);
        let busy = classify(&Signal::Webhook { status: 500 });
        let grey = classify(&Signal::Smtp { code: 451, enhanced: Some(Enhanced(4, 7, 1)) });
        let lost = classify(&Signal::Lost { protocol: "sms", unconfirmed: true });
        for (attempt, class, wish, least) in [
            (1, &busy, None, 5),
            (2, &busy, None, 60),
            (9, &busy, None, 60),
            (1, &busy, Some(90), 90),
            (1, &busy, Some(1), 5),
            (1, &busy, Some(999_999), 86_400),
            (1, &grey, None, 600),
            (1, &lost, None, 30),
        ] {
            let pause = pause(&[5, 60], attempt, class, wish.map(Duration::from_secs), id);
            let least = Duration::from_secs(least);
            assert!(pause >= least && pause <= least.mul_f64(1.2), "{attempt} {wish:?}: {pause:?}");
        }
    }

    #[test]
    fn the_spread_differs_between_deliveries_only() {
        let spreads: Vec<f64> =
            (0..100).map(|n| spread(DeliveryId::derived(&[&n.to_string()]), 1)).collect();
        assert!(spreads.iter().all(|spread| (0.0..=1.0).contains(spread)));
        assert!(
            spreads.iter().any(|spread| *spread < 0.2)
                && spreads.iter().any(|spread| *spread > 0.8)
        );
        assert!((spread(DeliveryId::derived(&["0"]), 1) - spreads[0]).abs() < f64::EPSILON);
    }
}
