//! Presence as a session sees it: questions, what others may know of this client, who comes and goes.
//! Reads: requests, answers, moves. Writes: effects.
//! Never: tells a client who is in a channel whose namespace does not let it know.

use std::sync::Arc;

use campana_identity::Action;

use super::{Effect, Operation, Session};
use crate::codes::{ReplyError, disconnect, error};
use crate::encode;
use crate::encode::presence::Clients;
use crate::presence::Attendance;
use crate::presence::moves::Moved;
use crate::publication::ChannelKey;
use crate::rules::Denial;

/// A question about a channel's presence.
#[derive(Debug)]
pub struct PresenceQuestion {
    /// The command to answer.
    pub command: u32,
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// Only the numbers.
    pub stats: bool,
}

/// What a question about presence found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Present {
    /// By client: JSON about it.
    Clients(Clients),
    /// How many clients and users.
    Numbers(u64, u64),
}

impl Session {
    /// Who is in a channel, or how many are.
    pub(super) fn presence(
        &mut self,
        id: u32,
        channel: &str,
        stats: bool,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let Some(who) = &self.who else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        let (name, namespace) = self.rules.channel(channel)?;
        if !namespace.track_presence && self.overrides(channel).presence != Some(true) {
            return Err(error::NOT_AVAILABLE.into());
        }
        self.permit(Action::Presence, channel)?;
        let key = self.rules.key(who.tenant.as_str(), name);
        if key.is_pattern() {
            return Err(error::NOT_AVAILABLE.into());
        }
        self.reserve()?;
        let question = PresenceQuestion { command: id, key, stats };
        out.push(Effect::Run(Operation::Presence(question)));
        Ok(())
    }

    /// A question about presence was answered.
    pub(super) fn on_present(
        &mut self,
        id: u32,
        result: Result<Present, ReplyError>,
        out: &mut Vec<Effect>,
    ) {
        self.operations = self.operations.saturating_sub(1);
        let encoded = match result {
            Ok(Present::Clients(clients)) => encode::presence::list(self.protocol, id, &clients),
            Ok(Present::Numbers(clients, users)) => {
                encode::presence::stats(self.protocol, id, clients, users)
            }
            Err(error) => return self.refuse(id, error, out),
        };
        // The queue to the client has a limit for everything else, too.
        if encoded.len() > self.rules.options.queue_bytes_max {
            return self.refuse(id, error::LIMIT_EXCEEDED, out);
        }
        out.push(Effect::Send(encoded));
    }

    /// What others may know of this client in a channel that it is subscribed to; nothing if that is of no interest.
    pub(crate) fn attendance(&self, key: &ChannelKey) -> Option<Attendance> {
        let namespace = self.rules.namespace_of(key)?;
        let channel = key.name.as_str();
        let overrides = self.overrides(channel);
        let tracked = overrides.presence.unwrap_or(namespace.track_presence);
        let told = overrides.join_leave.unwrap_or(namespace.join_leave);
        if !tracked && !told && !namespace.presence_events {
            return None;
        }
        let who = self.who.as_ref()?;
        let one = &self.subscriptions[self.find(channel)?];
        let forced = overrides.force_push_join_leave.unwrap_or(namespace.force_push_join_leave);
        let wants =
            told && (forced || (one.join_leave && self.permit(Action::Presence, channel).is_ok()));
        let info = self.client_info(who, one.info.as_deref());
        Some(Attendance { user: who.user.as_str().into(), info: info.into(), tracked, told, wants })
    }

    fn overrides(&self, channel: &str) -> campana_identity::Overrides {
        let found = self.find(channel).map(|at| self.subscriptions[at].overrides());
        found.unwrap_or_default()
    }

    /// Somebody came to a channel or left it.
    pub fn on_moved(&mut self, moved: &Moved, out: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        let here = |key: &ChannelKey| key.subject == moved.key.subject;
        if self.subscriptions.iter().any(|one| one.began() && here(&one.key)) {
            out.push(Effect::Send(moved.push(self.protocol)));
        }
    }
}
