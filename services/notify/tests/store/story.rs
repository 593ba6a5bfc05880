//! The outcomes that one notification may have, for tests.

use std::collections::BTreeMap;

use campana_bus::ids::{DeliveryId, NotificationId};
use campana_bus::trace::TraceParent;
use campana_notify::contracts::{
    AttemptReport, Channel, Delivery, DeliveryStatus, Outcome, OutcomeEvent, PlannedDelivery,
    Priority, RequestSummary,
};
use campana_notify::store::Store;

use crate::at;

/// Outcomes of one notification.
pub struct Story {
    pub tenant: String,
    pub id: NotificationId,
}

impl Story {
    pub fn new(tenant: &str, name: &str) -> Self {
        Self { tenant: tenant.to_owned(), id: NotificationId::derived(&[name]) }
    }

    pub fn delivery(&self, recipient: &str, channel: Channel) -> DeliveryId {
        Delivery::derive_id(self.id, recipient, channel)
    }

    pub fn outcome(&self, id: &str, when: i64, event: OutcomeEvent) -> Outcome {
        let trace =
            TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let id = format!("{}-{id}", self.id);
        Outcome {
            id,
            notification_id: self.id,
            tenant: self.tenant.clone(),
            at: at(when),
            trace,
            event,
        }
    }

    pub fn summary() -> RequestSummary {
        RequestSummary {
            accepted_at: at(0),
            priority: Priority::Critical,
            template: Some("welcome".to_owned()),
            metadata: BTreeMap::from([("order".to_owned(), "7".to_owned())]),
        }
    }

    pub fn planned(&self, deliveries: &[(&str, Channel, DeliveryStatus)]) -> Outcome {
        let deliveries = deliveries
            .iter()
            .map(|(recipient, channel, status)| PlannedDelivery {
                id: self.delivery(recipient, *channel),
                recipient: (*recipient).to_owned(),
                channel: *channel,
                status: *status,
                reason: None,
            })
            .collect();
        self.outcome("planned", 10, OutcomeEvent::Planned { summary: Self::summary(), deliveries })
    }

    pub fn attempt(
        &self,
        recipient: &str,
        channel: Channel,
        generation: u32,
        attempt: u32,
        status: DeliveryStatus,
    ) -> Outcome {
        let when = i64::from(generation) * 1_000 + i64::from(attempt) * 100;
        let report = AttemptReport {
            delivery_id: self.delivery(recipient, channel),
            channel: Some(channel),
            accepted_at: Some(at(0)),
            attempt,
            generation,
            status,
            reason: (status != DeliveryStatus::Sent).then(|| "smtp_4.2.1".to_owned()),
            detail: Some("mailbox busy".to_owned()),
            provider: "smtp".to_owned(),
            provider_message_id: None,
            duration_ms: 12,
            retry_at: None,
            possible_duplicate: attempt > 1,
        };
        self.outcome(
            &format!("a{generation}.{attempt}.{recipient}"),
            when,
            OutcomeEvent::Attempted(report),
        )
    }

    pub fn confirmed(
        &self,
        recipient: &str,
        channel: Channel,
        status: DeliveryStatus,
        generation: u32,
    ) -> Outcome {
        let delivery_id = self.delivery(recipient, channel);
        let event = OutcomeEvent::Confirmed { delivery_id, status, reason: None, generation };
        self.outcome(&format!("c{generation}.{recipient}"), 5_000, event)
    }

    pub fn read(&self, recipient: &str, channel: Channel) -> Outcome {
        self.outcome(
            "read",
            6_000,
            OutcomeEvent::Read { delivery_id: self.delivery(recipient, channel) },
        )
    }

    pub async fn status(&self, store: &Store) -> String {
        store.notification(&self.tenant, &self.id.to_string()).await.unwrap().unwrap().status
    }

    pub async fn delivery_status(&self, store: &Store, recipient: &str) -> String {
        let rows = store.deliveries(&self.tenant, &self.id.to_string()).await.unwrap();
        rows.into_iter().find(|row| row.recipient.as_deref() == Some(recipient)).unwrap().status
    }
}
