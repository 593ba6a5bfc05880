//! One subscription of a session: where it stands and what waits for it.
//! Reads: publications. Writes: nothing. Never: lets an offset go backwards.

use std::sync::Arc;

use campana_identity::{Overrides, SubscriptionClaims};

use super::Joined;
use super::timers::NEVER;
use crate::control::Control;
use crate::publication::{ChannelKey, Form, Published};

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) key: Arc<ChannelKey>,
    pub(super) ticket: u32,
    /// The subscribe command that waits for its answer.
    pub(super) command: Option<u32>,
    /// Subscribed by the server at connect, not by a command.
    pub(super) server_side: bool,
    /// The client rather gets an error than a subscription with a hole.
    pub(super) all_or_nothing: bool,
    pub(super) expires_at: u64,
    pub(super) ttl: Option<i64>,
    /// When a service is asked whether the subscription may stay.
    pub(super) ask_at: u64,
    /// Whether a service is asked whether it may begin.
    pub(super) asking: bool,
    /// Options of the namespace that are otherwise here.
    pub(super) overrides: Overrides,
    /// JSON shown with what the user publishes here.
    pub(super) info: Option<Box<str>>,
    /// JSON handed out with the subscription.
    pub(super) data: Option<Box<str>>,
    /// What the subscription token says, if there was one.
    pub(super) token: Option<Box<SubscriptionClaims>>,
    pub(super) phase: Phase,
    /// How publications go out.
    pub(super) delta: Delta,
    /// Pushes name the channel by its number.
    pub(super) compact: bool,
    /// The server's order that waits for the channel to be joined.
    pub(super) ordered: Option<Arc<Control>>,
    /// The client asked to be told who comes and goes.
    pub(super) join_leave: bool,
}

/// Whether publications may go out as differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delta {
    /// The client did not ask, or the namespace does not allow it.
    Off,
    /// The client has none yet to which there could be a difference.
    First,
    /// The client has the publication at its position.
    On,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The channel is being joined; nothing was answered yet.
    Joining(Box<Waiting>),
    /// Answered; older pages are still being sent. Everything up to `cursor` was.
    CatchingUp { cursor: u64, waiting: Box<Waiting> },
    /// Everything up to `position` was sent.
    Live { position: u64 },
}

/// Live publications that wait behind older ones.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    list: Vec<Arc<Published>>,
    bytes: usize,
    /// Up to here publications were thrown away; they are read from the stream again.
    pub(super) dropped_upto: u64,
}

impl Waiting {
    fn add(&mut self, publication: Arc<Published>, bytes_max: usize) {
        self.bytes += publication.bytes();
        if self.bytes > bytes_max {
            self.dropped_upto = publication.offset;
            self.list.clear();
            self.bytes = 0;
        } else {
            self.list.push(publication);
        }
    }
}

impl Subscription {
    pub(super) fn new(key: Arc<ChannelKey>, ticket: u32) -> Self {
        Self {
            key,
            ticket,
            command: None,
            server_side: false,
            all_or_nothing: false,
            expires_at: NEVER,
            ttl: None,
            ask_at: NEVER,
            asking: false,
            overrides: Overrides::default(),
            info: None,
            data: None,
            token: None,
            phase: Phase::Joining(Box::default()),
            delta: Delta::Off,
            compact: false,
            ordered: None,
            join_leave: false,
        }
    }

    /// What a token or service sets otherwise than the namespace for this subscription.
    pub(super) const fn overrides(&self) -> Overrides {
        self.overrides
    }

    /// The channel is joined: its name is kept once for all its subscribers.
    pub(super) fn know(&mut self, joined: &Joined) {
        if let Some(known) = joined.known.as_ref().filter(|known| known.subject == self.key.subject)
        {
            self.key = Arc::clone(known);
        }
    }

    /// Whether the client was told that it is subscribed.
    pub(super) fn began(&self) -> bool {
        !matches!(self.phase, Phase::Joining(_))
    }

    /// A live publication came: says how it goes out now, if it does.
    pub(super) fn accept(
        &mut self,
        publication: &Arc<Published>,
        bytes_max: usize,
    ) -> Option<Form> {
        match &mut self.phase {
            Phase::Joining(waiting) | Phase::CatchingUp { waiting, .. } => {
                waiting.add(Arc::clone(publication), bytes_max);
                None
            }
            Phase::Live { position } if publication.offset > *position => {
                let before = std::mem::replace(position, publication.offset);
                if self.delta == Delta::On && publication.follows(before) {
                    Some(Form::Patch)
                } else {
                    Some(self.whole())
                }
            }
            Phase::Live { .. } => None,
        }
    }

    /// How a publication goes out whole; the next one may be a difference to it.
    pub(super) fn whole(&mut self) -> Form {
        match self.delta {
            Delta::Off => Form::Plain,
            Delta::First | Delta::On => {
                self.delta = Delta::On;
                Form::Whole
            }
        }
    }

    /// Everything up to `cursor` went out. Ends the wait and gives what waited, or, if more must be read
    /// first, how far.
    pub(super) fn caught_up(
        &mut self,
        cursor: u64,
        more: bool,
    ) -> Result<Vec<Arc<Published>>, u64> {
        let waiting = match &mut self.phase {
            Phase::Joining(waiting) | Phase::CatchingUp { waiting, .. } => std::mem::take(waiting),
            Phase::Live { .. } => return Ok(Vec::new()),
        };
        if more || waiting.dropped_upto > cursor {
            let at_least = waiting.dropped_upto;
            self.phase = Phase::CatchingUp { cursor, waiting };
            return Err(at_least);
        }
        let mut position = cursor;
        let mut released = waiting.list;
        released.retain(|publication| {
            let new = publication.offset > position;
            position = position.max(publication.offset);
            new
        });
        self.phase = Phase::Live { position };
        Ok(released)
    }
}
