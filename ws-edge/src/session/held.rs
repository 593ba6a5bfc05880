//! Commands that wait for keys: a token names one that is not there yet.
//! Reads: commands. Writes: effects. Never: waits twice for the same command, or holds more than a limit.

use super::{Effect, Now, Operation, Session, State};
use crate::codes::{disconnect, error};
use crate::proto::{Command, Request};

/// Commands that may wait at once; their bytes are limited as those of the queue to the client.
const COMMANDS_MAX: usize = 256;

/// What waits.
#[derive(Debug)]
pub(super) struct Held {
    /// The one with the token.
    first: Command,
    later: Vec<Command>,
    bytes: usize,
}

/// What is known of the keys while the command with the token is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Nothing was asked.
    Unasked,
    /// They are as new as they can be.
    Asked,
}

impl Session {
    /// Whether the token's key may be there in a moment.
    pub(super) fn waits_for_key(&self, token: &str) -> bool {
        self.keys == Keys::Unasked
            && !token.is_empty()
            && !self.rules.options.tokens.jwks.is_empty()
            && self.rules.verifier().misses_key(token)
    }

    /// Holds a command, and all that come behind it, until the keys are there.
    pub(super) fn hold(&mut self, first: Command, out: &mut Vec<Effect>) {
        self.held = Some(Box::new(Held { first, later: Vec::new(), bytes: 0 }));
        out.push(Effect::Run(Operation::Authenticate));
    }

    /// A command that came meanwhile waits, too; gives it back if nothing is held. Answers to pings never wait.
    pub(super) fn queue_up(
        &mut self,
        command: Command,
        bytes: usize,
        out: &mut Vec<Effect>,
    ) -> Option<Command> {
        let pong = command.is_pong() && matches!(self.state, State::Connected);
        let Some(held) = self.held.as_mut().filter(|_| !pong) else {
            return Some(command);
        };
        held.bytes = held.bytes.saturating_add(bytes);
        if held.later.len() >= COMMANDS_MAX || held.bytes > self.rules.options.queue_bytes_max {
            self.close(disconnect::BAD_REQUEST, out);
        } else {
            held.later.push(command);
        }
        None
    }

    /// The sources of keys were asked; an error means that one of them does not answer.
    pub(super) fn on_keys(&mut self, asked: Result<(), ()>, now: Now, out: &mut Vec<Effect>) {
        let Some(held) = self.held.take() else { return };
        let Held { first, later, .. } = *held;
        if asked.is_err() && self.waits_for_key(first.request.token()) {
            // The token may be good: whoever waits for its key is not sent away for good.
            match first.request {
                Request::Connect(_) => self.close(disconnect::SERVER_ERROR, out),
                _ => self.refuse(first.id, error::INTERNAL, out),
            }
        } else {
            self.keys = Keys::Asked;
            match first.request {
                // A client that only listens says who it is without an id.
                Request::Connect(request) if matches!(self.state, State::New) => {
                    self.connect(first.id, request, now, out)
                }
                request => self.on_command(Command { id: first.id, request }, 0, now, out),
            }
            self.keys = Keys::Unasked;
        }
        for command in later {
            self.on_command(command, 0, now, out);
        }
    }
}
