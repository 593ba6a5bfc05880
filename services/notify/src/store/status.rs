//! The write side of status, for the recorder and nobody else.
//! Reads: outcomes. Writes: tables `notifications`, `deliveries`, `outcomes`, one transaction a batch,
//! a few multi-row statements each. Never: moves a status backwards or records an outcome twice.
//!
//! Outcomes may arrive in any order and any number of times. Each delivery keeps the outcome that is
//! furthest (`generation * 100 + rank`, then time), and an attempt seen before its plan makes a row that
//! the plan completes later.

mod fold;
pub(crate) mod seen;

use std::collections::{HashMap, HashSet};

use campana_bus::clock::Micros;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use self::fold::{DeliveryWrite, Key, NotificationWrite, OutcomeWrite, Rows};
use super::{Engine, Store, StoreError, statements};
use crate::contracts::{Channel, DeliveryStatus, Outcome, OutcomeEvent};

/// What a batch changed, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Outcomes that were not recorded before.
    pub fresh: usize,
    /// Outcomes that were recorded before.
    pub repeated: usize,
    /// Deliveries that ended with a fresh outcome.
    pub completed: Vec<Completion>,
}

/// One delivery that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Over which channel; `None` if neither the outcome nor a recorded plan says.
    pub channel: Option<Channel>,
    /// How.
    pub status: DeliveryStatus,
    /// From acceptance to this outcome, in microseconds.
    pub micros: i64,
    /// True for a provider's later word on a delivery that an attempt had already ended.
    pub confirmed: bool,
}

impl Store {
    /// Records a batch of outcomes: all of them or, on an error, none.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn apply_outcomes(&self, batch: &[Outcome]) -> Result<Applied, StoreError> {
        if batch.is_empty() {
            return Ok(Applied::default());
        }
        let rows = Rows::fold(batch);
        // Nearly every batch is new from end to end; only one that is not pays for the question what is.
        if batch.len() == rows.outcomes.len()
            && let Some(applied) = self.apply_rows(batch, &rows, Repeats::Unlikely).await?
        {
            return Ok(applied);
        }
        Ok(self.apply_rows(batch, &rows, Repeats::Expected).await?.unwrap_or_default())
    }

    /// One transaction; `None` and nothing done if there were repeats although they were unlikely.
    async fn apply_rows(
        &self,
        batch: &[Outcome],
        rows: &Rows,
        repeats: Repeats,
    ) -> Result<Option<Applied>, StoreError> {
        let mut tx = self.writes.begin().await?;
        let fresh = insert_outcomes(&mut tx, self.engine, rows, repeats).await?;
        if fresh == Fresh::NotAll {
            tx.rollback().await?;
            return Ok(None);
        }
        let accepted = upsert_notifications(&mut tx, self.engine, rows).await?;
        let channels = upsert_deliveries(&mut tx, self.engine, rows).await?;
        derive_statuses(&mut tx, self.engine, rows).await?;
        tx.commit().await?;
        let count = match &fresh {
            Fresh::These(keys) => keys.len(),
            Fresh::All | Fresh::NotAll => batch.len(),
        };
        Ok(Some(Applied {
            fresh: count,
            repeated: batch.len().saturating_sub(count),
            completed: completions(batch, fresh, &accepted, &channels),
        }))
    }
}

/// Whether some of a batch may have been recorded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeats {
    Unlikely,
    Expected,
}

/// What of a batch was not recorded before.
#[derive(Debug, PartialEq, Eq)]
enum Fresh {
    All,
    /// Not all; which ones was not asked.
    NotAll,
    These(HashSet<Key>),
}

