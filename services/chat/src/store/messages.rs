//! Messages: written, and read page by page.
//! Reads and writes: `messages`, `jobs`; changes go through [`super::timeline`]. Never: writes what a
//! rule of the room refuses.

use campana_bus::clock::Micros;
use serde::Serialize;
use sqlx::Row as _;

use super::timeline::{About, Change, Kind, Message, message, message_sql, next_seq};
use super::{Store, StoreError, Tx};
use crate::events::{JobRequested, Mentioned};

/// Messages in one page.
pub const PAGE_MAX: i64 = 100;

/// A message to be written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its id, if it becomes one.
    pub id: String,
    /// The room.
    pub room: String,
    /// Who writes.
    pub author: String,
    /// What the client calls it.
    pub client_id: String,
    /// The text.
    pub text: String,
    /// The text as search compares it.
    pub folded: String,
    /// An attachment that was uploaded to this room by this person.
    pub file: Option<String>,
    /// The command and its argument, if it is one.
    pub command: Option<(&'static str, String)>,
    /// Handles that it mentions.
    pub mentions: Vec<String>,
}

/// What became of a draft.
#[derive(Debug)]
pub enum Posted {
    /// It was written.
    New(Change),
    /// It was written before, with the same client id.
    Repeat(Message),
    /// There is no such room, or the person is not in it.
    NotMember,
    /// The person may not write until then.
    Muted(Micros),
    /// The room's pace allows the next message only then.
    TooFast(Micros),
    /// The attachment is not one of this person in this room.
    NoFile,
}

/// A page of a room's messages, oldest first.
#[derive(Debug, Serialize)]
pub struct Page {
    /// The messages as they were at `as_of`.
    pub messages: Vec<Message>,
    /// The room's newest change when they were read: what is newer comes by the edge or from `changes`.
    pub as_of: i64,
    /// Whether there are older ones.
    pub more: bool,
}

pub(super) struct Standing {
    pub(super) role: String,
    pub(super) muted_until: i64,
    slow_seconds: i64,
    kind: String,
}

/// How somebody stands in a room; `None` if not in it.
pub(super) async fn standing(
    tx: &mut Tx,
    room: &str,
    who: &str,
) -> Result<Option<Standing>, StoreError> {
    let row = sqlx::query(
        "SELECT m.role, m.muted_until, r.slow_seconds, r.kind FROM members m JOIN rooms r ON r.id = m.room_id \
         WHERE m.room_id = $1 AND m.person_id = $2",
    )
    .bind(room)
    .bind(who)
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Standing {
        role: row.try_get("role")?,
        muted_until: row.try_get("muted_until")?,
        slow_seconds: row.try_get("slow_seconds")?,
        kind: row.try_get("kind")?,
    }))
}

