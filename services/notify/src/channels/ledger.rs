//! The attempt ledger: what the outcomes say about earlier attempts of a delivery.
//! Reads: outcomes of one notification. Writes: nothing. Never: trusts memory of this process.
//!
//! A message that comes a second time may have been sent already: the worker may have died after the
//! provider took the message and before it said so. The ledger tells the three cases apart.

use campana_bus::Bus;
use campana_bus::fetch::FetchError;
use campana_bus::{subjects, topology};

use crate::contracts::{Delivery, Outcome, OutcomeEvent};

use super::classify::UNCONFIRMED;

/// Outcomes that are read at most: a notification to 100 people over 5 channels with retries has fewer.
const PAGES_MAX: usize = 50;
const PAGE: usize = 200;

/// What the ledger says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It is done: do not send.
    Settled,
    /// Every earlier attempt is known to have failed; the next one has this number.
    Clear(u32),
    /// An earlier attempt may have reached the provider; the next one has this number.
    Unsure(u32),
}

/// The end of the id of a report that used up no attempt.
pub(super) const HELD: &str = ":hold";

/// Reads the ledger page by page.
pub(super) async fn look(
    bus: &Bus,
    delivery: &Delivery,
    generation: u32,
    attempt: u32,
) -> Result<Entry, FetchError> {
    let subject = subjects::outcome(&delivery.tenant, &delivery.notification_id.to_string());
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut after = 0;
    for _ in 0..PAGES_MAX {
        let page = bus.fetch_after(topology::OUTCOMES, &subject, after, PAGE).await?;
        let Some(last) = page.messages.last() else {
            break;
        };
        after = last.sequence;
        outcomes.extend(
            page.messages
                .iter()
                .filter_map(|message| serde_json::from_slice(&message.payload).ok()),
        );
        if page.pending == 0 {
            break;
        }
    }
    Ok(judge(&outcomes, delivery, generation, attempt))
}

/// Decides from the outcomes of the notification, oldest first.
fn judge(outcomes: &[Outcome], delivery: &Delivery, generation: u32, attempt: u32) -> Entry {
    // In this life nothing was tried before the first attempt.
    let mut known = attempt <= 1;
    let mut unconfirmed = false;
    let mut next = attempt;
    for outcome in outcomes {
        match &outcome.event {
            OutcomeEvent::Attempted(report)
                if report.delivery_id == delivery.id && report.generation == generation =>
            {
                if report.status.is_final() {
                    return Entry::Settled;
                }
                unconfirmed |=
                    report.reason.as_deref().is_some_and(|reason| reason.ends_with(UNCONFIRMED));
                known = known || report.attempt + 1 >= attempt;
                // Two copies of one command count together, so that no report takes the id of another.
                if !outcome.id.ends_with(HELD) {
                    next = next.max(report.attempt + 1);
                }
            }
            // The provider itself told us, although the answer to our request was lost.
            OutcomeEvent::Confirmed { delivery_id, status, generation: life, .. }
                if *delivery_id == delivery.id && *life == generation && status.is_final() =>
            {
                return Entry::Settled;
            }
            _ => {}
        }
    }
    if unconfirmed || !known { Entry::Unsure(next) } else { Entry::Clear(next) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use campana_bus::clock::Micros;
    use campana_bus::ids::NotificationId;
    use campana_bus::trace::TraceParent;

    use super::*;
    use crate::contracts::{AttemptReport, Channel, DeliveryStatus, Rendered};

    fn delivery() -> Delivery {
        let notification_id = NotificationId::derived(&["n"]);
        Delivery {
            id: Delivery::derive_id(notification_id, "alice", Channel::Email),
            notification_id,
            tenant: "default".to_owned(),
            recipient: "alice".to_owned(),
            channel: Channel::Email,
            address: "alice@example.test".to_owned(),
            message: Rendered::default(),
            accepted_at: Micros(0),
            expires_at: None,
            metadata: BTreeMap::new(),
            trace: TraceParent::fresh(),
        }
    }

    fn outcome(event: OutcomeEvent) -> Outcome {
        let delivery = delivery();
        Outcome {
            id: "x".to_owned(),
            notification_id: delivery.notification_id,
            tenant: delivery.tenant,
            at: Micros(0),
            trace: delivery.trace,
            event,
        }
    }

    fn attempted(attempt: u32, generation: u32, status: DeliveryStatus, reason: &str) -> Outcome {
        outcome(OutcomeEvent::Attempted(AttemptReport {
            delivery_id: delivery().id,
            channel: None,
            accepted_at: None,
            attempt,
            generation,
            status,
            reason: Some(reason.to_owned()),
            detail: None,
            provider: "smtp".to_owned(),
            provider_message_id: None,
            duration_ms: 1,
            retry_at: None,
            possible_duplicate: false,
        }))
    }

    #[test]
    fn the_three_cases() {
        use DeliveryStatus::{Delivered, Expired, Failed, Retrying, Sent};
        let confirmed = |status| {
            outcome(OutcomeEvent::Confirmed {
                delivery_id: delivery().id,
                status,
                reason: None,
                generation: 0,
            })
        };
        let held = Outcome {
            id: "attempt:x:0:1:hold".to_owned(),
            ..attempted(1, 0, Retrying, "smtp_535")
        };
        let mut other = attempted(1, 0, Sent, "");
        if let OutcomeEvent::Attempted(report) = &mut other.event {
            report.delivery_id = campana_bus::ids::DeliveryId::derived(&["other"]);
        }
        for (name, outcomes, generation, attempt, expected) in [
            ("first time", vec![], 0, 1, Entry::Clear(1)),
            ("sent", vec![attempted(1, 0, Sent, "")], 0, 2, Entry::Settled),
            ("failed for good", vec![attempted(1, 0, Failed, "x")], 0, 1, Entry::Settled),
            ("expired", vec![attempted(1, 0, Expired, "x")], 0, 2, Entry::Settled),
            ("sent in an earlier life", vec![attempted(1, 0, Failed, "")], 1, 1, Entry::Clear(1)),
            ("known retry", vec![attempted(1, 0, Retrying, "smtp_4.2.1")], 0, 2, Entry::Clear(2)),
            ("died between", vec![], 0, 2, Entry::Unsure(2)),
            (
                "died at the second attempt",
                vec![attempted(1, 0, Retrying, "x")],
                0,
                3,
                Entry::Unsure(3),
            ),
            (
                "silence",
                vec![attempted(1, 0, Retrying, "smtp_unconfirmed")],
                0,
                2,
                Entry::Unsure(2),
            ),
            (
                "silence, then the callback",
                vec![attempted(1, 0, Retrying, "x_unconfirmed"), confirmed(Delivered)],
                0,
                2,
                Entry::Settled,
            ),
            ("a second copy", vec![attempted(1, 0, Retrying, "x")], 0, 1, Entry::Clear(2)),
            ("held", vec![held], 0, 1, Entry::Clear(1)),
            ("another delivery", vec![other], 0, 1, Entry::Clear(1)),
            ("an old callback and a new life", vec![confirmed(Failed)], 1, 1, Entry::Clear(1)),
        ] {
            assert_eq!(judge(&outcomes, &delivery(), generation, attempt), expected, "{name}");
        }
    }
}
