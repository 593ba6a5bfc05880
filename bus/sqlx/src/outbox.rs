//! The outbox: an event is told if, and only if, the transaction that it belongs to commits.
//! Reads and writes: `campana_outbox`, inside the author's transaction. Never: talks to NATS; the relay does.

use std::sync::Arc;

use campana_bus::clock::{self, Micros};
use campana_bus::consume::Failure;
use campana_bus::ids::MessageId;
use campana_bus::publish::Outgoing;
use campana_bus::trace::TraceParent;
use campana_bus::{EmitError, Event, HeaderMap, headers};
use sha2::{Digest, Sha256};
use sqlx::{Pool, SqlSafeStr, Transaction};
use tokio::sync::Notify;

use crate::dialect::{Dialect, Engine, Kind, values};
use crate::errors::{EffectError, describe};

/// Rows are spread over this many lanes by their ordering key; the migration makes one row for each.
pub const LANES: i64 = 16;
/// Longest message id and ordering key, in bytes.
const NAME_BYTES_MAX: usize = 1_024;
/// Entries of one page of [`Outbox::set_aside`].
const PAGE_MAX: i64 = 1_000;

/// Why an event is not in the outbox.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The database refused.
    #[error("{}", describe(.0))]
    Database(#[from] sqlx::Error),
    /// The event cannot be written.
    #[error(transparent)]
    Event(#[from] EmitError),
    /// The message cannot be kept: what breaks the rules, and the rule.
    #[error("the message cannot be put into the outbox: {0}")]
    Invalid(&'static str),
}

impl From<OutboxError> for Failure {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::Database(error) => crate::errors::failure(&error),
            OutboxError::Event(_) | OutboxError::Invalid(_) => {
                Self::dead("event_not_writable", error)
            }
        }
    }
}

/// A message that no relay will publish until somebody decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its place in the outbox: what [`Outbox::release`] and [`Outbox::discard`] take.
    pub id: i64,
    /// Its message id.
    pub message_id: String,
    /// Its subject.
    pub subject: String,
    /// What the stream said.
    pub reason: String,
    /// When.
    pub at: Micros,
}

/// The outbox; cheap to clone. The relay that is made with a clone of it wakes up at once after
/// [`Outbox::commit`].
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    committed: Arc<Notify>,
}

impl Outbox {
    /// An outbox.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event: it is told if this transaction commits. Events with the same [`Event::key`] are told in
    /// the order of their commits; on PostgreSQL the transaction therefore holds a lock for the key from here to
    /// its end.
    ///
    /// # Errors
    /// If the event cannot be written as JSON, its key is no name, or the database refuses.
    pub async fn add<DB: Dialect, E: Event>(
        &self,
        tx: &mut Transaction<'_, DB>,
        event: &E,
    ) -> Result<(), OutboxError> {
        self.add_in(tx, event, TraceParent::fresh()).await
    }

    /// As [`Outbox::add`] for an event that belongs to a trace, for example the one of the message in hand.
    ///
    /// # Errors
    /// As [`Outbox::add`].
    pub async fn add_in<DB: Dialect, E: Event>(
        &self,
        tx: &mut Transaction<'_, DB>,
        event: &E,
        trace: TraceParent,
    ) -> Result<(), OutboxError> {
        self.add_raw(tx, campana_bus::outgoing(event, trace)?).await
    }

