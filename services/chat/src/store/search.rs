//! Search in a room's messages: every word must occur, whatever its case and accents.
//! Reads: `messages`. Writes: nothing. Never: reads more than the newest [`SCANNED_MAX`] messages before a number.
//!
//! It compares with LIKE on a folded copy of the text and no index: the same words find the same messages on SQLite
//! and PostgreSQL, also inside words and in both languages of the page, which the full-text engines of the two would
//! each do in another way. The bound keeps the price of a question the same however long the room is; whoever wants
//! older ones asks again from where the answer says it stopped.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row as _};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::timeline::{Message, message, message_sql};
use super::{Store, StoreError};

/// Messages that one question looks at.
pub const SCANNED_MAX: i64 = 20_000;
/// Messages in one answer.
const FOUND_MAX: i64 = 50;
/// Words of one question; more are not looked at.
const WORDS_MAX: usize = 8;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Found {
    /// Newest first.
    pub messages: Vec<Message>,
    /// Ask with this number for older ones; 0 if the beginning of the room was reached.
    pub next: i64,
}

/// Small letters without accents: `Canción` and `cancion` are the same.
#[must_use]
pub fn fold(text: &str) -> String {
    text.nfkd().filter(|letter| !is_combining_mark(*letter)).flat_map(char::to_lowercase).collect()
}

/// A word as LIKE compares it.
fn pattern(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

impl Store {
    /// Messages of a room before a number (0 for all) in which every word occurs.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn search(&self, room: &str, words: &str, before: i64) -> Result<Found, StoreError> {
        let before = if before > 0 { before } else { i64::MAX };
        let folded = fold(words);
        let patterns: Vec<String> =
            folded.split_whitespace().take(WORDS_MAX).map(pattern).collect();
        if patterns.is_empty() {
            return Ok(Found { messages: Vec::new(), next: 0 });
        }
        let sql = "SELECT seq FROM messages WHERE room_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT 1 OFFSET $3";
        let floor = sqlx::query(sql).bind(room).bind(before).bind(SCANNED_MAX - 1);
        let floor: i64 = match floor.fetch_optional(&self.reads).await? {
            Some(row) => row.try_get("seq")?,
            None => 0,
        };
        let mut sql = message_sql!(
            "WHERE m.room_id = $1 AND m.seq < $2 AND m.seq >= $3 AND m.deleted_at = 0"
        )
        .to_owned();
        for number in 0..patterns.len() {
            // Only the number of a parameter is put into the text; the words are bound.
            sql.push_str(&format!(" AND m.folded LIKE ${} ESCAPE '\\'", number + 5));
        }
        sql.push_str(" ORDER BY m.seq DESC LIMIT $4");
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(room).bind(before).bind(floor);
        query = query.bind(FOUND_MAX);
        for pattern in &patterns {
            query = query.bind(pattern.as_str());
        }
        let rows = query.fetch_all(&self.reads).await?;
        let messages = rows.iter().map(message).collect::<Result<Vec<_>, _>>()?;
        let full = i64::try_from(messages.len()).unwrap_or(FOUND_MAX) >= FOUND_MAX;
        let next = messages.last().filter(|_| full).map_or(floor, |last| last.seq);
        Ok(Found { messages, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_do_not_count() {
        assert_eq!(fold("CANCIÓN Ñandú"), "cancion nandu");
        assert_eq!(fold("plain 100%"), "plain 100%");
    }

    #[test]
    fn what_means_something_to_like_is_escaped() {
        assert_eq!(pattern(r"a%b_c\d"), r"%a\%b\_c\\d%");
    }
}
