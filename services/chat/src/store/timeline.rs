//! A room's timeline: every change has a number, 1, 2, 3, … without holes, and is told under it.
//! Reads: messages, files, jobs. Writes: `changes`, the room's counter, the outbox. Never: takes a number outside of
//! the transaction that uses it.
//!
//! The counter's row is locked from the moment a number is taken to the commit. So numbers are committed in their
//! order, the outbox tells a room's changes in that order, and a client that holds number 7 and hears number 9
//! knows that it misses exactly number 8.

use bytes::Bytes;
use campana_bus::clock::Micros;
use campana_bus::headers;
use campana_bus::publish::Outgoing;
use campana_bus::subjects::{self, ChannelName};
use campana_bus_sqlx::OutboxError;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::people::{Person, person};
use super::{Store, StoreError, Tx};

/// Changes in one answer.
pub const CHANGES_MAX: i64 = 200;

/// What a page needs to offer a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileCard {
    /// Its id, in addresses and in the object store.
    pub id: String,
    /// What its owner called it.
    pub name: String,
    /// Its type, as its first bytes say.
    pub media_type: String,
    /// Bytes.
    pub size: i64,
}

/// How far the job of a slash command is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobCard {
    /// `export` or `thumbnail`.
    pub command: String,
    /// `waiting`, `running`, `done` or `failed`.
    pub state: String,
    /// 0 to 100.
    pub progress: i64,
    /// Why it failed, as a code.
    pub detail: String,
    /// What it made.
    pub file: Option<FileCard>,
}

/// A message as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// Its place in the room.
    pub seq: i64,
    /// Who wrote it.
    pub author: Person,
    /// What its client called it.
    pub client_id: String,
    /// Empty if it was deleted.
    pub text: String,
    /// Its attachment.
    pub file: Option<FileCard>,
    /// Its job, if it is a command.
    pub job: Option<JobCard>,
    /// When, in microseconds.
    pub created_at: i64,
    /// When it was changed last; 0 for never.
    pub edited_at: i64,
    /// When it was deleted; 0 for never.
    pub deleted_at: i64,
}

/// What happened in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody wrote.
    Message,
    /// A message has another text.
    Edit,
    /// A message is gone.
    Delete,
    /// The job of a command came further.
    Job,
    /// Somebody came in.
    Join,
    /// Somebody left.
    Leave,
    /// Somebody was sent out.
    Ban,
    /// Name, topic or pace of the room changed, or somebody's rights.
    Room,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Message,
        Self::Edit,
        Self::Delete,
        Self::Job,
        Self::Join,
        Self::Leave,
        Self::Ban,
        Self::Room,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Job => "job",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Ban => "ban",
            Self::Room => "room",
        }
    }

    fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Room)
    }
}

/// One change: what subscribers hear, and what `changes` answers to those who missed it.
///
/// The message is the one of now. Whoever reads an old change of a message that was edited since gets the new text
/// twice, which is harmless; whoever reads one of a message that was deleted since gets no text at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its number.
    pub seq: i64,
    /// What happened.
    pub kind: Kind,
    /// When, in microseconds.
    pub at: i64,
    /// The message, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// The person, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
}

/// The columns of a message and what belongs to it; `$tail` continues the statement.
macro_rules! message_sql {
    ($tail:literal) => {
        concat!(
            "SELECT m.id, m.seq, m.client_id, m.body, m.created_at, m.edited_at, m.deleted_at, \
             m.author_id AS person_id, p.handle, p.name, \
             f.id AS file_id, f.name AS file_name, f.media_type AS file_type, f.size AS file_size, \
             j.command, j.state, j.progress, j.detail, \
             g.id AS made_id, g.name AS made_name, g.media_type AS made_type, g.size AS made_size \
             FROM messages m JOIN people p ON p.id = m.author_id \
             LEFT JOIN files f ON f.id = m.file_id \
             LEFT JOIN jobs j ON j.message_id = m.id LEFT JOIN files g ON g.id = j.file_id ",
            $tail
        )
    };
}
pub(super) use message_sql;

fn file(row: &AnyRow, columns: [&str; 4]) -> Result<Option<FileCard>, sqlx::Error> {
    let Some(id) = row.try_get::<Option<String>, _>(columns[0])? else { return Ok(None) };
    Ok(Some(FileCard {
        id,
        name: row.try_get(columns[1])?,
        media_type: row.try_get(columns[2])?,
        size: row.try_get(columns[3])?,
    }))
}

/// A message from a row of [`message_sql`].
pub(super) fn message(row: &AnyRow) -> Result<Message, sqlx::Error> {
    let job = match row.try_get::<Option<String>, _>("command")? {
        None => None,
        Some(command) => Some(JobCard {
            command,
            state: row.try_get("state")?,
            progress: row.try_get("progress")?,
            detail: row.try_get("detail")?,
            file: file(row, ["made_id", "made_name", "made_type", "made_size"])?,
        }),
    };
    Ok(Message {
        id: row.try_get("id")?,
        seq: row.try_get("seq")?,
        author: person(row)?,
        client_id: row.try_get("client_id")?,
        text: row.try_get("body")?,
        file: file(row, ["file_id", "file_name", "file_type", "file_size"])?,
        job,
        created_at: row.try_get("created_at")?,
        edited_at: row.try_get("edited_at")?,
        deleted_at: row.try_get("deleted_at")?,
    })
}

