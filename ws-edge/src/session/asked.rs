//! What follows from the answers of services that decide instead of the edge.
//! Reads: answers. Writes: effects.
//! Never: lets anybody in, or anything through, because a service did not answer.

use std::sync::Arc;

use bytes::Bytes;
use campana_bus::subjects::ChannelName;
use campana_identity::{
    Channel, PublishGrant, RefreshGrant, SubscriptionClaims, SubscriptionGrant, TokenFault,
};

use super::ask::{About, Ask, Question, Unanswered, Verdict, verdict};
use super::timers::{NEVER, moment};
use super::{Effect, Join, Now, Operation, Publish, Report, Session};
use crate::codes::{disconnect, error, unsubscribe};
use crate::options::{NamespaceOptions, ProxyTarget};
use crate::proto::json;
use crate::rules::{Denial, Identity};

/// Until a service that did not say whether a connection may stay is asked again.
const ASK_AGAIN_MS: u64 = 5_000;

/// When a service is asked whether somebody may stay: at the end of the time that it gave, but never again at once
/// because that time is over already.
pub(super) fn ask_at(expires_at: u64, now: Now) -> u64 {
    if expires_at > now.ms { expires_at } else { now.ms.saturating_add(ASK_AGAIN_MS) }
}

impl Session {
    /// Whether the service that the namespace names decides in this channel: not over a private channel or other
    /// users' one that the client is not in, because what a name promises holds whatever a service says.
    pub(super) fn is_proxied(
        &self,
        target: &ProxyTarget,
        who: &Identity,
        channel: &ChannelName,
        user_lists: bool,
        subscribed: bool,
    ) -> bool {
        if !target.is_on() {
            return false;
        }
        let Ok(parsed) = Channel::parse(channel.as_str()) else { return false };
        let rules = campana_identity::NamespaceRules { user_lists, ..Default::default() };
        let open = !parsed.private && parsed.owners.is_none();
        open || subscribed || (!parsed.private && parsed.is_of(&who.user, &rules))
    }

    /// How a client may subscribe: by what its token or the namespace says, or by what a service will say.
    pub(super) fn way_in(
        &self,
        who: &Identity,
        namespace: &NamespaceOptions,
        channel: &ChannelName,
        token: &str,
        now: Now,
    ) -> Result<(Option<SubscriptionClaims>, Option<ProxyTarget>), Denial> {
        let claims = self.rules.subscribe(who, &self.client, channel, token, now.unix);
        let (target, lists) = (&namespace.subscribe_proxy, namespace.user_lists);
        let proxied = token.is_empty() && self.is_proxied(target, who, channel, lists, false);
        // A user's own channel needs no service to say so.
        let own = channel.as_str().contains('#') && claims.is_ok();
        if proxied && !own { Ok((None, Some(target.clone()))) } else { Ok((claims?, None)) }
    }

    /// A question about a channel.
    pub(super) fn ask_about(
        &self,
        target: &ProxyTarget,
        who: &Identity,
        channel: &str,
        data: &[u8],
        about: About,
    ) -> Box<Ask> {
        let mut question = Question::new(&self.client, self.protocol).of(who).with(data);
        question.channel = Some(channel);
        Box::new(question.ask(target, about))
    }

    /// A service answered, or did not.
    pub(super) fn on_asked(
        &mut self,
        ask: Ask,
        answer: Result<Bytes, Unanswered>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let question = ask.question();
        let verdict = answer.as_deref().ok().and_then(verdict);
        let mut label = verdict.as_ref().map_or("failed", Verdict::label);
        let place = out.len();
        match verdict {
            Some(Verdict::Out(end)) => self.close(end, out),
            Some(verdict) => {
                if self.decided(ask.about, verdict, now, out).is_err() {
                    label = "failed";
                }
            }
            None => self.undecided(ask.about, now, out),
        }
        // Nothing follows the end of a connection, so this goes before what was decided.
        out.insert(place, Effect::Report(Report::Asked(question, label)));
    }

