//! Rooms: made, listed, found, changed.
//! Reads and writes: `rooms`, `members`; changes go through [`super::timeline`]. Never: shows a private or direct room
//! to somebody who is not in it.

use campana_bus::clock::Micros;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::people::Person;
use super::timeline::{About, Kind, for_channel, next_seq};
use super::{Store, StoreError, Tx};

/// Unread messages are counted up to this.
const UNREAD_MAX: i64 = 100;
/// Rooms in one list.
const ROOMS_MAX: i64 = 500;
/// Rooms of the directory.
const DIRECTORY_MAX: i64 = 100;

/// A room as one of its people sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Room {
    /// Its id.
    pub id: String,
    /// `public`, `private` or `direct`.
    pub kind: String,
    /// Its name; for a direct room that of the other person.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// The handle of the other person of a direct room.
    pub with: Option<String>,
    /// The number of its newest change.
    pub last_seq: i64,
    /// Seconds between two messages of one member; 0 for no limit.
    pub slow_seconds: i64,
    /// `owner`, `moderator` or `member`.
    pub role: String,
    /// The person has read so far.
    pub read_seq: i64,
    /// Until when the person may not write.
    pub muted_until: i64,
    /// Messages of others beyond `read_seq`, at most 100.
    pub unread: i64,
    /// People in it.
    pub people: i64,
    /// When this stay of the person began.
    #[serde(skip)]
    pub joined_at: i64,
}

/// A room that anybody may join.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// People in it.
    pub people: i64,
    /// Whether the person who asks is in it.
    pub joined: bool,
}

/// A room to be made.
#[derive(Clone, Debug)]
pub struct NewRoom<'a> {
    /// Its id.
    pub id: &'a str,
    /// `public` or `private`.
    pub kind: &'static str,
    /// Its name.
    pub name: &'a str,
    /// What it is about.
    pub topic: &'a str,
}

/// The rooms of person `$1`; `$tail` continues the statement, `$2` is the limit of unread messages.
macro_rules! room_sql {
    ($tail:literal) => {
        concat!(
            "SELECT r.id, r.kind, r.name, r.topic, r.last_seq, r.slow_seconds, m.role, m.read_seq, m.muted_until, m.joined_at, \
             (SELECT p.name FROM members o JOIN people p ON p.id = o.person_id WHERE r.kind = 'direct' \
              AND o.room_id = r.id AND o.person_id <> $1 LIMIT 1) AS other_name, \
             (SELECT p.handle FROM members o JOIN people p ON p.id = o.person_id WHERE r.kind = 'direct' \
              AND o.room_id = r.id AND o.person_id <> $1 LIMIT 1) AS other_handle, \
             (SELECT COUNT(*) FROM members o WHERE o.room_id = r.id) AS people, \
             (SELECT COUNT(*) FROM (SELECT u.seq FROM messages u WHERE u.room_id = r.id AND u.seq > m.read_seq \
              AND u.author_id <> $1 AND u.deleted_at = 0 LIMIT $2) AS counted) AS unread \
             FROM members m JOIN rooms r ON r.id = m.room_id WHERE m.person_id = $1 ",
            $tail
        )
    };
}

fn room(row: &AnyRow) -> Result<Room, sqlx::Error> {
    let other: Option<String> = row.try_get("other_name")?;
    Ok(Room {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        name: other.map_or_else(|| row.try_get("name"), Ok)?,
        topic: row.try_get("topic")?,
        with: row.try_get("other_handle")?,
        last_seq: row.try_get("last_seq")?,
        slow_seconds: row.try_get("slow_seconds")?,
        role: row.try_get("role")?,
        read_seq: row.try_get("read_seq")?,
        muted_until: row.try_get("muted_until")?,
        unread: row.try_get("unread")?,
        people: row.try_get("people")?,
        joined_at: row.try_get("joined_at")?,
    })
}

