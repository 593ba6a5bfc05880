//! Subscriptions: asking, answering, catching up, receiving, ending.
//! Reads: requests, answers of the bus, publications. Writes: effects.
//! Never: sends a publication before the answer to its subscription, or the same offset twice.

use std::sync::Arc;

use super::ask::About;
use super::subscription::{Delta, Phase, Subscription};
use super::{Effect, Join, Joined, More, Now, Operation, Page, Recovery, Report, Session, State};
use crate::auth::revoked::mark;
use crate::codes::{ReplyError, Unsubscribe, disconnect, error, unsubscribe};
use crate::encode::{self, Plain, SubscribeResult};
use crate::proto::{Protocol, Since, SubRefreshRequest, SubscribeRequest};
use crate::publication::{ChannelKey, Form, Published};
use crate::rules::Denial;

/// Flag of a subscribe request: a number may stand for the channel's name in pushes.
const COMPACTION: i64 = 1;
/// Flag of a subscribe request: answer with an error rather than with a hole.
const REJECT_UNRECOVERED: i64 = 2;

/// Up to where a client is after the answer to its subscription, and whether more pages follow.
pub(super) fn reached(joined: &Joined) -> (u64, bool) {
    match &joined.recovery {
        Recovery::Page { from, page } => {
            (page.publications.last().map_or(*from, |last| last.offset), page.more)
        }
        Recovery::None | Recovery::Lost(_) => (joined.top, false),
    }
}

impl Session {
    pub(super) fn subscribe(
        &mut self,
        id: u32,
        request: SubscribeRequest,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let Some(who) = &self.who else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        let (channel, namespace) = self.rules.channel(&request.channel)?;
        if request.special {
            return Err(error::NOT_AVAILABLE.into());
        }
        if self.find(&request.channel).is_some() {
            return Err(error::ALREADY_SUBSCRIBED.into());
        }
        if self.subscriptions.len() >= self.rules.options.channels_per_client_max {
            return Err(error::LIMIT_EXCEEDED.into());
        }
        if channel.as_str().ends_with('*') && namespace.wildcard && self.patterns_full() {
            return Err(error::LIMIT_EXCEEDED.into());
        }
        let (claims, target) = self.way_in(who, namespace, &channel, &request.token, now)?;
        let key = self.rules.key(who.tenant.as_str(), channel);
        let standing = request.standing;
        let recovers = namespace.recovers() && standing.recover;
        let reach = namespace.history_size;
        let since = recovers.then_some(Since { offset: standing.offset, epoch: standing.epoch });
        let compact = namespace.compaction && self.offers_compaction(request.flag);
        let delta = namespace.delta && request.delta == "fossil";
        self.reserve()?;
        let mut subscription = Subscription::new(Arc::clone(&key), self.ticket());
        subscription.command = Some(id);
        subscription.join_leave = request.join_leave;
        subscription.all_or_nothing = request.flag & REJECT_UNRECOVERED != 0;
        subscription.compact = compact;
        if delta {
            subscription.delta = Delta::First;
        }
        let (mut ends, mut uses) = (None, 0);
        if let Some(claims) = claims {
            uses = claims.id.as_deref().map_or(0, |id| mark(claims.tenant.as_str(), id));
            ends = claims.expires_at;
            subscription.overrides = claims.overrides;
            subscription.info = claims.info.as_deref().map(Into::into);
            subscription.data = claims.data.as_deref().map(Into::into);
            subscription.token = Some(Box::new(claims));
        }
        subscription.asking = target.is_some();
        let join = Join { ticket: subscription.ticket, key, since, reach, delta };
        // Most clients have one or two: growing by doubling would leave room for four.
        self.subscriptions.reserve_exact(1);
        self.subscriptions.push(subscription);
        self.ends(self.subscriptions.len() - 1, ends, now);
        if uses != 0 {
            out.push(Effect::Uses(uses));
        }
        out.push(match (target, &self.who) {
            (Some(target), Some(who)) => {
                let about = About::Subscribe(join);
                Effect::Ask(self.ask_about(&target, who, &request.channel, &request.data, about))
            }
            _ => Effect::Run(Operation::Join(vec![join])),
        });
        Ok(())
    }

    /// Whether pushes may name the channel by a number. In Protobuf, SDKs for JavaScript read numbers of 64 bits as
    /// objects, compare them by identity and lose every publication; they offer it all the same.
    fn offers_compaction(&self, flag: i64) -> bool {
        flag & COMPACTION != 0 && self.protocol == Protocol::Json
    }

    /// Whether the client has as many patterns as it may.
    fn patterns_full(&self) -> bool {
        let patterns = self.subscriptions.iter().filter(|one| one.key.is_pattern()).count();
        patterns >= self.rules.options.wildcards_per_client_max
    }