    fn decided(
        &mut self,
        about: About,
        verdict: Verdict<'_>,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), TokenFault> {
        let (result, refusal) = match verdict {
            Verdict::Granted(result) => (Some(result), None),
            Verdict::Refused(why) => (None, Some(why)),
            Verdict::Nothing | Verdict::Out(_) => (None, None),
        };
        match (about, refusal) {
            (About::Connect { command, .. }, Some(why)) => self.turn_away(command, why, now, out),
            (About::Connect { command, subs }, None) => {
                if let Err(why) = self.introduced(command, &subs, result, now, out) {
                    self.close(disconnect::SERVER_ERROR, out);
                    return Err(why);
                }
            }
            (About::Subscribe(join), Some(why)) => {
                self.operations = self.operations.saturating_sub(1);
                if let Some((at, id)) = self.unanswered(join.ticket) {
                    self.forget(at, out);
                    self.refuse_call(id, why, out);
                }
            }
            (About::Subscribe(join), None) => {
                match SubscriptionGrant::parse(result.unwrap_or(b"{}")) {
                    Ok(grant) => self.may_subscribe(join, grant, now, out),
                    Err(why) => {
                        self.undecided(About::Subscribe(join), now, out);
                        return Err(why);
                    }
                }
            }
            (About::Publish(publish), Some(why)) => {
                self.operations = self.operations.saturating_sub(1);
                self.refuse_call(publish.command, why, out);
            }
            (About::Publish(publish), None) => {
                return self.may_publish(publish, result, now, out);
            }
            // An error is no answer to the question whether somebody may stay.
            (about @ (About::Refresh | About::SubRefresh { .. }), Some(_)) => {
                self.undecided(about, now, out);
            }
            (about, None) => return self.may_stay(about, result, now, out),
        }
        Ok(())
    }

    /// A service did not decide.
    fn undecided(&mut self, about: About, now: Now, out: &mut Vec<Effect>) {
        let again = now.ms.saturating_add(ASK_AGAIN_MS);
        match about {
            About::Connect { .. } => self.close(disconnect::SERVER_ERROR, out),
            About::Subscribe(join) => {
                self.operations = self.operations.saturating_sub(1);
                if let Some((at, id)) = self.unanswered(join.ticket) {
                    self.forget(at, out);
                    self.refuse(id, error::INTERNAL, out);
                }
            }
            About::Publish(publish) => {
                self.operations = self.operations.saturating_sub(1);
                self.refuse(publish.command, error::INTERNAL, out);
            }
            About::Refresh => self.timers.ask_at = again,
            About::SubRefresh { ticket } => {
                if let Some(one) = self.subscriptions.iter_mut().find(|one| one.ticket == ticket) {
                    one.ask_at = again;
                }
            }
        }
    }

    /// A subscription that waits for its answer, and the command to answer; the client may have left it.
    fn unanswered(&mut self, ticket: u32) -> Option<(usize, u32)> {
        let at = self.subscriptions.iter().position(|one| one.ticket == ticket)?;
        Some((at, self.subscriptions[at].command?))
    }

    /// A subscription that never was: its channel was not joined.
    fn forget(&mut self, at: usize, out: &mut Vec<Effect>) {
        let subscription = self.subscriptions.swap_remove(at);
        out.push(Effect::Run(Operation::Leave(subscription.key)));
    }

    fn may_subscribe(
        &mut self,
        join: Join,
        grant: SubscriptionGrant,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some((at, _)) = self.unanswered(join.ticket) else {
            self.operations = self.operations.saturating_sub(1);
            return;
        };
        let Some(who) = &self.who else { return };
        let subscription = &mut self.subscriptions[at];
        subscription.asking = false;
        subscription.info = grant.info.map(Into::into);
        subscription.data = grant.data.map(Into::into);
        subscription.overrides = grant.overrides;
        if !grant.allow.is_empty() {
            // What a token for this channel would say.
            subscription.token = Some(Box::new(SubscriptionClaims {
                user: who.user.clone(),
                tenant: who.tenant.clone(),
                channel: join.key.name.as_str().to_owned(),
                client: None,
                expires_at: grant.expires_at,
                info: None,
                data: None,
                overrides: grant.overrides,
                allow: grant.allow,
                id: None,
                issued_at: Some(now.unix),
            }));
        }
        self.ends(at, grant.expires_at, now);
        out.push(Effect::Run(Operation::Join(vec![join])));
    }

    /// Sets until when a subscription lasts, and whether the client or a service is asked then.
    pub(super) fn ends(&mut self, at: usize, expires_at: Option<i64>, now: Now) {
        let subscription = &mut self.subscriptions[at];
        let namespace = self.rules.namespace_of(&subscription.key);
        let asks = namespace.is_some_and(|one| one.sub_refresh_proxy.is_on());
        let left = expires_at.map(|at| at.saturating_sub(now.unix));
        subscription.expires_at = moment(expires_at, now);
        subscription.ttl = left.filter(|_| !asks);
        subscription.ask_at = if asks { ask_at(subscription.expires_at, now) } else { NEVER };
    }

