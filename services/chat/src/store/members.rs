//! Who is in a room, and how far they have read.
//! Reads and writes: `members`; changes go through [`super::timeline`]. Never: lets somebody go without saying in the same
//! transaction that their tokens are over, or leaves a room without an owner while somebody is in it.

use campana_bus::clock::Micros;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::people::{Person, person};
use super::rooms::insert_member;
use super::timeline::{About, Kind, for_channel, next_seq};
use super::{Store, StoreError, Tx};
use crate::events::AccessEnded;

/// People in one list of a room.
const MEMBERS_MAX: i64 = 200;
/// In rooms with more people nobody is told how far others have read: each message would cost as many publications
/// as there are readers, and each of those as many deliveries.
pub const RECEIPTS_PEOPLE_MAX: i64 = 50;

/// Somebody in a room.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    /// Who.
    #[serde(flatten)]
    pub person: Person,
    /// `owner`, `moderator` or `member`.
    pub role: String,
    /// Read so far.
    pub read_seq: i64,
    /// May not write until then.
    pub muted_until: i64,
}

/// What became of joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The person is in the room.
    Yes,
    /// There is no such room, or it is not for everybody.
    NoRoom,
    /// The person was sent out and may not come back yet.
    Banned,
}

/// Somebody who is told how far a person has read.
#[derive(Debug, Serialize)]
struct Receipt<'a> {
    kind: &'static str,
    person: &'a str,
    upto: i64,
}

impl Store {
    /// The people of a room, those with rights first.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn members(&self, room: &str) -> Result<Vec<Member>, StoreError> {
        let rows = sqlx::query(
            "SELECT m.person_id, p.handle, p.name, m.role, m.read_seq, m.muted_until FROM members m \
             JOIN people p ON p.id = m.person_id WHERE m.room_id = $1 \
             ORDER BY CASE m.role WHEN 'owner' THEN 0 WHEN 'moderator' THEN 1 ELSE 2 END, p.handle LIMIT $2",
        )
        .bind(room)
        .bind(MEMBERS_MAX)
        .fetch_all(&self.reads)
        .await?;
        let member = |row: &AnyRow| {
            Ok(Member {
                person: person(row)?,
                role: row.try_get("role")?,
                read_seq: row.try_get("read_seq")?,
                muted_until: row.try_get("muted_until")?,
            })
        };
        Ok(rows.iter().map(member).collect::<Result<_, sqlx::Error>>()?)
    }

    /// Whether a person is in a room.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn is_member(&self, room: &str, person: &str) -> Result<bool, StoreError> {
        let sql = "SELECT role FROM members WHERE room_id = $1 AND person_id = $2";
        let row = sqlx::query(sql).bind(room).bind(person).fetch_optional(&self.reads).await?;
        Ok(row.is_some())
    }

    /// Comes into a public room, or with `invited` into a private one. Twice is once.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn join(
        &self,
        room: &str,
        person: &str,
        invited: bool,
        now: Micros,
    ) -> Result<Joined, StoreError> {
        let mut tx = self.begin().await?;
        // Takes the room's row before it is read, so that a ban and a return cannot pass each other.
        let Some(seq) = next_seq(&mut tx, room).await? else { return Ok(Joined::NoRoom) };
        let sql = "SELECT kind FROM rooms WHERE id = $1";
        let kind: String = sqlx::query_scalar(sql).bind(room).fetch_one(&mut *tx).await?;
        if !(kind == "public" || kind == "private" && invited) {
            return Ok(Joined::NoRoom);
        }
        let sql = "SELECT until FROM bans WHERE room_id = $1 AND person_id = $2 AND until > $3";
        let ban = sqlx::query(sql).bind(room).bind(person).bind(now.0);
        if ban.fetch_optional(&mut *tx).await?.is_some() {
            return Ok(Joined::Banned);
        }
        if !insert_member(&mut tx, room, person, "member", now).await? {
            return Ok(Joined::Yes);
        }
        let about = About { room, seq, kind: Kind::Join, message: None, person: Some(person), now };
        self.tell(&mut tx, about).await?;
        if invited {
            self.tell_of_room(&mut tx, room, person, now).await?;
        }
        self.commit(tx).await?;
        Ok(Joined::Yes)
    }

    /// Leaves a room. False if the person was not in it, or it is a direct one. If its owner leaves, the moderator who
    /// has been there longest owns it, or else the member.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn leave(&self, room: &str, person: &str, now: Micros) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let Some(seq) = next_seq(&mut tx, room).await? else { return Ok(false) };
        if !self.take_out(&mut tx, room, person).await? {
            return Ok(false);
        }
        sqlx::query(
            "UPDATE members SET role = 'owner' WHERE room_id = $1 AND person_id = \
             (SELECT c.person_id FROM members c WHERE c.room_id = $1 \
              ORDER BY CASE c.role WHEN 'moderator' THEN 0 ELSE 1 END, c.joined_at, c.person_id LIMIT 1) \
             AND NOT EXISTS (SELECT 1 FROM members o WHERE o.room_id = $1 AND o.role = 'owner')",
        )
        .bind(room)
        .execute(&mut *tx)
        .await?;
        let kind = Kind::Leave;
        let about = About { room, seq, kind, message: None, person: Some(person), now };
        self.tell(&mut tx, about).await?;
        self.commit(tx).await?;
        Ok(true)
    }

    /// Ends somebody's stay in a room, and says that its tokens are over. False if there was none, or the room is a
    /// direct one.
    pub(super) async fn take_out(
        &self,
        tx: &mut Tx,
        room: &str,
        person: &str,
    ) -> Result<bool, StoreError> {
        let sql = "DELETE FROM members WHERE room_id = $1 AND person_id = $2 \
                   AND EXISTS (SELECT 1 FROM rooms r WHERE r.id = $1 AND r.kind <> 'direct') \
                   RETURNING joined_at";
        let since = sqlx::query_scalar(sql).bind(room).bind(person);
        let Some(since) = since.fetch_optional(&mut **tx).await? else { return Ok(false) };
        self.outbox.add(tx, &AccessEnded::of_stay(room, person, since)).await?;
        Ok(true)
    }

    /// Notes how far a person has read; it only grows. In small rooms the others are told.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn read_upto(&self, room: &str, person: &str, seq: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let changed = sqlx::query(
            "UPDATE members SET read_seq = $3 WHERE room_id = $1 AND person_id = $2 AND read_seq < $3 \
             AND $3 <= (SELECT last_seq FROM rooms WHERE id = $1)",
        )
        .bind(room)
        .bind(person)
        .bind(seq)
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(());
        }
        let sql = "SELECT COUNT(*) AS people FROM members WHERE room_id = $1";
        let people: i64 = sqlx::query_scalar(sql).bind(room).fetch_one(&mut *tx).await?;
        if people <= RECEIPTS_PEOPLE_MAX {
            let receipt = Receipt { kind: "read", person, upto: seq };
            let id = format!("chat/{room}/read/{person}/{seq}");
            self.outbox.add_raw(&mut tx, for_channel(room, id, &receipt)?).await?;
        }
        self.commit(tx).await
    }
}
