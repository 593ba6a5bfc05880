//! The attempt ledger: calls to the outside that no transaction can take back.
//! Reads and writes: `campana_ledger`. Never: lets two holders call at once; forgets that a call may have been
//! made; says "go" again after a call whose outcome is not known, unless somebody decided so.
//!
//! A call to a mail server, a payment provider or any other system cannot commit together with our rows, and its
//! answer can be lost. The ledger notes the intent before the call and the result after it. Whoever comes to a
//! call that was begun and not finished learns that its outcome is *unknown*, and has to ask the other side, or
//! leave it to a person.
//!
//! Each holder gets a **fence**: a number that grows with every holder. A result is taken from the latest holder
//! only, so a handler that was believed dead cannot write over what its successor found out. Give the key to the
//! other side as idempotency key where it takes one, and the fence where it takes a version.

mod call;

use std::time::Duration;

use campana_bus::clock::{self, Micros};
use sqlx::{Pool, SqlSafeStr, Transaction};

use crate::dialect::{Dialect, Kind, Value, values};
use crate::inbox::stored_name;
use crate::{retention, telemetry};

pub use call::{Call, SendError, Sent};

/// How long settled calls are remembered unless you say otherwise: as long as the inbox's rows, since they answer
/// the same repeats.
pub const LEDGER_HORIZON: Duration = crate::inbox::INBOX_HORIZON;
/// The shortest lease.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// The longest lease: how long a killed process may hold up a call.
pub const LEASE_MAX: Duration = Duration::from_secs(3_600);
/// Longest result that is kept, in bytes.
pub const RESULT_BYTES_MAX: usize = 64 * 1_024;
/// Questions before a row that changes all the time is called busy.
const ROUNDS_MAX: usize = 5;

/// The right to make one call and to write down what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    scope: String,
    key: String,
    number: i64,
}

impl Fence {
    /// The number that grows with every holder of this call.
    #[must_use]
    pub const fn number(&self) -> i64 {
        self.number
    }
}

/// What the ledger says about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the call may only be made if the answer is Go"]
pub enum Begin {
    /// Nobody made the call: make it, within the lease, and [`Ledger::finish`] it.
    Go(Fence),
    /// Somebody is making it: come back after this time.
    InFlight {
        /// When the lease of the holder ends.
        until: Micros,
    },
    /// It was made, with this result.
    Done {
        /// What [`Ledger::finish`] was given.
        result: Vec<u8>,
    },
    /// It was begun and never finished, so it may have been made. You hold it now: ask the other side, then
    /// [`Ledger::finish`] it, or [`Ledger::not_sent`] and begin again, or [`Ledger::leave_unknown`].
    Unknown {
        /// The right to say what came of it.
        fence: Fence,
        /// The attempt that may have made the call.
        attempt: u32,
    },
}

/// Why the ledger did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database refused.
    #[error("{}", crate::errors::describe(.0))]
    Database(#[from] sqlx::Error),
    /// Somebody else holds the call by now, or it is settled: this holder's word does not count any more.
    #[error("the fence {fence} is stale: another holder took the call over, or it is settled")]
    Stale {
        /// The fence that was shown.
        fence: i64,
    },
    /// The result is longer than [`RESULT_BYTES_MAX`].
    #[error(
        "the result has {bytes} bytes; at most {RESULT_BYTES_MAX} are kept: keep a reference instead"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The row changed each time it was asked for.
    #[error("too many holders at once; try again")]
    Busy,
}

/// Calls of one kind, for example `"payments"`; keys are unique within it.
#[derive(Clone, Debug)]
pub struct Ledger {
    scope: String,
}

const SENDING: &str = "sending";
const DONE: &str = "done";
const FREE: &str = "free";
const UNKNOWN: &str = "unknown";

impl Ledger {
    /// The ledger of one kind of call.
    #[must_use]
    pub fn new(scope: &str) -> Self {
        Self { scope: stored_name(scope) }
    }

