//! The few sentences of the Centrifuge JSON protocol that a receiver needs: connect, subscribe,
//! go on from a position, answer a ping, read a publication. Pure: text in, events out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::protocol::{Heard, Publication};
use super::{Seat, SharedChannel};

const CONNECT_ID: u32 = 1;
const SUBSCRIBE_ID: u32 = 2;
const REASON_CHARS_MAX: usize = 120;

/// Where the client stands in a channel.
#[derive(Debug)]
struct Position {
    channel: String,
    epoch: String,
    offset: u64,
}

/// See [`super::Speaker`].
#[derive(Debug, Default)]
pub struct Speaker {
    positions: Vec<Position>,
    /// The channel that must be in the connect reply.
    expect: Option<String>,
    /// The shared channel, if its subscription has not been confirmed.
    pending: Option<String>,
    connected: bool,
    unrecovered: u32,
}

impl Speaker {
    /// The connect command, and a subscribe command for a shared channel.
    pub fn first(&mut self, seat: &Seat) -> Vec<Message> {
        self.expect.clone_from(&seat.expect);
        self.pending = seat.shared.as_ref().map(|shared| shared.name.clone());
        self.connected = false;
        self.unrecovered = 0;
        let shared = seat.shared.as_ref();
        let mut connect = json!({"token": seat.token, "name": "loadtest"});
        let subs: serde_json::Map<String, Value> = self
            .positions
            .iter()
            .filter(|position| shared.is_none_or(|shared| shared.name != position.channel))
            .map(|position| (position.channel.clone(), position.recover()))
            .collect();
        if !subs.is_empty() {
            connect["subs"] = Value::Object(subs);
        }
        let mut commands = vec![json!({"id": CONNECT_ID, "connect": connect}).to_string()];
        commands.extend(shared.map(|shared| self.subscribe(shared)));
        vec![Message::text(commands.join("\n"))]
    }

    fn subscribe(&self, shared: &SharedChannel) -> String {
        let position = self.positions.iter().find(|one| one.channel == shared.name);
        let mut subscribe = position.map_or_else(|| json!({}), Position::recover);
        subscribe["channel"] = json!(shared.name);
        if let Some(token) = &shared.token {
            subscribe["token"] = json!(token);
        }
        json!({"id": SUBSCRIBE_ID, "subscribe": subscribe}).to_string()
    }

    /// Reads one message, which may hold several frames, one a line.
    pub fn hear(&mut self, message: &[u8], on: &mut dyn FnMut(Heard<'_>)) -> Result<(), String> {
        for line in message.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let frame: Frame<'_> = serde_json::from_slice(line)
                .map_err(|error| format!("unreadable frame: {error}"))?;
            self.frame(frame, on);
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame<'_>, on: &mut dyn FnMut(Heard<'_>)) {
        if let Some(problem) = frame.error {
            return on(Heard::Refused(problem.text()));
        }
        if let Some(reply) = frame.connect {
            return self.connected(reply, on);
        }
        if let Some(reply) = frame.subscribe {
            let Some(channel) = self.pending.take() else { return };
            self.standing(&channel, reply, on);
            return self.ready(on);
        }
        let Some(push) = frame.push else {
            if frame.id.is_none() {
                on(Heard::Ping);
            }
            return;
        };
        if let Some(problem) = push.disconnect {
            return on(Heard::Refused(problem.text()));
        }
        if let (Some(channel), Some(publication)) = (push.channel, push.publication) {
            self.reached(&channel, publication.offset);
            publication.tell(false, on);
        }
    }

