//! What people have seen: receipts of their inbox channels become lines in the timelines of notifications.
//! Reads: the edge's event `seen`, and the messages of the inbox channel that it is about.
//! Writes: the table of outcomes. Never: takes the user from a message, or
//! reads more than the newest [`MESSAGES_MAX`] messages for one receipt.

use std::sync::Arc;

use campana_bus::consume::Failure;
use campana_bus::fetch::StoredMessage;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::topology::CHANNELS;
use campana_bus::{Bus, Event, clock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OUTAGE_PAUSE;
use crate::contracts::InboxMessage;
use crate::store::Store;
use crate::store::status::seen::SeenMessage;

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

/// Records receipts until the soft stop.
pub(super) async fn run(bus: &Bus, store: Store, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let recorder = Arc::new((bus.clone(), store));
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

async fn record(bus: &Bus, store: &Store, seen: &Seen) -> Result<(), Failure> {
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
        found.extend(within.filter_map(notification));
        if found.len() > MESSAGES_MAX {
            found.drain(..found.len() - MESSAGES_MAX);
        }
        if after >= seen.offset || page.pending == 0 {
            break;
        }
    }
    match store.apply_seen(&seen.tenant, &found, clock::now()).await {
        Ok(()) => Ok(()),
        // A database may be away for a day: it costs no attempt.
        Err(error) if error.is_outage() => Err(Failure::defer(OUTAGE_PAUSE, error)),
        Err(error) => Err(Failure::retry(error)),
    }
}

/// Nothing for marks and for what others published there.
fn notification(message: &StoredMessage) -> Option<SeenMessage> {
    match serde_json::from_slice(&message.payload).ok()? {
        InboxMessage::Notification { id, notification_id, .. } => {
            Some(SeenMessage { delivery_id: id, notification_id })
        }
        _ => None,
    }
}
