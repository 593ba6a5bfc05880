//! One client's session as a pure state machine: commands, publications, answers and the time go in,
//! frames and effects come out.
//! Reads: what it is given. Writes: a list of effects. Never: does I/O, reads a clock or waits.
//!
//! Order is the point of it. The answer to a subscription goes out before any of the channel's
//! publications: while the answer is being made, publications wait here and are released behind it.
//! Within a channel offsets only grow. Commands that come before the connect command is answered wait.

mod commands;
mod connect;
mod subscribe;
mod subscription;
mod timers;

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;

use crate::codes::{Disconnect, ReplyError, disconnect, error};
use crate::encode;
use crate::proto::{Command, Since};
use crate::publication::{ChannelKey, Published};
use crate::rules::{Denial, Identity, Rules};
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

/// What the shell around a session must do, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Send one line.
    Send(Utf8Bytes),
    /// Send a publication.
    Push(Arc<Published>),
    /// Do it after all earlier operations and report back with [`Session::on_done`].
    Run(Operation),
    /// Close the connection; nothing follows.
    Close(Disconnect),
    /// Count it.
    Report(Report),
}

/// What a session needs done.
#[derive(Debug)]
pub enum Operation {
    /// Let publications of these channels come, and find what was missed.
    Join(Vec<Join>),
    /// Get the next page of what was missed.
    More(More),
    /// Let no more publications of the channel come.
    Leave(Arc<ChannelKey>),
    /// Store a message.
    Publish(Publish),
    /// Read stored messages.
    History(History),
}

/// One channel to join.
#[derive(Debug, Clone)]
pub struct Join {
    /// Names the answer.
    pub ticket: u32,
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// Where the client stands, if it wants what it missed.
    pub since: Option<Since>,
}

/// The next page of a recovery.
#[derive(Debug, Clone)]
pub struct More {
    /// Names the answer.
    pub ticket: u32,
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// Everything up to here was sent.
    pub after: u64,
    /// The last page must reach at least this far.
    pub at_least: u64,
}

/// A message to store for a client.
#[derive(Debug)]
pub struct Publish {
    /// The command to answer.
    pub command: u32,
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// The body.
    pub data: Bytes,
    /// JSON about the publisher.
    pub info: String,
}

/// A history question.
#[derive(Debug)]
pub struct History {
    /// The command to answer.
    pub command: u32,
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// Most messages; 0 asks for the position only.
    pub limit: usize,
    /// Strictly after it, or strictly before it if reversed.
    pub since: Option<Since>,
    /// Newest first.
    pub reverse: bool,
    /// Only this many newest messages count.
    pub reach: usize,
    /// Only messages younger than this count; 0 for all.
    pub age_seconds_max: u64,
}

/// Where a channel stands and what was missed.
#[derive(Debug)]
pub struct Joined {
    /// Offset of a client that has everything until now.
    pub top: u64,
    /// Incarnation of the stream.
    pub epoch: Arc<str>,
    /// What became of the recovery, if one was asked for.
    pub recovery: Recovery,
}

/// What became of a recovery.
#[derive(Debug)]
pub enum Recovery {
    /// None was asked for.
    None,
    /// What was missed after `from`.
    Page {
        /// The client's offset.
        from: u64,
        /// The first page.
        page: Page,
    },
    /// Some of it is gone.
    Lost(LostReason),
}

/// Why a position cannot be recovered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostReason {
    /// The stream no longer holds all of it.
    Gap,
    /// The position belongs to another incarnation of the stream.
    Epoch,
}

/// Some missed publications, in order.
#[derive(Debug, Default)]
pub struct Page {
    /// Oldest first.
    pub publications: Vec<Arc<Published>>,
    /// Whether there are more after these.
    pub more: bool,
}

/// What a history question found.
#[derive(Debug)]
pub struct Found {
    /// In the order asked for.
    pub publications: Vec<Arc<Published>>,
    /// Where the channel stands.
    pub top: u64,
    /// Incarnation of the stream.
    pub epoch: Arc<str>,
}

/// The end of an operation.
#[derive(Debug)]
pub enum Done {
    /// Of [`Operation::Join`]: by ticket; an error means that the bus does not answer.
    Joined(Vec<(u32, Result<Joined, ()>)>),
    /// Of [`Operation::More`]; an error means that messages are lost or the bus does not answer.
    More(u32, Result<Page, ()>),
    /// Of [`Operation::Leave`].
    Left,
    /// Of [`Operation::Publish`].
    Published(u32, Result<(), ReplyError>),
    /// Of [`Operation::History`].
    History(u32, Result<Found, ReplyError>),
}

/// Something worth counting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A client was let in.
    Connected,
    /// A subscription began.
    Subscribed(Arc<ChannelKey>),
    /// A subscription ended.
    Unsubscribed(Arc<ChannelKey>),
    /// A recovery worked, or why not.
    Recovered(Result<(), LostReason>),
    /// A ping was answered after so many milliseconds.
    Pong(u64),
    /// A command was answered with an error.
    Refused(u32),
}

#[derive(Debug)]
enum State {
    /// Nothing said yet.
    New,
    /// The connect command waits for its channels; later lines wait for it.
    Connecting {
        command: u32,
        held: Vec<Box<str>>,
    },
    Connected,
    /// Connecting failed; the client knows and should leave.
    Refused,
    Closed,
}

/// Lines that may wait for the answer to the connect command.
const HELD_LINES_MAX: usize = 256;

/// One client's session.
#[derive(Debug)]
pub struct Session {
    rules: Arc<Rules>,
    client: Box<str>,
    state: State,
    who: Option<Box<Identity>>,
    subscriptions: Vec<Subscription>,
    timers: Timers,
    next_ticket: u32,
    operations: usize,
    /// Thousandths of commands that may come now.
    budget: u64,
    budget_at: u64,
    refused: u32,
}