impl Store {
    /// Writes a message, its change, and what follows from it (mentions, a job) in one transaction.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn post(&self, draft: &Draft, now: Micros) -> Result<Posted, StoreError> {
        let mut tx = self.begin().await?;
        // From here on this room's writers wait for each other, so that what is read below holds.
        let Some(seq) = next_seq(&mut tx, &draft.room).await? else { return Ok(Posted::NotMember) };
        let Some(standing) = standing(&mut tx, &draft.room, &draft.author).await? else {
            return Ok(Posted::NotMember);
        };
        let again = sqlx::query(message_sql!(
            "WHERE m.room_id = $1 AND m.author_id = $2 AND m.client_id = $3"
        ));
        let again = again.bind(&draft.room).bind(&draft.author).bind(&draft.client_id);
        if let Some(row) = again.fetch_optional(&mut *tx).await? {
            return Ok(Posted::Repeat(message(&row)?));
        }
        if let Some(refusal) = refused(&mut tx, draft, &standing, now).await? {
            return Ok(refusal);
        }
        insert(&mut tx, draft, seq, now).await?;
        if let Some((command, argument)) = &draft.command {
            let sql = "INSERT INTO jobs (message_id, command, state, progress, detail, updated_at) \
                       VALUES ($1,$2,'waiting',0,'',$3)";
            sqlx::query(sql).bind(&draft.id).bind(*command).bind(now.0).execute(&mut *tx).await?;
            let event = JobRequested { message: draft.id.clone(), argument: argument.clone() };
            self.outbox.add(&mut tx, &event).await?;
        } else {
            self.mention(&mut tx, draft, &standing, seq).await?;
        }
        let about = About {
            room: &draft.room,
            seq,
            kind: Kind::Message,
            message: Some(&draft.id),
            person: None,
            now,
        };
        let change = self.tell(&mut tx, about).await?;
        self.commit(tx).await?;
        Ok(Posted::New(change))
    }

    /// Puts an event into the outbox for everybody who is named and in the room; in a direct room for the other one.
    async fn mention(
        &self,
        tx: &mut Tx,
        draft: &Draft,
        standing: &Standing,
        seq: i64,
    ) -> Result<(), StoreError> {
        let rows = if standing.kind == "direct" {
            let sql = "SELECT person_id FROM members WHERE room_id = $1 AND person_id <> $2";
            sqlx::query(sql).bind(&draft.room).bind(&draft.author).fetch_all(&mut **tx).await?
        } else {
            let mut rows = Vec::new();
            for handle in &draft.mentions {
                let sql = "SELECT m.person_id FROM members m JOIN people p ON p.id = m.person_id \
                           WHERE m.room_id = $1 AND p.handle = $2 AND m.person_id <> $3";
                let named = sqlx::query(sql).bind(&draft.room).bind(handle).bind(&draft.author);
                rows.extend(named.fetch_optional(&mut **tx).await?);
            }
            rows
        };
        for row in rows {
            let person = row.try_get("person_id")?;
            let event =
                Mentioned { message: draft.id.clone(), room: draft.room.clone(), person, seq };
            self.outbox.add(tx, &event).await?;
        }
        Ok(())
    }

    /// The newest messages before a number (0 for the newest of all).
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn page(&self, room: &str, before: i64, limit: i64) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        // The number first: what is committed in between is in the page and comes again, which its number shows.
        // The other way round it would be in neither.
        let sql = "SELECT last_seq FROM rooms WHERE id = $1";
        let as_of: i64 = sqlx::query_scalar(sql).bind(room).fetch_one(&self.reads).await?;
        let before = if before > 0 { before } else { i64::MAX };
        let rows = sqlx::query(message_sql!(
            "WHERE m.room_id = $1 AND m.seq < $2 ORDER BY m.seq DESC LIMIT $3"
        ))
        .bind(room)
        .bind(before)
        .bind(limit + 1)
        .fetch_all(&self.reads)
        .await?;
        let mut messages = rows.iter().map(message).collect::<Result<Vec<_>, _>>()?;
        let more = i64::try_from(messages.len()).unwrap_or(i64::MAX) > limit;
        messages.truncate(usize::try_from(limit).unwrap_or_default());
        messages.reverse();
        Ok(Page { messages, as_of, more })
    }

    /// One message, wherever it is, and its room.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn message(&self, id: &str) -> Result<Option<(String, Message)>, StoreError> {
        let row = sqlx::query(message_sql!("WHERE m.id = $1")).bind(id);
        let Some(row) = row.fetch_optional(&self.reads).await? else { return Ok(None) };
        let sql = "SELECT room_id FROM messages WHERE id = $1";
        let room = sqlx::query_scalar(sql).bind(id).fetch_one(&self.reads).await?;
        Ok(Some((room, message(&row)?)))
    }
}

/// Why the room does not take the draft now.
async fn refused(
    tx: &mut Tx,
    draft: &Draft,
    standing: &Standing,
    now: Micros,
) -> Result<Option<Posted>, StoreError> {
    if standing.muted_until > now.0 {
        return Ok(Some(Posted::Muted(Micros(standing.muted_until))));
    }
    if standing.slow_seconds > 0 && standing.role == "member" {
        let sql = "SELECT created_at FROM messages WHERE room_id = $1 AND author_id = $2 \
                   ORDER BY created_at DESC LIMIT 1";
        let last = sqlx::query_scalar::<_, i64>(sql).bind(&draft.room).bind(&draft.author);
        if let Some(last) = last.fetch_optional(&mut **tx).await? {
            let next = Micros(last).plus_seconds(standing.slow_seconds);
            if next.0 > now.0 {
                return Ok(Some(Posted::TooFast(next)));
            }
        }
    }
    if let Some(file) = &draft.file {
        let sql = "SELECT f.id FROM files f WHERE f.id = $1 AND f.room_id = $2 AND f.person_id = $3 \
                   AND f.gone = 0 AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.file_id = f.id)";
        let found = sqlx::query(sql).bind(file).bind(&draft.room).bind(&draft.author);
        if found.fetch_optional(&mut **tx).await?.is_none() {
            return Ok(Some(Posted::NoFile));
        }
    }
    Ok(None)
}

async fn insert(tx: &mut Tx, draft: &Draft, seq: i64, now: Micros) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO messages (id, room_id, seq, author_id, client_id, body, folded, file_id, created_at, \
         edited_at, deleted_at) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,0,0)",
    )
    .bind(&draft.id)
    .bind(&draft.room)
    .bind(seq)
    .bind(&draft.author)
    .bind(&draft.client_id)
    .bind(&draft.text)
    .bind(&draft.folded)
    .bind(draft.file.as_deref())
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
