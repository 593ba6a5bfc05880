//! Orders from outside: what they mean to this client.
//! Reads: orders, the answers of the bus. Writes: effects. Never: asks whether the user may; whoever gives orders
//! to sessions may do everything, within what a connection can hold.
//!
//! An order that comes before the connect command is answered waits, like commands do. Whoever gave it learns that
//! it is done when this session lets go of it: a subscription holds it until the client was told.

use std::sync::Arc;

use super::subscription::Subscription;
use super::timers::moment;
use super::{Effect, Join, Joined, Now, Operation, Recovery, Session, State};
use crate::codes::{ReplyError, Unsubscribe, disconnect, error};
use crate::control::order::Subscribe;
use crate::control::{Control, Order};
use crate::encode;

/// Orders that may wait for the answer to the connect command; more are refused.
const HELD_ORDERS_MAX: usize = 64;

/// Orders that wait for the answer to the connect command.
#[derive(Debug, Default)]
pub(super) struct HeldOrders(Vec<Arc<Control>>);

impl Session {
    /// An order came.
    pub(crate) fn on_control(&mut self, control: Arc<Control>, now: Now, out: &mut Vec<Effect>) {
        let own = self.mode.address.as_ref().map(|address| &*address.session);
        if control.session.is_some() && control.session.as_deref() != own {
            return;
        }
        match self.state {
            State::Closed | State::Refused => {}
            State::Connected => self.obey(control, now, out),
            _ => {
                let held = &mut self.orders.get_or_insert_default().0;
                match held.len() < HELD_ORDERS_MAX {
                    true => held.push(control),
                    false => control.refuse(),
                }
            }
        }
    }

    /// The connect command is answered.
    pub(super) fn obey_held(&mut self, now: Now, out: &mut Vec<Effect>) {
        for control in self.orders.take().unwrap_or_default().0 {
            self.on_control(control, now, out);
        }
    }

    fn obey(&mut self, control: Arc<Control>, now: Now, out: &mut Vec<Effect>) {
        match &control.order {
            Order::Subscribe(wanted) => self.order_subscription(&control, wanted, now, out),
            Order::Unsubscribe { channel: Some(channel), why } => {
                if let Some(at) = self.find(channel) {
                    self.order_end(at, *why, out);
                }
            }
            Order::Unsubscribe { channel: None, why } => {
                while !self.subscriptions.is_empty() && !self.is_closed() {
                    self.order_end(self.subscriptions.len() - 1, *why, out);
                }
            }
            Order::Refresh { expires_at } => {
                let left = expires_at.map(|at| at.saturating_sub(now.unix));
                if left.is_some_and(|left| left <= 0) {
                    return self.close(disconnect::EXPIRED, out);
                }
                self.timers.expires_at = moment(*expires_at, now);
                out.push(Effect::Send(encode::refresh_push(self.protocol, left)));
            }
            Order::End(why) => self.close(*why, out),
            Order::Message(data) => {
                let message = encode::message_push(self.protocol, data);
                self.answer(message, out);
            }
        }
    }

    /// Subscribes the client; nothing to do if it is subscribed already.
    fn order_subscription(
        &mut self,
        control: &Arc<Control>,
        wanted: &Subscribe,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if self.find(&wanted.channel).is_some() {
            return;
        }
        let rules = Arc::clone(&self.rules);
        let (Some(who), Ok((channel, namespace))) = (&self.who, rules.channel(&wanted.channel))
        else {
            return control.refuse();
        };
        if self.subscriptions.len() >= rules.options.channels_per_client_max {
            return control.refuse();
        }
        let key = self.rules.key(who.tenant.as_str(), channel);
        let mut subscription = Subscription::new(Arc::clone(&key), self.ticket());
        subscription.server_side = true;
        subscription.ordered = Some(Arc::clone(control));
        subscription.expires_at = moment(wanted.expires_at, now);
        subscription.ttl = wanted.expires_at.map(|at| at.saturating_sub(now.unix));
        subscription.overrides = wanted.overrides;
        subscription.info = wanted.info.clone();
        subscription.data = wanted.data.clone();
        self.operations += 1;
        out.push(Effect::Run(Operation::Join(vec![Join {
            ticket: subscription.ticket,
            key,
            since: wanted.since.clone().filter(|_| namespace.recovers()),
            reach: namespace.history_size,
            delta: false,
        }])));
        self.subscriptions.push(subscription);
    }

    /// A channel that was ordered is joined: tells the client, then lets go what waited.
    pub(super) fn on_ordered(
        &mut self,
        at: usize,
        control: &Control,
        result: Result<Joined, ReplyError>,
        out: &mut Vec<Effect>,
    ) {
        let Ok(joined) = result else {
            let subscription = self.subscriptions.swap_remove(at);
            out.push(Effect::Run(Operation::Leave(subscription.key)));
            return control.refuse();
        };
        let ticket = self.subscriptions[at].ticket;
        self.subscriptions[at].know(&joined);
        let result = self.result(at, &joined, out);
        let name = self.subscriptions[at].key.name.as_str();
        let told = encode::subscribe_push(self.protocol, name, &result);
        out.push(Effect::Send(told));
        let (cursor, more) = super::subscribe::reached(&joined);
        if let Recovery::Page { page, .. } = joined.recovery {
            for publication in page.publications {
                let form = self.subscriptions[at].whole();
                self.push_again(publication, form, false, out);
            }
        }
        self.release(ticket, cursor, more, out);
    }

    /// Ends a subscription, whatever state it is in.
    fn order_end(&mut self, at: usize, why: Unsubscribe, out: &mut Vec<Effect>) {
        if let Some(id) = self.subscriptions[at].command {
            // Not answered yet: an error that makes the client give up is the answer.
            return self.drop_subscription(at, id, error::PERMISSION_DENIED, out);
        }
        if !self.subscriptions[at].began() {
            let subscription = self.subscriptions.swap_remove(at);
            return out.push(Effect::Run(Operation::Leave(subscription.key)));
        }
        self.end_subscription(at, why, out);
    }
}
