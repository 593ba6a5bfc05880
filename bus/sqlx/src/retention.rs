//! Removing what is old enough.
//! Reads and writes: `campana_inbox`, `campana_ledger`. Never: removes much in one statement, or a call whose
//! outcome is not known.

use std::time::Duration;

use campana_bus::clock::{self, Micros};
use campana_bus::lifecycle::Lifecycle;
use sqlx::{Pool, SqlSafeStr};

use crate::dialect::{Dialect, values};
use crate::errors::describe;
use crate::inbox::INBOX_HORIZON;
use crate::ledger::LEDGER_HORIZON;

/// Rows that one statement removes: a short lock, and on SQLite a short turn as the one writer.
pub const ROWS_PER_STATEMENT: i64 = 1_000;
/// How often old rows are removed.
const EVERY: Duration = Duration::from_secs(3_600);

/// How long finished things are remembered.
#[derive(Clone, Copy, Debug)]
pub struct Horizons {
    /// Rows of the inbox.
    pub inbox: Duration,
    /// Settled calls of the ledger.
    pub ledger: Duration,
}

impl Default for Horizons {
    fn default() -> Self {
        Self { inbox: INBOX_HORIZON, ledger: LEDGER_HORIZON }
    }
}

pub(crate) fn before(now: Micros, age: Duration) -> Micros {
    Micros(now.0.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)))
}

/// Removes rows past their horizon every hour until the soft stop. Several processes may do so.
pub async fn keep_tidy<DB: Dialect>(pool: Pool<DB>, horizons: Horizons, lifecycle: Lifecycle) {
    loop {
        let now = clock::now();
        let pruned = async {
            let inbox = prune_inbox(&pool, before(now, horizons.inbox)).await?;
            Ok::<_, sqlx::Error>(inbox + prune_ledger(&pool, before(now, horizons.ledger)).await?)
        };
        match pruned.await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "old rows of inbox and ledger removed"),
            Err(error) => tracing::warn!(
                "old rows of inbox and ledger could not be removed, next try in an hour: {}",
                describe(&error)
            ),
        }
        tokio::select! {
            () = lifecycle.soft.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

pub(crate) async fn prune_inbox<DB: Dialect>(
    pool: &Pool<DB>,
    before: Micros,
) -> Result<u64, sqlx::Error> {
    prune(
        pool,
        "DELETE FROM campana_inbox WHERE (scope, message_id) IN \
         (SELECT scope, message_id FROM campana_inbox WHERE seen_at < $1 LIMIT $2)",
        before,
    )
    .await
}

pub(crate) async fn prune_ledger<DB: Dialect>(
    pool: &Pool<DB>,
    before: Micros,
) -> Result<u64, sqlx::Error> {
    prune(
        pool,
        "DELETE FROM campana_ledger WHERE (scope, call_key) IN \
         (SELECT scope, call_key FROM campana_ledger \
          WHERE changed_at < $1 AND state IN ('done', 'free') LIMIT $2)",
        before,
    )
    .await
}

async fn prune<DB: Dialect>(
    pool: &Pool<DB>,
    sql: &'static str,
    before: Micros,
) -> Result<u64, sqlx::Error> {
    let mut removed = 0;
    loop {
        let mut connection = pool.acquire().await?;
        let values = values![before.0, ROWS_PER_STATEMENT];
        let rows = DB::execute(&mut connection, sql.into_sql_str(), values).await?;
        removed += rows;
        if rows < ROWS_PER_STATEMENT.unsigned_abs() {
            return Ok(removed);
        }
    }
}
