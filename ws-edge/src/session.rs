//! One client's session as a pure state machine: commands, publications, answers and the time go in,
//! frames and effects come out.
//! Reads: what it is given. Writes: a list of effects. Never: does I/O, reads a clock or waits.
//!
//! Order is the point of it. The answer to a subscription goes out before any of the channel's
//! publications: while the answer is being made, publications wait here and are released behind it.
//! Within a channel offsets only grow. Commands that come before the connect command is answered wait.

mod admit;
mod ask;
mod asked;
mod budget;
mod built_in;
mod calls;
mod commands;
mod connect;
mod control;
mod effects;
mod held;
mod mode;
mod presence;
mod subscribe;
mod subscription;
mod timers;

use std::sync::Arc;

use bytes::Bytes;

use crate::auth::handshake::Handshake;
use crate::codes::{Disconnect, ReplyError, disconnect, error};
use crate::encode::{self, Encoded, NotJson, Plain};
use crate::metrics;
use crate::proto::{Command, Malformed, Protocol, Request, json, protobuf};
use crate::publication::{ChannelKey, Form, Published, View};
use crate::rules::{Denial, Identity, Rules};
pub use ask::{Ask, Unanswered};
use budget::Budget;
pub(crate) use built_in::PREFIX as BUILT_IN_PREFIX;
pub use built_in::{Ack, BuiltIn};
pub use calls::{Call, CallFailure, SERVICE_ERROR};
pub use effects::{
    Done, Effect, Found, History, Join, Joined, LostReason, More, Operation, Page, Publish,
    Recovery, Report,
};
use held::{Held, Keys};
pub(crate) use mode::standings;
pub use mode::{Address, Marks, Mode};
pub use presence::{PresenceQuestion, Present};
use subscription::Subscription;
use timers::Timers;

/// The time as a session sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that only goes forward.
    pub ms: u64,
    /// Seconds since the Unix epoch, for tokens.
    pub unix: i64,
}

#[derive(Debug)]
enum State {
    /// Nothing said yet.
    New,
    /// The connect command waits for its channels; later commands wait for it.
    Connecting {
        command: u32,
        held: Vec<Command>,
        held_bytes: usize,
    },
    Connected,
    /// Connecting failed; the client knows and should leave.
    Refused,
    Closed,
}

/// Commands that may wait for the answer to the connect command; their bytes are limited as those of the
/// queue to the client.
const HELD_COMMANDS_MAX: usize = 256;

/// One client's session.
#[derive(Debug)]
pub struct Session {
    rules: Arc<Rules>,
    protocol: Protocol,
    client: Box<str>,
    /// What the request that opened the connection said, until it is connected.
    handshake: Option<Box<Handshake>>,
    state: State,
    /// Commands that wait for the key of a token.
    held: Option<Box<Held>>,
    keys: Keys,
    who: Option<Box<Identity>>,
    subscriptions: Vec<Subscription>,
    timers: Timers,
    mode: Mode,
    /// Orders from outside that wait for the answer to the connect command.
    orders: Option<Box<control::HeldOrders>>,
    next_ticket: u32,
    operations: usize,
    calls: usize,
    budget: Budget,
}

impl Session {
    /// A session that just began. `first_ping_ms` spreads the pings of many clients that come at once.
    #[must_use]
    pub fn new(
        rules: Arc<Rules>,
        protocol: Protocol,
        client: &str,
        now: Now,
        first_ping_ms: u64,
        handshake: Handshake,
    ) -> Self {
        Self {
            timers: Timers::new(&rules.options, now, first_ping_ms),
            budget: Budget::new(&rules.options, now),
            rules,
            protocol,
            client: client.into(),
            handshake: Some(Box::new(handshake)),
            state: State::New,
            held: None,
            keys: Keys::Unasked,
            mode: Mode::default(),
            orders: None,
            who: None,
            subscriptions: Vec::new(),
            next_ticket: 1,
            operations: 0,
            calls: 0,
        }
    }

    /// Whether nothing more will come out.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Tenant and user, once they are known.
    #[must_use]
    pub fn identity(&self) -> Option<(&str, &str)> {
        self.who.as_ref().map(|who| (who.tenant.as_str(), who.user.as_str()))
    }

