//! Jobs of slash commands.
//! Reads and writes: `jobs`; every step is a change of the room. Never: moves a job that ended.

use campana_bus::clock::Micros;

use super::timeline::{About, FileCard, Kind, Message, message, message_sql, next_seq};
use super::{Store, StoreError};

/// How a job goes on.
#[derive(Clone, Debug)]
pub enum Step {
    /// It is at work, so many percent are done.
    Running(i64),
    /// It made this; the file has its row already.
    Done(FileCard),
    /// It cannot be done: a code.
    Failed(&'static str),
}

impl Store {
    /// Notes a step and tells the room. False if the job ended before, or its message was deleted.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn job_step(
        &self,
        room: &str,
        job: &Message,
        step: &Step,
        now: Micros,
    ) -> Result<bool, StoreError> {
        let (state, progress, detail, file) = match step {
            Step::Running(percent) => ("running", (*percent).clamp(0, 99), "", None),
            Step::Done(file) => ("done", 100, "", Some(file)),
            Step::Failed(code) => ("failed", 0, *code, None),
        };
        let mut tx = self.begin().await?;
        let Some(seq) = next_seq(&mut tx, room).await? else { return Ok(false) };
        let changed = sqlx::query(
            "UPDATE jobs SET state = $2, progress = $3, detail = $4, file_id = $5, updated_at = $6 \
             WHERE message_id = $1 AND state IN ('waiting', 'running') \
             AND EXISTS (SELECT 1 FROM messages m WHERE m.id = $1 AND m.deleted_at = 0)",
        )
        .bind(&job.id)
        .bind(state)
        .bind(progress)
        .bind(detail)
        .bind(file.map(|file| file.id.as_str()))
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        let about = About { room, seq, kind: Kind::Job, message: Some(&job.id), person: None, now };
        self.tell(&mut tx, about).await?;
        self.commit(tx).await?;
        Ok(true)
    }

    /// Messages after a number and up to another, oldest first, at most `limit`: what an export reads.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn forwards(
        &self,
        room: &str,
        after: i64,
        upto: i64,
        limit: i64,
    ) -> Result<Vec<Message>, StoreError> {
        let rows = sqlx::query(message_sql!(
            "WHERE m.room_id = $1 AND m.seq > $2 AND m.seq <= $3 ORDER BY m.seq LIMIT $4"
        ))
        .bind(room)
        .bind(after)
        .bind(upto)
        .bind(limit)
        .fetch_all(&self.reads)
        .await?;
        Ok(rows.iter().map(message).collect::<Result<_, _>>()?)
    }

    /// The newest picture of a room before a number.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn last_picture(
        &self,
        room: &str,
        before: i64,
    ) -> Result<Option<FileCard>, StoreError> {
        let row = sqlx::query(message_sql!(
            "WHERE m.room_id = $1 AND m.seq < $2 AND f.media_type IN ('image/png', 'image/jpeg') \
             ORDER BY m.seq DESC LIMIT 1"
        ));
        let row = row.bind(room).bind(before).fetch_optional(&self.reads).await?;
        let found = row.as_ref().map(message).transpose()?;
        Ok(found.and_then(|message| message.file))
    }
}