    /// Notes that the call `key` is about to be made, and says whether it may be. `key` names the effect, not the
    /// attempt: an order's payment, a message id and a recipient. `lease` (1 s to 1 h) must be longer than the
    /// call can take; `attempt` is remembered for people.
    ///
    /// This is a transaction of its own, on purpose: the intent must be stored before the call is made.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn begin<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        key: &str,
        attempt: u32,
        lease: Duration,
        now: Micros,
    ) -> Result<Begin, LedgerError> {
        let key = stored_name(key);
        let until = lease_end(now, lease);
        for _ in 0..ROUNDS_MAX {
            if let Some(answer) = self.ask(pool, &key, attempt, until, now).await? {
                telemetry::ledger(match &answer {
                    Begin::Go(_) => "go",
                    Begin::InFlight { .. } => "in_flight",
                    Begin::Done { .. } => "done",
                    Begin::Unknown { .. } => "unknown",
                });
                return Ok(answer);
            }
        }
        Err(LedgerError::Busy)
    }

    /// One round of [`Ledger::begin`]: each step is one statement that changes the row only in the state that it
    /// expects, so of two holders one gets the row and the other goes on to the next step.
    async fn ask<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        key: &str,
        attempt: u32,
        until: Micros,
        now: Micros,
    ) -> Result<Option<Begin>, LedgerError> {
        let mut connection = pool.acquire().await?;
        let fence = |number| Fence { scope: self.scope.clone(), key: key.to_owned(), number };
        let attempt_number = i64::from(attempt);

        let insert = "INSERT INTO campana_ledger \
            (scope, call_key, state, fence, attempt, lease_until, result, changed_at) \
            VALUES ($1, $2, $3, 1, $4, $5, $6, $7) ON CONFLICT (scope, call_key) DO NOTHING";
        let nothing: &[u8] = &[];
        let values = values![&*self.scope, key, SENDING, attempt_number, until.0, nothing, now.0];
        if DB::execute(&mut connection, insert.into_sql_str(), values).await? > 0 {
            return Ok(Some(Begin::Go(fence(1))));
        }

        let again = "UPDATE campana_ledger SET state = $3, fence = fence + 1, attempt = $4, \
            lease_until = $5, changed_at = $6 WHERE scope = $1 AND call_key = $2 AND state = $7 \
            RETURNING fence";
        let values = values![&*self.scope, key, SENDING, attempt_number, until.0, now.0, FREE];
        let rows = DB::fetch(&mut connection, again.into_sql_str(), values, &[Kind::Int]).await?;
        if let Some(mut row) = rows.into_iter().next() {
            return Ok(Some(Begin::Go(fence(row.int()))));
        }

        // The attempt stays: it is the one that may have made the call.
        let take_over = "UPDATE campana_ledger SET fence = fence + 1, lease_until = $3, changed_at = $4 \
            WHERE scope = $1 AND call_key = $2 AND state IN ($5, $6) AND lease_until <= $4 \
            RETURNING fence, attempt";
        let values = values![&*self.scope, key, until.0, now.0, SENDING, UNKNOWN];
        let columns = &[Kind::Int, Kind::Int];
        let rows = DB::fetch(&mut connection, take_over.into_sql_str(), values, columns).await?;
        if let Some(mut row) = rows.into_iter().next() {
            let fence = fence(row.int());
            let attempt = u32::try_from(row.int()).unwrap_or(u32::MAX);
            return Ok(Some(Begin::Unknown { fence, attempt }));
        }

        let look = "SELECT state, lease_until, result FROM campana_ledger \
            WHERE scope = $1 AND call_key = $2";
        let columns = &[Kind::Text, Kind::Int, Kind::Bytes];
        let values = values![&*self.scope, key];
        let rows = DB::fetch(&mut connection, look.into_sql_str(), values, columns).await?;
        let Some(mut row) = rows.into_iter().next() else {
            return Ok(None);
        };
        let (state, until, result) = (row.text(), row.int(), row.bytes());
        Ok(match state.as_str() {
            DONE => Some(Begin::Done { result }),
            SENDING | UNKNOWN if until > now.0 => Some(Begin::InFlight { until: Micros(until) }),
            // It changed since the step that would have taken it.
            _ => None,
        })
    }

    /// Notes the result of a call in a transaction of its own; later [`Ledger::begin`]s get it.
    ///
    /// # Errors
    /// [`LedgerError::Stale`] if somebody else holds the call by now: then nothing is changed.
    pub async fn finish<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        fence: &Fence,
        result: &[u8],
    ) -> Result<(), LedgerError> {
        let mut tx = pool.begin().await?;
        self.finish_in(&mut tx, fence, result).await?;
        Ok(tx.commit().await?)
    }

    /// As [`Ledger::finish`] in the author's transaction, together with what follows from the result.
    ///
    /// # Errors
    /// As [`Ledger::finish`]; roll back then.
    pub async fn finish_in<DB: Dialect>(
        &self,
        tx: &mut Transaction<'_, DB>,
        fence: &Fence,
        result: &[u8],
    ) -> Result<(), LedgerError> {
        if result.len() > RESULT_BYTES_MAX {
            return Err(LedgerError::TooLarge { bytes: result.len() });
        }
        settle(tx, fence, DONE, 0, Some(result)).await
    }

    /// Notes that the call was certainly not made (refused before it had an effect, or the other side says so):
    /// the next [`Ledger::begin`] says go.
    ///
    /// # Errors
    /// As [`Ledger::finish`].
    pub async fn not_sent<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        fence: &Fence,
    ) -> Result<(), LedgerError> {
        self.settle_alone(pool, fence, FREE).await
    }

    /// Gives the call back without knowing what came of it: the next [`Ledger::begin`] says unknown again, at
    /// once.
    ///
    /// # Errors
    /// As [`Ledger::finish`].
    pub async fn leave_unknown<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        fence: &Fence,
    ) -> Result<(), LedgerError> {
        self.settle_alone(pool, fence, UNKNOWN).await
    }

    async fn settle_alone<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        fence: &Fence,
        state: &'static str,
    ) -> Result<(), LedgerError> {
        let mut tx = pool.begin().await?;
        settle(&mut tx, fence, state, 0, None).await?;
        Ok(tx.commit().await?)
    }

    /// Removes settled calls older than `older_than` ([`LEDGER_HORIZON`] if you have no reason for another
    /// time); returns how many. Calls whose outcome is not known stay.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn prune<DB: Dialect>(
        pool: &Pool<DB>,
        older_than: Duration,
    ) -> Result<u64, sqlx::Error> {
        retention::prune_ledger(pool, retention::before(clock::now(), older_than)).await
    }
}

/// Moves the call to another state, if the fence is the latest and the call is not settled yet.
async fn settle<DB: Dialect>(
    tx: &mut Transaction<'_, DB>,
    fence: &Fence,
    state: &'static str,
    lease_until: i64,
    result: Option<&[u8]>,
) -> Result<(), LedgerError> {
    let nothing: &[u8] = &[];
    let sql = "UPDATE campana_ledger SET state = $4, lease_until = $5, result = $6, changed_at = $7 \
        WHERE scope = $1 AND call_key = $2 AND fence = $3 AND state IN ($8, $9)";
    let values: Vec<Value> = values![
        &*fence.scope,
        &*fence.key,
        fence.number,
        state,
        lease_until,
        result.unwrap_or(nothing),
        clock::now().0,
        SENDING,
        UNKNOWN,
    ];
    if DB::execute(&mut *tx, sql.into_sql_str(), values).await? == 0 {
        return Err(LedgerError::Stale { fence: fence.number });
    }
    Ok(())
}

fn lease_end(now: Micros, lease: Duration) -> Micros {
    let lease = lease.clamp(LEASE_MIN, LEASE_MAX);
    Micros(now.0.saturating_add(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX)))
}
