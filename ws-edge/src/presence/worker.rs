//! The one task that writes a node's entries.
//! Reads: changes of rooms. Writes: the bucket of presence, moves. Never: writes what is no longer so; of many changes of
//! one client the last one is written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use campana_bus::clock;
use campana_bus::subjects::{self, PresentClient};
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::keeper::{self, Lease};
use super::store::StoreError;
use super::users::Who;
use super::{Inner, moves};
use crate::metrics;
use crate::publication::ChannelKey;

/// Changes that are written together.
const BATCH_MAX: usize = 1_000;
const TICK_MIN: Duration = Duration::from_millis(100);
const TICK_MAX: Duration = Duration::from_secs(1);
/// What an orderly end may take.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(5);

/// Channels whose numbers of clients without an entry changed, by subject.
type Counted = HashMap<String, (Box<str>, Arc<ChannelKey>)>;

/// A client came, or left, or began to listen.
pub(super) struct Change {
    key: Arc<ChannelKey>,
    tenant: Box<str>,
    client: Box<str>,
    /// Its entry is no longer as it should be.
    pub(super) entry: bool,
    /// It has none: it is counted with others.
    pub(super) counted: bool,
    /// The channel is told: whether it came, and JSON about it.
    pub(super) moved: Option<(bool, Box<str>)>,
    /// Somebody here wants to know who comes and goes.
    pub(super) follow: bool,
}

impl Change {
    pub(super) fn new(key: &Arc<ChannelKey>, tenant: &str, client: &str) -> Self {
        Self {
            key: Arc::clone(key),
            tenant: tenant.into(),
            client: client.into(),
            entry: false,
            counted: false,
            moved: None,
            follow: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.entry && !self.follow && self.moved.is_none()
    }
}

pub(super) async fn run(
    inner: Arc<Inner>,
    mut changed: mpsc::Receiver<Change>,
    queued: mpsc::UnboundedReceiver<Arc<Who>>,
) {
    let stop = inner.stop.clone();
    let lease = tokio::select! {
        lease = keeper::acquire(&inner) => lease,
        () = stop.cancelled() => return,
    };
    let mut lease = lease;
    tokio::select! {
        () = entries(&inner, &mut changed, &mut lease) => {}
        () = inner.users.run(&inner, queued) => {}
    }
    if inner.lifecycle.hard.is_cancelled() {
        return;
    }
    // What is left to tell: everybody here is gone.
    let end = async {
        let mut rest = Vec::new();
        while let Ok(change) = changed.try_recv() {
            rest.push(change);
        }
        for change in &mut rest {
            change.entry = false;
        }
        process(&inner, &rest, &mut Counted::new()).await;
        keeper::resign(&inner, &lease).await
    };
    match tokio::time::timeout(RESIGN_TIMEOUT, end).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => tracing::warn!(error = %why, "the node's presence ends with its lease"),
        Err(_) => tracing::warn!("the node's presence ends with its lease: no answer in time"),
    }
}

/// Until the stop.
async fn entries(inner: &Arc<Inner>, changed: &mut mpsc::Receiver<Change>, lease: &mut Lease) {
    let every = (inner.options.lease() / 4).clamp(TICK_MIN, TICK_MAX);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::new();
    let mut counted = Counted::new();
    let mut swept: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            () = inner.stop.cancelled() => return,
            _ = ticks.tick() => {
                if !lease.keep(inner).await {
                    *lease = keeper::begin_again(inner).await;
                }
                if inner.unsynced.swap(false, Ordering::AcqRel)
                    && let Err(why) = compare(inner).await
                {
                    tracing::warn!(error = %why, "entries of presence cannot be compared yet");
                    inner.unsynced.store(true, Ordering::Release);
                }
                count(inner, &mut counted).await;
                metrics::presence_entries(inner.rooms.total());
                if swept.is_none_or(|at| at.elapsed() >= inner.options.lease() / 4) {
                    swept = Some(clock::monotonic());
                    inner.watchers.sweep().await;
                    sweep(inner);
                }
            }
            found = changed.recv_many(&mut batch, BATCH_MAX) => {
                if found == 0 {
                    return;
                }
                process(inner, &batch, &mut counted).await;
                batch.clear();
            }
        }
    }
}

