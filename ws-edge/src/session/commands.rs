//! Commands that are neither connect nor about subscriptions nor calls: publish, history, refresh.
//! Reads: requests. Writes: effects. Never: lets a client publish or read where the namespace does not.

use campana_bus::subjects::ChannelName;
use campana_identity::{Action, TokenFault};

use super::{Effect, History, Now, Operation, Publish, Report, Session};
use crate::codes::{disconnect, error};
use crate::encode;
use crate::options::NamespaceOptions;
use crate::proto::{HistoryRequest, PublishRequest, json};
use crate::rules::{Denial, Identity};

impl Session {
    /// Whether the connected user may do it in the channel that a client names; gives the channel and its
    /// namespace's rules.
    pub(super) fn permit(
        &self,
        action: Action,
        channel: &str,
    ) -> Result<(ChannelName, &NamespaceOptions), Denial> {
        let Some(who) = &self.who else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        let (name, namespace) = self.rules.channel(channel)?;
        let subscription = self.subscribed(channel);
        let subscribed = subscription.is_some();
        let token = subscription.and_then(|one| one.token.as_deref());
        self.rules.permit(action, who, &self.client, &name, token, subscribed)?;
        if namespace.wildcard && name.as_str().ends_with('*') {
            // A pattern is there to be subscribed to and nothing else.
            return Err(error::NOT_AVAILABLE.into());
        }
        Ok((name, namespace))
    }

    pub(super) fn publish(
        &mut self,
        id: u32,
        request: PublishRequest,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let Some(who) = &self.who else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        let (channel, namespace) = self.rules.channel(&request.channel)?;
        let subscribed = self.subscribed(&request.channel);
        let (target, lists) = (&namespace.publish_proxy, namespace.user_lists);
        let proxied = self.is_proxied(target, who, &channel, lists, subscribed.is_some());
        if !proxied {
            self.permit(Action::Publish, &request.channel)?;
        }
        if request.special {
            return Err(error::NOT_AVAILABLE.into());
        }
        let data = request.data;
        if data.is_empty() || !(namespace.binary || json::is_json(&data)) {
            return Err(error::BAD_REQUEST.into());
        }
        let chan_info = subscribed.and_then(|one| one.info.as_deref());
        let info = self.client_info(who, chan_info);
        let key = self.rules.key(who.tenant.as_str(), channel);
        let publish = Publish { command: id, key, data, info };
        if proxied {
            let target = target.clone();
            return self.ask_to_publish(&target, publish, out);
        }
        self.reserve()?;
        out.push(Effect::Run(Operation::Publish(publish)));
        Ok(())
    }

    /// What others see of this client, as JSON on one line.
    pub(super) fn client_info(&self, who: &Identity, chan_info: Option<&str>) -> String {
        let mut info = format!(
            "{{\"user\":{},\"client\":{}",
            encode::string(&who.user),
            encode::string(&self.client)
        );
        for (name, json) in [("conn_info", who.info.as_deref()), ("chan_info", chan_info)] {
            if let Some(json) = json {
                info.push_str(&format!(",\"{name}\":{}", encode::single_line(json)));
            }
        }
        info.push('}');
        info
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
        if namespace.history.is_empty() || !namespace.keeps_history() {
            return Err(error::NOT_AVAILABLE.into());
        }
        self.permit(Action::History, &request.channel)?;
        let most = self.rules.options.history_messages_max.min(namespace.history_size);
        let limit = usize::try_from(request.limit).map_or(most, |asked| asked.min(most));
        let operation = History {
            command: id,
            key: self.rules.key(who.tenant.as_str(), channel),
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
        let claims = self.rules.verifier().connection(token, now.unix);
        let revoked = |claims: &_| self.rules.revoked.connection(claims, now.unix);
        let refused = match &claims {
            Ok(claims) => revoked(claims).then_some("revoked"),
            Err(why) => Some(why.code()),
        };
        out.extend(refused.map(|why| Effect::Report(Report::Token(why))));
        let claims = match claims {
            Ok(claims) if refused.is_none() => claims,
            Err(TokenFault::Expired) => return Err(Denial::Close(disconnect::EXPIRED)),
            _ => return Err(Denial::Close(disconnect::INVALID_TOKEN)),
        };
        if claims.user != who.user || claims.tenant != who.tenant {
            return Err(Denial::Close(disconnect::INVALID_TOKEN));
        }
        let left = claims.expires_at.map(|at| at.saturating_sub(now.unix));
        let reply = encode::refreshed(self.protocol, id, &self.client, &self.rules.version, left);
        self.renew(claims, now, out);
        out.push(Effect::Send(reply));
        Ok(())
    }
}
