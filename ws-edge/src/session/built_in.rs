//! Calls that the edge answers itself: receipts.
//! Reads: requests. Writes: effects. Never: takes the user from the request, or a receipt for a channel that the
//! client may not read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use campana_identity::Action;
use serde::Deserialize;

use super::{Call, Effect, Session};
use crate::codes::{disconnect, error};
use crate::proto::RpcRequest;
use crate::publication::ChannelKey;
use crate::rules::Denial;

/// What the names of built-in methods begin with.
pub(crate) const PREFIX: &str = "campana.";
const ACK: &str = "campana.ack";
const RECEIPTS: &str = "campana.receipts";

/// A call that the edge answers itself.
#[derive(Debug)]
pub enum BuiltIn {
    /// A channel was seen up to an offset.
    Ack(Ack),
    /// Who has seen a channel up to where?
    Receipts(Arc<ChannelKey>),
}

/// A user has seen a channel up to an offset.
#[derive(Debug)]
pub struct Ack {
    /// Whose user it is.
    pub tenant: String,
    /// Who.
    pub user: String,
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// Everything up to it was seen.
    pub offset: u64,
    /// The incarnation of the stream; empty for the present one.
    pub epoch: String,
}

#[derive(Deserialize)]
struct Question {
    channel: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    epoch: String,
}

impl Session {
    /// Whether the edge answers this method itself; if so, the call is on its way.
    pub(super) fn built_in(
        &mut self,
        id: u32,
        request: &RpcRequest,
        out: &mut Vec<Effect>,
    ) -> Result<bool, Denial> {
        let known = matches!(request.method.as_str(), ACK | RECEIPTS);
        if !known || !self.rules.options.receipts.enabled {
            return Ok(false);
        }
        let Some(who) = &self.who else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        let question: Question =
            serde_json::from_slice(&request.data).map_err(|_| error::BAD_REQUEST)?;
        let (name, _) = self.rules.channel(&question.channel)?;
        let (tenant, user) = (who.tenant.as_str().to_owned(), who.user.clone());
        let key = self.rules.key(&tenant, name);
        if key.is_pattern() {
            return Err(error::NOT_AVAILABLE.into());
        }
        let call = if request.method == ACK {
            let subscribed = self.find(&question.channel);
            if !subscribed.is_some_and(|at| self.subscriptions[at].began()) {
                self.permit(Action::History, &question.channel)?;
            }
            if user.is_empty() {
                return Err(error::NOT_AVAILABLE.into());
            }
            if question.offset == 0 {
                return Err(error::BAD_REQUEST.into());
            }
            BuiltIn::Ack(Ack { tenant, user, key, offset: question.offset, epoch: question.epoch })
        } else {
            self.permit(Action::Presence, &question.channel)?;
            BuiltIn::Receipts(key)
        };
        // Not among the calls that wait for services: commands have a rate, and these are answered soon.
        out.push(Effect::Call(Call {
            command: id,
            service: String::new(),
            endpoint: String::new(),
            timeout: Duration::ZERO,
            tenant: String::new(),
            info: String::new(),
            data: Bytes::new(),
            built_in: Some(Box::new(call)),
        }));
        Ok(true)
    }
}
