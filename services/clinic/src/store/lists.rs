//! Appointments with the names that a page shows.
//! Reads: `appointments` with the people and clinics. Writes: nothing. Never: more than a page of them.

use campana_bus::clock::Micros;
use sqlx::FromRow;

use super::appointments::{AppointmentRow, COLUMNS};
use super::{Store, StoreError};
use crate::appointment::{Appointment, Role};

/// Appointments of one page.
pub const PAGE: i64 = 50;

/// An appointment, and how everybody in it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The appointment.
    pub appointment: Appointment,
    /// The clinic's name.
    pub clinic_name: String,
    /// Where it is.
    pub clinic_address: String,
    /// Its time zone.
    pub time_zone: String,
    /// The dentist's name.
    pub dentist_name: String,
    /// The patient's name.
    pub patient_name: String,
}

/// Which appointments: those ahead in the order of time, or those that are over, the last one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Open and not over.
    Ahead,
    /// Over, declined or cancelled.
    Over,
}

/// Where a page goes on: after this appointment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When it begins.
    pub starts_at: i64,
    /// Which it is.
    pub id: String,
}

#[derive(FromRow)]
struct ListedRow {
    #[sqlx(flatten)]
    appointment: AppointmentRow,
    clinic_name: String,
    clinic_address: String,
    time_zone: String,
    dentist_name: String,
    patient_name: String,
}

impl TryFrom<ListedRow> for Listed {
    type Error = StoreError;

    fn try_from(row: ListedRow) -> Result<Self, StoreError> {
        Ok(Self {
            appointment: row.appointment.try_into()?,
            clinic_name: row.clinic_name,
            clinic_address: row.clinic_address,
            time_zone: row.time_zone,
            dentist_name: row.dentist_name,
            patient_name: row.patient_name,
        })
    }
}

fn select(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS}, c.name AS clinic_name, c.address AS clinic_address, c.time_zone, \
         d.name AS dentist_name, p.name AS patient_name FROM appointments a \
         JOIN clinics c ON c.id = a.clinic_id JOIN accounts d ON d.id = a.dentist_id \
         JOIN accounts p ON p.id = a.patient_id {rest}"
    ))
}

impl Store {
    /// One appointment with its names.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn listed(&self, id: &str) -> Result<Option<Listed>, StoreError> {
        let query = sqlx::query_as::<_, ListedRow>(select("WHERE a.id = $1")).bind(id);
        query.fetch_optional(&self.pool).await?.map(Listed::try_from).transpose()
    }

    /// A page of somebody's appointments.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn appointments(
        &self,
        (role, account): (Role, &str),
        which: Which,
        now: Micros,
        after: Option<&Cursor>,
    ) -> Result<Vec<Listed>, StoreError> {
        let own = match role {
            Role::Patient => "a.patient_id = $1",
            Role::Dentist => "a.dentist_id = $1",
        };
        // Open appointments count as ahead until the later of their two times is over.
        let ahead = "(a.status IN ('requested', 'accepted', 'proposed') AND (a.starts_at >= $2 OR a.proposed_at >= $2))";
        let (filter, order, start) = match which {
            Which::Ahead => (
                format!("{ahead} AND (a.starts_at > $3 OR (a.starts_at = $3 AND a.id > $4))"),
                "a.starts_at, a.id",
                i64::MIN,
            ),
            Which::Over => (
                format!("NOT {ahead} AND (a.starts_at < $3 OR (a.starts_at = $3 AND a.id < $4))"),
                "a.starts_at DESC, a.id DESC",
                i64::MAX,
            ),
        };
        let sql = select(&format!("WHERE {own} AND {filter} ORDER BY {order} LIMIT $5"));
        let rows: Vec<ListedRow> = sqlx::query_as(sql)
            .bind(account)
            .bind(now.0)
            .bind(after.map_or(start, |cursor| cursor.starts_at))
            .bind(after.map_or("", |cursor| cursor.id.as_str()))
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(Listed::try_from).collect()
    }
}
