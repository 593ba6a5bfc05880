//! The few sentences of the Centrifuge JSON protocol that a receiver needs: say connect, answer
//! a ping, read a publication. Pure: text in, events out. It never subscribes: the personal
//! channel is subscribed by the server on connect, as in a browser with the bell.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// What the server's empty object asks for and how it is answered.
pub const PONG: &str = "{}";

/// One thing a server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// An empty object: answer with [`PONG`].
    Ping,
    /// The connect reply, with the channels that the server subscribed.
    Connected { channels: Vec<String> },
    /// A notification reached this client.
    Notification { id: String, offset: Option<u64> },
    /// An error reply or a disconnect push.
    Refused { code: u32, message: String },
    /// Anything else: a read receipt, a join, an unknown push.
    Other,
}

/// The first command of a connection.
pub fn connect_command(token: &str) -> String {
    serde_json::json!({"id": 1, "connect": {"token": token, "name": "loadtest"}}).to_string()
}

/// Reads one WebSocket text message, which may hold several frames, one a line.
pub fn parse(text: &str) -> Result<Vec<Event>, serde_json::Error> {
    text.lines().filter(|line| !line.is_empty()).map(parse_frame).collect()
}

fn parse_frame(line: &str) -> Result<Event, serde_json::Error> {
    let frame: Frame<'_> = serde_json::from_str(line)?;
    if let Some(problem) = frame.error {
        return Ok(problem.into());
    }
    if let Some(reply) = frame.connect {
        return Ok(Event::Connected { channels: reply.subs.into_keys().collect() });
    }
    let Some(push) = frame.push else {
        return Ok(if frame.id.is_none() { Event::Ping } else { Event::Other });
    };
    if let Some(problem) = push.disconnect {
        return Ok(problem.into());
    }
    let Some(publication) = push.publication else {
        return Ok(Event::Other);
    };
    // Data of another shape belongs to somebody else's feature, and is not an error.
    let data: Data<'_> = match serde_json::from_str(publication.data.get()) {
        Ok(data) => data,
        Err(_) => return Ok(Event::Other),
    };
    Ok(match (data.kind.as_deref(), data.notification_id) {
        (Some("notification"), Some(id)) => {
            Event::Notification { id: id.into_owned(), offset: publication.offset }
        }
        _ => Event::Other,
    })
}

#[derive(Deserialize)]
struct Frame<'a> {
    id: Option<u32>,
    error: Option<Problem>,
    connect: Option<ConnectReply>,
    #[serde(borrow)]
    push: Option<Push<'a>>,
}

#[derive(Deserialize)]
struct Problem {
    code: u32,
    #[serde(default, alias = "reason")]
    message: String,
}

impl From<Problem> for Event {
    fn from(problem: Problem) -> Self {
        Self::Refused { code: problem.code, message: problem.message }
    }
}

#[derive(Deserialize)]
struct ConnectReply {
    #[serde(default)]
    subs: HashMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(rename = "pub", borrow)]
    publication: Option<Publication<'a>>,
    disconnect: Option<Problem>,
}

#[derive(Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    offset: Option<u64>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    notification_id: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_several_frames_of_one_message() {
        let text = concat!(
            "{}\n",
            r#"{"push":{"channel":"inbox:#a","pub":{"data":{"type":"notification","id":"dlv_1","notification_id":"ntf_1","title":"x"},"offset":7}}}"#,
            "\n"
        );
        let events = parse(text).unwrap();
        assert_eq!(
            events,
            [Event::Ping, Event::Notification { id: "ntf_1".into(), offset: Some(7) }]
        );
    }

    #[test]
    fn reads_connect_replies_and_refusals() {
        let connected = r#"{"id":1,"connect":{"client":"c","version":"1","ping":25,"pong":true,"subs":{"inbox:#a":{"epoch":"e"}}}}"#;
        assert_eq!(
            parse(connected).unwrap(),
            [Event::Connected { channels: vec!["inbox:#a".into()] }]
        );
        let refused = r#"{"id":1,"error":{"code":109,"message":"token expired"}}"#;
        assert_eq!(
            parse(refused).unwrap(),
            [Event::Refused { code: 109, message: "token expired".into() }]
        );
    }

    #[test]
    fn other_pushes_are_not_receipts() {
        let read =
            r#"{"push":{"channel":"inbox:#a","pub":{"data":{"type":"read","ids":["dlv_1"]}}}}"#;
        let foreign = r#"{"push":{"channel":"x","pub":{"data":[1,2]}}}"#;
        let join = r#"{"push":{"channel":"x","join":{"info":{"user":"a","client":"c"}}}}"#;
        for text in [read, foreign, join, r#"{"id":4,"publish":{}}"#] {
            assert_eq!(parse(text).unwrap(), [Event::Other], "{text}");
        }
        assert!(parse("not json").is_err());
    }
}
