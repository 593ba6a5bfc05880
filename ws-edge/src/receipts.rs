//! Receipts: up to where each user has seen a channel.
//! Reads: acknowledgements of clients, the bucket of receipts. Writes: the bucket; an event for services.
//! Never: lets a receipt go back, or says that it is stored before it is.
//!
//! A client may acknowledge every message that it shows. What comes for one user and channel while a write is on its way, or
//! shortly after one, is written together: the furthest offset counts. Nodes write with compare-and-set, so that
//! the furthest of all nodes wins, and a client that leaves meanwhile has its last one written all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use campana_bus::ids::MessageId;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{Outgoing, PublishError};
use campana_bus::topology::RECEIPTS;
use campana_bus::{Bus, clock, subjects};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::codes::{ReplyError, error};
use crate::hub::Hub;
use crate::metrics;
use crate::options::ReceiptOptions;
use crate::presence::events::Seen;
use crate::publication::ChannelKey;
use crate::session::{Ack, BuiltIn, History};

/// Acknowledgements that may wait on a node.
const WAITING_MAX: usize = 100_000;
/// Receipts that are written at the same time.
const IN_FLIGHT_MAX: usize = 64;
/// Tries to write a receipt that others write, too.
const TRIES: usize = 20;
/// Receipts of one read.
const PAGE: usize = 500;

type Answer = Result<u64, ReplyError>;

/// What is stored.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Receipt {
    #[serde(rename = "o")]
    offset: u64,
    #[serde(rename = "e")]
    epoch: String,
    #[serde(rename = "t")]
    at: String,
}

struct Waiting {
    ack: Ack,
    askers: Vec<oneshot::Sender<Answer>>,
}

#[derive(Default)]
struct Pending {
    /// By the key of the receipt.
    all: HashMap<String, Waiting>,
    askers: usize,
}

/// The receipts of a node.
pub(crate) struct Receipts {
    inner: Arc<Inner>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    bus: Bus,
    hub: Hub,
    options: ReceiptOptions,
    pending: Mutex<Pending>,
    arrived: Notify,
    stop: CancellationToken,
}

impl Receipts {
    pub(crate) fn start(
        bus: &Bus,
        hub: &Hub,
        lifecycle: &Lifecycle,
        options: &ReceiptOptions,
    ) -> Self {
        let inner = Arc::new(Inner {
            bus: bus.clone(),
            hub: hub.clone(),
            options: options.clone(),
            pending: Mutex::default(),
            arrived: Notify::new(),
            stop: CancellationToken::new(),
        });
        let enabled = options.enabled;
        let task = enabled.then(|| lifecycle.spawn("edge receipts", run(Arc::clone(&inner))));
        Self { inner, task: Mutex::new(task) }
    }