    /// How the client writes and reads.
    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The connection's id as the client knows it.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Channels to leave when the connection is gone, and whether their subscription began.
    pub fn channels(&self) -> impl Iterator<Item = (&Arc<ChannelKey>, bool)> {
        self.subscriptions.iter().map(|one| (&one.key, one.began()))
    }

    /// A text frame came: one command per line.
    pub fn on_text(&mut self, text: &str, now: Now, out: &mut Vec<Effect>) {
        if self.mode.unidirectional {
            return self.on_introduction(text, now, out);
        }
        match self.protocol {
            Protocol::Json => self.on_commands(json::commands(text), now, out),
            Protocol::Protobuf => self.close(disconnect::INAPPROPRIATE_PROTOCOL, out),
        }
    }

    /// A binary frame came: commands behind their lengths.
    pub fn on_binary(&mut self, frame: Bytes, now: Now, out: &mut Vec<Effect>) {
        match self.protocol {
            Protocol::Json => self.close(disconnect::INAPPROPRIATE_PROTOCOL, out),
            Protocol::Protobuf => self.on_commands(protobuf::commands(frame), now, out),
        }
    }

    fn on_commands(
        &mut self,
        commands: impl Iterator<Item = Result<(Command, usize), Malformed>>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let mut empty = true;
        for decoded in commands {
            empty = false;
            match decoded {
                Ok((command, bytes)) => self.on_command(command, bytes, now, out),
                Err(Malformed) => self.close(disconnect::BAD_REQUEST, out),
            }
            if self.is_closed() {
                return;
            }
        }
        if empty {
            self.close(disconnect::BAD_REQUEST, out);
        }
    }

    /// The shell ends the connection.
    pub fn close(&mut self, why: Disconnect, out: &mut Vec<Effect>) {
        if !self.is_closed() {
            self.state = State::Closed;
            out.push(Effect::Close(why));
        }
    }

    fn on_command(&mut self, command: Command, bytes: usize, now: Now, out: &mut Vec<Effect>) {
        let Some(command) = self.queue_up(command, bytes, out) else { return };
        let bytes_max = self.rules.options.queue_bytes_max;
        let pong = command.is_pong();
        match &mut self.state {
            State::Closed => return,
            State::Connecting { held, held_bytes, .. } => {
                *held_bytes = held_bytes.saturating_add(bytes);
                if held.len() >= HELD_COMMANDS_MAX || *held_bytes > bytes_max {
                    return self.close(disconnect::BAD_REQUEST, out);
                }
                return held.push(command);
            }
            State::New | State::Connected | State::Refused => {}
        }
        match (&self.state, command.request) {
            (State::New, Request::Connect(request)) if command.id > 0 => {
                self.connect(command.id, request, now, out)
            }
            (State::Connected, _) if pong => self.pong(now, out),
            (State::Connected, request @ Request::Send(_)) => self.command(0, request, now, out),
            (State::Connected, Request::Connect(_)) => self.close(disconnect::BAD_REQUEST, out),
            (State::Connected, request)
                if command.id > 0 && self.waits_for_key(request.token()) =>
            {
                self.hold(Command { id: command.id, request }, out)
            }
            (State::Connected, request) if command.id > 0 => {
                self.command(command.id, request, now, out)
            }
            _ => self.close(disconnect::BAD_REQUEST, out),
        }
    }

    fn command(&mut self, id: u32, request: Request, now: Now, out: &mut Vec<Effect>) {
        let method = request.method();
        out.push(Effect::Report(Report::Command(method)));
        let spent = self.spend(&request, now, out);
        let is_spent = spent.is_ok();
        if let Err(denial) = spent.and_then(|()| self.dispatch(id, request, now, out)) {
            match denial {
                Denial::Reply(error) => {
                    let limit = metrics::limit_of(method, error).filter(|_| is_spent);
                    out.extend(limit.map(|limit| Effect::Report(Report::Limited(limit))));
                    match id {
                        // An answer to a one-way message would be a ping.
                        0 => self.close(disconnect::TOO_MANY_REQUESTS, out),
                        id => self.refuse(id, error, out),
                    }
                }
                Denial::Close(why) => self.close(why, out),
            }
        }
    }