    /// The subscription of a channel, once nobody has to be asked whether it may be.
    pub(super) fn subscribed(&self, channel: &str) -> Option<&Subscription> {
        self.find(channel).map(|at| &self.subscriptions[at]).filter(|one| !one.asking)
    }

    pub(super) fn find(&self, channel: &str) -> Option<usize> {
        self.subscriptions.iter().position(|one| one.key.name.as_str() == channel)
    }

    /// Channels are joined: the answer, then what waited.
    pub(super) fn on_joined(
        &mut self,
        results: Vec<(u32, Result<Joined, ReplyError>)>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if matches!(self.state, State::Connecting { .. }) {
            return self.connected(results, now, out);
        }
        for (ticket, result) in results {
            if self.is_closed() {
                return;
            }
            // The client may have unsubscribed meanwhile.
            let Some(at) = self.subscriptions.iter().position(|one| one.ticket == ticket) else {
                continue;
            };
            if let Some(control) = self.subscriptions[at].ordered.take() {
                self.on_ordered(at, &control, result, out);
                continue;
            }
            let Some(id) = self.subscriptions[at].command.take() else {
                continue;
            };
            let lost = matches!(result, Ok(Joined { recovery: Recovery::Lost(_), .. }));
            match result {
                Err(error) => self.drop_subscription(at, id, error, out),
                Ok(_) if lost && self.subscriptions[at].all_or_nothing => {
                    self.drop_subscription(at, id, error::UNRECOVERABLE_POSITION, out);
                }
                Ok(joined) => {
                    let got_some = matches!(&joined.recovery,
                        Recovery::Page { page, .. } if !page.publications.is_empty());
                    self.subscriptions[at].know(&joined);
                    let reply = self.result(at, &joined, out).reply(self.protocol, id);
                    if got_some {
                        // The client has the last of them now.
                        self.subscriptions[at].whole();
                    }
                    self.answer(reply, out);
                    let (cursor, more) = reached(&joined);
                    self.release(ticket, cursor, more, out);
                }
            }
        }
    }

    pub(super) fn drop_subscription(
        &mut self,
        at: usize,
        id: u32,
        error: crate::codes::ReplyError,
        out: &mut Vec<Effect>,
    ) {
        let subscription = self.subscriptions.swap_remove(at);
        out.push(Effect::Run(Operation::Leave(subscription.key)));
        self.refuse(id, error, out);
    }

