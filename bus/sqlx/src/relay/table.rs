//! The relay's statements: lanes to claim, rows to publish, rows to remove.
//! Reads and writes: `campana_outbox`, `campana_outbox_lanes`. Never: keeps a transaction open while something
//! is published; every method is one statement.

use std::time::Duration;

use bytes::Bytes;
use campana_bus::clock::Micros;
use campana_bus::headers;
use campana_bus::ids::NodeId;
use campana_bus::publish::Outgoing;
use sqlx::{Pool, SqlSafeStr};

use super::plan::Pending;
use crate::dialect::{Dialect, Engine, Kind, values};
use crate::outbox::decode_headers;

/// Counting stops here: a metric need not know more.
const COUNT_MAX: i64 = 100_000;

/// One relay's view of the tables.
#[derive(Debug)]
pub struct Table<DB: Dialect> {
    pool: Pool<DB>,
    engine: Engine,
    owner: String,
}

/// A lane that is ours until its lease ends.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Which.
    pub lane: i64,
    /// Rows up to this one may have been published before.
    pub tried: i64,
}

/// How full the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Rows that wait, at most 100,000.
    pub pending: i64,
    /// When the oldest of them was added; `None` if there is none.
    pub oldest: Option<Micros>,
    /// Rows that were set aside, at most 100,000.
    pub set_aside: i64,
}

