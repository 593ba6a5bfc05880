//! Message templates: one source per channel.
//! Reads and writes: table `templates`. Never: renders; the dispatcher does, with a work limit.

use campana_bus::clock::Micros;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Store, StoreError};

/// One template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Whose.
    pub tenant: String,
    /// Its name.
    pub key: String,
    /// The sources.
    pub channels: TemplateChannels,
    /// When it was first written.
    pub created_at: Micros,
    /// When it was last written.
    pub updated_at: Micros,
}

/// The minijinja sources of a template; a channel that is missing is not used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateChannels {
    /// The bell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_app: Option<InAppTemplate>,
    /// E-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailTemplate>,
    /// SMS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms: Option<TextTemplate>,
    /// WhatsApp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whatsapp: Option<TextTemplate>,
    /// Webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookTemplate>,
}

/// Sources of the bell's message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InAppTemplate {
    /// One line.
    pub title: String,
    /// The text.
    #[serde(default)]
    pub body: String,
    /// Where a click leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Sources of an e-mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailTemplate {
    /// One line.
    pub subject: String,
    /// Plain text.
    #[serde(default)]
    pub text: String,
    /// HTML alternative, rendered with HTML escaping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

/// Source of a message that is only text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextTemplate {
    /// The text.
    pub text: String,
}

/// Sources of a webhook's message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookTemplate {
    /// One line.
    pub title: String,
    /// The text.
    #[serde(default)]
    pub body: String,
}

impl Store {
    /// One template.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn template(&self, tenant: &str, key: &str) -> Result<Option<Template>, StoreError> {
        let row = sqlx::query(
            "SELECT tenant, template_key, channels, created_at, updated_at FROM templates \
             WHERE tenant = $1 AND template_key = $2",
        )
        .bind(tenant)
        .bind(key)
        .fetch_optional(&self.reads)
        .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// The templates among `keys` that exist, in no particular order; any number of keys.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn templates_by_key(
        &self,
        tenant: &str,
        keys: &[String],
    ) -> Result<Vec<Template>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for chunk in super::statements(keys) {
            let (one, list) = (self.engine.parameter(1), self.engine.parameters(2, chunk.len()));
            let sql = format!(
                "SELECT tenant, template_key, channels, created_at, updated_at FROM templates \
                 WHERE tenant = {one} AND template_key IN ({list})"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant);
            for key in chunk {
                query = query.bind(key);
            }
            for row in query.fetch_all(&self.reads).await? {
                found.push(from_row(&row)?);
            }
        }
        Ok(found)
    }

    /// A page of templates ordered by key, after `after`.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn list_templates(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Template>, StoreError> {
        let rows = sqlx::query(
            "SELECT tenant, template_key, channels, created_at, updated_at FROM templates \
             WHERE tenant = $1 AND template_key > $2 ORDER BY template_key LIMIT $3",
        )
        .bind(tenant)
        .bind(after.unwrap_or(""))
        .bind(i64::from(limit))
        .fetch_all(&self.reads)
        .await?;
        rows.iter().map(from_row).collect()
    }

    /// Writes a template whole. Returns true if it is new.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_template(&self, template: &Template) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "INSERT INTO templates (tenant, template_key, channels, created_at, updated_at) \
             VALUES ($1,$2,$3,$4,$5) ON CONFLICT (tenant, template_key) DO UPDATE SET \
             channels = excluded.channels, updated_at = excluded.updated_at RETURNING created_at",
        )
        .bind(&template.tenant)
        .bind(&template.key)
        .bind(to_json(&template.channels))
        .bind(template.created_at.0)
        .bind(template.updated_at.0)
        .fetch_one(&self.writes)
        .await?;
        Ok(row.try_get::<i64, _>(0)? == template.created_at.0)
    }

    /// Deletes a template; true if there was one.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn delete_template(&self, tenant: &str, key: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM templates WHERE tenant = $1 AND template_key = $2")
            .bind(tenant)
            .bind(key)
            .execute(&self.writes)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

/// JSON text of a map or struct of plain values.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .expect("string-keyed maps and structs of plain values always encode")
}

fn from_row(row: &AnyRow) -> Result<Template, StoreError> {
    let key: String = row.try_get("template_key")?;
    let channels: String = row.try_get("channels")?;
    let channels = serde_json::from_str(&channels).map_err(|_| StoreError::Corrupt {
        table: "templates",
        column: "channels",
        row: key.clone(),
    })?;
    Ok(Template {
        tenant: row.try_get("tenant")?,
        key,
        channels,
        created_at: Micros(row.try_get("created_at")?),
        updated_at: Micros(row.try_get("updated_at")?),
    })
}
