//! What moderators do: mute, ban, and who may moderate.
//! Reads and writes: `members`, `bans`; changes go through [`super::timeline`]. Never: lets a moderator act on an owner
//! or on another moderator.

use campana_bus::clock::Micros;

use super::timeline::{About, Kind, next_seq};
use super::{Store, StoreError, Tx};

/// What a moderator does to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// May not write until then; 0 ends it.
    Mute(Micros),
    /// Out of the room, and not back before then.
    Ban(Micros),
    /// May come back.
    Unban,
    /// May moderate.
    Promote,
    /// May not moderate any more.
    Demote,
}

impl Store {
    /// A moderator acts. False if that is not allowed, or there is nobody like that.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn moderate(
        &self,
        room: &str,
        by: &str,
        target: &str,
        act: Act,
        now: Micros,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let Some(seq) = next_seq(&mut tx, room).await? else { return Ok(false) };
        let (by_rank, rank) = (rank(&mut tx, room, by).await?, rank(&mut tx, room, target).await?);
        let needed = if matches!(act, Act::Promote | Act::Demote) { 3 } else { 2 };
        if by_rank < needed || by_rank <= rank {
            return Ok(false);
        }
        let kind = match act {
            Act::Mute(until) => {
                let sql =
                    "UPDATE members SET muted_until = $3 WHERE room_id = $1 AND person_id = $2";
                let set = sqlx::query(sql).bind(room).bind(target).bind(until.0);
                (set.execute(&mut *tx).await?.rows_affected() > 0).then_some(Kind::Room)
            }
            Act::Promote | Act::Demote => {
                let role = if act == Act::Promote { "moderator" } else { "member" };
                let sql = "UPDATE members SET role = $3 WHERE room_id = $1 AND person_id = $2";
                let set = sqlx::query(sql).bind(room).bind(target).bind(role);
                (set.execute(&mut *tx).await?.rows_affected() > 0).then_some(Kind::Room)
            }
            Act::Unban => {
                let sql = "DELETE FROM bans WHERE room_id = $1 AND person_id = $2";
                sqlx::query(sql).bind(room).bind(target).execute(&mut *tx).await?;
                Some(Kind::Room)
            }
            Act::Ban(until) => {
                ban(&mut tx, room, target, until).await?;
                self.take_out(&mut tx, room, target).await?;
                Some(Kind::Ban)
            }
        };
        let Some(kind) = kind else { return Ok(false) };
        let about = About { room, seq, kind, message: None, person: Some(target), now };
        self.tell(&mut tx, about).await?;
        self.commit(tx).await?;
        Ok(true)
    }
}

async fn ban(tx: &mut Tx, room: &str, person: &str, until: Micros) -> Result<(), StoreError> {
    let sql = "INSERT INTO bans (room_id, person_id, until) VALUES ($1,$2,$3) \
               ON CONFLICT (room_id, person_id) DO UPDATE SET until = excluded.until";
    sqlx::query(sql).bind(room).bind(person).bind(until.0).execute(&mut **tx).await?;
    Ok(())
}

/// 3 for an owner, 2 for a moderator, 1 for a member, 0 for somebody else. Nobody has a rank in a direct room.
async fn rank(tx: &mut Tx, room: &str, person: &str) -> Result<i64, StoreError> {
    let sql = "SELECT role FROM members WHERE room_id = $1 AND person_id = $2";
    let role: Option<String> =
        sqlx::query_scalar(sql).bind(room).bind(person).fetch_optional(&mut **tx).await?;
    Ok(match role.as_deref() {
        Some("owner") => 3,
        Some("moderator") => 2,
        Some(_) => 1,
        None => 0,
    })
}