impl Store {
    /// The rooms of a person, those with news first.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn rooms(&self, person: &str) -> Result<Vec<Room>, StoreError> {
        let rows = sqlx::query(room_sql!("ORDER BY unread DESC, r.name, r.id LIMIT $3"))
            .bind(person)
            .bind(UNREAD_MAX)
            .bind(ROOMS_MAX)
            .fetch_all(&self.reads)
            .await?;
        Ok(rows.iter().map(room).collect::<Result<_, _>>()?)
    }

    /// A room of a person; `None` also if the person is not in it.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn room(&self, person: &str, id: &str) -> Result<Option<Room>, StoreError> {
        let row = sqlx::query(room_sql!("AND r.id = $3")).bind(person).bind(UNREAD_MAX).bind(id);
        let row = row.fetch_optional(&self.reads).await?;
        Ok(row.as_ref().map(room).transpose()?)
    }

    /// Public rooms whose name contains a text, those with most people first.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn directory(&self, person: &str) -> Result<Vec<Listed>, StoreError> {
        let rows = sqlx::query(
            "SELECT r.id, r.name, r.topic, \
             (SELECT COUNT(*) FROM members o WHERE o.room_id = r.id) AS people, \
             (SELECT COUNT(*) FROM members o WHERE o.room_id = r.id AND o.person_id = $1) AS joined \
             FROM rooms r WHERE r.kind = 'public' ORDER BY people DESC, r.name, r.id LIMIT $2",
        )
        .bind(person)
        .bind(DIRECTORY_MAX)
        .fetch_all(&self.reads)
        .await?;
        let listed = |row: &AnyRow| {
            Ok(Listed {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                topic: row.try_get("topic")?,
                people: row.try_get("people")?,
                joined: row.try_get::<i64, _>("joined")? > 0,
            })
        };
        Ok(rows.iter().map(listed).collect::<Result<_, sqlx::Error>>()?)
    }

    /// Makes a room; whoever makes it owns it. False if there is one with this id.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn add_room(
        &self,
        new: &NewRoom<'_>,
        owner: &str,
        now: Micros,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        if !insert_room(&mut tx, new, None, now).await? {
            return Ok(false);
        }
        insert_member(&mut tx, new.id, owner, "owner", now).await?;
        self.join_told(&mut tx, new.id, owner, now).await?;
        self.commit(tx).await?;
        Ok(true)
    }

    /// The direct room of two people, made if there is none.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn direct(
        &self,
        fresh_id: &str,
        one: &Person,
        other: &Person,
        now: Micros,
    ) -> Result<String, StoreError> {
        let mut pair = [one.id.as_str(), other.id.as_str()];
        pair.sort_unstable();
        let key = pair.join(" ");
        let mut tx = self.begin().await?;
        let new = NewRoom { id: fresh_id, kind: "direct", name: "", topic: "" };
        if insert_room(&mut tx, &new, Some(&key), now).await? {
            for person in pair {
                insert_member(&mut tx, fresh_id, person, "member", now).await?;
                self.join_told(&mut tx, fresh_id, person, now).await?;
                self.tell_of_room(&mut tx, fresh_id, person, now).await?;
            }
            self.commit(tx).await?;
            return Ok(fresh_id.to_owned());
        }
        let sql = "SELECT id FROM rooms WHERE direct_key = $1";
        Ok(sqlx::query_scalar(sql).bind(&key).fetch_one(&mut *tx).await?)
    }

    /// Changes topic and pace of a room and tells its people.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn set_room(
        &self,
        id: &str,
        who: &str,
        topic: &str,
        slow_seconds: i64,
        now: Micros,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let Some(seq) = next_seq(&mut tx, id).await? else { return Ok(()) };
        let sql = "UPDATE rooms SET topic = $2, slow_seconds = $3 WHERE id = $1";
        sqlx::query(sql).bind(id).bind(topic).bind(slow_seconds).execute(&mut *tx).await?;
        let about =
            About { room: id, seq, kind: Kind::Room, message: None, person: Some(who), now };
        self.tell(&mut tx, about).await?;
        self.commit(tx).await
    }

    /// Tells a person, wherever they are connected, that there is a room more.
    pub(super) async fn tell_of_room(
        &self,
        tx: &mut Tx,
        room: &str,
        person: &str,
        now: Micros,
    ) -> Result<(), StoreError> {
        let news = serde_json::json!({"kind": "rooms", "room": room});
        let id = format!("chat/{room}/{person}/{}", now.0);
        let outgoing = for_channel(&format!("person-{person}"), id, &news)?;
        self.outbox.add_raw(tx, outgoing).await?;
        Ok(())
    }

    pub(super) async fn join_told(
        &self,
        tx: &mut Tx,
        room: &str,
        person: &str,
        now: Micros,
    ) -> Result<(), StoreError> {
        let Some(seq) = next_seq(tx, room).await? else { return Ok(()) };
        let about = About { room, seq, kind: Kind::Join, message: None, person: Some(person), now };
        self.tell(tx, about).await?;
        Ok(())
    }
}

async fn insert_room(
    tx: &mut Tx,
    new: &NewRoom<'_>,
    direct_key: Option<&str>,
    now: Micros,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO rooms (id, kind, name, topic, direct_key, last_seq, slow_seconds, created_at) \
         VALUES ($1,$2,$3,$4,$5,0,0,$6) ON CONFLICT DO NOTHING",
    )
    .bind(new.id)
    .bind(new.kind)
    .bind(new.name)
    .bind(new.topic)
    .bind(direct_key)
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Puts a person into a room. False if the person is there.
pub(super) async fn insert_member(
    tx: &mut Tx,
    room: &str,
    person: &str,
    role: &'static str,
    now: Micros,
) -> Result<bool, StoreError> {
    // A newcomer has read everything: what was said before is history, not news.
    let done = sqlx::query(
        "INSERT INTO members (room_id, person_id, role, read_seq, muted_until, joined_at) \
         SELECT r.id, $2, $3, r.last_seq, 0, $4 FROM rooms r WHERE r.id = $1 ON CONFLICT DO NOTHING",
    )
    .bind(room)
    .bind(person)
    .bind(role)
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}
