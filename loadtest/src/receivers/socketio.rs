//! The few sentences of Socket.IO 4 over Engine.IO 4 that a receiver needs: connect to the main namespace, answer a
//! ping, read an event. Pure: text in, events out. It knows no history, so a connection that comes back has lost
//! what was sent meanwhile, and it never acknowledges an event.
//!
//! Protocols: <https://socket.io/docs/v4/engine-io-protocol/> and <https://socket.io/docs/v4/socket-io-protocol/>.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Seat;
use super::protocol::{Heard, Publication};

/// The one event that carries notifications.
const EVENT: &str = "notification";
const REASON_CHARS_MAX: usize = 120;

/// See [`super::Speaker`].
#[derive(Debug, Default)]
pub struct Speaker {
    token: String,
}

impl Speaker {
    /// Nothing: the server speaks first.
    pub fn first(&mut self, seat: &Seat) -> Vec<Message> {
        self.token.clone_from(&seat.token);
        Vec::new()
    }

    /// Reads one message: Engine.IO puts exactly one packet into each.
    pub fn hear(
        &mut self,
        message: &[u8],
        on: &mut dyn FnMut(Heard<'_>),
    ) -> Result<Vec<Message>, String> {
        let text = std::str::from_utf8(message).map_err(|_| "a packet that is no text")?;
        let mut letters = text.chars();
        match letters.next() {
            Some('0') => return Ok(vec![self.connect()]),
            Some('1') => on(Heard::Refused("the server closed the session".to_owned())),
            Some('2') if text.len() == 1 => on(Heard::Ping),
            Some('4') => packet(letters.as_str(), on)?,
            // A pong, an upgrade or a noop.
            Some('2' | '3' | '5' | '6') => {}
            _ => return Err(unreadable("no packet of Engine.IO 4", text)),
        }
        Ok(Vec::new())
    }

    fn connect(&self) -> Message {
        Message::text(format!("40{}", serde_json::json!({"token": self.token})))
    }
}

/// The answer to a ping of the Engine.IO layer.
pub fn pong() -> Message {
    Message::Text(Utf8Bytes::from_static("3"))
}

fn unreadable(what: &str, text: &str) -> String {
    let start: String = text.chars().take(REASON_CHARS_MAX).collect();
    format!("{what}: {start:?}")
}

/// A packet of the Socket.IO layer, behind its Engine.IO type.
fn packet(text: &str, on: &mut dyn FnMut(Heard<'_>)) -> Result<(), String> {
    let mut letters = text.chars();
    let kind = letters.next();
    let rest = letters.as_str();
    match kind {
        // `/name,` in front of the data: another namespace, which nobody asked for.
        Some('0'..='6') if rest.starts_with('/') => {}
        Some('0') => on(Heard::Ready { unrecovered: 0 }),
        Some('1') => on(Heard::Refused("disconnected from the namespace".to_owned())),
        Some('2') => event(rest, on)?,
        Some('4') => on(Heard::Refused(refusal(rest))),
        // Acknowledgements and binary events.
        Some('3' | '5' | '6') => {}
        _ => return Err(unreadable("no packet of Socket.IO", text)),
    }
    Ok(())
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    body: Cow<'a, str>,
}

fn event(text: &str, on: &mut dyn FnMut(Heard<'_>)) -> Result<(), String> {
    // An event that wants an acknowledgement has a number in front.
    let data = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let all: Vec<&RawValue> =
        serde_json::from_str(data).map_err(|_| unreadable("an event that is no list", text))?;
    let name = all.first().and_then(|name| serde_json::from_str::<String>(name.get()).ok());
    let name = name.ok_or_else(|| unreadable("an event without a name", text))?;
    let argument = all.get(1).filter(|_| name == EVENT);
    // Data of another shape belongs to somebody else's feature, and is no receipt.
    if let Some(data) = argument.and_then(|data| serde_json::from_str::<Data<'_>>(data.get()).ok())
    {
        on(Heard::Publication(Publication {
            title: data.title,
            body: data.body,
            offset: None,
            stamps: None,
            recovered: false,
        }));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

fn refusal(text: &str) -> String {
    let told =
        serde_json::from_str::<Refusal>(text).map_or_else(|_| text.to_owned(), |r| r.message);
    let message: String = told.chars().take(REASON_CHARS_MAX).collect();
    format!("refused: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(text: &str) -> Result<(Vec<String>, Vec<Message>), String> {
        let mut speaker = Speaker { token: "a.b".to_owned() };
        let mut heard = Vec::new();
        let answers =
            speaker.hear(text.as_bytes(), &mut |event| heard.push(format!("{event:?}")))?;
        Ok((heard, answers))
    }

    fn one(text: &str) -> String {
        let (heard, answers) = hear(text).unwrap();
        assert!(answers.is_empty() && heard.len() <= 1, "{text}");
        heard.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn a_connection_from_handshake_to_notification() {
        let open = r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        let (heard, answers) = hear(open).unwrap();
        assert_eq!((heard.len(), answers), (0, vec![Message::text(r#"40{"token":"a.b"}"#)]));
        assert_eq!(one(r#"40{"sid":"y"}"#), "Ready { unrecovered: 0 }");
        assert_eq!(one("2"), "Ping");
        let text = r#"42["notification",{"type":"notification","notification_id":"ntf_1","title":"a\"b","body":"[x]"}]"#;
        let told = one(text);
        assert!(told.contains(r#"title: "a\"b", body: "[x]", offset: None"#), "{told}");
        // With a number that asks for an acknowledgement.
        assert_eq!(one(&text.replace("42[", "4217[")), told);
    }

    #[test]
    fn refusals_say_why() {
        assert_eq!(one(r#"44{"message":"jwt malformed"}"#), "Refused(\"refused: jwt malformed\")");
        for end in ["41", "1"] {
            assert!(one(end).starts_with("Refused("), "{end}");
        }
    }

    #[test]
    fn what_is_not_for_us_is_no_receipt() {
        for other in [
            "6",
            "3probe",
            "42/admin,[\"notification\",{\"title\":\"t\",\"body\":\"b\"}]",
            "43[1]",
            r#"42["hello"]"#,
            r#"42["hello",{"title":"t","body":"b"}]"#,
            r#"42["notification",{"type":"read"}]"#,
            r#"42["notification"]"#,
        ] {
            assert_eq!(one(other), "", "{other}");
        }
    }

    #[test]
    fn nonsense_is_an_error_and_never_a_panic() {
        for bad in ["", "x", "9", "4", "49", "42", "42{}", "42[", "42[]", "42[7]", "é"] {
            assert!(hear(bad).is_err(), "{bad:?}");
        }
        assert!(Speaker::default().hear(b"\xff", &mut |_| {}).is_err());
    }
}
