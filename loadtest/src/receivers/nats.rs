//! The few sentences of the NATS client protocol that a receiver needs: connect, subscribe, answer a ping, read a
//! message. Pure: bytes in, events out. WebSocket frames are only a stream of bytes to nats-server, so an operation
//! may begin in one and end in the next: what is incomplete waits here, up to a limit. Core NATS has no history, so a
//! connection that comes back has lost what was sent meanwhile.
//!
//! Protocol: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use std::borrow::Cow;

use serde::Deserialize;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::Seat;
use super::protocol::{Heard, Publication};

/// An operation that is not complete after this is not ours to read.
const PENDING_BYTES_MAX: usize = 1 << 20;
const REASON_CHARS_MAX: usize = 120;
const LINE_END: &[u8] = b"\r\n";
/// What JetStream writes into republished messages.
const SEQUENCE_HEADER: &str = "nats-sequence";

/// Where a user's notifications are published; names of recipients are the harness's own and need no escaping.
pub fn subject(user: &str) -> String {
    format!("loadtest.{user}")
}

/// See [`super::Speaker`].
#[derive(Debug, Default)]
pub struct Speaker {
    pending: Vec<u8>,
    ready: bool,
}

impl Speaker {
    /// Connects and subscribes the user's subject, whose name is the seat's token; the pong to the ping says that both
    /// are done.
    pub fn first(&mut self, seat: &Seat) -> Vec<Message> {
        *self = Self::default();
        let options = serde_json::json!({
            "verbose": false, "pedantic": false, "headers": true,
            "name": "loadtest", "lang": "rust", "version": "0",
        });
        let subject = subject(&seat.token);
        let text = format!("CONNECT {options}\r\nSUB {subject} 1\r\nPING\r\n");
        vec![Message::Binary(Bytes::from(text))]
    }

    /// Reads the next piece of the stream.
    pub fn hear(&mut self, message: &[u8], on: &mut dyn FnMut(Heard<'_>)) -> Result<(), String> {
        self.pending.extend_from_slice(message);
        let mut at = 0;
        while let Some((length, operation)) = next(&self.pending[at..])? {
            at += length;
            match operation {
                Operation::Ping => on(Heard::Ping),
                Operation::Pong if !self.ready => {
                    self.ready = true;
                    on(Heard::Ready { unrecovered: 0 });
                }
                Operation::Message { payload, offset } => tell(payload, offset, on),
                Operation::Error(text) => on(Heard::Refused(text)),
                Operation::Pong | Operation::Other => {}
            }
        }
        self.pending.drain(..at);
        if self.pending.len() > PENDING_BYTES_MAX {
            return Err("an operation above 1 MiB".to_owned());
        }
        Ok(())
    }
}

/// The answer to a ping.
pub fn pong() -> Message {
    Message::Binary(Bytes::from_static(b"PONG\r\n"))
}

/// One operation of the stream.
enum Operation<'a> {
    Ping,
    Pong,
    Message { payload: &'a [u8], offset: Option<u64> },
    Error(String),
    Other,
}

/// The first operation and its length; nothing while it is incomplete.
fn next(bytes: &[u8]) -> Result<Option<(usize, Operation<'_>)>, String> {
    let Some(end) = bytes.windows(LINE_END.len()).position(|pair| pair == LINE_END) else {
        return Ok(None);
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| "a line that is no text")?;
    let after = end + LINE_END.len();
    let mut words = line.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    let operation = match name {
        "MSG" => return message(bytes, after, sizes(words, false, line)?),
        "HMSG" => return message(bytes, after, sizes(words, true, line)?),
        "PING" => Operation::Ping,
        "PONG" => Operation::Pong,
        "INFO" | "+OK" => Operation::Other,
        "-ERR" => Operation::Error(short(line)),
        _ => return Err(format!("no operation of NATS: {}", short(line))),
    };
    Ok(Some((after, operation)))
}

fn short(line: &str) -> String {
    line.chars().take(REASON_CHARS_MAX).collect()
}

/// Bytes of headers and of everything: `MSG subject sid [reply] size`, `HMSG subject sid [reply] headers size`.
fn sizes<'a>(
    words: impl Iterator<Item = &'a str>,
    headers: bool,
    line: &str,
) -> Result<(usize, usize), String> {
    let bad = || format!("a message without its sizes: {}", short(line));
    let words: Vec<&str> = words.collect();
    let numbers = if headers { 2 } else { 1 };
    if !(2 + numbers..=3 + numbers).contains(&words.len()) {
        return Err(bad());
    }
    let number = |back: usize| words[words.len() - back].parse::<usize>().map_err(|_| bad());
    let (head, total) = (if headers { number(2)? } else { 0 }, number(1)?);
    if head > total || total > PENDING_BYTES_MAX {
        return Err(bad());
    }
    Ok((head, total))
}