async fn insert_outcomes(
    tx: &mut Transaction<'static, Any>,
    engine: Engine,
    rows: &Rows,
    repeats: Repeats,
) -> Result<Fresh, StoreError> {
    let rows: Vec<(&Key, &OutcomeWrite)> = rows.outcomes.iter().collect();
    let returning = match repeats {
        Repeats::Unlikely => "",
        Repeats::Expected => "RETURNING tenant, id",
    };
    let (mut fresh, mut inserted) = (HashSet::new(), 0);
    for chunk in statements(&rows) {
        let sql = format!(
            "INSERT INTO outcomes (tenant, id, notification_id, delivery_id, at, event, status, reason, detail, attempt, \
             generation, provider, provider_message_id, duration_ms, retry_at, possible_duplicate) VALUES {} \
             ON CONFLICT (tenant, id) DO NOTHING {returning}",
            engine.values(chunk.len(), 16)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for ((tenant, id), row) in chunk {
            query = query
                .bind(tenant)
                .bind(id)
                .bind(&row.notification_id)
                .bind(&row.delivery_id)
                .bind(row.at.0)
                .bind(row.event)
                .bind(row.status.map(DeliveryStatus::as_str))
                .bind(&row.reason)
                .bind(&row.detail)
                .bind(row.attempt)
                .bind(row.generation)
                .bind(&row.provider)
                .bind(&row.provider_message_id)
                .bind(row.duration_ms)
                .bind(row.retry_at.map(|at| at.0))
                .bind(row.possible_duplicate.map(i64::from));
        }
        match repeats {
            Repeats::Unlikely => inserted += query.execute(&mut **tx).await?.rows_affected(),
            Repeats::Expected => {
                for row in query.fetch_all(&mut **tx).await? {
                    fresh.insert((row.try_get(0)?, row.try_get(1)?));
                }
            }
        }
    }
    Ok(match repeats {
        Repeats::Expected => Fresh::These(fresh),
        Repeats::Unlikely if inserted == rows.len() as u64 => Fresh::All,
        Repeats::Unlikely => Fresh::NotAll,
    })
}

/// When each notification of the batch was accepted.
async fn upsert_notifications(
    tx: &mut Transaction<'static, Any>,
    engine: Engine,
    rows: &Rows,
) -> Result<HashMap<Key, Micros>, StoreError> {
    const CONFLICT: &str = "ON CONFLICT (tenant, id) DO UPDATE SET \
        reason = CASE WHEN excluded.stage > notifications.stage THEN excluded.reason ELSE notifications.reason END, \
        priority = CASE WHEN excluded.stage > notifications.stage THEN excluded.priority ELSE notifications.priority END, \
        template = CASE WHEN excluded.stage > notifications.stage THEN excluded.template ELSE notifications.template END, \
        metadata = CASE WHEN excluded.stage > notifications.stage THEN excluded.metadata ELSE notifications.metadata END, \
        trace_id = CASE WHEN excluded.stage > notifications.stage THEN excluded.trace_id ELSE notifications.trace_id END, \
        created_at = CASE WHEN excluded.stage > notifications.stage THEN excluded.created_at ELSE notifications.created_at END, \
        status = CASE WHEN excluded.status <> 'accepted' THEN excluded.status ELSE notifications.status END, \
        scheduled_at = COALESCE(excluded.scheduled_at, notifications.scheduled_at), \
        updated_at = CASE WHEN excluded.updated_at > notifications.updated_at THEN excluded.updated_at ELSE notifications.updated_at END, \
        stage = CASE WHEN excluded.stage > notifications.stage THEN excluded.stage ELSE notifications.stage END";
    let rows: Vec<(&Key, &NotificationWrite)> = rows.notifications.iter().collect();
    let mut accepted = HashMap::with_capacity(rows.len());
    for chunk in statements(&rows) {
        // A row about which only an attempt is known does not say when it was accepted.
        let asks = chunk.iter().any(|(_, row)| row.stage == fold::stage::SEEN);
        let returning = if asks { "RETURNING tenant, id, created_at" } else { "" };
        let sql = format!(
            "INSERT INTO notifications (tenant, id, stage, status, reason, priority, template, metadata, trace_id, \
             created_at, scheduled_at, updated_at) VALUES {} {CONFLICT} {returning}",
            engine.values(chunk.len(), 12)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for ((tenant, id), row) in chunk {
            query = query
                .bind(tenant)
                .bind(id)
                .bind(row.stage)
                // Derived from the deliveries at the end of the transaction, if the plan did not settle it.
                .bind(row.settled.unwrap_or("accepted"))
                .bind(&row.reason)
                .bind(row.summary.priority.as_str())
                .bind(&row.summary.template)
                .bind(super::templates::to_json(&row.summary.metadata))
                .bind(&row.trace_id)
                .bind(row.summary.accepted_at.0)
                .bind(row.scheduled_at.map(|at| at.0))
                .bind(row.updated_at.0);
        }
        if !asks {
            query.execute(&mut **tx).await?;
            accepted
                .extend(chunk.iter().map(|(key, row)| ((*key).clone(), row.summary.accepted_at)));
            continue;
        }
        for row in query.fetch_all(&mut **tx).await? {
            accepted.insert((row.try_get(0)?, row.try_get(1)?), Micros(row.try_get(2)?));
        }
    }
    Ok(accepted)
}

/// The channel of each delivery of the batch, as far as it is known now.
async fn upsert_deliveries(
    tx: &mut Transaction<'static, Any>,
    engine: Engine,
    rows: &Rows,
) -> Result<HashMap<Key, Option<Channel>>, StoreError> {
    const FURTHER: &str = "excluded.progress > deliveries.progress OR \
        (excluded.progress = deliveries.progress AND excluded.updated_at > deliveries.updated_at)";
    let conflict = format!(
        "ON CONFLICT (tenant, id) DO UPDATE SET \
         recipient = COALESCE(deliveries.recipient, excluded.recipient), \
         channel = COALESCE(deliveries.channel, excluded.channel), \
         read_at = CASE WHEN deliveries.read_at IS NULL OR excluded.read_at < deliveries.read_at \
           THEN COALESCE(excluded.read_at, deliveries.read_at) ELSE deliveries.read_at END, \
         status = CASE WHEN {FURTHER} THEN excluded.status ELSE deliveries.status END, \
         reason = CASE WHEN {FURTHER} THEN excluded.reason ELSE deliveries.reason END, \
         updated_at = CASE WHEN {FURTHER} THEN excluded.updated_at ELSE deliveries.updated_at END, \
         progress = CASE WHEN excluded.progress > deliveries.progress THEN excluded.progress ELSE deliveries.progress END"
    );
    let rows: Vec<(&Key, &DeliveryWrite)> = rows.deliveries.iter().collect();
    let mut channels = HashMap::with_capacity(rows.len());
    for chunk in statements(&rows) {
        let asks = chunk.iter().any(|(_, row)| row.channel.is_none());
        let returning = if asks { "RETURNING tenant, id, channel" } else { "" };
        let sql = format!(
            "INSERT INTO deliveries (tenant, id, notification_id, recipient, channel, status, progress, reason, read_at, \
             created_at, updated_at) VALUES {} {conflict} {returning}",
            engine.values(chunk.len(), 11)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for ((tenant, id), row) in chunk {
            query = query
                .bind(tenant)
                .bind(id)
                .bind(&row.notification_id)
                .bind(&row.recipient)
                .bind(row.channel.map(Channel::as_str))
                .bind(row.status.as_str())
                .bind(row.progress)
                .bind(&row.reason)
                .bind(row.read_at.map(|at| at.0))
                .bind(row.at.0)
                .bind(row.at.0);
        }
        if !asks {
            query.execute(&mut **tx).await?;
            channels.extend(chunk.iter().map(|(key, row)| ((*key).clone(), row.channel)));
            continue;
        }
        for row in query.fetch_all(&mut **tx).await? {
            let channel: Option<String> = row.try_get(2)?;
            let channel = channel
                .and_then(|name| Channel::ALL.into_iter().find(|known| known.as_str() == name));
            channels.insert((row.try_get(0)?, row.try_get(1)?), channel);
        }
    }
    Ok(channels)
}

/// A notification's status follows from its stage and its deliveries.
async fn derive_statuses(
    tx: &mut Transaction<'static, Any>,
    engine: Engine,
    rows: &Rows,
) -> Result<(), StoreError> {
    let open = rows.notifications.iter().filter(|(_, row)| row.settled.is_none());
    let keys: Vec<&Key> = open.map(|(key, _)| key).collect();
    for of_tenant in keys.chunk_by(|(one, _), (other, _)| one == other) {
        for chunk in statements(of_tenant) {
            let mut query = sqlx::query(AssertSqlSafe(derive_sql(engine, chunk.len())));
            query = query.bind(&chunk[0].0);
            for (_, id) in chunk {
                query = query.bind(id);
            }
            query.execute(&mut **tx).await?;
        }
    }
    Ok(())
}

/// Derives the status of so many notifications of one tenant. They are named one by one: with a list of pairs
/// (`(tenant, id) IN (VALUES …)`) SQLite reads all notifications there are.
pub(super) fn derive_sql(engine: Engine, notifications: usize) -> String {
    const DERIVED: &str = "UPDATE notifications SET status = CASE \
        WHEN stage = 0 THEN 'accepted' WHEN stage = 1 THEN 'scheduled' WHEN stage = 2 THEN 'failed' \
        ELSE (SELECT CASE \
          WHEN SUM(CASE WHEN d.status IN ('queued', 'retrying') THEN 1 ELSE 0 END) > 0 THEN 'planned' \
          WHEN COUNT(*) = 0 OR SUM(CASE WHEN d.status IN ('failed', 'expired') THEN 1 ELSE 0 END) = 0 THEN 'completed' \
          WHEN SUM(CASE WHEN d.status IN ('failed', 'expired') THEN 1 ELSE 0 END) = COUNT(*) THEN 'failed' \
          ELSE 'partially_failed' END \
          FROM deliveries d WHERE d.tenant = notifications.tenant AND d.notification_id = notifications.id) \
        END";
    let (tenant, ids) = (engine.parameter(1), engine.parameters(2, notifications));
    format!("{DERIVED} WHERE tenant = {tenant} AND id IN ({ids})")
}

fn completions(
    batch: &[Outcome],
    mut fresh: Fresh,
    accepted: &HashMap<Key, Micros>,
    channels: &HashMap<Key, Option<Channel>>,
) -> Vec<Completion> {
    let mut completed = Vec::new();
    for outcome in batch {
        // Removing it counts an outcome once that stands twice in one batch.
        if let Fresh::These(keys) = &mut fresh
            && !keys.remove(&(outcome.tenant.clone(), outcome.id.clone()))
        {
            continue;
        }
        let notification = (outcome.tenant.clone(), outcome.notification_id.to_string());
        let micros = accepted.get(&notification).map_or(0, |at| outcome.at.since(*at).max(0));
        let channel_of = |id: &dyn std::fmt::Display| {
            channels.get(&(outcome.tenant.clone(), id.to_string())).copied().flatten()
        };
        match &outcome.event {
            OutcomeEvent::Planned { deliveries, .. } => {
                completed.extend(
                    deliveries.iter().filter(|planned| planned.status.is_final()).map(|planned| {
                        Completion {
                            channel: Some(planned.channel),
                            status: planned.status,
                            micros,
                            confirmed: false,
                        }
                    }),
                );
            }
            OutcomeEvent::Attempted(report) if report.status.is_final() => {
                // The plan may come after it: a fast provider answers before the plan is stored.
                let since = report.accepted_at.or_else(|| accepted.get(&notification).copied());
                completed.push(Completion {
                    channel: report.channel.or_else(|| channel_of(&report.delivery_id)),
                    status: report.status,
                    micros: since.map_or(0, |at| outcome.at.since(at).max(0)),
                    confirmed: false,
                })
            }
            OutcomeEvent::Confirmed { delivery_id, status, .. } if status.is_final() => {
                let channel = channel_of(delivery_id);
                completed.push(Completion { channel, status: *status, micros, confirmed: true });
            }
            _ => {}
        }
    }
    completed
}
