//! Commands that are neither connect nor about subscriptions: publish, history, refresh.
//! Reads: requests. Writes: effects. Never: lets a client publish or read where the namespace does not.

use std::sync::Arc;

use bytes::Bytes;
use campana_identity::TokenError;

use super::timers::moment;
use super::{Effect, History, Now, Operation, Publish, Session};
use crate::codes::{disconnect, error};
use crate::encode;
use crate::proto::{HistoryRequest, PublishRequest};
use crate::publication::ChannelKey;
use crate::rules::{Denial, Rules};

impl Session {
    pub(super) fn publish(
        &mut self,
        id: u32,
        request: &PublishRequest<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let Some(who) = &self.who else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        let (channel, namespace) = self.rules.channel(&request.channel)?;
        let subscribed = self.find(&request.channel);
        Rules::publish(who, &channel, namespace, subscribed.is_some())?;
        let data = request
            .data
            .map(|raw| raw.get())
            .filter(|data| *data != "null")
            .ok_or(error::BAD_REQUEST)?;
        let mut info = format!(
            "{{\"user\":{},\"client\":{}",
            encode::string(&who.user),
            encode::string(&self.client)
        );
        if let Some(json) = &who.info {
            info.push_str(",\"conn_info\":");
            info.push_str(json);
        }
        if let Some(json) = subscribed.and_then(|at| self.subscriptions[at].info.as_deref()) {
            info.push_str(",\"chan_info\":");
            info.push_str(json);
        }
        info.push('}');
        let key = Arc::new(ChannelKey::new(who.tenant.as_str(), channel));
        let data = Bytes::copy_from_slice(data.as_bytes());
        self.reserve()?;
        out.push(Effect::Run(Operation::Publish(Publish { command: id, key, data, info })));
        Ok(())
    }

    pub(super) fn history(
        &mut self,
        id: u32,
        request: HistoryRequest,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let Some(who) = &self.who else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        let (channel, namespace) = self.rules.channel(&request.channel)?;
        if !namespace.history || !namespace.keeps_history() {
            return Err(error::NOT_AVAILABLE.into());
        }
        if self.find(&request.channel).is_none() {
            return Err(error::PERMISSION_DENIED.into());
        }
        let most = self.rules.options.history_messages_max.min(namespace.history_size);
        let limit = usize::try_from(request.limit).map_or(most, |asked| asked.min(most));
        let operation = History {
            command: id,
            key: Arc::new(ChannelKey::new(who.tenant.as_str(), channel)),
            limit,
            since: request.since,
            reverse: request.reverse,
            reach: namespace.history_size,
            age_seconds_max: namespace.history_ttl_seconds,
        };
        self.reserve()?;
        out.push(Effect::Run(Operation::History(operation)));
        Ok(())
    }

    pub(super) fn refresh(
        &mut self,
        id: u32,
        token: &str,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let Some(who) = &self.who else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        let claims =
            self.rules.keys.verify_connection(token, now.unix, &self.rules.policy).map_err(
                |why| {
                    Denial::Close(match why {
                        TokenError::Expired => disconnect::EXPIRED,
                        TokenError::Invalid(_) => disconnect::INVALID_TOKEN,
                    })
                },
            )?;
        if claims.user != who.user || claims.tenant != who.tenant {
            return Err(Denial::Close(disconnect::INVALID_TOKEN));
        }
        let left = claims.expires_at.map(|at| at.saturating_sub(now.unix));
        let reply =
            encode::refreshed(id, "refresh", Some((&self.client, &self.rules.version)), left);
        self.timers.expires_at = moment(claims.expires_at, now);
        out.push(Effect::Send(reply));
        Ok(())
    }
}