    /// Writes what waits, after the last connection.
    pub(crate) async fn stop(&self) {
        self.inner.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    /// Answers a call of a client.
    pub(crate) async fn call(&self, call: BuiltIn) -> Result<Bytes, ReplyError> {
        match call {
            BuiltIn::Ack(ack) => {
                let offset = self.inner.ack(ack).await?;
                Ok(json!({ "offset": offset }).to_string().into())
            }
            BuiltIn::Receipts(key) => self.inner.list(&key).await,
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when this offset or a further one is stored.
    async fn ack(&self, ack: Ack) -> Answer {
        let (asker, answer) = oneshot::channel();
        {
            let mut pending = self.lock();
            if pending.askers >= WAITING_MAX || self.stop.is_cancelled() {
                return Err(error::TOO_MANY_REQUESTS);
            }
            pending.askers += 1;
            pending.add(ack, asker);
        }
        self.arrived.notify_one();
        answer.await.unwrap_or(Err(error::INTERNAL))
    }

    async fn flush(&self) {
        let taken = std::mem::take(&mut *self.lock());
        let writes = taken.all.into_iter().map(|(subject, waiting)| async move {
            let answer = self.store(&subject, &waiting.ack).await;
            for asker in waiting.askers {
                // The client may be gone.
                let _ = asker.send(answer);
            }
        });
        futures::stream::iter(writes).buffer_unordered(IN_FLIGHT_MAX).collect::<()>().await;
    }

    async fn store(&self, subject: &str, ack: &Ack) -> Answer {
        let result = self.try_store(subject, ack).await;
        metrics::receipt(match &result {
            Ok((_, true)) => "stored",
            Ok((_, false)) => "behind",
            Err(why) if why.temporary => "failed",
            Err(_) => "refused",
        });
        result.map(|(offset, _)| offset)
    }

    /// What is stored afterwards, and whether it was written now.
    async fn try_store(&self, subject: &str, ack: &Ack) -> Result<(u64, bool), ReplyError> {
        let (top, epoch) = self.standing(&ack.key).await?;
        if !ack.epoch.is_empty() && ack.epoch != *epoch {
            return Err(error::UNRECOVERABLE_POSITION);
        }
        // Nobody has seen what is not there yet.
        if ack.offset > top {
            return Err(error::BAD_REQUEST);
        }
        for _ in 0..TRIES {
            let found = self.bus.last(RECEIPTS, subject).await.map_err(away)?;
            let revision = found.as_ref().map_or(0, |message| message.sequence);
            let known: Receipt = found
                .and_then(|message| serde_json::from_slice(&message.payload).ok())
                .filter(|known: &Receipt| *known.epoch == *epoch)
                .unwrap_or_default();
            if known.offset > ack.offset {
                return Ok((known.offset, false));
            }
            if known.offset < ack.offset {
                let at = clock::now().to_rfc3339();
                let receipt = Receipt { offset: ack.offset, epoch: epoch.to_string(), at };
                let value = serde_json::to_vec(&receipt).map_err(away)?;
                let id = MessageId::fresh().to_string();
                let mut message = Outgoing::new(subject, id, value.into());
                message.expect_last_subject_sequence = Some(revision);
                match self.bus.publish(message).await {
                    Ok(_) => {}
                    Err(PublishError::WrongLastSequence) => continue,
                    Err(why) => return Err(away(why)),
                }
            }
            // Also if it was there already: whoever wrote it may not have come to telling it.
            self.tell(ack, known.offset, &epoch).await?;
            return Ok((ack.offset, known.offset < ack.offset));
        }
        Err(error::INTERNAL)
    }

    async fn tell(&self, ack: &Ack, after: u64, epoch: &str) -> Result<(), ReplyError> {
        let channel = ack.key.name.as_str();
        let parts = [ack.user.as_str(), channel, epoch, &ack.offset.to_string()];
        let event = Seen {
            tenant: ack.tenant.clone(),
            user: ack.user.clone(),
            channel: channel.to_owned(),
            offset: ack.offset,
            after,
            epoch: epoch.to_owned(),
            at: clock::now().to_rfc3339(),
            receipt: MessageId::derived(&parts).to_string(),
        };
        self.bus.emit(&event).await.map(|_| ()).map_err(away)
    }

    /// Where the channel stands.
    async fn standing(&self, key: &Arc<ChannelKey>) -> Result<(u64, Arc<str>), ReplyError> {
        let question = History {
            command: 0,
            key: Arc::clone(key),
            limit: 0,
            since: None,
            reverse: false,
            reach: 0,
            age_seconds_max: 0,
        };
        self.hub.history(&question).await.map(|found| (found.top, found.epoch))
    }

    /// Who has seen the channel up to where.
    async fn list(&self, key: &Arc<ChannelKey>) -> Result<Bytes, ReplyError> {
        let (_, epoch) = self.standing(key).await?;
        let Some((tenant, channel)) = subjects::parse_channel(&key.subject) else {
            return Err(error::BAD_REQUEST);
        };
        let filter = subjects::receipts_of_channel(&tenant, &channel);
        let (mut found, mut after) = (Vec::new(), 0);
        let more = loop {
            let page = self.bus.fetch_after(RECEIPTS, &filter, after, PAGE).await.map_err(away)?;
            for message in &page.messages {
                after = message.sequence;
                let user = subjects::receipt_user(&message.subject);
                let receipt: Option<Receipt> = serde_json::from_slice(&message.payload).ok();
                let receipt = receipt.filter(|one| *one.epoch == *epoch);
                if let (Some(user), Some(Receipt { offset, at, .. })) = (user, receipt) {
                    found.push(json!({"user": user, "offset": offset, "at": at}));
                }
            }
            if found.len() > self.options.list_max {
                found.truncate(self.options.list_max);
                break true;
            }
            if page.pending == 0 {
                break false;
            }
        };
        Ok(json!({"epoch": &*epoch, "receipts": found, "more": more}).to_string().into())
    }
}

impl Pending {
    fn add(&mut self, ack: Ack, asker: oneshot::Sender<Answer>) {
        let subject = subjects::receipt(&ack.tenant, &ack.key.name, &ack.user);
        match self.all.get_mut(&subject) {
            // Offsets of different epochs do not compare: the later word counts.
            Some(waiting) => {
                waiting.askers.push(asker);
                if ack.offset > waiting.ack.offset || ack.epoch != waiting.ack.epoch {
                    waiting.ack = ack;
                }
            }
            None => {
                self.all.insert(subject, Waiting { ack, askers: vec![asker] });
            }
        }
    }
}

fn away(why: impl std::fmt::Display) -> ReplyError {
    tracing::warn!(error = %why, "a receipt cannot be read or stored");
    error::INTERNAL
}

/// Writes what waits, as often as the options allow.
async fn run(inner: Arc<Inner>) {
    let pause = Duration::from_millis(inner.options.interval_ms);
    loop {
        tokio::select! {
            () = inner.arrived.notified() => {}
            () = inner.stop.cancelled() => break,
        }
        inner.flush().await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = inner.stop.cancelled() => break,
        }
    }
    inner.flush().await;
}

#[cfg(test)]
mod tests {
    use campana_bus::subjects::ChannelName;

    use super::*;

    #[test]
    fn the_furthest_acknowledgement_is_written_and_everybody_is_answered() {
        let key = Arc::new(ChannelKey::new("t", ChannelName::parse("room:a").unwrap()));
        let ack = |user: &str, offset, epoch: &str| Ack {
            tenant: "t".to_owned(),
            user: user.to_owned(),
            key: Arc::clone(&key),
            offset,
            epoch: epoch.to_owned(),
        };
        let mut pending = Pending::default();
        for (user, offset, epoch) in
            [("a", 3, ""), ("a", 9, ""), ("a", 5, ""), ("b", 1, ""), ("c", 9, "x"), ("c", 2, "y")]
        {
            pending.add(ack(user, offset, epoch), oneshot::channel().0);
        }
        let mut found: Vec<(String, u64, usize)> = pending
            .all
            .into_values()
            .map(|one| (one.ack.user, one.ack.offset, one.askers.len()))
            .collect();
        found.sort();
        let expected = [("a", 9, 3), ("b", 1, 1), ("c", 2, 2)];
        assert_eq!(found, expected.map(|(user, offset, n)| (user.to_owned(), offset, n)));
    }
}
