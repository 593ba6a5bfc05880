//! Folds a batch of outcomes into the rows to write: at most one per notification and delivery.
//! Reads and writes: nothing; pure. Why: a multi-row upsert may not touch one row twice, and fewer rows
//! are faster. The fold takes the same "further wins" decisions as the SQL upsert, so any split of the
//! same outcomes into batches, in any order, ends in the same rows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use campana_bus::clock::Micros;
use campana_bus::ids::{DeliveryId, NotificationId};

use crate::contracts::{
    AttemptReport, Channel, DeliveryStatus, Outcome, OutcomeEvent, PlannedDelivery, RequestSummary,
};

/// Tenant and id.
pub(super) type Key = (String, String);

/// What is known of a notification, least first.
pub(super) mod stage {
    pub(in super::super) const SEEN: i64 = 0;
    pub(in super::super) const SCHEDULED: i64 = 1;
    pub(in super::super) const REJECTED: i64 = 2;
    pub(in super::super) const PLANNED: i64 = 3;
}

/// Rows to write, in key order, so that two recorders lock rows in the same order.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) outcomes: BTreeMap<Key, OutcomeWrite>,
    pub(super) notifications: BTreeMap<Key, NotificationWrite>,
    pub(super) deliveries: BTreeMap<Key, DeliveryWrite>,
}

/// One row of the timeline.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OutcomeWrite {
    pub(super) notification_id: String,
    pub(super) delivery_id: Option<String>,
    pub(super) at: Micros,
    pub(super) event: &'static str,
    pub(super) status: Option<DeliveryStatus>,
    pub(super) reason: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) attempt: Option<i64>,
    pub(super) generation: Option<i64>,
    pub(super) provider: Option<String>,
    pub(super) provider_message_id: Option<String>,
    pub(super) duration_ms: Option<i64>,
    pub(super) retry_at: Option<Micros>,
    pub(super) possible_duplicate: Option<bool>,
}

/// What a batch says of one notification.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotificationWrite {
    pub(super) stage: i64,
    pub(super) reason: Option<String>,
    pub(super) summary: RequestSummary,
    pub(super) trace_id: String,
    pub(super) scheduled_at: Option<Micros>,
    pub(super) updated_at: Micros,
    /// Its status, if the plan alone decides it.
    pub(super) settled: Option<&'static str>,
}

/// What a batch says of one delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeliveryWrite {
    pub(super) notification_id: String,
    pub(super) recipient: Option<String>,
    pub(super) channel: Option<Channel>,
    pub(super) status: DeliveryStatus,
    pub(super) progress: i64,
    pub(super) reason: Option<String>,
    pub(super) read_at: Option<Micros>,
    pub(super) at: Micros,
}

/// How far a delivery is: a status never moves to a lower figure, except that a redrive starts the next
/// hundred.
pub(super) const fn progress(generation: u32, status: DeliveryStatus) -> i64 {
    generation as i64 * 100 + status.rank()
}

/// Progress of a delivery of which no status is known.
const NO_STATUS: i64 = -1;

impl Rows {
    /// Folds a whole batch.
    pub(super) fn fold(outcomes: &[Outcome]) -> Self {
        let mut rows = Self::default();
        for outcome in outcomes {
            let key = (outcome.tenant.clone(), outcome.id.clone());
            if let Entry::Vacant(slot) = rows.outcomes.entry(key) {
                slot.insert(timeline_row(outcome));
                rows.add(outcome);
            }
        }
        rows
    }

    fn add(&mut self, outcome: &Outcome) {
        self.merge_notification(outcome, notification_of(outcome));
        let delivery = |status, progress, reason: &Option<String>| DeliveryWrite {
            notification_id: outcome.notification_id.to_string(),
            recipient: None,
            channel: None,
            status,
            progress,
            reason: reason.clone(),
            read_at: None,
            at: outcome.at,
        };
        match &outcome.event {
            OutcomeEvent::Scheduled { .. } | OutcomeEvent::Rejected { .. } => {}
            OutcomeEvent::Planned { deliveries, .. } => {
                for planned in deliveries {
                    let mut write =
                        delivery(planned.status, progress(0, planned.status), &planned.reason);
                    write.recipient = Some(planned.recipient.clone());
                    write.channel = Some(planned.channel);
                    self.merge_delivery(&outcome.tenant, planned.id, write);
                }
            }
            OutcomeEvent::Attempted(report) => {
                let AttemptReport { delivery_id, generation, status, reason, .. } = report;
                let mut write = delivery(*status, progress(*generation, *status), reason);
                write.channel = report.channel;
                self.merge_delivery(&outcome.tenant, *delivery_id, write);
            }
            OutcomeEvent::Confirmed { delivery_id, status, reason, generation } => {
                let write = delivery(*status, progress(*generation, *status), reason);
                self.merge_delivery(&outcome.tenant, *delivery_id, write);
            }
            OutcomeEvent::Read { delivery_id } => {
                let mut write = delivery(DeliveryStatus::Queued, NO_STATUS, &None);
                write.read_at = Some(outcome.at);
                self.merge_delivery(&outcome.tenant, *delivery_id, write);
            }
        }
    }