    fn connected(&mut self, reply: ConnectReply<'_>, on: &mut dyn FnMut(Heard<'_>)) {
        if let Some(wanted) =
            self.expect.as_ref().filter(|name| !reply.subs.contains_key(name.as_str()))
        {
            let text = format!("the server did not subscribe {wanted:?} at connect");
            return on(Heard::Refused(text));
        }
        for (channel, standing) in reply.subs {
            self.standing(&channel, standing, on);
        }
        self.connected = true;
        self.ready(on);
    }

    fn ready(&self, on: &mut dyn FnMut(Heard<'_>)) {
        if self.connected && self.pending.is_none() {
            on(Heard::Ready { unrecovered: self.unrecovered });
        }
    }

    fn standing(&mut self, channel: &str, reply: SubReply<'_>, on: &mut dyn FnMut(Heard<'_>)) {
        let known = self.positions.iter_mut().find(|position| position.channel == channel);
        let (epoch, offset) = (reply.epoch.unwrap_or_default(), reply.offset.unwrap_or(0));
        match known {
            Some(position) => {
                // Nothing can be missing where nothing was published meanwhile.
                let same = position.epoch == epoch && position.offset == offset;
                self.unrecovered +=
                    u32::from(!reply.recovered && !same && !position.epoch.is_empty());
                position.epoch = epoch.into_owned();
                position.offset = offset;
            }
            None => self.positions.push(Position {
                channel: channel.to_owned(),
                epoch: epoch.into_owned(),
                offset,
            }),
        }
        for publication in reply.publications {
            publication.tell(true, on);
        }
    }

    fn reached(&mut self, channel: &str, offset: Option<u64>) {
        let known = self.positions.iter_mut().find(|position| position.channel == channel);
        if let (Some(position), Some(offset)) = (known, offset) {
            position.offset = position.offset.max(offset);
        }
    }
}

impl Position {
    /// A channel without an epoch has no history to recover from.
    fn recover(&self) -> Value {
        if self.epoch.is_empty() {
            return json!({});
        }
        json!({"recover": true, "epoch": self.epoch, "offset": self.offset})
    }
}

/// What the server's empty object asks for.
pub fn pong() -> Message {
    Message::Text(Utf8Bytes::from_static("{}"))
}

#[derive(Deserialize)]
struct Frame<'a> {
    id: Option<u32>,
    error: Option<Problem>,
    #[serde(borrow)]
    connect: Option<ConnectReply<'a>>,
    #[serde(borrow)]
    subscribe: Option<SubReply<'a>>,
    #[serde(borrow)]
    push: Option<Push<'a>>,
}

#[derive(Deserialize)]
struct Problem {
    code: u32,
    #[serde(default, alias = "reason")]
    message: String,
}

impl Problem {
    fn text(&self) -> String {
        let message: String = self.message.chars().take(REASON_CHARS_MAX).collect();
        format!("refused: {} {message}", self.code)
    }
}

#[derive(Deserialize)]
struct ConnectReply<'a> {
    #[serde(borrow, default)]
    subs: BTreeMap<Cow<'a, str>, SubReply<'a>>,
}

#[derive(Deserialize)]
struct SubReply<'a> {
    #[serde(borrow)]
    epoch: Option<Cow<'a, str>>,
    offset: Option<u64>,
    #[serde(default)]
    recovered: bool,
    #[serde(borrow, default)]
    publications: Vec<Pub<'a>>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(rename = "pub", borrow)]
    publication: Option<Pub<'a>>,
    disconnect: Option<Problem>,
}

#[derive(Deserialize)]
struct Pub<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    offset: Option<u64>,
    #[serde(borrow)]
    tags: Option<Tags<'a>>,
}

#[derive(Deserialize)]
struct Tags<'a> {
    #[serde(rename = "campana-stamps", borrow)]
    stamps: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    body: Cow<'a, str>,
}

impl<'a> Pub<'a> {
    /// Data of another shape belongs to somebody else's feature (a read mark, a join), and is
    /// no receipt.
    fn tell(self, recovered: bool, on: &mut dyn FnMut(Heard<'_>)) {
        let Ok(data) = serde_json::from_str::<Data<'a>>(self.data.get()) else { return };
        on(Heard::Publication(Publication {
            title: data.title,
            body: data.body,
            offset: self.offset,
            stamps: self.tags.and_then(|tags| tags.stamps),
            recovered,
        }));
    }
}