    /// Adds any message. An empty message id is replaced by a fresh one; a header `Campana-Key` makes the
    /// message one of an ordered sequence. The id is `Nats-Msg-Id` when it is published, so it must not be one
    /// that another message of the stream has.
    ///
    /// # Errors
    /// If the message expects a sequence (it is published later, when that means nothing), has no subject or an
    /// id or key that cannot be stored, or if the database refuses.
    pub async fn add_raw<DB: Dialect>(
        &self,
        tx: &mut Transaction<'_, DB>,
        mut message: Outgoing,
    ) -> Result<(), OutboxError> {
        if message.message_id.is_empty() {
            message.message_id = MessageId::fresh().to_string();
        }
        let key = headers::get(&message.headers, headers::KEY).unwrap_or_default().to_owned();
        check(&message, &key)?;
        let ordering = hash(&key);
        if !key.is_empty() && DB::engine(tx) == Engine::Postgres {
            // Numbers are drawn in the order of statements, but rows appear in the order of commits. With the
            // lock the two orders agree for one key. SQLite has one writer, where they always do.
            let sql = "SELECT pg_advisory_xact_lock($1)::text";
            DB::execute(&mut *tx, sql.into_sql_str(), values![ordering]).await?;
        }
        let spread = if key.is_empty() { hash(&message.message_id) } else { ordering };
        let sql = "INSERT INTO campana_outbox \
                   (lane, ordering, message_id, subject, headers, payload, size, added_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let values = values![
            spread.rem_euclid(LANES),
            ordering,
            &*message.message_id,
            &*message.subject,
            &*encode_headers(&message.headers),
            &*message.payload,
            i64::try_from(message.payload.len()).unwrap_or(i64::MAX),
            clock::now().0,
        ];
        DB::execute(&mut *tx, sql.into_sql_str(), values).await?;
        Ok(())
    }

    /// Commits and wakes the relay of this process, so that the events go out at once and not with its next look
    /// at the table.
    ///
    /// # Errors
    /// If the database refuses, or its answer is lost: then the transaction may be committed all the same.
    pub async fn commit<DB: Dialect>(&self, tx: Transaction<'_, DB>) -> Result<(), sqlx::Error> {
        tx.commit().await?;
        self.wake();
        Ok(())
    }

    /// Wakes the relay of this process: after a commit that did not go through [`Outbox::commit`], or from a
    /// `LISTEN` of your own.
    pub fn wake(&self) {
        self.committed.notify_one();
    }

    /// Ready when somebody woke the relay since the last time.
    pub(crate) async fn woken(&self) {
        self.committed.notified().await;
    }

    /// Messages that were refused for good, oldest first: `after` is 0 or the last id of the page before.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn set_aside<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<SetAside>, sqlx::Error> {
        let sql = "SELECT id, message_id, subject, reason, set_aside_at FROM campana_outbox \
                   WHERE set_aside_at <> 0 AND id > $1 ORDER BY id LIMIT $2";
        let limit = i64::try_from(limit).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let columns = &[Kind::Int, Kind::Text, Kind::Text, Kind::Text, Kind::Int];
        let mut connection = pool.acquire().await?;
        let rows =
            DB::fetch(&mut connection, sql.into_sql_str(), values![after, limit], columns).await?;
        let read = |mut row: crate::dialect::Row| SetAside {
            id: row.int(),
            message_id: row.text(),
            subject: row.text(),
            reason: row.text(),
            at: Micros(row.int()),
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Gives a message that was set aside back to the relay. False if it is not there any more.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn release<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        id: i64,
    ) -> Result<bool, sqlx::Error> {
        let sql = "UPDATE campana_outbox SET set_aside_at = 0, failures = 0, due_at = 0 \
                   WHERE id = $1 AND set_aside_at <> 0";
        let mut connection = pool.acquire().await?;
        let changed = DB::execute(&mut connection, sql.into_sql_str(), values![id]).await?;
        self.wake();
        Ok(changed > 0)
    }

    /// Removes a message that was set aside. False if it is not there any more.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn discard<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        id: i64,
    ) -> Result<bool, sqlx::Error> {
        let sql = "DELETE FROM campana_outbox WHERE id = $1 AND set_aside_at <> 0";
        let mut connection = pool.acquire().await?;
        Ok(DB::execute(&mut connection, sql.into_sql_str(), values![id]).await? > 0)
    }
}

impl From<EmitError> for EffectError {
    fn from(error: EmitError) -> Self {
        Self::Outbox(error.into())
    }
}

fn check(message: &Outgoing, key: &str) -> Result<(), OutboxError> {
    let unfit = |text: &str| text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control);
    if message.expect_last_subject_sequence.is_some() {
        return Err(OutboxError::Invalid(
            "it expects a last sequence, which means nothing when the relay publishes it",
        ));
    }
    if message.subject.is_empty()
        || message.subject.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        return Err(OutboxError::Invalid("its subject is empty or has white space"));
    }
    if unfit(&message.message_id) || unfit(key) {
        return Err(OutboxError::Invalid(
            "its id or key is longer than 1,024 bytes or has control characters",
        ));
    }
    Ok(())
}

/// 64 bits of a key: enough to tell keys apart, and no user's name in an index. Two keys that meet are put in
/// one order, which harms nobody. 0 stands for no key.
fn hash(key: &str) -> i64 {
    if key.is_empty() {
        return 0;
    }
    let digest = Sha256::digest(key.as_bytes());
    let mut bytes = [0_u8; 8];
    bytes.copy_from_slice(&digest[..8]);
    let hash = i64::from_be_bytes(bytes);
    if hash == 0 { 1 } else { hash }
}

/// Headers as JSON: a list of name and value, since a name may have many.
fn encode_headers(all: &HeaderMap) -> String {
    let pairs: Vec<(&str, &str)> = all
        .iter()
        .flat_map(|(name, values)| {
            values.iter().map(move |value| (AsRef::<str>::as_ref(name), value.as_str()))
        })
        .collect();
    serde_json::json!(pairs).to_string()
}

/// The headers of a row; `None` if somebody else wrote something else there.
pub(crate) fn decode_headers(text: &str) -> Option<HeaderMap> {
    use async_nats::{HeaderName, HeaderValue};
    let pairs: Vec<(String, String)> = serde_json::from_str(text).ok()?;
    let mut all = HeaderMap::new();
    for (name, value) in pairs {
        all.append(name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn headers_survive_the_table() {
        let mut all = HeaderMap::new();
        all.append("X-Many", "1");
        all.append("X-Many", "\"2\" \u{1}");
        all.insert("ce-id", "é");
        assert_eq!(decode_headers(&encode_headers(&all)), Some(all));
        assert_eq!(decode_headers("{}"), None);
        assert_eq!(decode_headers("[[\"a b:\",\"x\"]]"), None);
    }

    #[test]
    fn what_cannot_be_published_later_is_refused_at_once() {
        let message = |id: &str| Outgoing::new("app.a.b.c", id, Bytes::new());
        assert!(check(&message("m"), "").is_ok());
        assert!(check(&Outgoing::new("a b", "m", Bytes::new()), "").is_err());
        assert!(check(&message("a\0"), "").is_err());
        assert!(check(&message("m"), &"k".repeat(2_000)).is_err());
        let expecting = Outgoing { expect_last_subject_sequence: Some(0), ..message("m") };
        assert!(check(&expecting, "").is_err());
    }

    #[test]
    fn only_no_key_hashes_to_zero() {
        assert_eq!(hash(""), 0);
        assert_ne!(hash("a"), hash("b"));
    }
}
