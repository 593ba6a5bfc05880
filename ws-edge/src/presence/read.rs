//! Questions about presence: who is in a channel, and how many.
//! Reads: this node's rooms, the bucket of presence. Writes: nothing.
//! Never: counts a client of a node that is gone, or gives a list that is not whole.

use std::collections::HashSet;

use campana_bus::subjects::{self, PRESENCE_LEASES, PresentClient};

use super::store::StoreError;
use super::{Inner, Presence, UserOf};
use crate::codes::{ReplyError, error};
use crate::encode::presence::Clients;
use crate::publication::ChannelKey;

/// Nodes that are looked at.
const NODES_MAX: usize = 10_000;
/// Most entries of a channel that are read for its numbers.
const ENTRIES_MAX: usize = 200_000;

/// How many are in a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) clients: u64,
    /// Where some clients are only counted, a user on several nodes may count on each.
    pub(crate) users: u64,
}

/// The clients of a channel, with JSON about each.
///
/// # Errors
/// 106 if there are more than the namespace allows in a list, 100 if the bucket does not answer.
pub(crate) async fn list(presence: &Presence, key: &ChannelKey) -> Result<Clients, ReplyError> {
    let inner = &presence.inner;
    let most = inner.namespace(&key.name).map_or(0, |one| one.presence_clients_max);
    let local = inner.rooms.local(&key.subject);
    let (entries, counted) = others(inner, key, most.saturating_add(1)).await.map_err(away)?;
    let total = local.listed.len() + entries.len();
    if local.counted.0 > 0 || counted.0 > 0 || total > most {
        return Err(error::LIMIT_EXCEEDED);
    }
    let mut clients: Clients = entries.into_iter().collect();
    clients.extend(local.listed.into_iter().map(|(client, (info, _))| (client, info)));
    Ok(clients)
}

/// How many clients and users are in a channel.
///
/// # Errors
/// 100 if the bucket does not answer.
pub(crate) async fn stats(presence: &Presence, key: &ChannelKey) -> Result<Stats, ReplyError> {
    let inner = &presence.inner;
    let local = inner.rooms.local(&key.subject);
    let (entries, counted) = others(inner, key, ENTRIES_MAX).await.map_err(away)?;
    let clients = (local.listed.len() + entries.len()) as u64;
    let mut users: HashSet<String> = local.listed.into_values().map(|(_, user)| user).collect();
    users.extend(
        entries.iter().filter_map(|(_, info)| {
            serde_json::from_str::<UserOf>(info).ok().map(|found| found.user)
        }),
    );
    Ok(Stats {
        clients: clients + local.counted.0 + counted.0,
        users: users.len() as u64 + local.counted.1 + counted.1,
    })
}

fn away(why: StoreError) -> ReplyError {
    tracing::warn!(error = %why, "presence cannot be read");
    error::INTERNAL
}

/// A client with JSON about it.
type Entry = (String, String);

/// Clients on other nodes that live, and the numbers of those that are only counted.
async fn others(
    inner: &Inner,
    key: &ChannelKey,
    limit: usize,
) -> Result<(Vec<Entry>, (u64, u64)), StoreError> {
    let Some((tenant, channel)) = subjects::parse_channel(&key.subject) else {
        return Ok((Vec::new(), (0, 0)));
    };
    let me = inner.node();
    let filter = subjects::presence_of_channel(&tenant, &channel);
    let found = inner.store.all(&filter, limit.saturating_mul(2)).await?;
    let parse =
        |subject: &str| subjects::parse_presence_client(subject).filter(|one| one.node != *me);
    let found: Vec<(PresentClient, String)> = found
        .into_iter()
        .filter_map(|message| {
            let info = std::str::from_utf8(&message.payload).ok()?;
            Some((parse(&message.subject)?, info.to_owned()))
        })
        .collect();
    if found.is_empty() {
        return Ok((Vec::new(), (0, 0)));
    }
    // After the entries: a node has its lease before it has any.
    let leases = inner.store.all(PRESENCE_LEASES, NODES_MAX).await?;
    let living: HashSet<String> = leases
        .iter()
        .filter_map(|message| Some(subjects::parse_presence_node(&message.subject)?.1))
        .collect();
    let (mut entries, mut counted) = (Vec::new(), (0, 0));
    for (one, info) in found.into_iter().filter(|(one, _)| living.contains(&one.node)) {
        if one.client.is_empty() {
            let (clients, users) = serde_json::from_str(&info).unwrap_or((0, 0));
            counted = (counted.0 + clients, counted.1 + users);
        } else {
            entries.push((one.client, info));
        }
    }
    Ok((entries, counted))
}
