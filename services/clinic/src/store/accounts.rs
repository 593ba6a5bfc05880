//! People and their sessions.
//! Reads and writes: `accounts`, `sessions`; tells `account_saved` in the same transaction. Never: sees a password or
//! the secret of a session; it is handed their hashes.

use campana_bus::clock::Micros;
use sqlx::FromRow;

use super::{Store, StoreError};
use crate::appointment::Role;
use crate::events::AccountSaved;

/// Sessions of one account; the oldest go first.
const SESSIONS_MAX: i64 = 20;

/// Somebody with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `pat_…` or `den_…`; also the recipient's id at the notification platform and the user's name at the edge.
    pub id: String,
    /// Patient or dentist.
    pub role: Role,
    /// Of a dentist; empty for patients.
    pub clinic_id: String,
    /// In small letters.
    pub email: String,
    /// As they want to be called.
    pub name: String,
    /// argon2id in PHC form; empty: no password opens it.
    pub password_hash: String,
    /// `es` or `en`.
    pub language: String,
    /// E.164, or empty.
    pub phone: String,
    /// Whether e-mail is wanted.
    pub wants_email: bool,
    /// Whether SMS are wanted.
    pub wants_sms: bool,
    /// Whether WhatsApp messages are wanted.
    pub wants_whatsapp: bool,
    /// Counts the changes, from 1.
    pub version: i64,
}

/// A session as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct Session {
    /// Names it; opens nothing.
    pub id: String,
    /// What the browser called itself.
    pub device: String,
    /// Microseconds.
    pub created_at: i64,
    /// Microseconds, to the minute.
    pub last_used_at: i64,
}

/// A session to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// SHA-256 of the cookie's value.
    pub secret_hash: &'a str,
    /// Its public name.
    pub id: &'a str,
    /// Whose.
    pub account: &'a str,
    /// What the browser called itself.
    pub device: &'a str,
    /// Now.
    pub now: Micros,
    /// When it ends.
    pub expires_at: Micros,
}

#[derive(FromRow)]
struct AccountRow {
    id: String,
    role: String,
    clinic_id: String,
    email: String,
    name: String,
    password_hash: String,
    language: String,
    phone: String,
    wants_email: i64,
    wants_sms: i64,
    wants_whatsapp: i64,
    version: i64,
}

impl TryFrom<AccountRow> for Account {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        let role = Role::parse(&row.role);
        Ok(Self {
            role: role.ok_or(StoreError::Corrupt { table: "accounts", column: "role" })?,
            id: row.id,
            clinic_id: row.clinic_id,
            email: row.email,
            name: row.name,
            password_hash: row.password_hash,
            language: row.language,
            phone: row.phone,
            wants_email: row.wants_email != 0,
            wants_sms: row.wants_sms != 0,
            wants_whatsapp: row.wants_whatsapp != 0,
            version: row.version,
        })
    }
}

const COLUMNS: &str = "a.id, a.role, a.clinic_id, a.email, a.name, a.password_hash, a.language, a.phone, \
                       a.wants_email, a.wants_sms, a.wants_whatsapp, a.version";