/// The channel of a room at the edge.
#[must_use]
pub fn channel(room: &str) -> String {
    format!("chat:{room}")
}

/// The channel on which one person hears that the list of rooms changed.
#[must_use]
pub fn personal_channel(person: &str) -> String {
    channel(&format!("person-{person}"))
}

/// A message for the channel of a room. `id` is what makes a repeat known.
pub(super) fn for_channel(
    room: &str,
    id: String,
    body: &impl Serialize,
) -> Result<Outgoing, StoreError> {
    let name = ChannelName::parse(&channel(room))
        .map_err(|_| OutboxError::Invalid("a room's id is no name of a channel"))?;
    let body = serde_json::to_vec(body)
        .map_err(|_| OutboxError::Invalid("a change cannot be written as JSON"))?;
    // The key keeps a room's changes in the order of their commits.
    let message = Outgoing::new(subjects::channel("default", &name), id, Bytes::from(body));
    Ok(message.header(headers::KEY, room))
}

/// Takes the room's next number and holds the room's row until the end of the transaction. `None` if there is no
/// such room.
pub(super) async fn next_seq(tx: &mut Tx, room: &str) -> Result<Option<i64>, StoreError> {
    let sql = "UPDATE rooms SET last_seq = last_seq + 1 WHERE id = $1 RETURNING last_seq";
    Ok(sqlx::query_scalar(sql).bind(room).fetch_optional(&mut **tx).await?)
}

/// What a change is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub room: &'a str,
    pub seq: i64,
    pub kind: Kind,
    pub message: Option<&'a str>,
    pub person: Option<&'a str>,
    pub now: Micros,
}

impl Store {
    /// Writes a change down and puts it into the outbox.
    pub(super) async fn tell(&self, tx: &mut Tx, about: About<'_>) -> Result<Change, StoreError> {
        let About { room, seq, kind, message: message_id, person: person_id, now } = about;
        sqlx::query(
            "INSERT INTO changes (room_id, seq, kind, message_id, person_id, at) VALUES ($1,$2,$3,$4,$5,$6)",
        )
        .bind(room)
        .bind(seq)
        .bind(kind.as_str())
        .bind(message_id)
        .bind(person_id)
        .bind(now.0)
        .execute(&mut **tx)
        .await?;
        let found = match message_id {
            None => None,
            Some(id) => {
                let row = sqlx::query(message_sql!("WHERE m.id = $1")).bind(id);
                Some(message(&row.fetch_one(&mut **tx).await?)?)
            }
        };
        let who = match person_id {
            None => None,
            Some(id) => {
                let sql = "SELECT id AS person_id, handle, name FROM people WHERE id = $1";
                Some(person(&sqlx::query(sql).bind(id).fetch_one(&mut **tx).await?)?)
            }
        };
        let change = Change { seq, kind, at: now.0, message: found, person: who };
        let outgoing = for_channel(room, format!("chat/{room}/{seq}"), &change)?;
        self.outbox.add_raw(tx, outgoing).await?;
        Ok(change)
    }

    /// Changes of a room after a number, oldest first, at most [`CHANGES_MAX`].
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn changes(&self, room: &str, after: i64) -> Result<Vec<Change>, StoreError> {
        let rows = sqlx::query(
            "SELECT c.seq, c.kind, c.at, c.message_id, c.person_id, p.handle, p.name FROM changes c \
             LEFT JOIN people p ON p.id = c.person_id \
             WHERE c.room_id = $1 AND c.seq > $2 ORDER BY c.seq LIMIT $3",
        )
        .bind(room)
        .bind(after)
        .bind(CHANGES_MAX)
        .fetch_all(&self.reads)
        .await?;
        let Some(last) = rows.last() else { return Ok(Vec::new()) };
        let last: i64 = last.try_get("seq")?;
        let messages = sqlx::query(message_sql!(
            "WHERE m.room_id = $1 AND m.id IN (SELECT c.message_id FROM changes c \
             WHERE c.room_id = $1 AND c.seq > $2 AND c.seq <= $3)"
        ))
        .bind(room)
        .bind(after)
        .bind(last)
        .fetch_all(&self.reads)
        .await?;
        let messages = messages.iter().map(message).collect::<Result<Vec<_>, _>>()?;
        let change = |row: &AnyRow| {
            let id: Option<String> = row.try_get("message_id")?;
            let who: Option<String> = row.try_get("person_id")?;
            Ok(Change {
                seq: row.try_get("seq")?,
                kind: Kind::of(row.try_get::<String, _>("kind")?.as_str()),
                at: row.try_get("at")?,
                message: id.and_then(|id| messages.iter().find(|one| one.id == id).cloned()),
                person: who.map(|_| person(row)).transpose()?,
            })
        };
        rows.iter().map(change).collect::<Result<_, sqlx::Error>>().map_err(Into::into)
    }
}
