//! Who it is that connects: by a token, by a service that says so, or nobody in particular.
//! Reads: the connect command, the request that opened the connection. Writes: effects.
//! Never: takes a tenant or a channel from anything but a token or a service.

use std::collections::BTreeMap;

use campana_identity::{ConnectionClaims, ConnectionGrant, Tenant, TokenFault};

use super::ask::{About, Question};
use super::asked::ask_at;
use super::calls::CallFailure;
use super::timers::{NEVER, moment};
use super::{Effect, Now, Operation, Report, Session, State};
use crate::auth::handshake::Handshake;
use crate::auth::revoked::{TokenMark, mark};
use crate::codes::{disconnect, error};
use crate::encode;
use crate::proto::{Command, ConnectRequest, Request, Standing};
use crate::rules::{Denial, Identity};

/// Bytes of a header's value that a connection keeps for services.
const HEADER_BYTES_MAX: usize = 4_096;

impl Session {
    pub(super) fn connect(
        &mut self,
        id: u32,
        mut request: ConnectRequest,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.timers.introduced();
        if let Some(handshake) = &mut self.handshake {
            if let Some(token) = handshake.token.take().filter(|_| request.token.is_empty()) {
                request.token = token;
            }
            let sent = std::mem::take(&mut request.headers);
            keep_headers(handshake, sent, &self.rules.options.proxy.headers);
        }
        if request.token.is_empty() {
            return match (
                self.rules.options.proxy.connect.is_on(),
                self.rules.options.anonymous_connect,
            ) {
                (true, _) => self.ask_who(id, request, out),
                (false, true) => self.admit(id, nobody(), None, &request.subs, now, out),
                (false, false) => self.close(disconnect::BAD_REQUEST, out),
            };
        }
        if self.waits_for_key(&request.token) {
            return self.hold(Command { id, request: Request::Connect(request) }, out);
        }
        match self.rules.verifier().connection(&request.token, now.unix) {
            Ok(claims) if self.rules.revoked.connection(&claims, now.unix) => {
                out.push(Effect::Report(Report::Token("revoked")));
                self.close(disconnect::INVALID_TOKEN, out);
            }
            Ok(claims) => self.admit(id, claims, None, &request.subs, now, out),
            Err(why) => {
                out.push(Effect::Report(Report::Token(why.code())));
                match why {
                    TokenFault::Expired => {
                        self.refuse_connect(id, Denial::Reply(error::TOKEN_EXPIRED), now, out);
                    }
                    _ => self.close(disconnect::INVALID_TOKEN, out),
                }
            }
        }
    }

    /// Lets a client in whose claims are known to be good; `data` goes along with the answer.
    fn admit(
        &mut self,
        id: u32,
        claims: ConnectionClaims,
        data: Option<String>,
        subs: &BTreeMap<String, Standing>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.timers.expires_at = moment(claims.expires_at, now);
        match self.server_side(&claims, subs) {
            Ok(joins) => {
                // Not for somebody who is turned away: there is nobody to ask about.
                let asks = self.rules.options.proxy.refresh.is_on();
                let ask_at = ask_at(self.timers.expires_at, now);
                self.timers.ask_at = if asks { ask_at } else { NEVER };
                let handshake = self.handshake.take().unwrap_or_default();
                let who = identity(claims, data, *handshake);
                out.push(Effect::Identified);
                out.push(Effect::Uses(uses(&who.tenant, &who.token)));
                self.who = Some(Box::new(who));
                if !matches!(self.state, State::Connecting { .. }) {
                    self.state = State::Connecting { command: id, held: Vec::new(), held_bytes: 0 };
                }
                self.operations += 1;
                out.push(Effect::Run(Operation::Join(joins)));
            }
            Err(denial) => self.refuse_connect(id, denial, now, out),
        }
    }

    /// A client without a token: a service says who it is.
    fn ask_who(&mut self, id: u32, request: ConnectRequest, out: &mut Vec<Effect>) {
        let handshake = self.handshake.as_deref();
        let mut question = Question::new(&self.client, self.protocol).with(&request.data);
        question.transport = handshake.map_or("", |one| one.transport);
        question.headers = handshake.map(|one| &one.headers).filter(|one| !one.is_empty());
        (question.name, question.version) = (&request.name, &request.version);
        question.channels = request.subs.keys().map(String::as_str).collect();
        let about = About::Connect { command: id, subs: request.subs.clone() };
        let ask = question.ask(&self.rules.options.proxy.connect, about);
        self.state = State::Connecting { command: id, held: Vec::new(), held_bytes: 0 };
        out.push(Effect::Ask(Box::new(ask)));
    }

