//! A node's lease, and what is done after nodes whose lease ran out.
//! Reads: leases and registrations. Writes: its own, and the entries and records of nodes that are gone.
//! Never: touches what belongs to a node that lives.
//!
//! A node that writes entries has a registration, which stays, and a lease, which ends by itself. Registered without a
//! lease means gone: one of the others claims the tidying up. If that one dies as well, its claim runs out and the next
//! one begins again; every step may be repeated.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::fetch::StoredMessage;
use campana_bus::ids::NodeId;
use campana_bus::subjects::{self, NodeKey, PRESENCE_NODES};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::store::StoreError;
use super::users::Who;
use super::{Inner, moves, online, record};
use crate::metrics;

/// Nodes that are looked at.
const NODES_MAX: usize = 10_000;
/// How long a node has for tidying up after another before somebody else begins again.
const CLAIM: Duration = Duration::from_secs(60);
/// Records that are changed at the same time while tidying up.
const RECORDS_IN_FLIGHT: usize = 32;
/// Between two tries to get a lease.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Registration {
    /// When the node stopped in order: its users may be on their way to another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_at: Option<i64>,
}

/// A lease that was got.
pub(super) struct Lease {
    revision: u64,
    renewed: Instant,
}

fn json<T: Serialize + ?Sized>(value: &T) -> Bytes {
    serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec()).into()
}

