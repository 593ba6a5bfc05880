//! The first command: who is it, which channels does the server subscribe, and the answer to it.
//! Reads: a token and hints where the client stands. Writes: effects.
//! Never: takes a channel or a tenant from anything but the token.

use std::collections::BTreeMap;
use std::sync::Arc;

use campana_bus::subjects::ChannelName;
use campana_identity::{ConnectionClaims, TokenError};

use super::subscription::Subscription;
use super::timers::moment;
use super::{Effect, Join, Joined, Now, Operation, Report, Session, State};
use crate::codes::{disconnect, error};
use crate::encode::ConnectResult;
use crate::proto::{ConnectRequest, Since, Standing};
use crate::publication::ChannelKey;
use crate::rules::{Denial, Identity};

impl Session {
    pub(super) fn connect(
        &mut self,
        id: u32,
        request: ConnectRequest,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if request.token.is_empty() {
            return self.close(disconnect::BAD_REQUEST, out);
        }
        let claims =
            match self.rules.keys.verify_connection(&request.token, now.unix, &self.rules.policy) {
                Ok(claims) => claims,
                Err(TokenError::Expired) => {
                    return self.refuse_connect(id, Denial::Reply(error::TOKEN_EXPIRED), out);
                }
                Err(TokenError::Invalid(_)) => return self.close(disconnect::INVALID_TOKEN, out),
            };
        self.timers.expires_at = moment(claims.expires_at, now);
        match self.server_side(&claims, &request.subs) {
            Ok(joins) => {
                self.who = Some(Box::new(Identity {
                    user: claims.user,
                    tenant: claims.tenant,
                    info: claims.info,
                    caps: claims.caps,
                }));
                self.state = State::Connecting { command: id, held: Vec::new(), held_bytes: 0 };
                self.operations += 1;
                out.push(Effect::Run(Operation::Join(joins)));
            }
            Err(denial) => self.refuse_connect(id, denial, out),
        }
    }

    /// An error answer to connect leaves the session unusable: the client has to come again.
    fn refuse_connect(&mut self, id: u32, denial: Denial, out: &mut Vec<Effect>) {
        match denial {
            Denial::Reply(error) => {
                self.state = State::Refused;
                self.refuse(id, error, out);
            }
            Denial::Close(why) => self.close(why, out),
        }
    }

    /// The personal channel and those that the token names.
    fn server_side(
        &mut self,
        claims: &ConnectionClaims,
        standings: &BTreeMap<String, Standing>,
    ) -> Result<Vec<Join>, Denial> {
        let inbox = ChannelName::inbox(&claims.user)
            .map_err(|_| Denial::Close(disconnect::INVALID_TOKEN))?;
        let mut names = vec![inbox.as_str()];
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
            let key = Arc::new(ChannelKey::new(claims.tenant.as_str(), channel));
            let standing =
                standings.get(name).filter(|standing| standing.recover && namespace.recovers());
            let since = standing.map(|one| Since { offset: one.offset, epoch: one.epoch.clone() });
            let mut subscription = Subscription::new(Arc::clone(&key), self.ticket());
            subscription.server_side = true;
            if let Some(options) = claims.subs.get(name) {
                subscription.info = options.info.as_deref().map(Into::into);
                subscription.data = options.data.as_deref().map(Into::into);
            }
            let (ticket, reach) = (subscription.ticket, namespace.history_size);
            joins.push(Join { ticket, key, since, reach });
            self.subscriptions.push(subscription);
        }
        Ok(joins)
    }

    /// The server-side channels are joined: answers the connect command, then lets what waited go.
    pub(super) fn connected(
        &mut self,
        results: Vec<(u32, Result<Joined, ()>)>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let State::Connecting { command, held, .. } = &mut self.state else {
            return;
        };
        let (command, held) = (*command, std::mem::take(held));
        if results.iter().any(|(_, result)| result.is_err()) {
            return self.close(disconnect::SERVER_ERROR, out);
        }
        let joined: Vec<(u32, Joined)> = results
            .into_iter()
            .filter_map(|(ticket, result)| Some((ticket, result.ok()?)))
            .collect();
        let expires = self.timers.expires_at;
        let ttl = (expires != super::timers::NEVER)
            .then(|| i64::try_from(expires.saturating_sub(now.ms) / 1_000).unwrap_or(i64::MAX));
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
            ping_seconds: self.rules.options.ping_interval_ms.div_ceil(1_000),
            subs: &subs,
        }
        .reply(self.protocol, command);
        self.state = State::Connected;
        self.timers.connected(now);
        out.push(Effect::Report(Report::Connected(self.protocol)));
        self.answer(reply, out);
        for (ticket, one) in &joined {
            let (cursor, more) = super::subscribe::reached(one);
            self.release(*ticket, cursor, more, out);
        }
        for command in held {
            self.on_command(command, 0, now, out);
        }
    }

    pub(super) fn ticket(&mut self) -> u32 {
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.next_ticket
    }
}