fn plus(at: Micros, duration: Duration) -> i64 {
    at.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

fn list(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

impl<DB: Dialect> Table<DB> {
    /// Asks for the engine, under a name of its own.
    pub async fn open(pool: Pool<DB>) -> Result<Self, sqlx::Error> {
        let engine = {
            let connection = pool.acquire().await?;
            DB::engine(&connection)
        };
        Ok(Self { pool, engine, owner: NodeId::fresh().to_string() })
    }

    async fn execute(
        &self,
        sql: impl SqlSafeStr,
        values: Vec<crate::dialect::Value>,
    ) -> Result<u64, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        DB::execute(&mut connection, sql.into_sql_str(), values).await
    }

    async fn fetch(
        &self,
        sql: impl SqlSafeStr,
        values: Vec<crate::dialect::Value>,
        columns: &'static [Kind],
    ) -> Result<Vec<crate::dialect::Row>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        DB::fetch(&mut connection, sql.into_sql_str(), values, columns).await
    }

    /// Whether any row is due: a look that takes no lock, so that an idle relay does not keep SQLite's writer.
    pub async fn has_due(&self, now: Micros) -> Result<bool, sqlx::Error> {
        let sql = "SELECT id FROM campana_outbox WHERE set_aside_at = 0 AND due_at <= $1 LIMIT 1";
        Ok(!self.fetch(sql, values![now.0], &[Kind::Int]).await?.is_empty())
    }

    /// Claims up to `lanes` lanes that have due rows and no living owner, the one longest untouched first. On
    /// PostgreSQL relays that claim at the same moment skip each other's lanes instead of waiting.
    pub async fn claim(
        &self,
        now: Micros,
        lease: Duration,
        lanes: usize,
    ) -> Result<Vec<Claim>, sqlx::Error> {
        let sql = match self.engine {
            Engine::Postgres => {
                "WITH free AS (SELECT l.lane FROM campana_outbox_lanes l WHERE l.until <= $3 AND EXISTS \
                 (SELECT 1 FROM campana_outbox o WHERE o.lane = l.lane AND o.set_aside_at = 0 AND o.due_at <= $3) \
                 ORDER BY l.until LIMIT $4 FOR UPDATE SKIP LOCKED) \
                 UPDATE campana_outbox_lanes SET owner = $1, until = $2 \
                 WHERE lane IN (SELECT lane FROM free) RETURNING lane, tried"
            }
            Engine::Sqlite => {
                "UPDATE campana_outbox_lanes SET owner = $1, until = $2 WHERE lane IN \
                 (SELECT l.lane FROM campana_outbox_lanes l WHERE l.until <= $3 AND EXISTS \
                 (SELECT 1 FROM campana_outbox o WHERE o.lane = l.lane AND o.set_aside_at = 0 AND o.due_at <= $3) \
                 ORDER BY l.until LIMIT $4) RETURNING lane, tried"
            }
        };
        let lanes = i64::try_from(lanes).unwrap_or(i64::MAX);
        let values = values![&*self.owner, plus(now, lease), now.0, lanes];
        let rows = self.fetch(sql, values, &[Kind::Int, Kind::Int]).await?;
        Ok(rows.into_iter().map(|mut row| Claim { lane: row.int(), tried: row.int() }).collect())
    }

    /// Notes, before anything is published, up to which row that may happen. False if the lane is not ours any
    /// more: then nothing may be published.
    pub async fn note_tried(
        &self,
        claim: Claim,
        last: i64,
        now: Micros,
    ) -> Result<bool, sqlx::Error> {
        let sql = "UPDATE campana_outbox_lanes SET tried = $1 \
                   WHERE lane = $2 AND owner = $3 AND until > $4";
        let values = values![claim.tried.max(last), claim.lane, &*self.owner, now.0];
        Ok(self.execute(sql, values).await? > 0)
    }

    /// Lets a lane go; it becomes the one most recently touched.
    pub async fn release(&self, claim: Claim, now: Micros) -> Result<(), sqlx::Error> {
        let sql =
            "UPDATE campana_outbox_lanes SET owner = '', until = $1 WHERE lane = $2 AND owner = $3";
        self.execute(sql, values![now.0, claim.lane, &*self.owner]).await.map(drop)
    }

    /// The next rows of a lane in order: at most `rows` of them and, beyond the first, at most `bytes` of bodies.
    /// Rows that wait behind a failed one of their key are left out.
    pub async fn batch(
        &self,
        claim: Claim,
        now: Micros,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<Pending>, sqlx::Error> {
        let sql = "SELECT b.id, b.ordering, b.failures, b.message_id, b.subject, b.headers, b.payload FROM \
             (SELECT a.*, SUM(a.size) OVER (ORDER BY a.id) AS running FROM \
             (SELECT o.id, o.ordering, o.failures, o.message_id, o.subject, o.headers, o.payload, o.size \
             FROM campana_outbox o WHERE o.lane = $1 AND o.set_aside_at = 0 AND o.due_at <= $2 \
             AND NOT EXISTS (SELECT 1 FROM campana_outbox e WHERE e.ordering = o.ordering AND e.ordering <> 0 \
             AND e.set_aside_at = 0 AND e.id < o.id AND e.due_at > $2) \
             ORDER BY o.id LIMIT $3) a) b \
             WHERE b.running - b.size <= $4 ORDER BY b.id";
        let columns =
            &[Kind::Int, Kind::Int, Kind::Int, Kind::Text, Kind::Text, Kind::Text, Kind::Bytes];
        let limit = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let values = values![claim.lane, now.0, limit(rows), limit(bytes)];
        let found = self.fetch(sql, values, columns).await?;
        Ok(found.into_iter().map(|row| pending(row, claim.tried)).collect())
    }

    /// Removes rows that the stream has. Right whoever owns the lane by now.
    pub async fn remove(&self, ids: &[i64]) -> Result<(), sqlx::Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let sql = match self.engine {
            Engine::Postgres => {
                "DELETE FROM campana_outbox WHERE id = ANY(string_to_array($1, ',')::bigint[])"
            }
            Engine::Sqlite => {
                "DELETE FROM campana_outbox WHERE id IN (SELECT value FROM json_each('[' || $1 || ']'))"
            }
        };
        self.execute(sql, values![&*list(ids)]).await.map(drop)
    }

    /// Puts a row off.
    pub async fn put_off(
        &self,
        id: i64,
        failures: i64,
        due: Micros,
        reason: &str,
    ) -> Result<(), sqlx::Error> {
        let sql = "UPDATE campana_outbox SET failures = $1, due_at = $2, reason = $3 WHERE id = $4";
        self.execute(sql, values![failures, due.0, reason, id]).await.map(drop)
    }

    /// Sets a row aside.
    pub async fn set_aside(&self, id: i64, now: Micros, reason: &str) -> Result<(), sqlx::Error> {
        let sql = "UPDATE campana_outbox SET set_aside_at = $1, reason = $2 WHERE id = $3";
        self.execute(sql, values![now.0, reason, id]).await.map(drop)
    }

    /// How full the outbox is, without reading more than [`COUNT_MAX`] entries of an index.
    pub async fn depth(&self) -> Result<Depth, sqlx::Error> {
        let count = "SELECT \
            (SELECT COUNT(*) FROM (SELECT 1 AS one FROM campana_outbox WHERE set_aside_at = 0 LIMIT $1) p), \
            (SELECT COUNT(*) FROM (SELECT 1 AS one FROM campana_outbox WHERE set_aside_at <> 0 LIMIT $1) s)";
        let oldest =
            "SELECT added_at FROM campana_outbox WHERE set_aside_at = 0 ORDER BY id LIMIT 1";
        let counts = self.fetch(count, values![COUNT_MAX], &[Kind::Int, Kind::Int]).await?;
        let first = self.fetch(oldest, values![], &[Kind::Int]).await?;
        let (pending, set_aside) =
            counts.into_iter().next().map_or((0, 0), |mut row| (row.int(), row.int()));
        let oldest = first.into_iter().next().map(|mut row| Micros(row.int()));
        Ok(Depth { pending, oldest, set_aside })
    }
}

fn pending(mut row: crate::dialect::Row, tried: i64) -> Pending {
    let (id, ordering, failures) = (row.int(), row.int(), row.int());
    let (message_id, subject, encoded) = (row.text(), row.text(), row.text());
    let payload = Bytes::from(row.bytes());
    let repeat = id <= tried;
    let message = decode_headers(&encoded).map(|all| {
        let message = Outgoing {
            subject,
            payload,
            headers: all,
            message_id,
            expect_last_subject_sequence: None,
        };
        if repeat { message.header(headers::REPEAT, "1") } else { message }
    });
    Pending { id, ordering, failures, repeat, message }
}