    fn merge_notification(&mut self, outcome: &Outcome, write: NotificationWrite) {
        let key = (outcome.tenant.clone(), outcome.notification_id.to_string());
        match self.notifications.entry(key) {
            Entry::Vacant(slot) => {
                slot.insert(write);
            }
            Entry::Occupied(mut slot) => {
                let known = slot.get_mut();
                let updated_at = known.updated_at.max(write.updated_at);
                let scheduled_at = known.scheduled_at.max(write.scheduled_at);
                if write.stage > known.stage {
                    *known = write;
                }
                known.updated_at = updated_at;
                known.scheduled_at = scheduled_at;
            }
        }
    }

    fn merge_delivery(&mut self, tenant: &str, id: DeliveryId, write: DeliveryWrite) {
        match self.deliveries.entry((tenant.to_owned(), id.to_string())) {
            Entry::Vacant(slot) => {
                slot.insert(write);
            }
            Entry::Occupied(mut slot) => {
                let known = slot.get_mut();
                let recipient = known.recipient.take().or_else(|| write.recipient.clone());
                let channel = known.channel.or(write.channel);
                let read_at = match (known.read_at, write.read_at) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                if (write.progress, write.at) > (known.progress, known.at) {
                    *known = write;
                }
                known.recipient = recipient;
                known.channel = channel;
                known.read_at = read_at;
            }
        }
    }
}

fn notification_of(outcome: &Outcome) -> NotificationWrite {
    let write =
        |stage, reason: Option<&String>, summary: RequestSummary, scheduled_at| NotificationWrite {
            stage,
            reason: reason.cloned(),
            summary,
            trace_id: outcome.trace.trace_id(),
            scheduled_at,
            updated_at: outcome.at,
            settled: None,
        };
    match &outcome.event {
        OutcomeEvent::Scheduled { summary, until } => {
            write(stage::SCHEDULED, None, summary.clone(), Some(*until))
        }
        OutcomeEvent::Planned { summary, deliveries } => NotificationWrite {
            settled: settled(deliveries),
            ..write(stage::PLANNED, None, summary.clone(), None)
        },
        OutcomeEvent::Rejected { summary, reason } => {
            write(stage::REJECTED, Some(reason), summary.clone(), None)
        }
        OutcomeEvent::Attempted(_) | OutcomeEvent::Confirmed { .. } | OutcomeEvent::Read { .. } => {
            write(stage::SEEN, None, guess_summary(outcome.notification_id, outcome.at), None)
        }
    }
}

/// The status of a notification whose deliveries all ended with its plan: nobody will report on them. The same
/// rule as in SQL, which decides where attempts follow.
fn settled(deliveries: &[PlannedDelivery]) -> Option<&'static str> {
    if deliveries.iter().any(|one| !one.status.is_final()) {
        return None;
    }
    let is_bad = |one: &&PlannedDelivery| {
        matches!(one.status, DeliveryStatus::Failed | DeliveryStatus::Expired)
    };
    let bad = deliveries.iter().filter(is_bad).count();
    Some(match bad {
        0 => "completed",
        all if all == deliveries.len() => "failed",
        _ => "partially_failed",
    })
}

/// Stands in until the plan arrives and replaces it.
fn guess_summary(id: NotificationId, at: Micros) -> RequestSummary {
    RequestSummary {
        accepted_at: id.created_at().unwrap_or(at),
        priority: crate::contracts::Priority::Normal,
        template: None,
        metadata: BTreeMap::new(),
    }
}

fn timeline_row(outcome: &Outcome) -> OutcomeWrite {
    let base = OutcomeWrite {
        notification_id: outcome.notification_id.to_string(),
        at: outcome.at,
        ..OutcomeWrite::default()
    };
    match &outcome.event {
        OutcomeEvent::Scheduled { until, .. } => {
            OutcomeWrite { event: "scheduled", retry_at: Some(*until), ..base }
        }
        OutcomeEvent::Planned { deliveries, .. } => OutcomeWrite {
            event: "planned",
            detail: Some(format!("deliveries: {}", deliveries.len())),
            ..base
        },
        OutcomeEvent::Rejected { reason, .. } => {
            OutcomeWrite { event: "rejected", reason: Some(reason.clone()), ..base }
        }
        OutcomeEvent::Attempted(report) => OutcomeWrite {
            event: "attempted",
            delivery_id: Some(report.delivery_id.to_string()),
            status: Some(report.status),
            reason: report.reason.clone(),
            detail: report.detail.clone(),
            attempt: Some(i64::from(report.attempt)),
            generation: Some(i64::from(report.generation)),
            provider: Some(report.provider.clone()),
            provider_message_id: report.provider_message_id.clone(),
            duration_ms: Some(i64::try_from(report.duration_ms).unwrap_or(i64::MAX)),
            retry_at: report.retry_at,
            possible_duplicate: Some(report.possible_duplicate),
            ..base
        },
        OutcomeEvent::Confirmed { delivery_id, status, reason, generation } => OutcomeWrite {
            event: "confirmed",
            delivery_id: Some(delivery_id.to_string()),
            status: Some(*status),
            reason: reason.clone(),
            generation: Some(i64::from(*generation)),
            ..base
        },
        OutcomeEvent::Read { delivery_id } => {
            OutcomeWrite { event: "read", delivery_id: Some(delivery_id.to_string()), ..base }
        }
    }
}
