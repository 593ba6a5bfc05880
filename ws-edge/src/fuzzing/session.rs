//! A script of a stranger, and of a bus that answers as it likes, played to a session.
//! Reads: the script. Writes: nothing. Never: lets something out of a session pass that a client could not take.
//!
//! The first byte says how the client talks ([`MODE`]). A step is a byte for what happens ([`Step`]), the length of what
//! belongs to it, and that: whatever the bytes are, they are a script. What must hold after every step: nothing comes
//! out behind the end, every message can be read by itself, a command is answered at most once, what waits for answers
//! is limited by the options, and the next timer lies in the future.

mod bus;
mod node;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;

use crate::auth::handshake::Handshake;
use crate::codes::disconnect;
use crate::control::Control;
use crate::encode::Encoded;
use crate::presence::moves::Moved;
use crate::proto::protobuf::replies::Reply;
use crate::proto::{Protocol, json, protobuf};
use crate::publication::{ChannelKey, Published};
use crate::rules::Rules;
use crate::session::{Address, Ask, Call, Effect, Marks, Mode, Now, Operation, Session};
use node::{CALLS_MAX, CHANNELS_MAX, OPERATIONS_MAX, key, rules};

/// Bits of the first byte: Protobuf, only listens, ping frames, has an address, positions go along, services decide
/// who connects.
const MODE: [u8; 6] = [1, 2, 4, 8, 16, 32];
/// Longest script that is played; what follows is ignored.
const STEPS_MAX: usize = 2_000;
const START: Now = Now { ms: 1_000, unix: 1_800_000_000 };

/// What may happen; the byte's remainder by their number.
const STEPS: [Step; 13] = [
    Step::Text,
    Step::Binary,
    Step::Answer,
    Step::Fail,
    Step::Service,
    Step::Publication,
    Step::Lost,
    Step::Time,
    Step::Moved,
    Step::Order,
    Step::Pong,
    Step::Revoked,
    Step::End,
];

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A frame of the client.
    Text,
    Binary,
    /// The oldest operation is done, well or badly.
    Answer,
    Fail,
    /// A service answers a call or a question; with nothing it does not.
    Service,
    /// Something is published: channel, step of the offset, body.
    Publication,
    Lost,
    /// As many times 8 ms, in two bytes.
    Time,
    Moved,
    Order,
    Pong,
    Revoked,
    End,
}

/// A message of JSON: an object. Payloads in it are only JSON: a number may be beyond what anybody can hold.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    id: u32,
}

/// Plays a script.
///
/// # Panics
/// If something comes out of the session that must not.
pub fn session(script: &[u8]) {
    let _ = play(script);
}

/// Plays a script; how many messages the client got.
pub(super) fn play(script: &[u8]) -> usize {
    let Some((&mode, mut rest)) = script.split_first() else { return 0 };
    let mut player = Player::new(mode);
    for _ in 0..STEPS_MAX {
        let [kind, length, tail @ ..] = rest else { break };
        let (argument, next) = tail.split_at(usize::from(*length).min(tail.len()));
        player.step(STEPS[usize::from(*kind) % STEPS.len()], argument);
        rest = next;
    }
    player.messages
}

/// A session and the world around it.
struct Player {
    rules: Arc<Rules>,
    session: Session,
    protocol: Protocol,
    now: Now,
    closed: bool,
    messages: usize,
    /// Commands without their answer, by id.
    asked: HashMap<u32, u32>,
    operations: VecDeque<Operation>,
    asks: VecDeque<Ask>,
    calls: VecDeque<Call>,
    /// Orders so far: each may make an operation, whatever the client's limits are.
    orders: usize,
    tops: HashMap<String, u64>,
    latest: HashMap<String, (u64, Bytes)>,
}

impl Player {
    fn new(mode: u8) -> Self {
        let [protobuf, listens, frames, address, marks, services] = MODE.map(|bit| mode & bit != 0);
        let rules = rules(services);
        let protocol = if protobuf && !listens { Protocol::Protobuf } else { Protocol::Json };
        let mode = Mode {
            unidirectional: listens,
            frame_pings: frames,
            address: address.then(|| Box::new(Address { session: "s".into(), node: "n".into() })),
            marks: marks.then(|| Box::new(Marks::default())),
        };
        let (client, handshake) = ("cli_1", Handshake::default());
        let session = Session::new(Arc::clone(&rules), protocol, client, START, 15_000, handshake);
        Self {
            rules,
            session: session.with_mode(mode),
            protocol,
            now: START,
            closed: false,
            messages: 0,
            asked: HashMap::new(),
            operations: VecDeque::new(),
            asks: VecDeque::new(),
            calls: VecDeque::new(),
            orders: 0,
            tops: HashMap::new(),
            latest: HashMap::new(),
        }
    }

    fn step(&mut self, step: Step, argument: &[u8]) {
        let mut out = Vec::new();
        let (first, rest) =
            argument.split_first().map_or((0, argument), |(one, rest)| (*one, rest));
        match step {
            Step::Text => self.text(argument, &mut out),
            Step::Binary => self.binary(argument, &mut out),
            Step::Answer | Step::Fail => {
                if let Some(done) = self.done(matches!(step, Step::Answer), first, rest) {
                    self.session.on_done(done, self.now, &mut out);
                }
            }
            Step::Service => {
                if let Some(done) = self.served(argument) {
                    self.session.on_done(done, self.now, &mut out);
                }
            }
            Step::Publication => {
                let key = key(&self.rules, first);
                let publication = self.publication(&key, rest);
                self.session.on_publication(publication, &mut out);
            }
            Step::Lost => self.session.on_lost(&key(&self.rules, first), &mut out),
            Step::Time => self.time(first, rest, &mut out),
            Step::Moved => {
                let info = r#"{"user":"u","client":"c"}"#;
                let moved = Moved::new(&key(&self.rules, first), rest.is_empty(), info);
                self.session.on_moved(&moved, &mut out);
            }
            Step::Order => {
                self.orders += 1;
                let session = (first & 0x80 != 0).then(|| "s".into());
                let (control, _) = Control::new(bus::order(first, rest, self.now), session);
                self.session.on_control(control, self.now, &mut out);
            }
            Step::Pong => self.session.on_pong_frame(self.now, &mut out),
            Step::Revoked => self.session.on_revoked(self.now, &mut out),
            Step::End => self.session.close(disconnect::SHUTDOWN, &mut out),
        }
        self.take(out);
    }

