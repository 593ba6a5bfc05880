//! `/export`: the room's messages until now as a text file.
//! Reads: messages, page by page. Writes: progress. Never: contains what was deleted.

use std::fmt::Write as _;

use bytes::Bytes;
use campana_bus::clock::Micros;

use super::{MADE_BYTES_MAX, Made, Stopped, tell};
use crate::http::App;
use crate::listeners::failure;
use crate::store::jobs::Step;
use crate::store::timeline::Message;

/// Messages read at a time.
const PAGE: i64 = 500;

/// Writes the file.
pub(super) async fn run(app: &App, room: &str, job: &Message) -> Result<Made, Stopped> {
    let mut text = String::new();
    let (mut after, mut told) = (0, 0);
    if !tell(app, room, job, &Step::Running(0)).await? {
        return Err(Stopped::Cannot("gone"));
    }
    loop {
        let page = app.store.forwards(room, after, job.seq - 1, PAGE).await.map_err(failure)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for message in page.iter().filter(|message| message.deleted_at == 0) {
            line(&mut text, message);
        }
        if text.len() > MADE_BYTES_MAX {
            return Err(Stopped::Cannot("too_large"));
        }
        let percent = after.saturating_mul(100) / job.seq.max(1);
        // A tenth at a time: each step is a message to everybody in the room.
        if percent >= told + 10 {
            told = percent;
            if !tell(app, room, job, &Step::Running(percent)).await? {
                return Err(Stopped::Cannot("gone"));
            }
        }
    }
    if text.is_empty() {
        return Err(Stopped::Cannot("empty_room"));
    }
    let day: String = Micros(job.created_at).to_rfc3339().chars().take(10).collect();
    Ok(Made { name: format!("chat-{day}.txt"), bytes: Bytes::from(text) })
}

/// One message. Its own line ends are indented, so that nobody can write what looks like another's message.
fn line(text: &mut String, message: &Message) {
    let at: String = Micros(message.created_at).to_rfc3339().chars().take(19).collect();
    let (name, said) = (&message.author.name, message.text.replace('\n', "\n    "));
    // Writing to a String cannot fail.
    let _ = write!(text, "[{at}Z] {name} (@{}): {said}", message.author.handle);
    if let Some(file) = &message.file {
        let _ = write!(text, " [{}]", file.name);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::people::Person;

    #[test]
    fn nobody_writes_lines_of_others() {
        let name = |text: &str| text.to_owned();
        let message = Message {
            id: name("msg_1"),
            seq: 1,
            author: Person { id: name("chat-eva"), handle: name("eva"), name: name("Eva") },
            client_id: name("1"),
            text: name("a\n[2026-01-01T00:00:00Z] Ana (@ana): b"),
            file: None,
            job: None,
            created_at: 0,
            edited_at: 0,
            deleted_at: 0,
        };
        let mut text = String::new();
        line(&mut text, &message);
        assert_eq!(
            text,
            "[1970-01-01T00:00:00Z] Eva (@eva): a\n    [2026-01-01T00:00:00Z] Ana (@ana): b\n"
        );
    }
}
