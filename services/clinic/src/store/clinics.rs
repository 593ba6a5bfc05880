//! Clinics and who works there.
//! Reads and writes: `clinics`, and the dentists of `accounts`. Never: removes a clinic; one that is not in the setup
//! any more keeps its appointments.

use sqlx::FromRow;

use super::{Store, StoreError};
use crate::calendar::Hours;

/// A clinic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clinic {
    /// Short name, as in the setup.
    pub id: String,
    /// As people call it.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Its IANA time zone.
    pub time_zone: String,
    /// When it is open.
    pub hours: Hours,
}

/// A dentist as patients see one.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Dentist {
    /// The account.
    pub id: String,
    /// The clinic.
    pub clinic_id: String,
    /// The name.
    pub name: String,
}

#[derive(FromRow)]
struct ClinicRow {
    id: String,
    name: String,
    address: String,
    time_zone: String,
    opens: i64,
    closes: i64,
    slot_minutes: i64,
    weekdays: i64,
}

impl From<ClinicRow> for Clinic {
    fn from(row: ClinicRow) -> Self {
        let ClinicRow { id, name, address, time_zone, opens, closes, slot_minutes, weekdays } = row;
        let hours = Hours { opens, closes, slot_minutes, weekdays };
        Self { id, name, address, time_zone, hours }
    }
}

const COLUMNS: &str = "id, name, address, time_zone, opens, closes, slot_minutes, weekdays";

impl Store {
    /// Writes a clinic as the setup says.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn save_clinic(&self, clinic: &Clinic) -> Result<(), StoreError> {
        let sql = "INSERT INTO clinics (id, name, address, time_zone, opens, closes, slot_minutes, weekdays) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                   ON CONFLICT (id) DO UPDATE SET name = excluded.name, address = excluded.address, \
                   time_zone = excluded.time_zone, opens = excluded.opens, closes = excluded.closes, \
                   slot_minutes = excluded.slot_minutes, weekdays = excluded.weekdays";
        sqlx::query(sql)
            .bind(&clinic.id)
            .bind(&clinic.name)
            .bind(&clinic.address)
            .bind(&clinic.time_zone)
            .bind(clinic.hours.opens)
            .bind(clinic.hours.closes)
            .bind(clinic.hours.slot_minutes)
            .bind(clinic.hours.weekdays)
            .execute(&self.writes)
            .await?;
        Ok(())
    }

    /// All clinics by name.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn clinics(&self) -> Result<Vec<Clinic>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM clinics ORDER BY name, id LIMIT 500");
        let rows: Vec<ClinicRow> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(Clinic::from).collect())
    }

    /// One clinic.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn clinic(&self, id: &str) -> Result<Option<Clinic>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM clinics WHERE id = $1");
        let row: Option<ClinicRow> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(&self.pool).await?;
        Ok(row.map(Clinic::from))
    }

    /// All dentists by name.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn dentists(&self) -> Result<Vec<Dentist>, StoreError> {
        let sql = "SELECT id, clinic_id, name FROM accounts WHERE role = 'dentist' ORDER BY name, id LIMIT 5000";
        Ok(sqlx::query_as(sql).fetch_all(&self.pool).await?)
    }

    /// One dentist.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn dentist(&self, id: &str) -> Result<Option<Dentist>, StoreError> {
        let sql = "SELECT id, clinic_id, name FROM accounts WHERE id = $1 AND role = 'dentist'";
        Ok(sqlx::query_as(sql).bind(id).fetch_optional(&self.pool).await?)
    }

    /// The times of a dentist that somebody holds, from `from` on and before `until`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn held(&self, dentist: &str, from: i64, until: i64) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT starts_at FROM held_times WHERE dentist_id = $1 AND starts_at >= $2 AND starts_at < $3 \
                   ORDER BY starts_at LIMIT 1000";
        let query = sqlx::query_scalar(sql).bind(dentist).bind(from).bind(until);
        Ok(query.fetch_all(&self.pool).await?)
    }
}
