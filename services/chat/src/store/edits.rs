//! Messages that are changed: edited, deleted.
//! Reads and writes: `messages`, `jobs`; changes go through [`super::timeline`]. Never: keeps the text of a message that
//! was deleted.

use campana_bus::clock::Micros;

use super::messages::standing;
use super::timeline::{About, Change, Kind, Message, message, message_sql, next_seq};
use super::{Store, StoreError, Tx};

/// What became of an edit or a deletion.
#[derive(Debug)]
pub enum Changed {
    /// It was done. The file is one that nothing refers to any more.
    Done(Box<Change>, Option<String>),
    /// There is no such message in this room.
    NotFound,
    /// It is somebody else's, or a command, or the person may not write now.
    Forbidden,
}

impl Store {
    /// Gives a message another text.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn edit(
        &self,
        target: (&str, &str),
        who: &str,
        text: (&str, &str),
        now: Micros,
    ) -> Result<Changed, StoreError> {
        let (room, id) = target;
        let mut tx = self.begin().await?;
        let Some(seq) = next_seq(&mut tx, room).await? else { return Ok(Changed::NotFound) };
        let Some(standing) = standing(&mut tx, room, who).await? else {
            return Ok(Changed::NotFound);
        };
        let Some(found) = in_room(&mut tx, room, id).await? else { return Ok(Changed::NotFound) };
        let may_write = standing.muted_until <= now.0;
        if found.author.id != who || found.job.is_some() || !may_write {
            return Ok(Changed::Forbidden);
        }
        let sql = "UPDATE messages SET body = $2, folded = $3, edited_at = $4 WHERE id = $1";
        let update = sqlx::query(sql).bind(id).bind(text.0).bind(text.1).bind(now.0);
        update.execute(&mut *tx).await?;
        let about = About { room, seq, kind: Kind::Edit, message: Some(id), person: None, now };
        let change = self.tell(&mut tx, about).await?;
        self.commit(tx).await?;
        Ok(Changed::Done(Box::new(change), None))
    }

    /// Deletes a message: one's own, or as a moderator anybody's.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn delete(
        &self,
        room: &str,
        id: &str,
        who: &str,
        now: Micros,
    ) -> Result<Changed, StoreError> {
        let mut tx = self.begin().await?;
        let Some(seq) = next_seq(&mut tx, room).await? else { return Ok(Changed::NotFound) };
        let Some(standing) = standing(&mut tx, room, who).await? else {
            return Ok(Changed::NotFound);
        };
        let Some(found) = in_room(&mut tx, room, id).await? else { return Ok(Changed::NotFound) };
        if found.author.id != who && standing.role == "member" {
            return Ok(Changed::Forbidden);
        }
        let sql = "UPDATE messages SET body = '', folded = '', file_id = NULL, deleted_at = $2 WHERE id = $1";
        sqlx::query(sql).bind(id).bind(now.0).execute(&mut *tx).await?;
        let sql = "UPDATE jobs SET file_id = NULL WHERE message_id = $1";
        sqlx::query(sql).bind(id).execute(&mut *tx).await?;
        let about =
            About { room, seq, kind: Kind::Delete, message: Some(id), person: Some(who), now };
        let change = self.tell(&mut tx, about).await?;
        self.commit(tx).await?;
        let left = found.file.or(found.job.and_then(|job| job.file)).map(|file| file.id);
        Ok(Changed::Done(Box::new(change), left))
    }
}

/// A message of this room that was not deleted.
async fn in_room(tx: &mut Tx, room: &str, id: &str) -> Result<Option<Message>, StoreError> {
    let row = sqlx::query(message_sql!("WHERE m.id = $1 AND m.room_id = $2 AND m.deleted_at = 0"));
    let row = row.bind(id).bind(room).fetch_optional(&mut **tx).await?;
    Ok(row.as_ref().map(message).transpose()?)
}
