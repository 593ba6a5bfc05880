//! A ledger of messages whose fate is known beforehand, and the check that each had it.
//! Reads: the effects that workers wrote, the dead letters, the consumer's state. Writes: the entries.
//! Never: takes a worker's word for anything but its effects.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use campana_bus::publish::Outgoing;
use campana_bus::{Bus, headers, subjects, topology};
use serde::{Deserialize, Serialize};

use crate::wait::eventually;

/// The service whose events the entries are.
pub const SERVICE: &str = "ledger";
/// What the entries are called.
pub const EVENT: &str = "entry";
/// The durable consumer of all workers.
pub const DURABLE: &str = "ledger-worker";
/// Attempts before an entry is parked: enough that a neighbour of a crash survives most schedules.
pub const MAX_ATTEMPTS: u32 = 6;

/// What an entry asks of its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// Succeed at once.
    Done,
    /// Succeed, but take longer than a heartbeat.
    Slow,
    /// Fail once, be given back with a delay, then succeed.
    Retry,
    /// Come back as a scheduled copy that is no attempt, then succeed.
    Defer,
    /// Come back as a scheduled copy after more than ten seconds, then succeed.
    Later,
    /// Be parked.
    Dead,
    /// End the process, every time.
    Crash,
}

/// One entry.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// What it asks.
    pub fate: Fate,
}

/// Fates in a mix that reaches every step often.
#[must_use]
pub fn mixed(id: u64) -> Fate {
    match id % 20 {
        1 | 7 | 13 => Fate::Retry,
        3 | 9 | 15 => Fate::Defer,
        5 | 11 | 17 => Fate::Dead,
        19 if id % 100 == 19 => Fate::Slow,
        _ => Fate::Done,
    }
}

fn message_id(id: u64) -> String {
    format!("ledger-{id}")
}

/// Stores entries, several at a time.
///
/// # Errors
/// If one of them is not acknowledged.
pub async fn publish(bus: &Bus, entries: Vec<Entry>) -> Result<()> {
    use futures::{StreamExt, TryStreamExt};
    futures::stream::iter(entries)
        .map(|entry| async move {
            let subject = subjects::app_event("default", SERVICE, EVENT);
            let body = Bytes::from(serde_json::to_vec(&entry)?);
            bus.publish(Outgoing::new(subject, message_id(entry.id), body)).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(32)
        .try_collect()
        .await
}

/// What became of the entries.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Effects by entry.
    pub effects: BTreeMap<u64, usize>,
    /// Dead letters by entry, with reasons.
    pub parked: BTreeMap<u64, Vec<String>>,
}

/// Waits until nothing is left to do: no message waits, is in hand, or is scheduled.
///
/// # Errors
/// If that takes too long.
pub async fn settled(bus: &Bus, within: Duration) -> Result<()> {
    let delayed = subjects::delay_filter(topology::EVENTS);
    eventually("every entry to be settled", within, async || {
        let mut consumer: async_nats::jetstream::consumer::PullConsumer =
            bus.jetstream().get_consumer_from_stream(DURABLE, topology::EVENTS).await?;
        let info = consumer.info().await?;
        let (waiting, in_hand) = (info.num_pending, info.num_ack_pending);
        let scheduled = bus.count(topology::EVENTS, &delayed).await?;
        ensure!(
            waiting == 0 && in_hand == 0 && scheduled == 0,
            "{waiting} wait, {in_hand} in hand, {scheduled} scheduled"
        );
        Ok(Some(()))
    })
    .await
}

/// Waits until the worker has its consumer: who kills a server before that tests how a service starts.
///
/// # Errors
/// If that takes too long.
pub async fn begun(bus: &Bus, within: Duration) -> Result<()> {
    eventually("the worker to have its consumer", within, async || {
        let _: async_nats::jetstream::consumer::PullConsumer =
            bus.jetstream().get_consumer_from_stream(DURABLE, topology::EVENTS).await?;
        Ok(Some(()))
    })
    .await
}

/// How long a replica may take to have what the others have.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// Collects what became of the entries.
///
/// # Errors
/// If the effects or the dead letters cannot be read.
pub async fn outcome(bus: &Bus, effects: &Path) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for line in std::fs::read_to_string(effects).context("the effects")?.lines() {
        *outcome.effects.entry(line.parse().context("an effect")?).or_default() += 1;
    }
    let everything = subjects::dead_letter_filter(None, None);
    let mut after = 0;
    loop {
        // Any replica answers, also one that was just started again and does not have everything yet.
        let page = eventually("a replica with every dead letter", WHOLE_WITHIN, async || {
            let page = bus.fetch_after(topology::DLQ, &everything, after, 256).await?;
            let last = bus.position(topology::DLQ).await?.last;
            ensure!(!page.messages.is_empty() || last <= after, "it ends before {last}");
            Ok(Some(page))
        })
        .await?;
        let Some(last) = page.messages.last() else {
            return Ok(outcome);
        };
        after = last.sequence;
        for letter in &page.messages {
            let entry: Entry = serde_json::from_slice(&letter.payload).context("a dead letter")?;
            let reason = headers::get(&letter.headers, "Campana-Dead-Reason").unwrap_or_default();
            outcome.parked.entry(entry.id).or_default().push(reason.to_owned());
        }
    }
}

impl Outcome {
    /// Each entry had its fate: an effect, or one dead letter; never nothing. Only an entry that shared a
    /// process with a crash, or was in hand at every kill, may be parked instead of handled.
    ///
    /// # Errors
    /// Names the first entries that had another fate.
    pub fn check(&self, entries: &[Entry]) -> Result<()> {
        let mut wrong = Vec::new();
        for entry in entries {
            let effects = self.effects.get(&entry.id).copied().unwrap_or(0);
            let parked: Vec<&str> =
                self.parked.get(&entry.id).into_iter().flatten().map(String::as_str).collect();
            let right = match entry.fate {
                Fate::Dead => {
                    effects == 0 && matches!(parked[..], ["as_told" | "crash_or_timeout"])
                }
                Fate::Crash => effects == 0 && parked == ["crash_or_timeout"],
                _ => match parked[..] {
                    [] => effects >= 1,
                    ["crash_or_timeout"] => true,
                    _ => false,
                },
            };
            if !right {
                wrong.push(format!("{entry:?}: {effects} effects, parked {parked:?}"));
            }
        }
        ensure!(wrong.is_empty(), "{} entries: {:?}", wrong.len(), &wrong[..wrong.len().min(10)]);
        Ok(())
    }

    /// Effects beyond the first.
    #[must_use]
    pub fn repeated(&self) -> usize {
        self.effects.values().map(|count| count - 1).sum()
    }
}
