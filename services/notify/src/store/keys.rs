//! API keys: who may call the gateway.
//! Reads and writes: table `api_keys`. Never: sees a key's secret; it stores and compares SHA-256 hashes.

use campana_bus::clock::Micros;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, StoreError};

/// One API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its public id (`key_…`).
    pub id: String,
    /// Whose requests it makes.
    pub tenant: String,
    /// What people call it.
    pub name: String,
    /// `reader`, `sender` or `admin`.
    pub role: String,
    /// SHA-256 of the whole key, in lower-case hexadecimal.
    pub hash: String,
    /// When it was made.
    pub created_at: Micros,
    /// When it stops working by itself.
    pub expires_at: Option<Micros>,
    /// When somebody withdrew it.
    pub revoked_at: Option<Micros>,
}

impl KeyRow {
    /// Whether the key works at `now`.
    #[must_use]
    pub fn is_live(&self, now: Micros) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|until| now < until)
    }
}

impl Store {
    /// Writes a new key. A key with the same hash is left as it is, so that a configured key can be
    /// written at every start.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn insert_key(&self, key: &KeyRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO api_keys (id, tenant, name, role, hash, created_at, expires_at, revoked_at) \
             VALUES ($1,$2,$3,$4,$5,$6,$7,$8) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(&key.id)
        .bind(&key.tenant)
        .bind(&key.name)
        .bind(&key.role)
        .bind(&key.hash)
        .bind(key.created_at.0)
        .bind(key.expires_at.map(|at| at.0))
        .bind(key.revoked_at.map(|at| at.0))
        .execute(&self.writes)
        .await?;
        Ok(())
    }

    /// The key with this hash, whether or not it still works.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn key_by_hash(&self, hash: &str) -> Result<Option<KeyRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, tenant, name, role, hash, created_at, expires_at, revoked_at FROM api_keys WHERE hash = $1",
        )
        .bind(hash)
        .fetch_optional(&self.reads)
        .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// A tenant's keys, oldest first; at most 1,000.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn list_keys(&self, tenant: &str) -> Result<Vec<KeyRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, tenant, name, role, hash, created_at, expires_at, revoked_at FROM api_keys \
             WHERE tenant = $1 ORDER BY created_at, id LIMIT 1000",
        )
        .bind(tenant)
        .fetch_all(&self.reads)
        .await?;
        rows.iter().map(from_row).collect()
    }

    /// Withdraws a key; true if it worked until now.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn revoke_key(
        &self,
        tenant: &str,
        id: &str,
        now: Micros,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE api_keys SET revoked_at = $3 WHERE tenant = $1 AND id = $2 AND revoked_at IS NULL",
        )
        .bind(tenant)
        .bind(id)
        .bind(now.0)
        .execute(&self.writes)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

fn from_row(row: &AnyRow) -> Result<KeyRow, StoreError> {
    Ok(KeyRow {
        id: row.try_get("id")?,
        tenant: row.try_get("tenant")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
        hash: row.try_get("hash")?,
        created_at: Micros(row.try_get("created_at")?),
        expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Micros),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(Micros),
    })
}
