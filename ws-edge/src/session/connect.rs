//! The first command: who is it, which channels does the server subscribe, and the answer to it.
//! Reads: a token and hints where the client stands. Writes: effects.
//! Never: takes a channel or a tenant from anything but the token.

use std::collections::BTreeMap;
use std::sync::Arc;

use campana_bus::subjects::ChannelName;
use campana_identity::ConnectionClaims;

use super::mode::{as_push, end_for};
use super::subscription::Subscription;
use super::{Effect, Join, Joined, Now, Report, Session, State};
use crate::codes::{ReplyError, disconnect, error};
use crate::encode::ConnectResult;
use crate::proto::{Since, Standing};
use crate::rules::Denial;

impl Session {
    /// An error answer to connect leaves the session unusable: the client has to come again.
    pub(super) fn refuse_connect(
        &mut self,
        id: u32,
        denial: Denial,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        match denial {
            Denial::Reply(error) if self.mode.unidirectional => self.close(end_for(error), out),
            Denial::Reply(error) => {
                self.state = State::Refused;
                self.timers.refused(&self.rules.options, now);
                self.refuse(id, error, out);
            }
            Denial::Close(why) => self.close(why, out),
        }
    }

    /// The user's own channels and those that the token names.
    pub(super) fn server_side(
        &mut self,
        claims: &ConnectionClaims,
        standings: &BTreeMap<String, Standing>,
    ) -> Result<Vec<Join>, Denial> {
        let own = self.own_channels(&claims.user)?;
        let mut names: Vec<&str> = own.iter().map(String::as_str).collect();
        names.extend(claims.channels.iter().map(String::as_str));
        names.extend(claims.subs.keys().map(String::as_str));
        names.sort_unstable();
        names.dedup();
        if names.len() > self.rules.options.channels_per_client_max {
            return Err(Denial::Close(disconnect::CHANNEL_LIMIT));
        }
        let rules = Arc::clone(&self.rules);
        let mut joins = Vec::with_capacity(names.len());
        self.subscriptions.reserve_exact(names.len());
        for name in names {
            let (channel, namespace) = rules.channel(name)?;
            let key = rules.key(claims.tenant.as_str(), channel);
            let standing =
                standings.get(name).filter(|standing| standing.recover && namespace.recovers());
            let since = standing.map(|one| Since { offset: one.offset, epoch: one.epoch.clone() });
            let mut subscription = Subscription::new(Arc::clone(&key), self.ticket());
            subscription.server_side = true;
            if let Some(options) = claims.subs.get(name) {
                subscription.info = options.info.as_deref().map(Into::into);
                subscription.data = options.data.as_deref().map(Into::into);
                subscription.overrides = options.overrides;
            }
            let (ticket, reach) = (subscription.ticket, namespace.history_size);
            joins.push(Join { ticket, key, since, reach, delta: false });
            self.subscriptions.push(subscription);
        }
        Ok(joins)
    }

    /// Channels that every user has; nobody in particular has none.
    fn own_channels(&self, user: &str) -> Result<Vec<String>, Denial> {
        let options = &self.rules.options;
        let mut own = Vec::new();
        if user.is_empty() {
            return Ok(own);
        }
        if options.inbox_channel {
            let inbox =
                ChannelName::inbox(user).map_err(|_| Denial::Close(disconnect::INVALID_TOKEN))?;
            own.push(inbox.as_str().to_owned());
        }
        let personal = &options.personal_channel;
        if personal.enabled {
            own.push(match personal.namespace.as_str() {
                "" => format!("#{user}"),
                namespace => format!("{namespace}:#{user}"),
            });
        }
        Ok(own)
    }

    /// The server-side channels are joined: answers the connect command, then lets what waited go.
    pub(super) fn connected(
        &mut self,
        results: Vec<(u32, Result<Joined, ReplyError>)>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let State::Connecting { command, held, .. } = &mut self.state else {
            return;
        };
        let (command, held) = (*command, std::mem::take(held));
        match results.iter().find_map(|(_, result)| result.as_ref().err()) {
            Some(&error::TOO_MANY_REQUESTS) => {
                let busy = Denial::Reply(error::TOO_MANY_REQUESTS);
                return self.refuse_connect(command, busy, now, out);
            }
            Some(_) => return self.close(disconnect::SERVER_ERROR, out),
            None => {}
        }
        let joined: Vec<(u32, Joined)> = results
            .into_iter()
            .filter_map(|(ticket, result)| Some((ticket, result.ok()?)))
            .collect();
        let expires = self.timers.expires_at;
        // Who is asked by the server need not come back with a token.
        let asks = self.rules.options.proxy.refresh.is_on();
        let ttl = (expires != super::timers::NEVER && !asks)
            .then(|| i64::try_from(expires.saturating_sub(now.ms) / 1_000).unwrap_or(i64::MAX));
        let greeting = self.who.as_mut().and_then(|who| who.greeting.take());
        for (ticket, one) in &joined {
            self.subscriptions
                .iter_mut()
                .filter(|sub| sub.ticket == *ticket)
                .for_each(|sub| sub.know(one));
        }
        let mut subs = Vec::with_capacity(joined.len());
        for (ticket, one) in &joined {
            if let Some(at) = self.subscriptions.iter().position(|one| one.ticket == *ticket) {
                subs.push((self.subscriptions[at].key.name.as_str(), self.result(at, one, out)));
            }
        }
        let reply = ConnectResult {
            client: &self.client,
            version: &self.rules.version,
            ttl,
            data: greeting.as_deref(),
            ping_seconds: self.ping_seconds(),
            pong: self.pongs_by_message(),
            address: self.mode.address.as_deref(),
            subs: &subs,
        }
        .reply(self.protocol, command);
        let reply = if self.mode.unidirectional { reply.map(as_push) } else { reply };
        self.state = State::Connected;
        self.timers.connected(now);
        out.push(Effect::Report(Report::Connected(self.protocol)));
        self.mark_all(&joined, out);
        self.answer(reply, out);
        for (ticket, one) in &joined {
            let (cursor, more) = super::subscribe::reached(one);
            self.release(*ticket, cursor, more, out);
        }
        self.obey_held(now, out);
        for command in held {
            self.on_command(command, 0, now, out);
        }
    }

    pub(super) fn ticket(&mut self) -> u32 {
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.next_ticket
    }
}
