//! What one session is told from outside.
//! Reads: nothing. Writes: nothing. Never: tells a session who it is for; who is meant was found before.
//!
//! All sessions that are told the same share one [`Control`]. Whoever waits for them learns that all have done it
//! when the last of them lets go of it: a connection that ends meanwhile does so too.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use campana_identity::Overrides;
use tokio::sync::mpsc;

use crate::codes::{Disconnect, Unsubscribe};
use crate::proto::Since;

/// What to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Subscribe the client to a channel that it did not ask for.
    Subscribe(Subscribe),
    /// End a subscription, whoever began it; all of them if no channel is named.
    Unsubscribe {
        /// As clients write it.
        channel: Option<Box<str>>,
        why: Unsubscribe,
    },
    /// The connection's time ends then, in seconds since the Unix epoch, or never.
    Refresh { expires_at: Option<i64> },
    /// A message outside of all channels.
    Message(Bytes),
    /// The connection ends.
    End(Disconnect),
}

/// A subscription that the server begins.
#[derive(Debug, Default)]
pub(crate) struct Subscribe {
    /// As clients write it.
    pub(crate) channel: Box<str>,
    /// JSON shown with what the user publishes there.
    pub(crate) info: Option<Box<str>>,
    /// JSON handed out with the subscription.
    pub(crate) data: Option<Box<str>>,
    /// When it must be refreshed, in seconds since the Unix epoch.
    pub(crate) expires_at: Option<i64>,
    /// Where the client stands, if it is to get what it missed.
    pub(crate) since: Option<Since>,
    /// Options of the namespace that are otherwise for it.
    pub(crate) overrides: Overrides,
}

/// An order to any number of sessions.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) order: Order,
    /// If set, only for the session with this secret.
    pub(crate) session: Option<Box<str>>,
    refused: Arc<AtomicU32>,
    /// Closed with the last copy.
    _open: mpsc::Sender<Infallible>,
}

/// What became of an order.
#[derive(Debug)]
pub(crate) struct Outcome {
    refused: Arc<AtomicU32>,
    closed: mpsc::Receiver<Infallible>,
}

impl Control {
    /// An order, and where its end can be waited for.
    pub(crate) fn new(order: Order, session: Option<Box<str>>) -> (Arc<Self>, Outcome) {
        let (open, closed) = mpsc::channel(1);
        let refused = Arc::new(AtomicU32::new(0));
        let control = Self { order, session, refused: Arc::clone(&refused), _open: open };
        (Arc::new(control), Outcome { refused, closed })
    }

    /// A session cannot do it.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// What it costs to keep in a queue.
    pub(crate) fn bytes(&self) -> usize {
        64 + match &self.order {
            Order::Subscribe(one) => {
                let length = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
                one.channel.len() + length(&one.info) + length(&one.data)
            }
            Order::Unsubscribe { channel, .. } => channel.as_deref().map_or(0, str::len),
            Order::Refresh { .. } | Order::End(_) => 0,
            Order::Message(data) => data.len(),
        }
    }
}

impl Outcome {
    /// Until all sessions have done it or are gone; how many could not.
    pub(crate) async fn settled(mut self) -> u32 {
        while self.closed.recv().await.is_some() {}
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_is_settled_when_the_last_session_let_go() {
        let (control, outcome) = Control::new(Order::Refresh { expires_at: None }, None);
        let other = Arc::clone(&control);
        other.refuse();
        drop(control);
        let mut settled = std::pin::pin!(outcome.settled());
        assert!(futures::poll!(&mut settled).is_pending());
        drop(other);
        assert_eq!(settled.await, 1);
    }
}
