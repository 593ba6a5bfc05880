//! Who is connected to the edge at all, as the edge's events say.
//! Reads and writes: `presence`. Never: trusts the order of events: "offline" may be handled before "online" of the
//! same stay, so that the end of a stay is remembered and a late beginning changes nothing.

use campana_bus::clock::Micros;

use super::{Store, StoreError};

/// How long the end of a stay is remembered: longer than an event may be late.
const KEPT_SECONDS: i64 = 7 * 86_400;

impl Store {
    /// A stay began.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn came_online(
        &self,
        person: &str,
        session: &str,
        now: Micros,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO presence (session, person_id, online, at) VALUES ($1,$2,1,$3) \
                   ON CONFLICT (session) DO NOTHING";
        sqlx::query(sql).bind(session).bind(person).bind(now.0).execute(&self.writes).await?;
        Ok(())
    }

    /// A stay ended.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn went_offline(
        &self,
        person: &str,
        session: &str,
        now: Micros,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO presence (session, person_id, online, at) VALUES ($1,$2,0,$3) \
             ON CONFLICT (session) DO UPDATE SET online = 0, at = excluded.at",
        )
        .bind(session)
        .bind(person)
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM presence WHERE person_id = $1 AND online = 0 AND at < $2")
            .bind(person)
            .bind(now.plus_seconds(-KEPT_SECONDS).0)
            .execute(&mut *tx)
            .await?;
        self.commit(tx).await
    }

    /// Whether a person has a stay that did not end.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn is_online(&self, person: &str) -> Result<bool, StoreError> {
        let sql = "SELECT session FROM presence WHERE person_id = $1 AND online = 1 LIMIT 1";
        Ok(sqlx::query(sql).bind(person).fetch_optional(&self.reads).await?.is_some())
    }
}
