//! People to reach: addresses and preferences.
//! Reads and writes: table `recipients`. Never: logs an address; `Debug` shows ids only.

use std::collections::BTreeMap;
use std::fmt;

use campana_bus::clock::Micros;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Store, StoreError};

/// One person to reach.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Recipient {
    /// Whose.
    pub tenant: String,
    /// As the tenant names people.
    pub id: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number in E.164 form.
    pub phone: Option<String>,
    /// WhatsApp number in E.164 form; the phone number is used if there is none.
    pub whatsapp: Option<String>,
    /// Where webhooks go.
    pub webhook_url: Option<String>,
    /// The secret that signs them (`whsec_…`).
    pub webhook_secret: Option<String>,
    /// BCP 47 language tag.
    pub locale: Option<String>,
    /// Channel name to wanted or not; a channel that is not listed is wanted.
    pub preferences: BTreeMap<String, bool>,
    /// When it was first written.
    pub created_at: Micros,
    /// When it was last written.
    pub updated_at: Micros,
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient")
            .field("tenant", &self.tenant)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

const COLUMNS: &str = "tenant, id, email, phone, whatsapp, webhook_url, webhook_secret, locale, preferences, \
                       created_at, updated_at";

impl Store {
    /// One recipient.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn recipient(&self, tenant: &str, id: &str) -> Result<Option<Recipient>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM recipients WHERE tenant = $1 AND id = $2");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant)
            .bind(id)
            .fetch_optional(&self.reads)
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// The recipients among `ids` that exist, in no particular order; any number of ids.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn recipients_by_id(
        &self,
        tenant: &str,
        ids: &[String],
    ) -> Result<Vec<Recipient>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for chunk in super::statements(ids) {
            let (one, list) = (self.engine.parameter(1), self.engine.parameters(2, chunk.len()));
            let sql =
                format!("SELECT {COLUMNS} FROM recipients WHERE tenant = {one} AND id IN ({list})");
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant);
            for id in chunk {
                query = query.bind(id);
            }
            for row in query.fetch_all(&self.reads).await? {
                found.push(from_row(&row)?);
            }
        }
        Ok(found)
    }

    /// A page of recipients ordered by id, after `after`.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn list_recipients(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Recipient>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM recipients WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant)
            .bind(after.unwrap_or(""))
            .bind(i64::from(limit))
            .fetch_all(&self.reads)
            .await?;
        rows.iter().map(from_row).collect()
    }

    /// Writes a recipient whole. A missing webhook secret keeps the stored one, because it is never shown.
    /// Returns true if it is new.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_recipient(&self, recipient: &Recipient) -> Result<bool, StoreError> {
        let preferences = super::templates::to_json(&recipient.preferences);
        let sql = format!(
            "INSERT INTO recipients ({COLUMNS}) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11) \
             ON CONFLICT (tenant, id) DO UPDATE SET email = excluded.email, phone = excluded.phone, \
             whatsapp = excluded.whatsapp, webhook_url = excluded.webhook_url, \
             webhook_secret = COALESCE(excluded.webhook_secret, recipients.webhook_secret), \
             locale = excluded.locale, preferences = excluded.preferences, updated_at = excluded.updated_at \
             RETURNING created_at"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(&recipient.tenant)
            .bind(&recipient.id)
            .bind(&recipient.email)
            .bind(&recipient.phone)
            .bind(&recipient.whatsapp)
            .bind(&recipient.webhook_url)
            .bind(&recipient.webhook_secret)
            .bind(&recipient.locale)
            .bind(preferences)
            .bind(recipient.created_at.0)
            .bind(recipient.updated_at.0)
            .fetch_one(&self.writes)
            .await?;
        Ok(row.try_get::<i64, _>(0)? == recipient.created_at.0)
    }

    /// Writes a recipient with nothing but its id if there is none yet.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn ensure_recipient(
        &self,
        tenant: &str,
        id: &str,
        now: Micros,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO recipients (tenant, id, preferences, created_at, updated_at) \
             VALUES ($1, $2, '{}', $3, $3) ON CONFLICT (tenant, id) DO NOTHING",
        )
        .bind(tenant)
        .bind(id)
        .bind(now.0)
        .execute(&self.writes)
        .await?;
        Ok(())
    }

    /// Deletes a recipient; true if there was one.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn delete_recipient(&self, tenant: &str, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM recipients WHERE tenant = $1 AND id = $2")
            .bind(tenant)
            .bind(id)
            .execute(&self.writes)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

fn from_row(row: &AnyRow) -> Result<Recipient, StoreError> {
    let id: String = row.try_get("id")?;
    let preferences: String = row.try_get("preferences")?;
    let preferences = serde_json::from_str(&preferences).map_err(|_| StoreError::Corrupt {
        table: "recipients",
        column: "preferences",
        row: id.clone(),
    })?;
    Ok(Recipient {
        tenant: row.try_get("tenant")?,
        id,
        email: row.try_get("email")?,
        phone: row.try_get("phone")?,
        whatsapp: row.try_get("whatsapp")?,
        webhook_url: row.try_get("webhook_url")?,
        webhook_secret: row.try_get("webhook_secret")?,
        locale: row.try_get("locale")?,
        preferences,
        created_at: Micros(row.try_get("created_at")?),
        updated_at: Micros(row.try_get("updated_at")?),
    })
}