    fn may_publish(
        &mut self,
        mut publish: Publish,
        result: Option<&[u8]>,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), TokenFault> {
        let grant = match PublishGrant::parse(result.unwrap_or(b"{}")) {
            Ok(grant) => grant,
            Err(why) => {
                self.undecided(About::Publish(publish), now, out);
                return Err(why);
            }
        };
        if let Some(data) = grant.data {
            let binary = self.rules.namespace_of(&publish.key).is_some_and(|one| one.binary);
            if data.is_empty() || !(binary || json::is_json(&data)) {
                self.undecided(About::Publish(publish), now, out);
                let expected = "what the namespace may carry: JSON, unless `binary` is set";
                return Err(TokenFault::Body(expected));
            }
            publish.data = data.into();
        }
        out.push(Effect::Run(Operation::Publish(publish)));
        Ok(())
    }

    /// A service says whether somebody may stay. Nothing said is no.
    fn may_stay(
        &mut self,
        about: About,
        result: Option<&[u8]>,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), TokenFault> {
        let over = RefreshGrant { expired: true, ..RefreshGrant::default() };
        let grant = match result.map(RefreshGrant::parse).transpose() {
            Ok(grant) => grant.unwrap_or(over),
            Err(why) => {
                self.undecided(about, now, out);
                return Err(why);
            }
        };
        match about {
            About::Refresh if grant.expired => self.close(disconnect::EXPIRED, out),
            About::Refresh => {
                self.timers.expires_at = moment(grant.expires_at, now);
                self.timers.ask_at = ask_at(self.timers.expires_at, now);
                if let Some(who) = &mut self.who {
                    who.info = grant.info.or(who.info.take());
                    who.meta = grant.meta.map(Into::into).or(who.meta.take());
                    // A service that is asked now knows what was revoked before.
                    who.token.issued_at = Some(now.unix);
                }
            }
            About::SubRefresh { ticket } => {
                let Some(at) = self.subscriptions.iter().position(|one| one.ticket == ticket)
                else {
                    return Ok(());
                };
                if !grant.expired {
                    self.ends(at, grant.expires_at, now);
                    let subscription = &mut self.subscriptions[at];
                    let before = subscription.info.take();
                    subscription.info = grant.info.map(Into::into).or(before);
                } else if self.subscriptions[at].server_side {
                    self.close(disconnect::SUBSCRIPTION_EXPIRED, out);
                } else {
                    self.end_subscription(at, unsubscribe::EXPIRED, out);
                }
            }
            About::Connect { .. } | About::Subscribe(_) | About::Publish(_) => {}
        }
        Ok(())
    }

    /// The time of a connection or of subscriptions is over, and services say whether they stay.
    pub(super) fn ask_to_stay(&mut self, now: Now, out: &mut Vec<Effect>) {
        let rules = Arc::clone(&self.rules);
        let Some(who) = self.who.as_deref() else { return };
        if self.timers.ask_at <= now.ms {
            self.timers.ask_at = NEVER;
            let question = Question::new(&self.client, self.protocol).of(who);
            out.push(Effect::Ask(Box::new(
                question.ask(&rules.options.proxy.refresh, About::Refresh),
            )));
        }
        for at in 0..self.subscriptions.len() {
            let one = &mut self.subscriptions[at];
            if one.ask_at > now.ms {
                continue;
            }
            one.ask_at = NEVER;
            let one = &self.subscriptions[at];
            let (Some(namespace), Some(who)) = (rules.namespace_of(&one.key), self.who.as_deref())
            else {
                continue;
            };
            let (target, about) =
                (&namespace.sub_refresh_proxy, About::SubRefresh { ticket: one.ticket });
            out.push(Effect::Ask(self.ask_about(target, who, one.key.name.as_str(), b"", about)));
        }
    }

    /// Asks whether a message may be published.
    pub(super) fn ask_to_publish(
        &mut self,
        target: &ProxyTarget,
        publish: Publish,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        self.reserve()?;
        let Some(who) = self.who.as_deref() else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        let (key, data) = (Arc::clone(&publish.key), publish.data.clone());
        let ask = self.ask_about(target, who, key.name.as_str(), &data, About::Publish(publish));
        // In turn with other operations: messages of a client keep their order.
        out.push(Effect::Run(Operation::Ask(ask)));
        Ok(())
    }
}
