//! The session without a network: every rule of the protocol that it decides, and that no sequence of
//! events breaks the order of what it sends.

use campana_bus::subjects::ChannelName;
use campana_identity::{Allow, ConnectionSpec, TokenKeys};
use serde_json::{Value, json};

mod auth;
mod calls;
mod commands;
mod control;
mod delta;
mod ends;
mod modes;
mod order;
mod presence;
mod protocols;
mod proxies;
mod recovery;
mod wire;

use super::*;
use crate::options::{EdgeOptions, NamespaceOptions, RpcOptions};
use crate::proto::Since;

const NOW: Now = Now { ms: 1_000, unix: 1_800_000_000 };

fn keys() -> TokenKeys {
    TokenKeys::new(&[7; 32], None).unwrap()
}

fn token(ttl: i64) -> String {
    keys().mint_connection("alice", "acme", ttl, NOW.unix, &ConnectionSpec::default()).unwrap()
}

fn options() -> EdgeOptions {
    let namespace = |name: &str, subscribe: &[Allow], publish: &[Allow]| NamespaceOptions {
        name: name.to_owned(),
        subscribe: subscribe.to_vec(),
        publish: publish.to_vec(),
        ..NamespaceOptions::default()
    };
    let anyone = &[Allow::Token, Allow::Authenticated];
    EdgeOptions {
        namespaces: vec![
            namespace("room", anyone, &[Allow::Subscriber]),
            NamespaceOptions { binary: true, ..namespace("raw", anyone, anyone) },
            namespace("vip", &[Allow::Token], &[]),
            NamespaceOptions { history_size: 0, ..namespace("flash", anyone, anyone) },
        ],
        ..EdgeOptions::default()
    }
}

/// A session and the world around it: answers operations at once unless told to hold them. What is said and
/// sent is JSON here, whatever goes over the wire.
struct World {
    protocol: Protocol,
    session: Session,
    now: Now,
    sent: Vec<Value>,
    closed: Option<u16>,
    waiting: Vec<Operation>,
    calls: Vec<Call>,
    asks: Vec<Ask>,
    uses: u64,
    reports: Vec<Report>,
}

impl World {
    fn new(options: EdgeOptions) -> Self {
        Self::speaking(Protocol::Json, options)
    }

    fn speaking(protocol: Protocol, options: EdgeOptions) -> Self {
        let rules = Arc::new(Rules::new(options, keys().key_set().clone()));
        let session = Session::new(rules, protocol, "cli_1", NOW, 15_000, Handshake::default());
        Self {
            protocol,
            session,
            now: NOW,
            sent: Vec::new(),
            closed: None,
            waiting: Vec::new(),
            calls: Vec::new(),
            asks: Vec::new(),
            uses: 0,
            reports: Vec::new(),
        }
    }

    fn connected() -> Self {
        Self::connected_by(Protocol::Json)
    }

    fn connected_by(protocol: Protocol) -> Self {
        let mut world = Self::speaking(protocol, options());
        world.say(&json!({"id": 1, "connect": {"token": token(3_600)}}));
        world.answer();
        world.sent.clear();
        world
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            assert_eq!(self.closed, None, "{effect:?} after the close");
            match effect {
                Effect::Send(encoded) | Effect::Push(_, encoded) => {
                    self.sent.push(wire::reply(&encoded, self.protocol))
                }
                Effect::Call(call) => self.calls.push(call),
                Effect::Ask(ask) => self.asks.push(*ask),
                Effect::Uses(mark) => self.uses |= mark,
                Effect::Run(operation) => self.waiting.push(operation),
                Effect::Close(why) => self.closed = Some(why.code),
                Effect::Report(report) => self.reports.push(report),
                Effect::Identified => assert!(self.session.identity().is_some()),
                Effect::Ping | Effect::Mark(_) => {}
            }
        }
    }

    fn text(&mut self, text: &str) {
        let mut out = Vec::new();
        self.session.on_text(text, self.now, &mut out);
        self.take(out);
    }

    fn binary(&mut self, frame: Vec<u8>) {
        let mut out = Vec::new();
        self.session.on_binary(frame.into(), self.now, &mut out);
        self.take(out);
    }

    /// As it is: mostly nonsense.
    fn raw(&mut self, text: &str) {
        match self.protocol {
            Protocol::Json => self.text(text),
            Protocol::Protobuf => self.binary(text.as_bytes().to_vec()),
        }
    }

    fn say(&mut self, command: &Value) {
        match self.protocol {
            Protocol::Json => self.text(&command.to_string()),
            Protocol::Protobuf => self.binary(wire::command(command)),
        }
    }

    fn done(&mut self, done: Done) {
        let mut out = Vec::new();
        self.session.on_done(done, self.now, &mut out);
        self.take(out);
    }

    /// Answers all operations as an empty stream at offset 10 would.
    fn answer(&mut self) {
        for operation in std::mem::take(&mut self.waiting) {
            let done = match operation {
                Operation::Join(joins) => {
                    Done::Joined(joins.iter().map(|join| (join.ticket, Ok(fresh()))).collect())
                }
                Operation::Ask(ask) => {
                    self.asks.push(*ask);
                    continue;
                }
                Operation::Authenticate => Done::Authenticated(Ok(())),
                Operation::More(more) => Done::More(more.ticket, Ok(Page::default())),
                Operation::Leave(_) => Done::Left,
                Operation::Publish(message) => Done::Published(message.command, Ok(())),
                Operation::Presence(question) => {
                    Done::Present(question.command, Ok(Present::Numbers(0, 0)))
                }
                Operation::History(question) => {
                    let found = Found { publications: Vec::new(), top: 10, epoch: "e".into() };
                    Done::History(question.command, Ok(found))
                }
            };
            self.done(done);
        }
    }

    fn publish(&mut self, channel: &str, offset: u64) {
        let mut out = Vec::new();
        self.session.on_publication(publication(channel, offset), &mut out);
        self.take(out);
    }

    fn at(&mut self, ms: u64) {
        self.now = Now { ms, unix: NOW.unix + i64::try_from(ms - NOW.ms).unwrap() / 1_000 };
        let mut out = Vec::new();
        self.session.on_timer(self.now, &mut out);
        self.take(out);
    }

    fn error(&mut self, command: &Value) -> u64 {
        self.sent.clear();
        self.say(command);
        self.answer();
        assert_eq!(self.closed, None, "{command}");
        self.sent[0]["error"]["code"].as_u64().unwrap_or(0)
    }

    fn offsets(&self, channel: &str) -> Vec<u64> {
        let pushes = self.sent.iter().filter(|line| line["push"]["channel"] == channel);
        pushes.filter_map(|line| line["push"]["pub"]["offset"].as_u64()).collect()
    }
}

fn fresh() -> Joined {
    Joined { top: 10, epoch: "e".into(), recovery: Recovery::None, known: None }
}

fn publication(channel: &str, offset: u64) -> Arc<Published> {
    with_body(channel, offset, offset.to_string().as_bytes())
}

fn with_body(channel: &str, offset: u64, body: &[u8]) -> Arc<Published> {
    let key = Arc::new(ChannelKey::new("acme", ChannelName::parse(channel).unwrap()));
    Arc::new(Published::new(&key, offset, None, body, None))
}

fn page(channel: &str, offsets: &[u64], more: bool) -> Page {
    Page { publications: offsets.iter().map(|at| publication(channel, *at)).collect(), more }
}
