//! Booking and changing appointments: each change, the times it holds, and the event that tells it are one
//! transaction.
//! Reads and writes: `appointments`, `held_times`, the outbox. Never: decides what may happen (`appointment` does),
//! or looks whether a time is free before it takes it: the keys of `held_times` say so.

use bytes::Bytes;
use campana_bus::clock::Micros;
use campana_bus::headers;
use campana_bus::publish::Outgoing;
use campana_bus::subjects::{self, ChannelName};
use campana_bus_sqlx::OutboxError;
use sqlx::{Any, FromRow, Transaction};

use super::{Store, StoreError};
use crate::appointment::{Appointment, Change, Next, Status};
use crate::events::AppointmentChanged;

/// Appointments to come that a patient may have, a proposed time being one more.
pub const OPEN_MAX: i64 = 12;
/// The namespace of the channels on which pages hear of changes, at the edge: `clinic:#<account>`.
pub const NAMESPACE: &str = "clinic";
/// Columns of [`AppointmentRow`], for `appointments a`.
pub(super) const COLUMNS: &str = "a.id, a.clinic_id, a.dentist_id, a.patient_id, a.status, a.confirmed, \
                                  a.starts_at, a.proposed_at, a.note, a.message, a.version, a.created_at";

/// What became of an attempt to book or to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booked {
    /// It is done.
    Done(Appointment),
    /// The same form was sent before: this is what it booked then.
    Before(Appointment),
    /// Somebody has this time with this dentist.
    Taken,
    /// The patient has another appointment at this time.
    Busy,
    /// The patient has [`OPEN_MAX`] appointments to come.
    TooMany,
    /// Somebody changed the appointment meanwhile.
    Stale,
}

#[derive(FromRow)]
pub(super) struct AppointmentRow {
    id: String,
    clinic_id: String,
    dentist_id: String,
    patient_id: String,
    status: String,
    confirmed: i64,
    starts_at: i64,
    proposed_at: i64,
    note: String,
    message: String,
    version: i64,
    created_at: i64,
}

impl TryFrom<AppointmentRow> for Appointment {
    type Error = StoreError;

    fn try_from(row: AppointmentRow) -> Result<Self, StoreError> {
        let status = Status::parse(&row.status);
        Ok(Self {
            status: status
                .ok_or(StoreError::Corrupt { table: "appointments", column: "status" })?,
            id: row.id,
            clinic_id: row.clinic_id,
            dentist_id: row.dentist_id,
            patient_id: row.patient_id,
            confirmed: row.confirmed != 0,
            starts_at: Micros(row.starts_at),
            proposed_at: (row.proposed_at != 0).then_some(Micros(row.proposed_at)),
            note: row.note,
            message: row.message,
            version: row.version,
            created_at: Micros(row.created_at),
        })
    }
}

type Tx = Transaction<'static, Any>;

