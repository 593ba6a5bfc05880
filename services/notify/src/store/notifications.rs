//! The read side of status: what became of a notification.
//! Reads: tables `notifications`, `deliveries`, `outcomes`. Writes: nothing.

use std::collections::BTreeMap;

use campana_bus::clock::Micros;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Engine, Store, StoreError};

/// A notification as the recorder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationRow {
    /// `ntf_…`.
    pub id: String,
    /// accepted, scheduled, planned, completed, `partially_failed` or failed.
    pub status: String,
    /// Machine-readable reason of a failure of the whole.
    pub reason: Option<String>,
    /// critical, normal or bulk.
    pub priority: String,
    /// The template's key.
    pub template: Option<String>,
    /// The caller's own labels.
    pub metadata: BTreeMap<String, String>,
    /// The trace of the HTTP request.
    pub trace_id: String,
    /// When the gateway took it.
    pub created_at: Micros,
    /// When it is due, if it waits.
    pub scheduled_at: Option<Micros>,
    /// When anything last happened.
    pub updated_at: Micros,
}

/// One delivery of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// `dlv_…`.
    pub id: String,
    /// `ntf_…`.
    pub notification_id: String,
    /// The recipient's id; unknown until the plan is recorded.
    pub recipient: Option<String>,
    /// The channel's name; unknown until the plan is recorded.
    pub channel: Option<String>,
    /// Where it stands.
    pub status: String,
    /// Why it stands there.
    pub reason: Option<String>,
    /// When the recipient marked it as read.
    pub read_at: Option<Micros>,
    /// When the status last changed.
    pub updated_at: Micros,
}

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRow {
    /// The outcome's id.
    pub id: String,
    /// Which delivery, if it is about one.
    pub delivery_id: Option<String>,
    /// When.
    pub at: Micros,
    /// scheduled, planned, rejected, attempted, confirmed or read.
    pub event: String,
    /// The delivery's status after it.
    pub status: Option<String>,
    /// Machine-readable reason.
    pub reason: Option<String>,
    /// The provider's answer, redacted.
    pub detail: Option<String>,
    /// Number of the attempt.
    pub attempt: Option<i64>,
    /// Which provider.
    pub provider: Option<String>,
    /// How long the provider took.
    pub duration_ms: Option<i64>,
    /// When the next attempt is due.
    pub retry_at: Option<Micros>,
    /// Whether an earlier attempt may have arrived unknown to us.
    pub possible_duplicate: bool,
}

/// Which notifications to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Only this status.
    pub status: Option<String>,
    /// Only those with a delivery to this recipient.
    pub recipient: Option<String>,
    /// Only those before this one: the time and id of the last row of the page before.
    pub before: Option<(Micros, String)>,
}

const COLUMNS: &str = "n.id, n.status, n.reason, n.priority, n.template, n.metadata, n.trace_id, n.created_at, n.scheduled_at, n.updated_at";

/// Deliveries and timeline lines that one answer shows at most.
const DETAILS_MAX: i64 = 5_000;