    fn text(&mut self, frame: &[u8], out: &mut Vec<Effect>) {
        let Ok(text) = std::str::from_utf8(frame) else { return };
        if self.protocol == Protocol::Json {
            self.ask(json::commands(text).filter_map(|one| Some(one.ok()?.0.id)).collect());
        }
        self.session.on_text(text, self.now, out);
    }

    fn binary(&mut self, frame: &[u8], out: &mut Vec<Effect>) {
        let frame = Bytes::copy_from_slice(frame);
        if self.protocol == Protocol::Protobuf {
            let commands = protobuf::commands(frame.clone());
            self.ask(commands.filter_map(|one| Some(one.ok()?.0.id)).collect());
        }
        self.session.on_binary(frame, self.now, out);
    }

    fn ask(&mut self, ids: Vec<u32>) {
        ids.into_iter().for_each(|id| *self.asked.entry(id).or_default() += 1);
    }

    fn time(&mut self, first: u8, rest: &[u8], out: &mut Vec<Effect>) {
        let ms = u64::from(first) * 256 + u64::from(rest.first().copied().unwrap_or(0));
        self.now.ms += ms * 8;
        let passed = i64::try_from((self.now.ms - START.ms) / 1_000).unwrap_or(i64::MAX);
        self.now.unix = START.unix.saturating_add(passed);
        self.session.on_timer(self.now, out);
        assert!(self.session.next_timer_ms() > self.now.ms, "a timer that is never done");
    }

    /// The next publication of a channel; it knows the one before, as the hub makes it.
    fn publication(&mut self, key: &Arc<ChannelKey>, body: &[u8]) -> Arc<Published> {
        let (step, body) = body.split_first().unwrap_or((&1, b"1"));
        let top = self.tops.entry(key.subject.clone()).or_insert(10);
        // Now and then one comes again.
        let offset = if *step == 0 { *top } else { *top + u64::from(*step % 4) };
        *top = offset;
        let one = Published::new(key, offset, None, body, None);
        let body = Bytes::copy_from_slice(body);
        if let Some((base, before)) = self.latest.insert(key.subject.clone(), (offset, body))
            && base < offset
        {
            one.follow(base, before);
        }
        Arc::new(one)
    }

    /// Does what the session asked for, and checks that it may.
    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            assert!(!self.closed, "{effect:?} after the end");
            match effect {
                Effect::Send(encoded) => self.message(&encoded),
                Effect::Push(publication, encoded) => {
                    assert!(self.session.channels().count() > 0 || self.session.is_closed());
                    assert!(publication.offset > 0);
                    self.message(&encoded);
                }
                Effect::Run(operation) => self.operations.push_back(operation),
                Effect::Call(call) => self.calls.push_back(call),
                Effect::Ask(ask) => self.asks.push_back(*ask),
                Effect::Close(why) => {
                    assert!(why.code >= 1_000 && why.reason.len() <= 123, "{why:?}");
                    self.closed = true;
                }
                Effect::Identified => assert!(self.session.identity().is_some()),
                Effect::Uses(_) | Effect::Ping | Effect::Mark(_) | Effect::Report(_) => {}
            }
        }
        assert_eq!(self.closed, self.session.is_closed());
        assert!(self.session.channels().count() <= CHANNELS_MAX);
        // Leaving is done at once and counts for nothing; each channel may catch up and refresh besides.
        let leaves = |one: &&Operation| !matches!(one, Operation::Leave(_));
        let waiting = self.operations.iter().filter(leaves).count();
        let most = OPERATIONS_MAX + CHANNELS_MAX + self.orders + 2;
        assert!(waiting <= most, "{waiting} operations");
        assert!(self.asks.len() <= most, "{} questions", self.asks.len());
        let calls = self.calls.iter().filter(|call| call.built_in.is_none()).count();
        assert!(calls <= CALLS_MAX, "{calls} calls");
    }

    /// One message by itself, and no second answer to a command.
    fn message(&mut self, encoded: &Encoded) {
        self.messages += 1;
        let id = match encoded {
            Encoded::Text(text) => {
                assert_eq!(self.protocol, Protocol::Json);
                assert!(!text.as_str().contains(['\n', '\r']), "a line has no end in it: {text:?}");
                let line: Line = serde_json::from_str(text.as_str()).expect("messages are JSON");
                line.id
            }
            Encoded::Binary(bytes) => {
                assert_eq!(self.protocol, Protocol::Protobuf);
                let mut rest = bytes.clone();
                let reply =
                    Reply::decode_length_delimited(&mut rest).expect("messages are replies");
                assert!(rest.is_empty(), "one message, no more");
                reply.id
            }
        };
        if id > 0 {
            let left = self.asked.get_mut(&id).and_then(|count| {
                *count = count.checked_sub(1)?;
                Some(())
            });
            assert!(left.is_some(), "an answer too many to the command {id}");
        }
    }
}
