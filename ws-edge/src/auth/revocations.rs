//! Revocations between nodes and over restarts: a bucket that every edge follows.
//! Reads: the bucket `revocations`. Writes: the bucket, what this node knows, mailboxes of connections.
//! Never: shortens a revocation that is stored, or keeps one longer than its tokens could be good.
//!
//! Entries have a time to live, so the bucket holds what still matters and nothing else. A node reads all of it
//! before it lets anybody in, and follows it from there: what one node stores, all know within a second.

use std::sync::Arc;
use std::time::Duration;

use campana_bus::kv::{KvError, TTL_MIN};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::replay::From;
use campana_bus::topology::REVOCATIONS;
use campana_bus::{Bus, clock, subjects};
use campana_identity::{Revocation, Revocations, RevokeError};
use futures::{FutureExt as _, StreamExt as _};

use super::revoked::mark;
use crate::mailbox::Push;
use crate::metrics;
use crate::server::Node;

/// Tries to store a revocation while others change the same entry.
const ATTEMPTS_MAX: usize = 16;
/// Pause before the bucket is asked again when it did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Changes that are taken in before connections are told.
const BATCH_MAX: usize = 1_024;

/// Why a token is not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeFailure {
    /// No token can have such an id or user, or it names no tenant.
    #[error(transparent)]
    Invalid(#[from] RevokeError),
    /// The bucket does not take it now: try again.
    #[error("the revocation could not be stored: {0}")]
    Unavailable(KvError),
}

/// Revokes tokens on all nodes and for as long as they could be good. When it returns, the revocation is stored;
/// connections of the tokens are closed within a second. Doing it twice changes nothing.
///
/// # Errors
/// If it can be about no token, or could not be stored.
pub async fn revoke(bus: &Bus, revocation: &Revocation) -> Result<(), RevokeFailure> {
    let now = unix();
    // The one place that knows what a revocation may name.
    Revocations::new(1).add(revocation, now)?;
    if until(revocation) <= now {
        return Ok(());
    }
    let kv = bus.kv(REVOCATIONS).await.map_err(RevokeFailure::Unavailable)?;
    let key = key(revocation);
    let mut failed = KvError::WrongRevision;
    for _ in 0..ATTEMPTS_MAX {
        let stored = kv.get(&key).await.map_err(RevokeFailure::Unavailable)?;
        let known = stored.as_ref().and_then(|entry| serde_json::from_slice(&entry.value).ok());
        let merged = merge(revocation, known);
        let value = serde_json::to_vec(&merged)
            .map_err(|error| RevokeFailure::Unavailable(KvError::Encode(error.to_string())))?;
        let seconds = u64::try_from(until(&merged).saturating_sub(now)).unwrap_or(1);
        let ttl = Duration::from_secs(seconds).max(TTL_MIN);
        let written = match stored {
            Some(entry) => kv.update_with_ttl(&key, value.into(), entry.revision, ttl).await,
            None => kv.create_with_ttl(&key, value.into(), ttl).await,
        };
        match written {
            Ok(_) => return Ok(()),
            Err(why @ (KvError::WrongRevision | KvError::Exists)) => failed = why,
            Err(why) => return Err(RevokeFailure::Unavailable(why)),
        }
    }
    Err(RevokeFailure::Unavailable(failed))
}

/// Reads all revocations, then follows them until the soft stop.
///
/// # Errors
/// If the bucket is not there.
pub(crate) async fn start(node: &Arc<Node>, lifecycle: &Lifecycle) -> Result<(), KvError> {
    node.bus.kv(REVOCATIONS).await?;
    let mut after = load(node).await?;
    let (node, soft) = (Arc::clone(node), lifecycle.soft.clone());
    lifecycle.spawn("edge revocations", async move {
        let following = async {
            loop {
                if let Err(why) = follow(&node, after).await {
                    tracing::warn!(error = %why, "revocations cannot be followed: reading all of them again");
                }
                tokio::time::sleep(PAUSE).await;
                match load(&node).await {
                    Ok(last) => after = last,
                    Err(why) => tracing::warn!(error = %why, "revocations cannot be read"),
                }
            }
        };
        tokio::select! {
            () = soft.cancelled() => {}
            () = following => {}
        }
    });
    Ok(())
}

