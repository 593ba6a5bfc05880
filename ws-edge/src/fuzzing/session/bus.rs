//! What the bus, services and operators of a script say.
//! Reads: bytes of the script. Writes: nothing. Never: answers what was not asked for.

use std::sync::Arc;

use bytes::Bytes;

use super::Player;
use super::node::CHANNELS;
use crate::codes::{error, unsubscribe};
use crate::control::order::Subscribe;
use crate::control::{Order, texts};
use crate::publication::{ChannelKey, Published};
use crate::session::{
    Done, Found, History, Join, Joined, LostReason, More, Now, Operation, Page, Present, Recovery,
    Unanswered,
};

/// What an operator orders: the remainder says what, the rest is its text.
pub(super) fn order(kind: u8, rest: &[u8], now: Now) -> Order {
    let channel = CHANNELS[usize::from(kind >> 3 & 7) % CHANNELS.len()];
    match kind % 6 {
        0 => Order::Subscribe(Subscribe {
            channel: channel.into(),
            data: rest.first().map(|_| "{\"a\":1}".into()),
            expires_at: rest.first().map(|seconds| now.unix + i64::from(*seconds)),
            ..Subscribe::default()
        }),
        1 => Order::Unsubscribe { channel: Some(channel.into()), why: unsubscribe::SERVER },
        2 => Order::Unsubscribe { channel: None, why: unsubscribe::INSUFFICIENT_STATE },
        3 => Order::Refresh {
            expires_at: rest.first().map(|seconds| now.unix + i64::from(*seconds)),
        },
        4 => Order::Message(Bytes::copy_from_slice(rest)),
        _ => Order::End(texts::disconnect(4_000, "out")),
    }
}

impl Player {
    /// The end of the oldest operation.
    pub(super) fn done(&mut self, well: bool, how: u8, body: &[u8]) -> Option<Done> {
        let failure =
            if how.is_multiple_of(2) { error::INTERNAL } else { error::TOO_MANY_REQUESTS };
        Some(match self.operations.pop_front()? {
            Operation::Join(joins) => Done::Joined(
                joins
                    .into_iter()
                    .map(|join| {
                        let joined = self.joined(&join, how, body);
                        (join.ticket, if well { Ok(joined) } else { Err(failure) })
                    })
                    .collect(),
            ),
            Operation::More(More { ticket, key, after, at_least }) => {
                // The last page reaches at least this far, as the hub sees to.
                let more = how & 4 != 0;
                let from = if more { after } else { after.max(at_least) };
                let page = Page { publications: list(&key, from, how, body), more };
                Done::More(ticket, if well { Ok(page) } else { Err(()) })
            }
            Operation::Leave(_) => Done::Left,
            Operation::Publish(message) => {
                Done::Published(message.command, if well { Ok(()) } else { Err(failure) })
            }
            Operation::Ask(ask) => match well {
                true => Done::Asked(ask, Ok(Bytes::copy_from_slice(body))),
                false => Done::Asked(ask, Err(Unanswered)),
            },
            Operation::Authenticate => Done::Authenticated(if well { Ok(()) } else { Err(()) }),
            Operation::History(History { command, key, .. }) => {
                let publications = list(&key, 3, how, body);
                let found = Found { publications, top: 10, epoch: "e".into() };
                Done::History(command, if well { Ok(found) } else { Err(failure) })
            }
            Operation::Presence(question) => {
                let one = ("c".to_owned(), r#"{"user":"u","client":"c"}"#.to_owned());
                let found = match question.stats {
                    true => Present::Numbers(u64::from(how), 1),
                    false => Present::Clients([one].into()),
                };
                Done::Present(question.command, if well { Ok(found) } else { Err(failure) })
            }
        })
    }

    fn joined(&mut self, join: &Join, how: u8, body: &[u8]) -> Joined {
        let top = *self.tops.entry(join.key.subject.clone()).or_insert(10);
        let recovery = match (&join.since, how & 3) {
            (None, _) => Recovery::None,
            (Some(_), 0) => Recovery::Lost(LostReason::Gap),
            (Some(_), 1) => Recovery::Lost(LostReason::Epoch),
            (Some(since), _) => {
                let from = since.offset.min(top);
                let page =
                    Page { publications: list(&join.key, from, how, body), more: how & 4 != 0 };
                Recovery::Page { from, page }
            }
        };
        let known = Some(Arc::new(join.key.numbered(u64::from(how >> 4))));
        Joined { top, epoch: "e".into(), recovery, known }
    }

    /// A service answers the oldest question, or else the oldest call.
    pub(super) fn served(&mut self, body: &[u8]) -> Option<Done> {
        let answer = Bytes::copy_from_slice(body);
        if let Some(ask) = self.asks.pop_front() {
            let answer = if body.is_empty() { Err(Unanswered) } else { Ok(answer) };
            return Some(Done::Asked(Box::new(ask), answer));
        }
        let call = self.calls.pop_front()?;
        let answer = if body.is_empty() { Err(error::INTERNAL.into()) } else { Ok(answer) };
        Some(match call.built_in {
            Some(_) => Done::BuiltIn(call.command, answer),
            None => Done::Called(call.command, answer),
        })
    }
}

/// Some publications behind an offset.
fn list(key: &Arc<ChannelKey>, after: u64, how: u8, body: &[u8]) -> Vec<Arc<Published>> {
    let body = if body.is_empty() { b"{\"n\":1}" } else { body };
    let offsets = (1..=u64::from(how >> 6)).map(|at| after.saturating_add(at * 2));
    offsets.map(|offset| Arc::new(Published::new(key, offset, None, body, None))).collect()
}