    /// The service says who it is; the result is none if it says nothing.
    pub(super) fn introduced(
        &mut self,
        command: u32,
        subs: &BTreeMap<String, Standing>,
        result: Option<&[u8]>,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), TokenFault> {
        match result.map(ConnectionGrant::parse).transpose()? {
            Some(ConnectionGrant { mut claims, data }) => {
                // What a service says now is as good as a token issued now.
                claims.issued_at = Some(now.unix);
                self.admit(command, claims, data, subs, now, out);
            }
            None if self.rules.options.anonymous_connect => {
                self.admit(command, nobody(), None, subs, now, out);
            }
            None => self.close(disconnect::BAD_REQUEST, out),
        }
        Ok(())
    }

    /// The service does not let the client in, with an answer of its own.
    pub(super) fn turn_away(&mut self, id: u32, why: CallFailure, now: Now, out: &mut Vec<Effect>) {
        if self.mode.unidirectional {
            let end =
                if why.is_temporary() { disconnect::SERVER_ERROR } else { disconnect::BAD_REQUEST };
            return self.close(end, out);
        }
        self.state = State::Refused;
        self.timers.refused(&self.rules.options, now);
        self.refuse_call(id, why, out);
    }

    /// Sends an error of a service's own.
    pub(super) fn refuse_call(&mut self, id: u32, why: CallFailure, out: &mut Vec<Effect>) {
        let (code, message, temporary) = why.into_parts();
        out.push(Effect::Report(Report::Refused(code)));
        out.push(Effect::Send(encode::refusal(self.protocol, id, code, &message, temporary)));
    }

    /// A token was good again, or a service says so: the connection stays.
    pub(super) fn renew(&mut self, claims: ConnectionClaims, now: Now, out: &mut Vec<Effect>) {
        self.timers.expires_at = moment(claims.expires_at, now);
        if let Some(who) = &mut self.who {
            who.info = claims.info;
            who.caps = claims.caps;
            who.meta = claims.meta.map(Into::into);
            who.token = TokenMark { id: claims.id.map(Into::into), issued_at: claims.issued_at };
            out.push(Effect::Uses(uses(&who.tenant, &who.token)));
        }
    }

    /// Some token was revoked: ends what was let in by it.
    pub fn on_revoked(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        let Some(who) = &self.who else { return };
        let (revoked, tenant) = (&self.rules.revoked, &who.tenant);
        if revoked.find(tenant, &who.user, &who.token, now.unix) {
            return self.close(disconnect::INVALID_TOKEN, out);
        }
        let bad = |one: &super::Subscription| {
            one.token.as_ref().is_some_and(|claims| revoked.subscription(claims, now.unix))
        };
        let gone: Vec<u32> =
            self.subscriptions.iter().filter(|one| bad(one)).map(|one| one.ticket).collect();
        for ticket in gone {
            if let Some(at) = self.subscriptions.iter().position(|one| one.ticket == ticket) {
                self.end_subscription(at, crate::codes::unsubscribe::STATE_INVALIDATED, out);
            }
        }
    }
}

/// Headers that the client put into the command, because browsers cannot set them: those that services are told,
/// unless the request itself has them.
fn keep_headers(handshake: &mut Handshake, sent: BTreeMap<String, String>, wanted: &[String]) {
    for (name, value) in sent {
        let name = name.to_ascii_lowercase();
        if wanted.contains(&name) {
            handshake.headers.entry(name).or_insert(value);
        }
    }
    handshake.headers.retain(|_, value| value.len() <= HEADER_BYTES_MAX);
}

fn identity(claims: ConnectionClaims, data: Option<String>, handshake: Handshake) -> Identity {
    Identity {
        user: claims.user,
        tenant: claims.tenant,
        info: claims.info,
        caps: claims.caps,
        meta: claims.meta.map(Into::into),
        token: TokenMark { id: claims.id.map(Into::into), issued_at: claims.issued_at },
        greeting: data.map(Into::into),
        transport: handshake.transport,
        headers: handshake.headers,
    }
}

pub(super) fn uses(tenant: &Tenant, token: &TokenMark) -> u64 {
    token.id.as_deref().map_or(0, |id| mark(tenant.as_str(), id))
}

/// The claims of nobody in particular.
fn nobody() -> ConnectionClaims {
    ConnectionClaims {
        user: String::new(),
        tenant: Tenant::default(),
        expires_at: None,
        info: None,
        channels: Vec::new(),
        subs: BTreeMap::new(),
        meta: None,
        caps: Vec::new(),
        id: None,
        issued_at: None,
    }
}
