//! What people have seen: receipts of their inbox channels become lines in the timelines of notifications.
//! Reads: the edge's event `seen`, and the messages of the inbox channel that it is about.
//! Writes: outcomes, which the recorder records like all others. Never: takes the user from a message, or
//! reads more than the newest [`MESSAGES_MAX`] messages for one receipt.

use std::sync::Arc;

use bytes::Bytes;
use campana_bus::consume::Failure;
use campana_bus::fetch::StoredMessage;
use campana_bus::ids::MessageId;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{GroupPublisher, Outgoing};
use campana_bus::subjects::{self, ChannelName};
use campana_bus::topology::{CHANNELS, OUTCOMES};
use campana_bus::trace::TraceParent;
use campana_bus::{Bus, Event, clock, headers};
use futures::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contracts::{InboxMessage, OUTCOME_TYPE, Outcome, OutcomeEvent};

/// Messages of an inbox that one receipt is about at most: whoever opens an old inbox for the first time has seen the newest.
const MESSAGES_MAX: usize = 1_000;
/// Messages of one read.
const PAGE: usize = 250;
/// Receipts that are worked on at the same time.
const IN_FLIGHT: usize = 8;

/// The edge's event, as far as it matters here: a user has seen a channel up to an offset.
#[derive(Debug, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.{tenant}.edge.seen.{user}", id = "receipt")]
struct Seen {
    tenant: String,
    user: String,
    channel: String,
    offset: u64,
    #[serde(default)]
    after: u64,
    receipt: String,
}

/// Turns receipts into outcomes until the soft stop.
pub(super) async fn run(bus: &Bus, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let outcomes = GroupPublisher::start(bus, OUTCOMES, lifecycle);
    let recorder = Arc::new((bus.clone(), outcomes));
    let handler = move |seen: Seen, _| {
        let recorder = Arc::clone(&recorder);
        async move { record(&recorder.0, &recorder.1, &seen).await }
    };
    bus.consumer::<Seen>("recorder-seen")
        .max_in_flight(IN_FLIGHT)
        .run(handler, lifecycle.soft.clone().cancelled_owned())
        .await?;
    Ok(())
}

async fn record(bus: &Bus, outcomes: &GroupPublisher, seen: &Seen) -> Result<(), Failure> {
    // Other channels are their services' business.
    let Ok(inbox) = ChannelName::inbox(&seen.user) else { return Ok(()) };
    if inbox.as_str() != seen.channel {
        return Ok(());
    }
    let subject = subjects::channel(&seen.tenant, &inbox);
    let mut found = Vec::new();
    let mut after = seen.after;
    loop {
        let page =
            bus.fetch_after(CHANNELS, &subject, after, PAGE).await.map_err(Failure::retry)?;
        let Some(last) = page.messages.last() else { break };
        after = last.sequence;
        let within = page.messages.iter().filter(|message| message.sequence <= seen.offset);
        found.extend(within.filter_map(|message| outcome(&seen.tenant, message)));
        if found.len() > MESSAGES_MAX {
            found.drain(..found.len() - MESSAGES_MAX);
        }
        if after >= seen.offset || page.pending == 0 {
            break;
        }
    }
    let stored = found.iter().map(|outcome| outcomes.publish(outgoing(outcome)));
    try_join_all(stored).await.map(|_| ()).map_err(Failure::retry)
}

/// That a message was seen; nothing for marks and for what others published there.
fn outcome(tenant: &str, message: &StoredMessage) -> Option<Outcome> {
    let InboxMessage::Notification { id, notification_id, .. } =
        serde_json::from_slice(&message.payload).ok()?
    else {
        return None;
    };
    Some(Outcome {
        id: MessageId::derived(&["seen", &id.to_string()]).to_string(),
        notification_id,
        tenant: tenant.to_owned(),
        at: clock::now(),
        trace: headers::trace(&message.headers).unwrap_or_else(TraceParent::fresh),
        event: OutcomeEvent::Seen { delivery_id: id },
    })
}

fn outgoing(outcome: &Outcome) -> Outgoing {
    let subject = subjects::outcome(&outcome.tenant, &outcome.notification_id.to_string());
    let body = Bytes::from(serde_json::to_vec(outcome).unwrap_or_default());
    Outgoing::new(subject, outcome.id.clone(), body).event(
        OUTCOME_TYPE,
        "notify",
        outcome.at,
        Some(outcome.trace),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use campana_bus::ids::{DeliveryId, NotificationId};
    use campana_bus::replay::From;
    use campana_bus::testing::NatsServer;
    use futures::StreamExt as _;

    use super::*;

    fn notification(number: u32) -> (DeliveryId, InboxMessage) {
        let id = DeliveryId::derived(&["delivery", &number.to_string()]);
        let message = InboxMessage::Notification {
            id,
            notification_id: NotificationId::derived(&["ntf", &number.to_string()]),
            title: "Hello".to_owned(),
            body: String::new(),
            url: None,
            created_at: "2026-11-21T23:24:32Z".to_owned(),
            trace_id: String::new(),
            metadata: Default::default(),
        };
        (id, message)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_seen_becomes_outcomes_and_nothing_else_does() {
        let nats = NatsServer::start().unwrap();
        let bus = nats.bus_with_topology("recorder").await.unwrap();
        let subject = subjects::channel("acme", &ChannelName::inbox("alice").unwrap());
        let (mut ids, mut offsets) = (Vec::new(), Vec::new());
        for number in 0..4 {
            let (id, message) = notification(number);
            let body = serde_json::to_vec(&message).unwrap().into();
            let stored = Outgoing::new(subject.as_str(), id.to_string(), body);
            offsets.push(bus.publish(stored).await.unwrap().sequence);
            ids.push(id);
        }
        let receipt = |channel: &str, offset, after| Seen {
            tenant: "acme".to_owned(),
            user: "alice".to_owned(),
            channel: channel.to_owned(),
            offset,
            after,
            receipt: format!("{channel}-{offset}"),
        };
        // Somebody else's inbox and a room come first, so that what follows them would show them.
        for (channel, offset, after) in [
            ("inbox:#bob", offsets[3], 0),
            ("room:x", offsets[3], 0),
            ("inbox:#alice", offsets[1], 0),
            ("inbox:#alice", offsets[2], offsets[1]),
        ] {
            bus.emit(&receipt(channel, offset, after)).await.unwrap();
        }
        let lifecycle = Lifecycle::new();
        let found = async {
            let filter = subjects::outcome_filter("acme");
            let mut stored = bus.replay(OUTCOMES, filter, From::Start).follow();
            let mut found = Vec::new();
            while found.len() < 3 {
                let message = stored.next().await.unwrap().unwrap();
                let outcome: Outcome = serde_json::from_slice(&message.payload).unwrap();
                let OutcomeEvent::Seen { delivery_id } = outcome.event else { panic!() };
                found.push(delivery_id);
            }
            found
        };
        let found = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::select! {
                ended = run(&bus, &lifecycle) => panic!("{ended:?}"),
                found = found => found,
            }
        });
        let mut found = found.await.unwrap();
        found.sort();
        let mut expected = ids[..3].to_vec();
        expected.sort();
        assert_eq!(found, expected);
        assert!(lifecycle.stop(Duration::from_secs(60)).await);
    }
}