impl Store {
    /// An appointment.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn appointment(&self, id: &str) -> Result<Option<Appointment>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM appointments a WHERE a.id = $1");
        let row: Option<AppointmentRow> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(&self.pool).await?;
        row.map(Appointment::try_from).transpose()
    }

    async fn requested_before(
        &self,
        patient: &str,
        request_id: &str,
    ) -> Result<Option<Appointment>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM appointments a WHERE a.patient_id = $1 AND a.request_id = $2"
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(patient).bind(request_id);
        let row: Option<AppointmentRow> = query.fetch_optional(&self.pool).await?;
        row.map(Appointment::try_from).transpose()
    }

    /// Books a new appointment. Of any number of callers that want one time, exactly one gets it; of any number of
    /// one patient's, no more than [`OPEN_MAX`] are booked.
    ///
    /// # Errors
    /// If the database refuses; then nothing was booked and nothing is told.
    pub async fn book(&self, new: &Appointment, request_id: &str) -> Result<Booked, StoreError> {
        let mut tx = self.writes.begin().await?;
        // Locks the patient's row, so that two of them are counted one after the other.
        let lock = "UPDATE accounts SET id = id WHERE id = $1";
        sqlx::query(lock).bind(&new.patient_id).execute(&mut *tx).await?;
        if !hold(&mut tx, new, new.starts_at).await? {
            tx.rollback().await?;
            return self.why_not(new, new.starts_at, request_id).await;
        }
        let sql = "INSERT INTO appointments (id, clinic_id, dentist_id, patient_id, request_id, status, confirmed, \
                   starts_at, proposed_at, note, message, version, created_at, updated_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, 0, $7, 0, $8, '', $9, $10, $10) \
                   ON CONFLICT (patient_id, request_id) DO NOTHING";
        let insert = sqlx::query(sql)
            .bind(&new.id)
            .bind(&new.clinic_id)
            .bind(&new.dentist_id)
            .bind(&new.patient_id)
            .bind(request_id)
            .bind(new.status.as_str())
            .bind(new.starts_at.0)
            .bind(&new.note)
            .bind(new.version)
            .bind(new.created_at.0);
        if insert.execute(&mut *tx).await?.rows_affected() == 0 {
            tx.rollback().await?;
            let before = self.requested_before(&new.patient_id, request_id).await?;
            return Ok(before.map_or(Booked::Stale, Booked::Before));
        }
        let open = "SELECT COUNT(*) FROM held_times WHERE patient_id = $1 AND starts_at > $2";
        let open = sqlx::query_scalar(open).bind(&new.patient_id).bind(new.created_at.0);
        let open: i64 = open.fetch_one(&mut *tx).await?;
        if open > OPEN_MAX {
            tx.rollback().await?;
            return Ok(Booked::TooMany);
        }
        self.tell(&mut tx, new, None, Change::Requested).await?;
        self.outbox.commit(tx).await?;
        Ok(Booked::Done(new.clone()))
    }

    /// Changes an appointment as [`Appointment::decide`] said, if it is still the one that was decided about.
    ///
    /// # Errors
    /// If the database refuses; then nothing was changed and nothing is told.
    pub async fn change(
        &self,
        before: &Appointment,
        next: Next,
        message: Option<&str>,
        now: Micros,
    ) -> Result<Booked, StoreError> {
        let after = Appointment {
            status: next.status,
            confirmed: next.confirmed,
            starts_at: next.starts_at,
            proposed_at: next.proposed_at,
            message: message.map_or_else(|| before.message.clone(), str::to_owned),
            version: before.version.saturating_add(1),
            ..before.clone()
        };
        let mut tx = self.writes.begin().await?;
        let sql = "UPDATE appointments SET status = $1, confirmed = $2, starts_at = $3, proposed_at = $4, \
                   message = $5, version = $6, updated_at = $7 WHERE id = $8 AND version = $9";
        let update = sqlx::query(sql)
            .bind(after.status.as_str())
            .bind(i64::from(after.confirmed))
            .bind(after.starts_at.0)
            .bind(after.proposed_at.unwrap_or_default().0)
            .bind(&after.message)
            .bind(after.version)
            .bind(now.0)
            .bind(&after.id)
            .bind(before.version);
        if update.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(Booked::Stale);
        }
        for time in &next.release {
            let sql = "DELETE FROM held_times WHERE appointment_id = $1 AND starts_at = $2";
            sqlx::query(sql).bind(&after.id).bind(time.0).execute(&mut *tx).await?;
        }
        if let Some(time) = next.take
            && !hold(&mut tx, &after, time).await?
        {
            tx.rollback().await?;
            return self.why_not(&after, time, "").await;
        }
        self.tell(&mut tx, &after, Some(before), next.change).await?;
        self.outbox.commit(tx).await?;
        Ok(Booked::Done(after))
    }

    /// The event for the bus, and a line for the open pages of both sides, into the outbox.
    async fn tell(
        &self,
        tx: &mut Tx,
        now: &Appointment,
        before: Option<&Appointment>,
        change: Change,
    ) -> Result<(), StoreError> {
        self.outbox.add(tx, &AppointmentChanged::of(now, before, change)).await?;
        for account in [&now.patient_id, &now.dentist_id] {
            self.outbox.add_raw(tx, live(account, now)?).await?;
        }
        Ok(())
    }

    /// Who is in the way. The time was taken a moment ago; if it is free again by now, the caller is told the same and
    /// sees it in the list.
    async fn why_not(
        &self,
        wanted: &Appointment,
        time: Micros,
        request_id: &str,
    ) -> Result<Booked, StoreError> {
        if !request_id.is_empty()
            && let Some(before) = self.requested_before(&wanted.patient_id, request_id).await?
        {
            return Ok(Booked::Before(before));
        }
        let sql = "SELECT dentist_id FROM held_times WHERE starts_at = $1 AND (dentist_id = $2 OR patient_id = $3) \
                   LIMIT 2";
        let query = sqlx::query_scalar::<_, String>(sql).bind(time.0);
        let query = query.bind(&wanted.dentist_id).bind(&wanted.patient_id);
        let with = query.fetch_all(&self.pool).await?;
        Ok(match with.is_empty() || with.contains(&wanted.dentist_id) {
            true => Booked::Taken,
            false => Booked::Busy,
        })
    }
}

/// Takes a time for an appointment; false if the dentist or the patient has it already. Another transaction that is
/// about to take it is waited for.
async fn hold(tx: &mut Tx, who: &Appointment, time: Micros) -> Result<bool, sqlx::Error> {
    let sql = "INSERT INTO held_times (dentist_id, starts_at, patient_id, appointment_id) \
               VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let insert = sqlx::query(sql)
        .bind(&who.dentist_id)
        .bind(time.0)
        .bind(&who.patient_id)
        .bind(&who.id)
        .execute(&mut **tx)
        .await?;
    Ok(insert.rows_affected() > 0)
}

/// What an open page of this person hears: that it should look, and at what.
fn live(account: &str, now: &Appointment) -> Result<Outgoing, StoreError> {
    let name = ChannelName::parse(&format!("{NAMESPACE}:#{account}"))
        .map_err(|_| OutboxError::Invalid("an account's id that is no name of a channel"))?;
    let body = serde_json::json!({"type": "appointment", "id": now.id, "version": now.version});
    let id = format!("clinic-live-{}-{}-{account}", now.id, now.version);
    let message =
        Outgoing::new(subjects::channel("default", &name), id, Bytes::from(body.to_string()));
    Ok(message.header(headers::KEY, account))
}
