//! Changes of one user's record, carried out: compare, set, tell.
//! Reads and writes: the bucket of presence. Writes: events, moves. Never: tells anything before the record says it.

use campana_bus::ids::MessageId;
use campana_bus::{EmitError, clock, subjects};
use serde_json::value::RawValue;

use super::events::{PresenceOffline, PresenceOnline};
use super::record::{self, Record, Step};
use super::store::StoreError;
use super::users::{Manner, Who};
use super::{Inner, moves};
use crate::metrics;

/// Tries to change a record that others change, too.
const TRIES: usize = 50;

/// Why a record is not as it should be, and how far it came.
pub(super) struct Failed {
    pub(super) why: StoreError,
    /// The session whose beginning was not told.
    pub(super) untold: Option<String>,
    /// The record names the node nevertheless.
    pub(super) written: bool,
}

impl From<StoreError> for Failed {
    fn from(why: StoreError) -> Self {
        Self { why, untold: None, written: false }
    }
}

fn subject(who: &Who) -> String {
    subjects::online(&who.tenant, who.channel.as_ref(), &who.user)
}

/// The user is at this node.
pub(super) async fn up(
    inner: &Inner,
    who: &Who,
    manner: Manner,
    node: &str,
    info: &str,
    untold: Option<String>,
) -> Result<(), Failed> {
    if let Some(session) = untold {
        begin(inner, who, manner, session, info).await?;
    }
    let (subject, fresh) = (subject(who), MessageId::fresh().to_string());
    for _ in 0..TRIES {
        let (found, revision) = read(inner, &subject).await?;
        // An answer that got lost: this session is ours.
        let ours = found.as_ref().is_some_and(|found| found.session == fresh);
        let raw = RawValue::from_string(info.to_owned()).ok();
        match record::come(found, node, &fresh, raw) {
            Step::Done if ours => return begin(inner, who, manner, fresh, info).await,
            Step::Done => return Ok(()),
            Step::Write(next) => match write(inner, &subject, &next, revision).await {
                Err(StoreError::Changed) => {}
                other => return Ok(other.map(|_| ())?),
            },
            Step::Online(next) => match write(inner, &subject, &next, revision).await {
                Err(StoreError::Changed) => {}
                Err(why) => return Err(why.into()),
                Ok(_) => return begin(inner, who, manner, fresh, info).await,
            },
            Step::Offline(_) => return Ok(()),
            Step::Finish(ended) => end(inner, who, manner, &subject, &ended, revision).await?,
        }
    }
    Err(StoreError::Changed.into())
}

/// The user is no longer at `node`, says `by`.
pub(super) async fn down(
    inner: &Inner,
    who: &Who,
    manner: Manner,
    node: &str,
    by: &str,
) -> Result<(), Failed> {
    let subject = subject(who);
    for _ in 0..TRIES {
        let (found, revision) = read(inner, &subject).await?;
        match record::go(found, node, by) {
            Step::Done | Step::Online(_) => return Ok(()),
            Step::Write(next) => match write(inner, &subject, &next, revision).await {
                Err(StoreError::Changed) => {}
                other => return Ok(other.map(|_| ())?),
            },
            Step::Offline(next) => match write(inner, &subject, &next, revision).await {
                Err(StoreError::Changed) => {}
                Err(why) => return Err(why.into()),
                Ok(revision) => {
                    return Ok(end(inner, who, manner, &subject, &next, revision).await?);
                }
            },
            Step::Finish(ended) => {
                return Ok(end(inner, who, manner, &subject, &ended, revision).await?);
            }
        }
    }
    Err(StoreError::Changed.into())
}

async fn read(inner: &Inner, subject: &str) -> Result<(Option<Record>, u64), StoreError> {
    let found = inner.store.get(subject).await?;
    // A record that nobody can read is as good as none.
    let record = found.value.and_then(|value| serde_json::from_slice(&value).ok());
    Ok((record, found.revision))
}

async fn write(
    inner: &Inner,
    subject: &str,
    record: &Record,
    revision: u64,
) -> Result<u64, StoreError> {
    let value = serde_json::to_vec(record)
        .map_err(|error| StoreError::Unavailable(format!("a record is no JSON: {error}")))?;
    inner.store.set(subject, value.into(), revision, None).await
}

async fn begin(
    inner: &Inner,
    who: &Who,
    manner: Manner,
    session: String,
    info: &str,
) -> Result<(), Failed> {
    if manner.events {
        let event = PresenceOnline {
            tenant: who.tenant.clone(),
            user: who.user.clone(),
            channel: who.channel.as_ref().map(|name| name.as_str().to_owned()),
            session: session.clone(),
            at: clock::now().to_rfc3339(),
        };
        if let Err(error) = inner.bus.emit(&event).await {
            let why = not_told(&error);
            return Err(Failed { why, untold: Some(session), written: true });
        }
        metrics::presence_event("online", who.channel.is_some());
    }
    if manner.moves {
        tell(inner, who, true, info).await;
    }
    Ok(())
}

/// Tells that it is over and removes the record, which must still be the one that says so.
async fn end(
    inner: &Inner,
    who: &Who,
    manner: Manner,
    subject: &str,
    record: &Record,
    revision: u64,
) -> Result<(), StoreError> {
    if manner.events {
        let event = PresenceOffline {
            tenant: who.tenant.clone(),
            user: who.user.clone(),
            channel: who.channel.as_ref().map(|name| name.as_str().to_owned()),
            session: record.session.clone(),
            at: clock::now().to_rfc3339(),
        };
        let stored = inner.bus.emit(&event).await.map_err(|error| not_told(&error))?;
        if !stored.duplicate {
            metrics::presence_event("offline", who.channel.is_some());
        }
    }
    if manner.moves
        && let Some(info) = &record.info
    {
        tell(inner, who, false, info.get()).await;
    }
    match inner.store.unset(subject, revision).await {
        // Somebody else told it as well, or the user is back.
        Err(StoreError::Changed) => Ok(()),
        other => other,
    }
}

fn not_told(error: &EmitError) -> StoreError {
    StoreError::Unavailable(format!("an event was not stored: {error}"))
}

async fn tell(inner: &Inner, who: &Who, came: bool, info: &str) {
    if let Some(channel) = &who.channel {
        inner.tell(&subjects::joins(&who.tenant, channel), moves::payload(came, info)).await;
        metrics::presence_move(came);
    }
}
