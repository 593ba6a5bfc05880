//! A subscription at NATS whose messages go to the channels they belong to.
//! Reads: republished messages, notices of removals. Writes: channels. Never: outlives the last channel that needs it.

use std::sync::{Arc, Weak};

use async_nats::Message;
use campana_bus::clock::{self, Micros};
use campana_bus::fetch::FetchError;
use campana_bus::{headers, history, subjects};
use futures::StreamExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Inner;
use super::channel::Channel;
use crate::options::Interest;
use crate::publication::{ChannelKey, Published};

pub(super) struct Feed {
    /// Ends the task, and with it the subscription.
    _end: DropGuard,
}

/// The feed that brings this channel's messages; started if there is none.
pub(super) async fn of_channel(
    inner: &Arc<Inner>,
    key: &ChannelKey,
) -> Result<Arc<Feed>, FetchError> {
    let filter = filter(inner.options.interest, key);
    let mut feeds = inner.feeds.lock().await;
    if let Some(feed) = feeds.get(&filter).and_then(Weak::upgrade) {
        return Ok(feed);
    }
    let unavailable =
        |error: async_nats::SubscribeError| FetchError::Unavailable(error.to_string());
    let mut messages = inner.bus.client().subscribe(filter.clone()).await.map_err(unavailable)?;
    let end = CancellationToken::new();
    let (ended, stopped, weak) = (end.clone(), inner.stop.clone(), Arc::downgrade(inner));
    inner.lifecycle.spawn("edge feed", async move {
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = ended.cancelled() => None,
                () = stopped.cancelled() => None,
            };
            let (Some(message), Some(inner)) = (message, weak.upgrade()) else {
                return;
            };
            dispatch(&inner, &message).await;
        }
    });
    let feed = Arc::new(Feed { _end: end.drop_guard() });
    feeds.insert(filter, Arc::downgrade(&feed));
    Ok(feed)
}

/// What to ask NATS for.
fn filter(interest: Interest, key: &ChannelKey) -> String {
    let own = subjects::live_of(&subjects::stored_filter(&key.subject));
    match (interest, own.rsplit_once('.')) {
        (Interest::Namespace, Some((namespace, _))) => format!("{namespace}.*"),
        _ => own,
    }
}

/// Brings one message to its channel and to the patterns that take it.
async fn dispatch(inner: &Arc<Inner>, message: &Message) {
    let stored = message.headers.as_ref().and_then(|head| {
        let subject = headers::get(head, "Nats-Subject")?;
        Some((head, subject, headers::get_number::<u64>(head, "Nats-Sequence")?))
    });
    let Some((head, subject, sequence)) = stored else {
        return notice(inner, message).await;
    };
    inner.for_patterns(subject, |pattern| {
        if pattern.news(sequence) {
            inner.repair(pattern);
        }
    });
    let Some(channel) = inner.channels.get(subject).map(|found| Arc::clone(&found)) else {
        return;
    };
    let previous = headers::get_number::<u64>(head, "Nats-Last-Sequence").unwrap_or(0);
    let stored_at = headers::get(head, "Nats-Time-Stamp").and_then(Micros::from_rfc3339);
    let publication =
        Published::new(&channel.key, sequence, Some(head), &message.payload, stored_at);
    let publication = Arc::new(publication.live(head, clock::tick));
    if let Some(trace) = headers::trace(head) {
        tracing::debug!(
            trace_id = trace.trace_id(),
            offset = sequence,
            "publication pushed to its subscribers"
        );
    }
    if channel.live(sequence, previous, publication) {
        crate::metrics::hole();
        inner.repair(&channel);
    }
}

/// Something about a channel that is no message of it: a removal, or the question whether anybody listens.
async fn notice(inner: &Arc<Inner>, message: &Message) {
    let Some(subject) = subjects::stored_under(&message.subject) else { return };
    if message.headers.as_ref().is_some_and(|head| headers::get(head, history::REMOVED).is_some()) {
        inner.for_patterns(subject, |pattern| pattern.forget(None));
        if let Some(channel) = inner.channels.get(subject) {
            channel.forget(None);
        }
    } else if let Some(reply) = &message.reply {
        let listens = inner.channels.get(subject).is_some_and(|channel| channel.has_subscribers());
        if listens && inner.bus.client().publish(reply.clone(), bytes::Bytes::new()).await.is_err()
        {
            tracing::debug!("a question whether anybody listens is not answered");
        }
    }
}

impl Inner {
    /// Does something with each pattern that takes the channel stored under this subject.
    fn for_patterns(&self, subject: &str, then: impl Fn(&Arc<Channel>)) {
        let Some((namespace, _)) = subject.rsplit_once('.') else { return };
        let Some(patterns) = self.patterns.get(namespace) else { return };
        for channel in patterns.iter().filter_map(Weak::upgrade) {
            if channel.pattern.as_ref().is_some_and(|one| one.takes(subject).is_some()) {
                then(&channel);
            }
        }
    }
}

/// Forgets feeds that ended with their last channel.
pub(super) async fn sweep(inner: &Inner) {
    inner.feeds.lock().await.retain(|_, feed| feed.strong_count() > 0);
}
