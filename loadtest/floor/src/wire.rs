//! What comes over HTTP, what lies in the streams, what goes to a browser. Pure.
//! Never: checks more than it needs to read; a name that NATS could not carry is escaped by the bus.

use std::borrow::Cow;

use campana_bus::subjects::{self, ChannelName, NameError};
use serde::{Deserialize, Serialize};

/// Whose inboxes these are; the floor has one tenant.
pub const TENANT: &str = "default";

/// The part of `POST /v1/notifications` that the floor understands: names of recipients, inline content.
#[derive(Debug, Deserialize)]
pub struct Post<'a> {
    #[serde(borrow)]
    to: To<'a>,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum To<'a> {
    One(#[serde(borrow)] Recipient<'a>),
    Many(#[serde(borrow)] Vec<Recipient<'a>>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Recipient<'a> {
    Name(#[serde(borrow)] Cow<'a, str>),
    Person {
        #[serde(borrow)]
        id: Cow<'a, str>,
    },
}

#[derive(Debug, Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    body: Cow<'a, str>,
}

/// A request as it waits in the first stream.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stored<'a> {
    #[serde(borrow)]
    pub users: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub title: Cow<'a, str>,
    #[serde(borrow)]
    pub body: Cow<'a, str>,
}

/// A notification as it lies in the second stream and reaches the browser.
#[derive(Debug, Serialize)]
pub struct Inbox<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub notification_id: &'a str,
    pub title: &'a str,
    pub body: &'a str,
}

impl<'a> Post<'a> {
    /// What is stored of it.
    pub fn stored(self) -> Stored<'a> {
        let users = match self.to {
            To::One(recipient) => vec![recipient.name()],
            To::Many(all) => all.into_iter().map(Recipient::name).collect(),
        };
        Stored { users, title: self.content.title, body: self.content.body }
    }
}

impl<'a> Recipient<'a> {
    fn name(self) -> Cow<'a, str> {
        match self {
            Self::Name(name) | Self::Person { id: name } => name,
        }
    }
}

impl Stored<'_> {
    /// The browser's view of it.
    pub fn inbox<'a>(&'a self, id: &'a str) -> Inbox<'a> {
        Inbox { kind: "notification", notification_id: id, title: &self.title, body: &self.body }
    }
}

/// Where a user's notifications are stored.
pub fn subject(user: &str) -> Result<String, NameError> {
    Ok(subjects::channel(TENANT, &ChannelName::inbox(user)?))
}

/// Where they go without a stream; receivers of the load test subscribe it.
pub fn core_subject(user: &str) -> String {
    format!("loadtest.{}", subjects::escape(user))
}

/// All of them as they are republished.
pub fn live_filter() -> String {
    let pattern = subjects::channel_pattern(TENANT, subjects::INBOX_NAMESPACE, "");
    subjects::live_of(&subjects::stored_filter(&pattern))
}

/// A Centrifuge push around a stored notification, which is JSON already.
pub fn push(channel_json: &str, payload: &str, offset: u64) -> String {
    format!(
        r#"{{"push":{{"channel":{channel_json},"pub":{{"data":{payload},"offset":{offset}}}}}}}"#
    )
}

/// The first command of a client.
#[derive(Debug, Deserialize)]
pub struct Command<'a> {
    pub id: u32,
    #[serde(borrow)]
    pub connect: Connect<'a>,
}

#[derive(Debug, Deserialize)]
pub struct Connect<'a> {
    #[serde(borrow)]
    pub token: Cow<'a, str>,
}

/// The answer to it: the personal channel is subscribed by the server.
pub fn connected(command: u32, channel: &str, ping_seconds: u64) -> String {
    serde_json::json!({"id": command, "connect": {
        "client": "floor", "version": "floor", "ping": ping_seconds, "pong": true,
        "subs": {channel: {"recoverable": false}},
    }})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_names_or_objects_one_or_many() {
        for (to, users) in [
            (r#""a""#, vec!["a"]),
            (r#"{"id":"a","email":"x"}"#, vec!["a"]),
            (r#"[{"id":"a"},"b"]"#, vec!["a", "b"]),
        ] {
            let text = format!(
                r#"{{"to":{to},"content":{{"title":"t\"","body":"b"}},"channels":["in_app"]}}"#
            );
            let stored = serde_json::from_str::<Post<'_>>(&text).unwrap().stored();
            assert_eq!(
                (stored.users, &*stored.title),
                (users.iter().map(|name| (*name).into()).collect(), "t\"")
            );
        }
        let template = r#"{"to":"a","template":"welcome"}"#;
        assert!(serde_json::from_str::<Post<'_>>(template).is_err());
    }

    #[test]
    fn a_push_is_json_with_the_stored_text_inside() {
        let stored = Stored { users: vec!["a".into()], title: "\"t\"".into(), body: "b\n".into() };
        let payload = serde_json::to_string(&stored.inbox("ntf_1")).unwrap();
        let frame: serde_json::Value =
            serde_json::from_str(&push("\"inbox:#a\"", &payload, 7)).unwrap();
        assert_eq!(frame["push"]["channel"], "inbox:#a");
        assert_eq!(frame["push"]["pub"]["offset"], 7);
        assert_eq!(frame["push"]["pub"]["data"]["title"], "\"t\"");
        assert_eq!(frame["push"]["pub"]["data"]["type"], "notification");
    }

    #[test]
    fn the_feed_takes_every_inbox() {
        let one = subjects::live_of(&subject("a.b").unwrap());
        assert!(subjects::matches(&live_filter(), &one), "{one}");
    }
}
