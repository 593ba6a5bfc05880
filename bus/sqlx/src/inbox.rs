//! The inbox: an effect happens once however often its message comes.
//! Reads and writes: `campana_inbox`, inside the author's transaction. Never: commits a row without the effect,
//! or an effect without the row; never takes a message that it cannot name.
//!
//! The name of a message is the id it was *first* published with. Retried, scheduled and redriven copies have
//! ids of their own and carry the first one in `Campana-Original-Msg-Id`, so a redriven message whose effect was
//! committed all the same (the acknowledgement was lost, the operator redrove it anyway) is seen.

use std::time::Duration;

use campana_bus::clock;
use campana_bus::consume::{Failure, Meta};
use campana_bus::headers;
use sha2::{Digest, Sha256};
use sqlx::{Pool, SqlSafeStr, Transaction};

use crate::dialect::{Dialect, values};
use crate::errors::EffectError;
use crate::{retention, telemetry};

/// How long rows are kept unless you say otherwise: 90 days.
///
/// A row must outlive every copy of its message: the longest chain of retries (attempts times the largest pause)
/// plus the time that a dead letter may wait to be redriven. A letter that waits longer than the rows are kept
/// is a new message to the inbox.
pub const INBOX_HORIZON: Duration = Duration::from_secs(90 * 24 * 3_600);

/// Longer names, and names that a database cannot store, are replaced by their hash.
const NAME_BYTES_MAX: usize = 200;
const HASHED: &str = "sha256:";

/// Whether an effect is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an effect that was seen must not be done again"]
pub enum Once {
    /// Nobody did it: do it in this transaction, then commit.
    First,
    /// It is committed already: do nothing and let the message be acknowledged.
    Seen,
}

/// Why the inbox has no answer.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The database refused.
    #[error("{}", crate::errors::describe(.0))]
    Database(#[from] sqlx::Error),
    /// The message has no id that its copies share, so it cannot be recognised.
    #[error(
        "the message has neither a Nats-Msg-Id nor a CloudEvents id, so a repeat of it cannot be recognised: \
         publish it with one, or name the effect yourself with Inbox::once_named"
    )]
    NoMessageId,
}

impl From<InboxError> for EffectError {
    fn from(error: InboxError) -> Self {
        match error {
            InboxError::Database(error) => Self::Database(error),
            InboxError::NoMessageId => Self::Failure(Failure::dead("no_message_id", error)),
        }
    }
}

impl From<InboxError> for Failure {
    fn from(error: InboxError) -> Self {
        EffectError::from(error).into()
    }
}

/// The inbox; it has no state of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inbox;

impl Inbox {
    /// Notes in this transaction that the consumer handled the message; the answer says whether it had before.
    /// While another transaction handles the same message, this waits for its end.
    ///
    /// Call it before the effect: on SQLite the first statement then takes the write lock, so that no later one
    /// can fail because it has to.
    ///
    /// # Errors
    /// If the database refuses, or the message has no id.
    pub async fn once<DB: Dialect>(
        &self,
        tx: &mut Transaction<'_, DB>,
        meta: &Meta,
    ) -> Result<Once, InboxError> {
        let name = message_name(meta).ok_or(InboxError::NoMessageId)?;
        self.once_named(tx, &scope(meta), &name).await
    }