impl Store {
    /// One notification.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn notification(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<NotificationRow>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM notifications n WHERE n.tenant = $1 AND n.id = $2");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant)
            .bind(id)
            .fetch_optional(&self.reads)
            .await?;
        row.as_ref().map(notification_from_row).transpose()
    }

    /// Its deliveries, by recipient and channel.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn deliveries(
        &self,
        tenant: &str,
        notification: &str,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(deliveries_sql(self.engine)))
            .bind(tenant)
            .bind(notification)
            .bind(DETAILS_MAX)
            .fetch_all(&self.reads)
            .await?;
        rows.iter().map(delivery_from_row).collect()
    }

    /// Its timeline, oldest first.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn timeline(
        &self,
        tenant: &str,
        notification: &str,
    ) -> Result<Vec<OutcomeRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, delivery_id, at, event, status, reason, detail, attempt, provider, duration_ms, retry_at, \
             possible_duplicate FROM outcomes WHERE tenant = $1 AND notification_id = $2 ORDER BY at, id LIMIT $3",
        )
        .bind(tenant)
        .bind(notification)
        .bind(DETAILS_MAX)
        .fetch_all(&self.reads)
        .await?;
        rows.iter().map(outcome_from_row).collect()
    }

    /// The deliveries among `ids` that belong to this recipient.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn deliveries_of(
        &self,
        tenant: &str,
        recipient: &str,
        ids: &[String],
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (one, two) = (self.engine.parameter(1), self.engine.parameter(2));
        let list = self.engine.parameters(3, ids.len());
        let sql = format!(
            "SELECT id, notification_id, recipient, channel, status, reason, read_at, updated_at FROM deliveries \
             WHERE tenant = {one} AND recipient = {two} AND id IN ({list})"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant).bind(recipient);
        for id in ids {
            query = query.bind(id);
        }
        query.fetch_all(&self.reads).await?.iter().map(delivery_from_row).collect()
    }

    /// A page of notifications, newest first.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn list_notifications(
        &self,
        tenant: &str,
        filter: &ListFilter,
        limit: u32,
    ) -> Result<Vec<NotificationRow>, StoreError> {
        // Only constant text enters the statement; every value is a parameter.
        let (before_at, before_id) =
            filter.before.clone().unwrap_or((Micros(i64::MAX), String::new()));
        let mut sql = format!(
            "SELECT {COLUMNS} FROM notifications n WHERE n.tenant = $1 AND (n.created_at, n.id) < ($2, $3)"
        );
        let mut next = 5;
        if filter.status.is_some() {
            sql.push_str(&format!(" AND n.status = ${next}"));
            next += 1;
        }
        if filter.recipient.is_some() {
            sql.push_str(&format!(
                " AND EXISTS (SELECT 1 FROM deliveries d WHERE d.tenant = n.tenant AND d.notification_id = n.id \
                 AND d.recipient = ${next})"
            ));
        }
        sql.push_str(" ORDER BY n.created_at DESC, n.id DESC LIMIT $4");
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant)
            .bind(before_at.0)
            .bind(before_id)
            .bind(i64::from(limit));
        for value in filter.status.iter().chain(filter.recipient.iter()) {
            query = query.bind(value);
        }
        query.fetch_all(&self.reads).await?.iter().map(notification_from_row).collect()
    }
}

pub(super) fn deliveries_sql(engine: Engine) -> String {
    format!(
        "SELECT id, notification_id, recipient, channel, status, reason, read_at, updated_at FROM deliveries {} \
         WHERE tenant = $1 AND notification_id = $2 ORDER BY recipient, channel, id LIMIT $3",
        engine.by_index("deliveries_by_notification")
    )
}

fn notification_from_row(row: &AnyRow) -> Result<NotificationRow, StoreError> {
    let id: String = row.try_get("id")?;
    let metadata: String = row.try_get("metadata")?;
    let metadata = serde_json::from_str(&metadata).map_err(|_| StoreError::Corrupt {
        table: "notifications",
        column: "metadata",
        row: id.clone(),
    })?;
    Ok(NotificationRow {
        id,
        status: row.try_get("status")?,
        reason: row.try_get("reason")?,
        priority: row.try_get("priority")?,
        template: row.try_get("template")?,
        metadata,
        trace_id: row.try_get("trace_id")?,
        created_at: Micros(row.try_get("created_at")?),
        scheduled_at: row.try_get::<Option<i64>, _>("scheduled_at")?.map(Micros),
        updated_at: Micros(row.try_get("updated_at")?),
    })
}

fn delivery_from_row(row: &AnyRow) -> Result<DeliveryRow, StoreError> {
    Ok(DeliveryRow {
        id: row.try_get("id")?,
        notification_id: row.try_get("notification_id")?,
        recipient: row.try_get("recipient")?,
        channel: row.try_get("channel")?,
        status: row.try_get("status")?,
        reason: row.try_get("reason")?,
        read_at: row.try_get::<Option<i64>, _>("read_at")?.map(Micros),
        updated_at: Micros(row.try_get("updated_at")?),
    })
}

fn outcome_from_row(row: &AnyRow) -> Result<OutcomeRow, StoreError> {
    Ok(OutcomeRow {
        id: row.try_get("id")?,
        delivery_id: row.try_get("delivery_id")?,
        at: Micros(row.try_get("at")?),
        event: row.try_get("event")?,
        status: row.try_get("status")?,
        reason: row.try_get("reason")?,
        detail: row.try_get("detail")?,
        attempt: row.try_get("attempt")?,
        provider: row.try_get("provider")?,
        duration_ms: row.try_get("duration_ms")?,
        retry_at: row.try_get::<Option<i64>, _>("retry_at")?.map(Micros),
        possible_duplicate: row.try_get::<Option<i64>, _>("possible_duplicate")?.unwrap_or(0) != 0,
    })
}