/// Tidies up after others beside everything else; one at a time.
fn sweep(inner: &Arc<Inner>) {
    if inner.sweeping.swap(true, Ordering::AcqRel) {
        return;
    }
    let inner = Arc::clone(inner);
    inner.lifecycle.clone().spawn("edge presence sweep", async move {
        tokio::select! {
            result = keeper::sweep(&inner) => {
                if let Err(why) = result {
                    tracing::debug!(error = %why, "nodes that are gone are looked for later");
                }
            }
            () = inner.stop.cancelled() => {}
        }
        inner.sweeping.store(false, Ordering::Release);
    });
}

/// Writes entries first and tells afterwards: who is told that somebody came finds them in the list.
async fn process(inner: &Inner, batch: &[Change], counted: &mut Counted) {
    for change in batch.iter().filter(|change| change.follow) {
        inner.watchers.follow(&change.tenant, &change.key).await;
    }
    let node = inner.node();
    let mut seen = HashSet::new();
    let mut writes = Vec::new();
    for change in batch.iter().filter(|change| change.entry) {
        if change.counted {
            let subject = change.key.subject.clone();
            counted.insert(subject, (change.tenant.clone(), Arc::clone(&change.key)));
        } else if seen.insert((change.key.subject.as_str(), &*change.client)) {
            writes.push(write(inner, &node, &change.tenant, &change.key, &change.client));
        }
    }
    if join_all(writes).await.iter().any(Result::is_err) {
        inner.unsynced.store(true, Ordering::Release);
    }
    for change in batch {
        if let Some((came, info)) = &change.moved {
            let subject = subjects::joins(&change.tenant, &change.key.name);
            inner.tell(&subject, moves::payload(*came, info)).await;
            metrics::presence_move(*came);
        }
    }
}

/// Makes one entry say what is so.
async fn write(
    inner: &Inner,
    node: &str,
    tenant: &str,
    key: &ChannelKey,
    client: &str,
) -> Result<(), StoreError> {
    let subject = subjects::presence_client(node, tenant, &key.name, client);
    let value = match client {
        "" => match inner.rooms.counted(&key.subject) {
            (0, _) => None,
            (clients, users) => Some(format!("[{clients},{users}]").into()),
        },
        client => inner.rooms.listed(&key.subject, client),
    };
    match value {
        Some(value) => inner.store.put(subject, value.into_string().into()).await,
        None => inner.store.remove(subject).await,
    }
}

/// Writes the numbers of those that have no entry, once a tick however many they are.
async fn count(inner: &Inner, counted: &mut Counted) {
    let node = inner.node();
    let changed = std::mem::take(counted);
    let writes = changed.values().map(|(tenant, key)| write(inner, &node, tenant, key, ""));
    if join_all(writes).await.iter().any(Result::is_err) {
        inner.unsynced.store(true, Ordering::Release);
    }
}

/// Compares all entries of this node with what is so, and writes what differs.
async fn compare(inner: &Inner) -> Result<(), StoreError> {
    let node = inner.node();
    let mut wanted = inner.rooms.entries();
    let mut known = HashSet::new();
    let mut wrong: Vec<PresentClient> = Vec::new();
    let mut after = Some(0);
    let filter = subjects::presence_of_node(&node);
    while let Some(from) = after {
        let (page, next) = inner.store.page(&filter, from).await?;
        for message in page {
            if let Some(found) = subjects::parse_presence_client(&message.subject) {
                let key = inner.rules.key(&found.tenant, found.channel.clone());
                let subject = key.subject.clone();
                let listed = inner.rooms.listed(&subject, &found.client).is_some();
                if listed {
                    known.insert((subject, found.client.into_boxed_str()));
                } else {
                    wrong.push(found);
                }
            }
        }
        after = next;
    }
    wanted.retain(|(key, client)| !known.contains(&(key.subject.clone(), client.clone())));
    let missing = wanted.iter().filter_map(|(key, client)| {
        let (tenant, _) = subjects::parse_channel(&key.subject)?;
        Some((tenant, key, client))
    });
    let missing: Vec<_> = missing.collect();
    for part in missing.chunks(BATCH_MAX) {
        let writes =
            part.iter().map(|(tenant, key, client)| write(inner, &node, tenant, key, client));
        join_all(writes).await.into_iter().collect::<Result<(), StoreError>>()?;
    }
    for part in wrong.chunks(BATCH_MAX) {
        let removals = part.iter().filter(|one| !one.client.is_empty()).map(|one| {
            let PresentClient { tenant, channel, client, .. } = one;
            inner.store.remove(subjects::presence_client(&node, tenant, channel, client))
        });
        join_all(removals).await.into_iter().collect::<Result<(), StoreError>>()?;
    }
    Ok(())
}
