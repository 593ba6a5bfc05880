//! Attachments: what the database knows of them. The bytes lie in the object store, see `crate::files`.
//! Reads and writes: `files`. Never: forgets a row before its bytes are gone, so that no bytes are nobody's.

use campana_bus::clock::Micros;
use sqlx::Row as _;

use super::timeline::FileCard;
use super::{Store, StoreError};

/// Files that are forgotten in one go.
const ORPHANS_MAX: i64 = 100;

impl Store {
    /// Notes a file before its bytes are stored: what is never used is found and forgotten later.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn add_file(
        &self,
        file: &FileCard,
        room: &str,
        person: &str,
        now: Micros,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO files (id, room_id, person_id, name, media_type, size, created_at) \
             VALUES ($1,$2,$3,$4,$5,$6,$7)",
        )
        .bind(&file.id)
        .bind(room)
        .bind(person)
        .bind(&file.name)
        .bind(&file.media_type)
        .bind(file.size)
        .bind(now.0)
        .execute(&self.writes)
        .await?;
        Ok(())
    }

    /// A file and its room.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn file(&self, id: &str) -> Result<Option<(String, FileCard)>, StoreError> {
        let sql =
            "SELECT id, room_id, name, media_type, size FROM files WHERE id = $1 AND gone = 0";
        let Some(row) = sqlx::query(sql).bind(id).fetch_optional(&self.reads).await? else {
            return Ok(None);
        };
        let card = FileCard {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            media_type: row.try_get("media_type")?,
            size: row.try_get("size")?,
        };
        Ok(Some((row.try_get("room_id")?, card)))
    }

    /// Files that nothing refers to and that are older than `before`, and those whose removal did not end; at most
    /// 100.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn orphans(&self, before: Micros) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT f.id FROM files f WHERE f.gone = 1 OR (f.created_at < $1 \
                   AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.file_id = f.id) \
                   AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.file_id = f.id)) LIMIT $2";
        let query = sqlx::query_scalar(sql).bind(before.0).bind(ORPHANS_MAX);
        Ok(query.fetch_all(&self.reads).await?)
    }

    /// Marks a file that nothing refers to, so that nobody is shown it any more. False if something does after all.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn retire_file(&self, id: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE files SET gone = 1 WHERE id = $1 \
                   AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.file_id = $1) \
                   AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.file_id = $1)";
        Ok(sqlx::query(sql).bind(id).execute(&self.writes).await?.rows_affected() > 0)
    }

    /// Forgets a retired file, after its bytes.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn forget_file(&self, id: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM files WHERE id = $1 AND gone = 1";
        sqlx::query(sql).bind(id).execute(&self.writes).await?;
        Ok(())
    }
}