    /// As [`Inbox::once`] with names of your own: for parts of an envelope, for messages without an id, or to
    /// recognise an effect by something in the body. `scope` keeps consumers apart.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn once_named<DB: Dialect>(
        &self,
        tx: &mut Transaction<'_, DB>,
        scope: &str,
        name: &str,
    ) -> Result<Once, InboxError> {
        let sql = "INSERT INTO campana_inbox (scope, message_id, seen_at) VALUES ($1, $2, $3) \
                   ON CONFLICT (scope, message_id) DO NOTHING";
        let values = values![&*stored_name(scope), &*stored_name(name), clock::now().0];
        let inserted = DB::execute(&mut *tx, sql.into_sql_str(), values).await?;
        Ok(if inserted == 0 { Once::Seen } else { Once::First })
    }

    /// A whole handler: begins a transaction, hands it to the effect if nobody did it, and commits what the effect
    /// gives back. An error rolls everything back and says what becomes of the message.
    ///
    /// ```
    /// # use campana_bus::consume::{Failure, Meta};
    /// # use campana_bus_sqlx::Inbox;
    /// # async fn example(pool: sqlx::PgPool, order: String, meta: Meta) -> Result<(), Failure> {
    /// Inbox
    ///     .handle(&pool, &meta, |mut tx| async move {
    ///         let insert = sqlx::query("INSERT INTO shipments (order_id) VALUES ($1)");
    ///         insert.bind(&order).execute(&mut *tx).await?;
    ///         Ok(tx) // commit this
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// The answer of a lost `COMMIT` is unknown; the message is then offered again, and the inbox knows.
    /// Give the pool as many connections as the consumer has handlers at work, or more.
    ///
    /// # Errors
    /// What the consumer should do: see [`crate::failure`] for errors of the database.
    pub async fn handle<DB, F, R>(
        &self,
        pool: &Pool<DB>,
        meta: &Meta,
        effect: F,
    ) -> Result<(), Failure>
    where
        DB: Dialect,
        F: FnOnce(Transaction<'static, DB>) -> R,
        R: Future<Output = Result<Transaction<'static, DB>, EffectError>>,
    {
        let done = self.try_handle(pool, meta, effect).await;
        telemetry::inbox(
            &meta.consumer,
            match &done {
                Ok(Once::First) => "first",
                Ok(Once::Seen) => "seen",
                Err(_) => "failed",
            },
        );
        done.map(drop).map_err(Failure::from)
    }

    async fn try_handle<DB, F, R>(
        &self,
        pool: &Pool<DB>,
        meta: &Meta,
        effect: F,
    ) -> Result<Once, EffectError>
    where
        DB: Dialect,
        F: FnOnce(Transaction<'static, DB>) -> R,
        R: Future<Output = Result<Transaction<'static, DB>, EffectError>>,
    {
        let mut tx = pool.begin().await?;
        if self.once(&mut tx, meta).await? == Once::Seen {
            return Ok(Once::Seen);
        }
        effect(tx).await?.commit().await?;
        Ok(Once::First)
    }

    /// Removes rows older than `older_than` ([`INBOX_HORIZON`] if you have no reason for another time), in
    /// statements of at most [`retention::ROWS_PER_STATEMENT`] rows; returns how many. [`crate::keep_tidy`]
    /// calls it every hour.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn prune<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        older_than: Duration,
    ) -> Result<u64, sqlx::Error> {
        retention::prune_inbox(pool, retention::before(clock::now(), older_than)).await
    }
}

/// The stream and the durable consumer: two consumers each do their own effect.
fn scope(meta: &Meta) -> String {
    format!("{}/{}", meta.stream, meta.consumer)
}

/// The name that all copies of a message share; `None` if there is none.
///
/// A firing of another program's repeating schedule has the headers of the schedule, CloudEvents id included, so
/// its place in the stream belongs to its name.
#[must_use]
pub fn message_name(meta: &Meta) -> Option<String> {
    let header = |name: &str| headers::get(&meta.headers, name).filter(|text| !text.is_empty());
    let id = header(headers::ORIGINAL_MESSAGE_ID)
        .or_else(|| meta.message_id.as_deref().filter(|text| !text.is_empty()));
    if let Some(id) = id {
        return Some(id.to_owned());
    }
    let id = header(headers::CE_ID)?;
    let repeats = header("Nats-Schedule-Next").is_some_and(|next| next != "purge");
    Some(if repeats { format!("{id}@{}", meta.sequence) } else { id.to_owned() })
}

/// A name as it is stored: bounded, and nothing that a `TEXT` column refuses. A name that looks like a hash is
/// hashed as well, so that nobody can choose a name that meets another one's hash.
pub(crate) fn stored_name(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX
        && !name.starts_with(HASHED)
        && !name.chars().any(char::is_control)
    {
        return name.to_owned();
    }
    use std::fmt::Write as _;
    Sha256::digest(name.as_bytes()).iter().fold(HASHED.to_owned(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_stored_as_hashes_that_do_not_meet() {
        assert_eq!(stored_name("order-7"), "order-7");
        for hostile in ["a\0b", "sha256:00", &"x".repeat(201), "line\nbreak"] {
            let stored = stored_name(hostile);
            assert!(stored.starts_with(HASHED) && stored.len() == HASHED.len() + 64, "{stored}");
            assert_ne!(stored_name(&stored), stored);
        }
    }
}