impl Session {
    /// A session that just began. `first_ping_ms` spreads the pings of many clients that come at once.
    #[must_use]
    pub fn new(rules: Arc<Rules>, client: &str, now: Now, first_ping_ms: u64) -> Self {
        let budget = u64::from(rules.options.commands_burst) * 1_000;
        Self {
            timers: Timers::new(&rules.options, now, first_ping_ms),
            rules,
            client: client.into(),
            state: State::New,
            who: None,
            subscriptions: Vec::new(),
            next_ticket: 1,
            operations: 0,
            budget,
            budget_at: now.ms,
            refused: 0,
        }
    }

    /// Whether nothing more will come out.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Channels to leave when the connection is gone, and whether their subscription began.
    pub fn channels(&self) -> impl Iterator<Item = (&Arc<ChannelKey>, bool)> {
        self.subscriptions.iter().map(|one| (&one.key, one.began()))
    }

    /// A text frame came: one command per line.
    pub fn on_text(&mut self, text: &str, now: Now, out: &mut Vec<Effect>) {
        let mut lines = text.split('\n').map(str::trim).filter(|line| !line.is_empty()).peekable();
        if lines.peek().is_none() {
            self.close(disconnect::BAD_REQUEST, out);
        }
        for line in lines {
            self.on_line(line, now, out);
        }
    }

    /// The shell ends the connection.
    pub fn close(&mut self, why: Disconnect, out: &mut Vec<Effect>) {
        if !self.is_closed() {
            self.state = State::Closed;
            out.push(Effect::Close(why));
        }
    }

    fn on_line(&mut self, line: &str, now: Now, out: &mut Vec<Effect>) {
        match &mut self.state {
            State::Closed => return,
            State::Connecting { held, .. } if held.len() < HELD_LINES_MAX => {
                held.push(line.into());
                return;
            }
            State::Connecting { .. } => return self.close(disconnect::BAD_REQUEST, out),
            State::New | State::Connected | State::Refused => {}
        }
        let Ok(command) = serde_json::from_str::<Command<'_>>(line) else {
            return self.close(disconnect::BAD_REQUEST, out);
        };
        match self.state {
            State::New if command.id > 0 && command.connect.is_some() => {
                self.connect(command, now, out)
            }
            State::Connected if command.is_pong() => self.pong(now, out),
            State::Connected if command.send.is_some() => {
                self.close(disconnect::NOT_AVAILABLE, out)
            }
            State::Connected if command.id > 0 && command.connect.is_none() => {
                self.command(command, now, out)
            }
            _ => self.close(disconnect::BAD_REQUEST, out),
        }
    }

    fn command(&mut self, command: Command<'_>, now: Now, out: &mut Vec<Effect>) {
        let id = command.id;
        if let Err(denial) = self.spend(now).and_then(|()| self.dispatch(command, now, out)) {
            match denial {
                Denial::Reply(error) => self.refuse(id, error, out),
                Denial::Close(why) => self.close(why, out),
            }
        }
    }

    /// Takes one command from the budget.
    fn spend(&mut self, now: Now) -> Result<(), Denial> {
        let options = &self.rules.options;
        let full = u64::from(options.commands_burst) * 1_000;
        let earned = now
            .ms
            .saturating_sub(self.budget_at)
            .saturating_mul(u64::from(options.commands_per_second));
        self.budget = self.budget.saturating_add(earned).min(full);
        self.budget_at = now.ms;
        if self.budget >= 1_000 {
            self.budget -= 1_000;
            self.refused = 0;
            return Ok(());
        }
        self.refused += 1;
        if self.refused > options.commands_burst {
            return Err(Denial::Close(disconnect::TOO_MANY_REQUESTS));
        }
        Err(error::TOO_MANY_REQUESTS.into())
    }

    fn dispatch(
        &mut self,
        command: Command<'_>,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let id = command.id;
        if let Some(request) = command.subscribe {
            self.subscribe(id, request, now, out)
        } else if let Some(request) = command.unsubscribe {
            self.unsubscribe(id, &request.channel, out)
        } else if let Some(request) = command.publish {
            self.publish(id, &request, out)
        } else if let Some(request) = command.history {
            self.history(id, request, out)
        } else if let Some(request) = command.refresh {
            self.refresh(id, &request.token, now, out)
        } else if let Some(request) = command.sub_refresh {
            self.sub_refresh(id, &request, now, out)
        } else if let Some(request) = command.presence.or(command.presence_stats) {
            self.rules.channel(&request.channel)?;
            Err(error::NOT_AVAILABLE.into())
        } else if command.rpc.is_some() {
            Err(error::NOT_AVAILABLE.into())
        } else if command.ping.is_some() {
            out.push(Effect::Send(encode::empty(id, "ping")));
            Ok(())
        } else {
            Err(error::METHOD_NOT_FOUND.into())
        }
    }

    fn refuse(&mut self, id: u32, error: ReplyError, out: &mut Vec<Effect>) {
        out.push(Effect::Report(Report::Refused(error.code)));
        out.push(Effect::Send(encode::error(id, error)));
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
                    Ok(()) => out.push(Effect::Send(encode::empty(id, "publish"))),
                    Err(error) => self.refuse(id, error, out),
                }
            }
            Done::History(id, result) => {
                self.operations = self.operations.saturating_sub(1);
                match result {
                    Ok(found) => {
                        let reply =
                            encode::history(id, &found.publications, found.top, &found.epoch);
                        out.push(Effect::Send(reply));
                    }
                    Err(error) => self.refuse(id, error, out),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