/// Takes in all that is stored; gives up to where that is.
async fn load(node: &Node) -> Result<u64, KvError> {
    let stream = subjects::kv_stream(REVOCATIONS);
    let last = node.bus.position(&stream).await?.last;
    let mut all = node.bus.replay(stream, subjects::kv_filter(REVOCATIONS), From::Start);
    let mut found = Vec::new();
    while let Some(message) = all.next().await {
        let message = message.map_err(|error| KvError::Unavailable(error.to_string()))?;
        found.extend(serde_json::from_slice::<Revocation>(&message.payload));
        if found.len() >= BATCH_MAX {
            take(node, &std::mem::take(&mut found));
        }
    }
    take(node, &found);
    Ok(last)
}

async fn follow(node: &Node, after: u64) -> Result<(), KvError> {
    let mut changes = node.bus.kv(REVOCATIONS).await?.watch(Some(after));
    while let Some(first) = changes.next().await {
        let mut found = Vec::new();
        let mut next = Some(first);
        while let Some(change) = next.take() {
            // What is gone was over.
            found.extend(change?.value.and_then(|value| serde_json::from_slice(&value).ok()));
            if found.len() < BATCH_MAX {
                next = changes.next().now_or_never().flatten();
            }
        }
        take(node, &found);
    }
    Ok(())
}

/// From now on these tokens are not good, and connections that may use one are told to look.
fn take(node: &Node, revocations: &[Revocation]) {
    let now = unix();
    let mut marks = Vec::new();
    for revocation in revocations {
        if let Err(why) = node.rules.revoked.add(revocation, now) {
            tracing::error!(error = %why, "a revocation cannot be kept: its tokens stay good here");
            continue;
        }
        match revocation {
            Revocation::User { tenant, user, .. } => {
                for connection in node.registry.by_user(tenant, user) {
                    connection.mailbox.push(Push::Revoked);
                }
            }
            Revocation::Token { tenant, id, .. } => marks.push(mark(tenant, id)),
        }
    }
    metrics::revocations(node.rules.revoked.prune(now));
    if marks.is_empty() {
        return;
    }
    for mailbox in node.registry.mailboxes() {
        if marks.iter().any(|mark| mailbox.may_use(*mark)) {
            mailbox.push(Push::Revoked);
        }
    }
}

fn until(revocation: &Revocation) -> i64 {
    match revocation {
        Revocation::Token { until, .. } | Revocation::User { until, .. } => *until,
    }
}

/// One key for all revocations of one token, or of one user. A tenant has no control characters.
fn key(revocation: &Revocation) -> String {
    match revocation {
        Revocation::Token { tenant, id, .. } => format!("token\u{1f}{tenant}\u{1f}{id}"),
        Revocation::User { tenant, user, .. } => format!("user\u{1f}{tenant}\u{1f}{user}"),
    }
}

/// The later of all times, so that the order in which nodes store them does not matter.
fn merge(new: &Revocation, known: Option<Revocation>) -> Revocation {
    let mut merged = new.clone();
    match (&mut merged, known) {
        (Revocation::Token { until, .. }, Some(Revocation::Token { until: before, .. })) => {
            *until = before.max(*until);
        }
        (
            Revocation::User { until, issued_before, .. },
            Some(Revocation::User { until: ended, issued_before: before, .. }),
        ) => {
            *until = ended.max(*until);
            *issued_before = before.max(*issued_before);
        }
        _ => {}
    }
    merged
}

fn unix() -> i64 {
    clock::now().0.div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(issued_before: i64, until: i64) -> Revocation {
        let (tenant, user) = ("t".to_owned(), "u".to_owned());
        Revocation::User { tenant, user, issued_before, until }
    }

    #[test]
    fn the_later_time_wins_whatever_comes_first() {
        let (one, two) = (user(10, 100), user(20, 50));
        assert_eq!(merge(&one, Some(two.clone())), user(20, 100));
        assert_eq!(merge(&two, Some(one.clone())), user(20, 100));
        assert_eq!(merge(&one, None), one);
    }

    #[test]
    fn keys_of_different_tokens_differ() {
        let token = |tenant: &str, id: &str| {
            key(&Revocation::Token { tenant: tenant.to_owned(), id: id.to_owned(), until: 1 })
        };
        assert_ne!(token("a", "b\u{1f}c"), token("a\u{1f}b", "c").replace("a\u{1f}b", "ab"));
        assert_ne!(token("t", "u"), key(&user(1, 1)));
        assert_eq!(key(&user(1, 1)), key(&user(2, 2)));
    }
}