fn message(
    bytes: &[u8],
    start: usize,
    (head, total): (usize, usize),
) -> Result<Option<(usize, Operation<'_>)>, String> {
    let end = start + total;
    let Some(tail) = bytes.get(end..end + LINE_END.len()) else { return Ok(None) };
    if tail != LINE_END {
        return Err("a message that is longer than it says".to_owned());
    }
    let offset = std::str::from_utf8(&bytes[start..start + head]).ok().and_then(sequence);
    let payload = &bytes[start + head..end];
    Ok(Some((end + LINE_END.len(), Operation::Message { payload, offset })))
}

fn sequence(headers: &str) -> Option<u64> {
    headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(SEQUENCE_HEADER).then(|| value.trim().parse().ok())?
    })
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    body: Cow<'a, str>,
}

/// A payload of another shape is no receipt.
fn tell(payload: &[u8], offset: Option<u64>, on: &mut dyn FnMut(Heard<'_>)) {
    let Ok(data) = serde_json::from_slice::<Data<'_>>(payload) else { return };
    on(Heard::Publication(Publication {
        title: data.title,
        body: data.body,
        offset,
        stamps: None,
        recovered: false,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"type":"notification","title":"t","body":"b"}"#;

    fn hear(speaker: &mut Speaker, bytes: &[u8]) -> Result<Vec<String>, String> {
        let mut heard = Vec::new();
        speaker.hear(bytes, &mut |event| {
            heard.push(match event {
                Heard::Publication(one) => format!("{} {} {:?}", one.title, one.body, one.offset),
                other => format!("{other:?}"),
            });
        })?;
        Ok(heard)
    }

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let head = "NATS/1.0\r\nNats-Subject: ch.a\r\nNats-Sequence: 7\r\n\r\n";
        let text = format!(
            "INFO {{\"server_id\":\"x\"}}\r\nPONG\r\nMSG lt.a 1 {size}\r\n{BODY}\r\nPING\r\n\
             HMSG lt.a 1 reply.to {head_size} {total}\r\n{head}{BODY}\r\nMSG lt.a 1 0\r\n\r\nPONG\r\n",
            size = BODY.len(),
            head_size = head.len(),
            total = head.len() + BODY.len(),
        );
        let expected = ["Ready { unrecovered: 0 }", "t b None", "Ping", "t b Some(7)"];
        for size in 1..=text.len() {
            let mut speaker = Speaker::default();
            let pieces = text.as_bytes().chunks(size);
            let heard: Vec<String> =
                pieces.flat_map(|piece| hear(&mut speaker, piece).unwrap()).collect();
            assert_eq!(heard, expected, "in pieces of {size}");
            assert!(speaker.pending.is_empty());
        }
    }

    #[test]
    fn refusals_say_why() {
        let heard = hear(&mut Speaker::default(), b"-ERR 'Authorization Violation'\r\n").unwrap();
        assert_eq!(heard, ["Refused(\"-ERR 'Authorization Violation'\")"]);
    }

    #[test]
    fn nonsense_is_an_error_and_never_a_panic() {
        for bad in [
            "HELLO\r\n",
            "\r\n",
            "MSG a\r\n",
            "MSG a 1 x\r\n",
            "MSG a 1 99999999999\r\n",
            "HMSG a 1 9 3\r\nabc\r\n",
            "MSG a 1 1\r\nabc\r\n",
            "MSG a 1 r e p 1\r\n",
        ] {
            assert!(hear(&mut Speaker::default(), bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(hear(&mut Speaker::default(), b"\xff\xff\r\n").is_err());
        let endless = vec![b'x'; PENDING_BYTES_MAX + 1];
        assert!(hear(&mut Speaker::default(), &endless).is_err());
    }

    #[test]
    fn a_new_connection_begins_anew() {
        let seat = Seat {
            recipient: 0,
            url: "ws://h:1/".parse().unwrap(),
            token: "a".to_owned(),
            expect: None,
            shared: None,
        };
        let mut speaker = Speaker { pending: b"MSG lt.".to_vec(), ready: true };
        let first = speaker.first(&seat);
        let Message::Binary(bytes) = &first[0] else { panic!("not binary") };
        let text = String::from_utf8_lossy(bytes);
        assert!(
            text.starts_with("CONNECT {") && text.ends_with("}\r\nSUB loadtest.a 1\r\nPING\r\n")
        );
        assert_eq!(hear(&mut speaker, b"PONG\r\n").unwrap(), ["Ready { unrecovered: 0 }"]);
    }
}
