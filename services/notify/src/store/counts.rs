//! How many notifications and deliveries are in which state.
//! Reads: tables `notifications`, `deliveries`. Writes: nothing. Never: counts more than a bounded number of
//! notifications, the newest of the time asked for, so that one question cannot occupy the database.

use std::collections::BTreeMap;

use campana_bus::clock::Micros;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Engine, Store, StoreError};

/// Notifications that one answer counts at most; some seconds of work for a small database.
pub const COUNTED_MAX: u32 = 500_000;

/// What to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountFilter {
    /// Accepted at this time or later.
    pub from: Micros,
    /// Accepted before this time.
    pub to: Micros,
    /// Only deliveries to recipients whose id begins with this, and notifications that have one.
    pub recipient_prefix: Option<String>,
    /// At most so many notifications are looked at, the newest ones.
    pub limit: u32,
}

/// How many there are; the parts are read one after the other while the recorder writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By status.
    pub notifications: BTreeMap<String, u64>,
    /// By channel and status; the channel is `unknown` until the plan is recorded.
    pub deliveries: BTreeMap<String, BTreeMap<String, u64>>,
    /// Whether the limit was enough.
    pub complete: bool,
}

/// The newest of the time asked for; every value is a parameter.
const PICKED: &str = "SELECT n.tenant, n.id, n.status FROM notifications n \
    WHERE n.tenant = $1 AND n.created_at >= $2 AND n.created_at < $3 \
    ORDER BY n.created_at DESC, n.id DESC LIMIT $4";

impl Store {
    /// Counts by state.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn counts(&self, tenant: &str, filter: &CountFilter) -> Result<Counts, StoreError> {
        let prefix = filter.recipient_prefix.as_deref();
        let (by_status, by_channel) =
            (by_status(self.engine, prefix), by_channel(self.engine, prefix));
        let mut counts = Counts::default();
        for row in self.count_rows(by_status, tenant, filter, true).await? {
            counts.notifications.insert(row.try_get(0)?, number(&row, 1)?);
        }
        for row in self.count_rows(by_channel, tenant, filter, true).await? {
            let of_channel = counts.deliveries.entry(row.try_get(0)?).or_default();
            of_channel.insert(row.try_get(1)?, number(&row, 2)?);
        }
        // One more than is counted, found in the index alone.
        let more = CountFilter { limit: filter.limit.saturating_add(1), ..filter.clone() };
        let all = format!("SELECT COUNT(*) FROM ({PICKED}) p");
        let found = self.count_rows(all, tenant, &more, false).await?;
        let found = found.first().map_or(Ok(0), |row| number(row, 0))?;
        counts.complete = found <= u64::from(filter.limit);
        Ok(counts)
    }

    async fn count_rows(
        &self,
        sql: String,
        tenant: &str,
        filter: &CountFilter,
        with_prefix: bool,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant)
            .bind(filter.from.0)
            .bind(filter.to.0)
            .bind(i64::from(filter.limit));
        if let Some(prefix) = filter.recipient_prefix.as_ref().filter(|_| with_prefix) {
            query = query.bind(prefix);
        }
        Ok(query.fetch_all(&self.reads).await?)
    }
}

/// Whose deliveries. A prefix is compared by characters on both engines: an order of texts differs by locale. Its
/// length is a number of ours.
fn of_prefix(prefix: &str) -> String {
    format!(" AND substr(d.recipient, 1, {}) = $5", prefix.chars().count())
}

pub(super) fn by_status(engine: Engine, prefix: Option<&str>) -> String {
    let exists = prefix.map_or(String::new(), |prefix| {
        format!(
            " WHERE EXISTS (SELECT 1 FROM deliveries d {} WHERE d.tenant = p.tenant \
             AND d.notification_id = p.id{})",
            engine.by_index("deliveries_by_notification"),
            of_prefix(prefix)
        )
    });
    format!("SELECT p.status, COUNT(*) FROM ({PICKED}) p{exists} GROUP BY p.status")
}

pub(super) fn by_channel(engine: Engine, prefix: Option<&str>) -> String {
    let also = prefix.map_or(String::new(), of_prefix);
    format!(
        "SELECT COALESCE(d.channel, 'unknown'), d.status, COUNT(*) FROM ({PICKED}) p \
         JOIN deliveries d {} ON d.tenant = p.tenant AND d.notification_id = p.id{also} \
         GROUP BY d.channel, d.status",
        engine.by_index("deliveries_by_notification")
    )
}

fn number(row: &AnyRow, column: usize) -> Result<u64, StoreError> {
    let count: i64 = row.try_get(column)?;
    Ok(u64::try_from(count).unwrap_or(0))
}