impl Store {
    async fn one_account(&self, rest: &str, value: &str) -> Result<Option<Account>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM accounts a {rest}");
        let row: Option<AccountRow> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(value).fetch_optional(&self.pool).await?;
        row.map(Account::try_from).transpose()
    }

    /// An account by its id.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn account(&self, id: &str) -> Result<Option<Account>, StoreError> {
        self.one_account("WHERE a.id = $1", id).await
    }

    /// An account by its e-mail address, in small letters.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn account_of(&self, email: &str) -> Result<Option<Account>, StoreError> {
        self.one_account("WHERE a.email = $1", email).await
    }

    /// Makes an account and tells it. False if the address or the id has one already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn create_account(&self, new: &Account, now: Micros) -> Result<bool, StoreError> {
        let sql = "INSERT INTO accounts (id, role, clinic_id, email, name, password_hash, language, phone, \
                   wants_email, wants_sms, wants_whatsapp, version, created_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12) ON CONFLICT DO NOTHING";
        let mut tx = self.writes.begin().await?;
        let insert = sqlx::query(sql)
            .bind(&new.id)
            .bind(new.role.as_str())
            .bind(&new.clinic_id)
            .bind(&new.email)
            .bind(&new.name)
            .bind(&new.password_hash)
            .bind(&new.language)
            .bind(&new.phone)
            .bind(i64::from(new.wants_email))
            .bind(i64::from(new.wants_sms))
            .bind(i64::from(new.wants_whatsapp))
            .bind(now.0);
        if insert.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        let saved = AccountSaved { id: format!("{}-1", new.id), account: new.id.clone() };
        self.outbox.add(&mut tx, &saved).await?;
        self.outbox.commit(tx).await?;
        Ok(true)
    }

    /// Changes name, language, phone and wishes, and tells it. `None` if somebody else changed it meanwhile.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn save_account(&self, account: &Account) -> Result<Option<Account>, StoreError> {
        let sql = "UPDATE accounts SET name = $1, language = $2, phone = $3, wants_email = $4, wants_sms = $5, \
                   wants_whatsapp = $6, version = version + 1 WHERE id = $7 AND version = $8";
        let mut tx = self.writes.begin().await?;
        let update = sqlx::query(sql)
            .bind(&account.name)
            .bind(&account.language)
            .bind(&account.phone)
            .bind(i64::from(account.wants_email))
            .bind(i64::from(account.wants_sms))
            .bind(i64::from(account.wants_whatsapp))
            .bind(&account.id)
            .bind(account.version);
        if update.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(None);
        }
        let saved = Account { version: account.version.saturating_add(1), ..account.clone() };
        let id = format!("{}-{}", saved.id, saved.version);
        self.outbox.add(&mut tx, &AccountSaved { id, account: saved.id.clone() }).await?;
        self.outbox.commit(tx).await?;
        Ok(Some(saved))
    }

    /// Stores a session; those that have ended and more than twenty of one account go.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn open_session(&self, new: NewSession<'_>) -> Result<(), StoreError> {
        let mut tx = self.writes.begin().await?;
        let ended = "DELETE FROM sessions WHERE account_id = $1 AND expires_at <= $2";
        sqlx::query(ended).bind(new.account).bind(new.now.0).execute(&mut *tx).await?;
        let insert = "INSERT INTO sessions (secret_hash, id, account_id, device, created_at, last_used_at, expires_at) \
                      VALUES ($1, $2, $3, $4, $5, $5, $6)";
        sqlx::query(insert)
            .bind(new.secret_hash)
            .bind(new.id)
            .bind(new.account)
            .bind(new.device)
            .bind(new.now.0)
            .bind(new.expires_at.0)
            .execute(&mut *tx)
            .await?;
        let surplus = "DELETE FROM sessions WHERE account_id = $1 AND id NOT IN \
                       (SELECT id FROM sessions WHERE account_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2)";
        sqlx::query(surplus).bind(new.account).bind(SESSIONS_MAX).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whose session it is, and its public name, if it has not ended.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn session(
        &self,
        secret_hash: &str,
        now: Micros,
    ) -> Result<Option<(Account, String)>, StoreError> {
        let sql = "SELECT id, account_id, last_used_at FROM sessions WHERE secret_hash = $1 AND expires_at > $2";
        let found: Option<(String, String, i64)> =
            sqlx::query_as(sql).bind(secret_hash).bind(now.0).fetch_optional(&self.pool).await?;
        let Some((id, account, last_used_at)) = found else { return Ok(None) };
        // A minute is exact enough, and saves a write for each request.
        if last_used_at < now.plus_seconds(-60).0 {
            let used = "UPDATE sessions SET last_used_at = $1 WHERE secret_hash = $2";
            sqlx::query(used).bind(now.0).bind(secret_hash).execute(&self.writes).await?;
        }
        Ok(self.account(&account).await?.map(|account| (account, id)))
    }

    /// The sessions of an account, the newest first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn sessions(&self, account: &str, now: Micros) -> Result<Vec<Session>, StoreError> {
        let sql = "SELECT id, device, created_at, last_used_at FROM sessions \
                   WHERE account_id = $1 AND expires_at > $2 ORDER BY last_used_at DESC, id LIMIT 100";
        Ok(sqlx::query_as(sql).bind(account).bind(now.0).fetch_all(&self.pool).await?)
    }

    /// Ends a session of this account. False if it has none of this name.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn end_session(&self, account: &str, id: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM sessions WHERE account_id = $1 AND id = $2";
        let ended = sqlx::query(sql).bind(account).bind(id).execute(&self.writes).await?;
        Ok(ended.rows_affected() > 0)
    }
}