    /// What the client is told about a channel that was joined.
    pub(super) fn result<'a>(
        &'a self,
        at: usize,
        joined: &'a Joined,
        out: &mut Vec<Effect>,
    ) -> SubscribeResult<'a> {
        let subscription = &self.subscriptions[at];
        let namespace = self.rules.namespace_of(&subscription.key);
        let mut result = SubscribeResult {
            recoverable: namespace.is_some_and(|one| one.recovers()),
            positioned: namespace.is_some_and(|one| one.keeps_history()),
            epoch: &joined.epoch,
            offset: joined.top,
            ttl: subscription.ttl,
            data: subscription.data.as_deref(),
            delta: subscription.delta != Delta::Off,
            number: if subscription.compact { subscription.key.number } else { 0 },
            ..SubscribeResult::default()
        };
        out.push(Effect::Report(Report::Subscribed(Arc::clone(&subscription.key))));
        match &joined.recovery {
            Recovery::None => {}
            Recovery::Lost(why) => {
                result.recovered = Some(false);
                out.push(Effect::Report(Report::Recovered(Err(*why))));
            }
            Recovery::Page { from, page } => {
                result.recovered = Some(true);
                result.offset = *from;
                result.publications = &page.publications;
                out.push(Effect::Report(Report::Recovered(Ok(()))));
            }
        }
        result
    }

    /// Everything up to `cursor` is out: asks for the next page, or lets the live ones go.
    pub(super) fn release(&mut self, ticket: u32, cursor: u64, more: bool, out: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        let Some(one) = self.subscriptions.iter_mut().find(|one| one.ticket == ticket) else {
            return;
        };
        match one.caught_up(cursor, more) {
            Ok(waited) => {
                let compact = one.compact;
                // Whole, although some could be differences: they are few.
                let forms: Vec<Form> = waited.iter().map(|_| one.whole()).collect();
                for (publication, form) in waited.into_iter().zip(forms) {
                    self.push(publication, form, compact, out);
                }
            }
            Err(at_least) => {
                let key = Arc::clone(&one.key);
                out.push(Effect::Run(Operation::More(More {
                    ticket,
                    key,
                    after: cursor,
                    at_least,
                })));
            }
        }
    }

    /// The next page of a recovery came.
    pub(super) fn on_more(&mut self, ticket: u32, result: Result<Page, ()>, out: &mut Vec<Effect>) {
        let Some(at) = self.subscriptions.iter().position(|one| one.ticket == ticket) else {
            return;
        };
        let Phase::CatchingUp { mut cursor, .. } = self.subscriptions[at].phase else {
            return;
        };
        let Ok(page) = result else {
            return self.lost_at(at, out);
        };
        let compact = self.subscriptions[at].compact;
        for publication in page.publications {
            if publication.offset > cursor {
                cursor = publication.offset;
                let form = self.subscriptions[at].whole();
                self.push_again(publication, form, compact, out);
            }
        }
        self.release(ticket, cursor, page.more, out);
    }

    /// A live publication came.
    pub fn on_publication(&mut self, publication: Arc<Published>, out: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        let bytes_max = self.rules.options.queue_bytes_max / 4;
        let same = |key: &Arc<ChannelKey>| {
            Arc::ptr_eq(key, &publication.key) || key.subject == publication.key.subject
        };
        if let Some(one) = self.subscriptions.iter_mut().find(|one| same(&one.key))
            && let Some(form) = one.accept(&publication, bytes_max)
        {
            let compact = one.compact;
            self.push(publication, form, compact, out);
        }
    }

    /// Messages of a channel may be missing and cannot be read again.
    pub fn on_lost(&mut self, key: &ChannelKey, out: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        if let Some(at) = self.subscriptions.iter().position(|one| one.key.subject == key.subject) {
            self.lost_at(at, out);
        }
    }

    fn lost_at(&mut self, at: usize, out: &mut Vec<Effect>) {
        if self.subscriptions[at].server_side {
            return self.close(disconnect::INSUFFICIENT_STATE, out);
        }
        self.end_subscription(at, unsubscribe::INSUFFICIENT_STATE, out);
    }

    /// Ends a client's subscription from this side; one that was not answered yet is answered instead.
    pub(super) fn end_subscription(&mut self, at: usize, why: Unsubscribe, out: &mut Vec<Effect>) {
        if let Some(id) = self.subscriptions[at].command {
            return self.drop_subscription(at, id, error::INTERNAL, out);
        }
        let subscription = self.subscriptions.swap_remove(at);
        out.push(Effect::Report(Report::Unsubscribed(Arc::clone(&subscription.key))));
        let name = subscription.key.name.as_str();
        out.push(Effect::Send(encode::unsubscribe_push(self.protocol, name, why)));
        out.push(Effect::Run(Operation::Leave(subscription.key)));
    }

    /// Always answered as done: an error would make clients reconnect.
    pub(super) fn unsubscribe(
        &mut self,
        id: u32,
        channel: &str,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        if let Some(at) = self.find(channel) {
            let subscription = self.subscriptions.swap_remove(at);
            match subscription.command {
                Some(pending) => self.refuse(pending, error::BAD_REQUEST, out),
                None => {
                    out.push(Effect::Report(Report::Unsubscribed(Arc::clone(&subscription.key))))
                }
            }
            out.push(Effect::Run(Operation::Leave(subscription.key)));
        }
        out.push(Effect::Send(encode::plain(self.protocol, id, Plain::Unsubscribe)));
        Ok(())
    }

    pub(super) fn sub_refresh(
        &mut self,
        id: u32,
        request: &SubRefreshRequest,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let Some(who) = &self.who else {
            return Err(Denial::Close(disconnect::BAD_REQUEST));
        };
        if request.kind != 0 {
            return Err(error::NOT_AVAILABLE.into());
        }
        // Old clients forget the channel; their token names it.
        let named = request.channel.is_empty();
        let channel = match named {
            true => self.rules.token_channel(&request.token, now.unix).unwrap_or_default(),
            false => request.channel.clone(),
        };
        let at = self.find(&channel).ok_or(error::PERMISSION_DENIED)?;
        let claims =
            self.rules.subscription_token(who, &self.client, &channel, &request.token, now.unix)?;
        let left = claims.expires_at.map(|at| at.saturating_sub(now.unix));
        if let Some(id) = claims.id.as_deref() {
            out.push(Effect::Uses(mark(claims.tenant.as_str(), id)));
        }
        self.ends(at, claims.expires_at, now);
        let subscription = &mut self.subscriptions[at];
        subscription.overrides = claims.overrides;
        subscription.info = claims.info.as_deref().map(Into::into);
        subscription.token = Some(Box::new(claims));
        out.push(Effect::Send(encode::sub_refreshed(self.protocol, id, left)));
        Ok(())
    }
}
