//! Accounts and their sessions.
//! Reads and writes: `people`, `sessions`. Never: sees a password or the secret of a session (it stores hashes), or ends
//! a session without saying in the same transaction that its tokens are over.

use campana_bus::clock::Micros;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError, Tx};
use crate::events::AccessEnded;

/// Sessions of one person; those that were not used for longest go first.
const SESSIONS_MAX: i64 = 20;

/// What others see of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// The user at the edge.
    pub id: String,
    /// What others type after `@`.
    pub handle: String,
    /// What others read.
    pub name: String,
}

/// One signed-in browser.
#[derive(Clone, Debug, Serialize)]
pub struct Session {
    /// What revokes it.
    pub id: String,
    /// What the browser called itself.
    pub label: String,
    /// When it began, in microseconds.
    pub created_at: i64,
    /// When it was last used, to the minute.
    pub seen_at: i64,
    /// When it ends by itself.
    pub expires_at: i64,
}

/// `handle, name` beside the id of a person, as every statement selects them.
pub(super) fn person(row: &AnyRow) -> Result<Person, sqlx::Error> {
    Ok(Person {
        id: row.try_get("person_id")?,
        handle: row.try_get("handle")?,
        name: row.try_get("name")?,
    })
}

fn session(row: &AnyRow) -> Result<Session, sqlx::Error> {
    Ok(Session {
        id: row.try_get("id")?,
        label: row.try_get("label")?,
        created_at: row.try_get("created_at")?,
        seen_at: row.try_get("seen_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}

impl Store {
    /// Makes an account.
    ///
    /// # Errors
    /// If the handle is taken ([`StoreError::is_taken`]) or the database does not answer.
    pub async fn add_person(
        &self,
        person: &Person,
        password: &str,
        demo: bool,
        now: Micros,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO people (id, handle, name, password, demo, created_at) VALUES ($1,$2,$3,$4,$5,$6)",
        )
        .bind(&person.id)
        .bind(&person.handle)
        .bind(&person.name)
        .bind(password)
        .bind(i64::from(demo))
        .bind(now.0)
        .execute(&self.writes)
        .await?;
        Ok(())
    }

    /// A person and the hash of the password.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn person_by_handle(
        &self,
        handle: &str,
    ) -> Result<Option<(Person, String)>, StoreError> {
        let sql = "SELECT id AS person_id, handle, name, password FROM people WHERE handle = $1";
        let row = sqlx::query(sql).bind(handle).fetch_optional(&self.reads).await?;
        Ok(row
            .map(|row| Ok::<_, sqlx::Error>((person(&row)?, row.try_get("password")?)))
            .transpose()?)
    }

    /// A person.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn person(&self, id: &str) -> Result<Option<Person>, StoreError> {
        let sql = "SELECT id AS person_id, handle, name FROM people WHERE id = $1";
        let row = sqlx::query(sql).bind(id).fetch_optional(&self.reads).await?;
        Ok(row.as_ref().map(person).transpose()?)
    }

    /// Accounts of the demo, for its login page.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn demo_people(&self) -> Result<Vec<Person>, StoreError> {
        let sql = "SELECT id AS person_id, handle, name FROM people WHERE demo = 1 ORDER BY handle LIMIT 20";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await?;
        Ok(rows.iter().map(person).collect::<Result<_, _>>()?)
    }

    /// Begins a session; sessions that are over, and more than twenty of one person, are forgotten on the way.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn add_session(
        &self,
        session: &Session,
        secret_hash: &str,
        person: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM sessions WHERE expires_at < $1")
            .bind(session.created_at)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO sessions (id, secret_hash, person_id, label, created_at, seen_at, expires_at) \
             VALUES ($1,$2,$3,$4,$5,$6,$7)",
        )
        .bind(&session.id)
        .bind(secret_hash)
        .bind(person)
        .bind(&session.label)
        .bind(session.created_at)
        .bind(session.seen_at)
        .bind(session.expires_at)
        .execute(&mut *tx)
        .await?;
        let surplus = "SELECT id FROM sessions WHERE person_id = $1 AND id <> $2 \
                       ORDER BY seen_at DESC, id LIMIT 1000 OFFSET $3";
        let surplus = sqlx::query_scalar(surplus).bind(person).bind(&session.id);
        let surplus: Vec<String> = surplus.bind(SESSIONS_MAX - 1).fetch_all(&mut *tx).await?;
        for id in surplus {
            self.end(&mut tx, person, &id).await?;
        }
        self.commit(tx).await
    }

    /// Whose session this is, if it is good at `now`.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn session(
        &self,
        secret_hash: &str,
        now: Micros,
    ) -> Result<Option<(Person, Session)>, StoreError> {
        let row = sqlx::query(
            "SELECT s.id, s.label, s.created_at, s.seen_at, s.expires_at, s.person_id, p.handle, p.name \
             FROM sessions s JOIN people p ON p.id = s.person_id WHERE s.secret_hash = $1 AND s.expires_at > $2",
        )
        .bind(secret_hash)
        .bind(now.0)
        .fetch_optional(&self.reads)
        .await?;
        Ok(row.map(|row| Ok::<_, sqlx::Error>((person(&row)?, session(&row)?))).transpose()?)
    }

    /// Notes that a session was used.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn touch_session(&self, id: &str, now: Micros) -> Result<(), StoreError> {
        let sql = "UPDATE sessions SET seen_at = $2 WHERE id = $1";
        sqlx::query(sql).bind(id).bind(now.0).execute(&self.writes).await?;
        Ok(())
    }

    /// A person's sessions that are good, newest first.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn sessions(&self, person: &str, now: Micros) -> Result<Vec<Session>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, label, created_at, seen_at, expires_at FROM sessions \
             WHERE person_id = $1 AND expires_at > $2 ORDER BY seen_at DESC LIMIT 100",
        )
        .bind(person)
        .bind(now.0)
        .fetch_all(&self.reads)
        .await?;
        Ok(rows.iter().map(session).collect::<Result<_, _>>()?)
    }

    /// Ends a session of a person. False if there is none.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn end_session(&self, person: &str, id: &str) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        if !self.end(&mut tx, person, id).await? {
            return Ok(false);
        }
        self.commit(tx).await?;
        Ok(true)
    }

    async fn end(&self, tx: &mut Tx, person: &str, id: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM sessions WHERE person_id = $1 AND id = $2";
        let done = sqlx::query(sql).bind(person).bind(id).execute(&mut **tx).await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.outbox.add(tx, &AccessEnded::of_session(person, id)).await?;
        Ok(true)
    }
}