/// Becomes a node with a name of its own; tried until it works.
pub(super) async fn acquire(inner: &Inner) -> Lease {
    loop {
        match try_acquire(inner).await {
            Ok(lease) => return lease,
            Err(why) => tracing::warn!(error = %why, "no lease for presence yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn try_acquire(inner: &Inner) -> Result<Lease, StoreError> {
    let node = NodeId::fresh().to_string();
    let (lease, ttl) = (subjects::presence_node(NodeKey::Lease, &node), inner.options.lease());
    let renewed = clock::monotonic();
    // The lease first: registered without one is gone.
    let revision = inner.store.set(&lease, json(&node), 0, Some(ttl)).await?;
    let registration = subjects::presence_node(NodeKey::Registration, &node);
    inner.store.put(registration, json(&Registration::default())).await?;
    inner.rename(node);
    Ok(Lease { revision, renewed })
}

impl Lease {
    /// Renews it when it is time. False if it ran out: others may have tidied up after this node.
    pub(super) async fn keep(&mut self, inner: &Inner) -> bool {
        let ttl = inner.options.lease();
        if self.renewed.elapsed() < ttl / 3 {
            return true;
        }
        let node = inner.node();
        let subject = subjects::presence_node(NodeKey::Lease, &node);
        let asked = clock::monotonic();
        for _ in 0..2 {
            match inner.store.set(&subject, json(&*node), self.revision, Some(ttl)).await {
                Ok(revision) => {
                    (self.revision, self.renewed) = (revision, asked);
                    return true;
                }
                // The answer to an earlier renewal may have been lost; nobody else writes this key.
                Err(StoreError::Changed) => match inner.store.get(&subject).await {
                    Ok(found) if found.value.is_some() => self.revision = found.revision,
                    Ok(_) => return false,
                    Err(_) => return true,
                },
                Err(why) => {
                    tracing::warn!(error = %why, "the lease for presence was not renewed");
                    return true;
                }
            }
        }
        true
    }
}

/// The lease ran out: a new name, under which everything is written again. What was written under the old one
/// is tidied up by whoever comes first.
pub(super) async fn begin_again(inner: &Inner) -> Lease {
    let old = inner.node();
    tracing::warn!("the lease for presence ran out: everything is written again");
    let lease = acquire(inner).await;
    let gone = Registration { left_at: Some(clock::now().0) };
    // Writes on their way may still land under the old name.
    if inner
        .store
        .put(subjects::presence_node(NodeKey::Registration, &old), json(&gone))
        .await
        .is_err()
    {
        tracing::warn!("entries of the old lease may stay until they are written over");
    }
    inner.unsynced.store(true, Ordering::Release);
    inner.users.forget();
    lease
}

/// The orderly end: entries go at once, the users' records when it is clear that they did not go elsewhere.
pub(super) async fn resign(inner: &Inner, lease: &Lease) -> Result<(), StoreError> {
    let node = inner.node();
    inner.store.purge(&subjects::presence_of_node(&node)).await?;
    let registration = subjects::presence_node(NodeKey::Registration, &node);
    if inner.users.is_empty() {
        inner.store.remove(registration).await?;
    } else {
        let left = Registration { left_at: Some(clock::now().0) };
        inner.store.put(registration, json(&left)).await?;
    }
    inner.store.unset(&subjects::presence_node(NodeKey::Lease, &node), lease.revision).await
}

/// Looks for nodes that are gone and tidies up after them.
pub(super) async fn sweep(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let all = inner.store.all(PRESENCE_NODES, NODES_MAX).await?;
    let (mut living, mut registered) = (HashSet::new(), BTreeMap::new());
    for message in &all {
        match subjects::parse_presence_node(&message.subject) {
            Some((NodeKey::Lease, node)) => {
                living.insert(node);
            }
            Some((NodeKey::Registration, node)) => {
                let value: Registration =
                    serde_json::from_slice(&message.payload).unwrap_or_default();
                registered.insert(node, (value, message.sequence));
            }
            _ => {}
        }
    }
    let me = inner.node();
    for (node, (registration, revision)) in registered {
        let patience = i64::try_from(inner.patience.as_micros()).unwrap_or(i64::MAX);
        let waits = registration
            .left_at
            .is_some_and(|at| clock::now().since(Micros(at)) < patience && node != *me);
        if living.contains(&node) || waits || node == *me {
            continue;
        }
        let claim = subjects::presence_node(NodeKey::Claim, &node);
        let found = inner.store.get(&claim).await?;
        if found.value.is_some() {
            continue;
        }
        match inner.store.set(&claim, json(&*me), found.revision, Some(CLAIM)).await {
            Ok(claimed) => {
                tidy_up(inner, &node, registration.left_at.is_some()).await?;
                let key = subjects::presence_node(NodeKey::Registration, &node);
                // Registered again meanwhile: somebody else's turn.
                match inner.store.unset(&key, revision).await {
                    Ok(()) | Err(StoreError::Changed) => {}
                    Err(why) => return Err(why),
                }
                match inner.store.unset(&claim, claimed).await {
                    Ok(()) | Err(StoreError::Changed) => {}
                    Err(why) => return Err(why),
                }
            }
            Err(StoreError::Changed) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

async fn tidy_up(inner: &Arc<Inner>, node: &str, in_order: bool) -> Result<(), StoreError> {
    if !in_order {
        tracing::warn!(node, "a node is gone: tidying up its presence");
        metrics::presence_swept();
    }
    let entries = subjects::presence_of_node(node);
    let mut after = Some(0);
    while let Some(from) = after {
        let (page, next) = inner.store.page(&entries, from).await?;
        for entry in &page {
            tell_left(inner, entry).await;
        }
        after = next;
    }
    inner.store.purge(&entries).await?;
    for filter in [subjects::ONLINE_USERS, subjects::ONLINE_MEMBERS] {
        let mut after = Some(0);
        while let Some(from) = after {
            let (page, next) = inner.store.page(filter, from).await?;
            let concerned = page.iter().filter_map(|message| concerned(message, node));
            let me = inner.node();
            let changes = concerned.map(|who| {
                let (me, manner) = (Arc::clone(&me), inner.manner(&who));
                async move { online::down(inner, &who, manner, node, &me).await }
            });
            let changes: Vec<_> = changes.collect();
            let mut running = futures::stream::iter(changes).buffer_unordered(RECORDS_IN_FLIGHT);
            while let Some(result) = running.next().await {
                result.map_err(|failed| failed.why)?;
            }
            after = next;
        }
    }
    Ok(())
}

fn concerned(message: &StoredMessage, node: &str) -> Option<Who> {
    let found: record::Record = serde_json::from_slice(&message.payload).ok()?;
    let (tenant, channel, user) = subjects::parse_online(&message.subject)?;
    record::concerns(&found, node).then_some(Who { tenant, channel, user })
}

/// Clients are told that the client of an entry left.
async fn tell_left(inner: &Inner, entry: &StoredMessage) {
    let Some(found) = subjects::parse_presence_client(&entry.subject) else { return };
    let Ok(info) = std::str::from_utf8(&entry.payload) else { return };
    let user: Option<super::UserOf> = serde_json::from_str(info).ok();
    let user = user.map(|one| one.user).unwrap_or_default();
    let told = inner.namespace(&found.channel).is_some_and(|one| one.join_leave);
    if told && !found.client.is_empty() && !inner.debounces(&found.channel, &user) {
        let subject = subjects::joins(&found.tenant, &found.channel);
        inner.tell(&subject, moves::payload(false, info)).await;
        metrics::presence_move(false);
    }
}