    fn dispatch(
        &mut self,
        id: u32,
        request: Request,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        match request {
            Request::Subscribe(request) => self.subscribe(id, request, now, out),
            Request::Unsubscribe(channel) => self.unsubscribe(id, &channel, out),
            Request::Publish(request) => self.publish(id, request, out),
            Request::History(request) => self.history(id, request, out),
            Request::Refresh(token) => self.refresh(id, &token, now, out),
            Request::SubRefresh(request) => self.sub_refresh(id, &request, now, out),
            Request::Rpc(request) => self.rpc(id, request, out),
            Request::Send(data) => self.send(data, out),
            Request::Presence(channel) => self.presence(id, &channel, false, out),
            Request::PresenceStats(channel) => self.presence(id, &channel, true, out),
            Request::Ping => {
                out.push(Effect::Send(encode::plain(self.protocol, id, Plain::Ping)));
                Ok(())
            }
            Request::None => Err(error::METHOD_NOT_FOUND.into()),
            // Answered before by closing the connection.
            Request::Connect(_) => Err(Denial::Close(disconnect::BAD_REQUEST)),
        }
    }

    /// Sends an answer; one that this client cannot be given ends the connection.
    fn answer(&mut self, answer: Result<Encoded, NotJson>, out: &mut Vec<Effect>) {
        match answer {
            Ok(encoded) => out.push(Effect::Send(encoded)),
            Err(NotJson) => self.close(disconnect::INAPPROPRIATE_PROTOCOL, out),
        }
    }

    /// Sends a live publication, likewise.
    fn push(
        &mut self,
        publication: Arc<Published>,
        form: Form,
        compact: bool,
        out: &mut Vec<Effect>,
    ) {
        if !self.is_closed() {
            let push = publication.push(View { protocol: self.protocol, form, compact });
            self.pushed(publication, push, out);
        }
    }

    /// Sends one that is read again: without the stamps it may have had when it came live.
    fn push_again(
        &mut self,
        publication: Arc<Published>,
        form: Form,
        compact: bool,
        out: &mut Vec<Effect>,
    ) {
        if !self.is_closed() {
            let push = publication.shared(View { protocol: self.protocol, form, compact });
            self.pushed(publication, push, out);
        }
    }

    fn pushed(
        &mut self,
        publication: Arc<Published>,
        push: Option<Encoded>,
        out: &mut Vec<Effect>,
    ) {
        match push {
            Some(encoded) => {
                self.mark(&publication.key, publication.offset, out);
                out.push(Effect::Push(publication, encoded));
            }
            None => self.close(disconnect::INAPPROPRIATE_PROTOCOL, out),
        }
    }

    fn refuse(&mut self, id: u32, error: ReplyError, out: &mut Vec<Effect>) {
        out.push(Effect::Report(Report::Refused(error.code)));
        out.push(Effect::Send(encode::error(self.protocol, id, error)));
    }

    /// Room for one more operation, or the answer that there is none.
    fn reserve(&mut self) -> Result<(), ReplyError> {
        if self.operations >= self.rules.options.operations_max {
            return Err(error::TOO_MANY_REQUESTS);
        }
        self.operations += 1;
        Ok(())
    }

    /// An operation ended.
    pub fn on_done(&mut self, done: Done, now: Now, out: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        match done {
            Done::Left => {}
            Done::Joined(results) => {
                self.operations = self.operations.saturating_sub(1);
                self.on_joined(results, now, out);
            }
            Done::More(ticket, result) => self.on_more(ticket, result, out),
            Done::Published(id, result) => {
                self.operations = self.operations.saturating_sub(1);
                match result {
                    Ok(()) => {
                        out.push(Effect::Send(encode::plain(self.protocol, id, Plain::Publish)))
                    }
                    Err(error) => self.refuse(id, error, out),
                }
            }
            Done::History(id, result) => {
                self.operations = self.operations.saturating_sub(1);
                match result {
                    Ok(found) => {
                        let (list, top, epoch) = (&found.publications, found.top, &found.epoch);
                        self.answer(encode::history(self.protocol, id, list, top, epoch), out);
                    }
                    Err(error) => self.refuse(id, error, out),
                }
            }
            Done::Called(id, result) => self.called(id, result, out),
            Done::Asked(ask, answer) => self.on_asked(*ask, answer, now, out),
            Done::Authenticated(asked) => self.on_keys(asked, now, out),
            Done::BuiltIn(id, result) => self.reply_to_call(id, result, out),
            Done::Present(id, result) => self.on_present(id, result, out),
        }
    }
}

#[cfg(test)]
mod tests;
