//! The channels that clients of this node listen to: each followed once, whatever the number of clients.
//! Reads: republished messages (core NATS), stored messages (direct get). Writes: mailboxes.
//! Never: creates a consumer, never delivers a message twice, out of order, or with a hole before it.
//!
//! Core NATS is at most once, so every message says which one came before it in its channel. If that is
//! not the one that was delivered last, the hole is read from the stream, once for all subscribers. A
//! missed *last* message has no successor to reveal it: after every reconnection to NATS, and now and then
//! without a reason, channels are compared with the stream.

mod channel;
mod dense;
mod evidence;
mod feed;
mod history;
mod kinds;
mod maintain;
mod noter;
mod notes;
mod pattern;
mod recent;
mod recovery;
mod repair;
mod sequencer;
mod source;
mod sweep;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use campana_bus::Bus;
use campana_bus::clock;
use campana_bus::fetch::FetchError;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{Outgoing, PublishError, StoredAt};
use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use crate::codes::ReplyError;
use crate::mailbox::{Mailbox, Push};
use crate::options::EdgeOptions;
use crate::publication::ChannelKey;
use crate::session::{Join, Joined, More, Page, Recovery};
use channel::{Channel, Standing};
use dense::JoinError;
use feed::Feed;
use kinds::Kind;
use recent::Budget;
use source::{Purpose, Source};
use sweep::Row;

/// How old the known position of the stream may be where its age does no harm.
const POSITION_AGE_MAX: Duration = Duration::from_secs(1);

/// What the stream is asked for messages for.
pub(crate) const PURPOSES: [&str; 7] = Purpose::LABELS;

/// All channels of a node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

pub(crate) struct Inner {
    bus: Bus,
    lifecycle: Lifecycle,
    options: EdgeOptions,
    /// By the subject under which a channel's messages are stored.
    channels: DashMap<String, Arc<Channel>>,
    /// Subscriptions at NATS by filter; a channel keeps its feed alive.
    feeds: tokio::sync::Mutex<HashMap<String, Weak<Feed>>>,
    /// Patterns among the channels, by tenant and namespace as in the subject.
    patterns: DashMap<String, Vec<Weak<Channel>>>,
    source: Source,
    /// Who waits for messages of the shared stream.
    row: Row,
    /// Bytes kept for clients that come back.
    budget: Arc<Budget>,
    kinds: HashMap<String, Kind>,
    next_number: AtomicU64,
    stop: CancellationToken,
}

impl Hub {
    /// A hub and the task that looks after it.
    pub(crate) fn start(bus: Bus, lifecycle: &Lifecycle, options: &EdgeOptions) -> Self {
        let inner = Arc::new(Inner {
            source: Source::new(bus.clone()),
            row: Row::default(),
            bus,
            lifecycle: lifecycle.clone(),
            options: options.clone(),
            channels: DashMap::new(),
            feeds: tokio::sync::Mutex::default(),
            patterns: DashMap::new(),
            budget: Arc::new(Budget::new(options.recovery_cache_bytes_max)),
            kinds: kinds::kinds(options),
            next_number: AtomicU64::new(1),
            stop: CancellationToken::new(),
        });
        lifecycle.spawn("edge hub", maintain::run(Arc::clone(&inner)));
        lifecycle.spawn("edge idle streams", dense::run(Arc::clone(&inner)));
        lifecycle.spawn("edge notes", noter::run(Arc::clone(&inner)));
        Self(inner)
    }

    /// Ends all tasks of the hub.
    pub(crate) fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Channels known here, with or without subscribers.
    pub(crate) fn channels(&self) -> usize {
        self.0.channels.len()
    }

    /// Lets publications of a channel come into a mailbox, and finds what was missed. What `followed` gives is kept
    /// from the moment the channel is followed to the end.
    pub(crate) async fn join<G>(
        &self,
        join: &Join,
        mailbox: &Arc<Mailbox>,
        followed: impl FnOnce() -> G,
    ) -> Result<Joined, ReplyError> {
        let inner = &self.0;
        let result = inner.join(join, mailbox, followed).await;
        result.map_err(|why| {
            tracing::warn!(error = %why, "a channel cannot be joined");
            inner.leave(&join.key, mailbox);
            why.reply()
        })
    }

    /// The incarnation of the stream in which a channel's offsets count; `None` if it cannot be asked for.
    pub(crate) async fn epoch(&self, key: &ChannelKey) -> Option<Arc<str>> {
        if let Some(channel) = self.0.channels.get(&key.subject)
            && channel.ready.initialized()
        {
            return Some(channel.epoch());
        }
        let now = clock::monotonic();
        let moment = now.checked_sub(POSITION_AGE_MAX).unwrap_or(now);
        let snapshot = self.0.source.stream_of(key, moment).await.ok()?;
        Some(snapshot.stream.epoch.as_str().into())
    }

    /// Stores a message in a channel that has a stream of its own.
    ///
    /// # Errors
    /// If it is not stored; [`PublishError::TooLarge`] also if the tenant has too many such channels.
    pub(crate) async fn publish_dense(
        &self,
        key: &ChannelKey,
        message: Outgoing,
    ) -> Result<StoredAt, PublishError> {
        self.0.publish_dense(key, message).await
    }

    /// No more publications of the channel for this mailbox.
    pub(crate) fn leave(&self, key: &ChannelKey, mailbox: &Arc<Mailbox>) {
        self.0.leave(key, mailbox);
    }

    /// The next page of a recovery.
    pub(crate) async fn more(&self, more: &More) -> Result<Page, ()> {
        let inner = &self.0;
        let channel = inner.channels.get(&more.key.subject).map(|found| Arc::clone(&found));
        let (key, channel) = (&more.key, channel.as_ref());
        match recovery::more(inner, channel, key, more.after, more.at_least).await {
            Ok(found) => found.ok_or(()),
            Err(why) => {
                tracing::warn!(error = %why, "a recovery cannot go on");
                Err(())
            }
        }
    }

    /// Answers a history question.
    pub(crate) async fn history(
        &self,
        question: &crate::session::History,
    ) -> Result<crate::session::Found, ReplyError> {
        history::answer(&self.0, question).await
    }
}

impl Inner {
    async fn join<G>(
        self: &Arc<Self>,
        join: &Join,
        mailbox: &Arc<Mailbox>,
        followed: impl FnOnce() -> G,
    ) -> Result<Joined, JoinError> {
        let channel = self.channel(&join.key).await?;
        let Some(standing) = channel.add(mailbox, join.delta) else {
            let again = FetchError::Unavailable("the channel is being started again".to_owned());
            return Err(again.into());
        };
        let _followed = followed();
        let recovery = match &join.since {
            None => Recovery::None,
            Some(since) => recovery::recover(self, &channel, join, since, &standing).await?,
        };
        let top = standing.position.max(standing.floor);
        let known = Some(Arc::clone(&channel.key));
        Ok(Joined { top, epoch: standing.epoch, recovery, known })
    }

    /// The channel, followed. Holding it keeps it from being swept away before the subscriber is in.
    async fn channel(self: &Arc<Self>, key: &Arc<ChannelKey>) -> Result<Arc<Channel>, JoinError> {
        for _ in 0..2 {
            let channel = Arc::clone(
                self.channels
                    .entry(key.subject.clone())
                    .or_insert_with(|| Arc::new(Channel::new(self.numbered(key))))
                    .value(),
            );
            channel.ready.get_or_try_init(|| self.activate(&channel)).await?;
            if key.is_dense()
                || *self.source.recently(POSITION_AGE_MAX).await?.stream.epoch == *channel.epoch()
            {
                return Ok(channel);
            }
            // The stream was created anew since the channel is followed.
            self.give_up(&channel);
        }
        Err(FetchError::Unavailable("the stream is created anew all the time".to_owned()).into())
    }

    /// The channel with the next number of this node.
    fn numbered(&self, key: &ChannelKey) -> Arc<ChannelKey> {
        Arc::new(key.numbered(self.next_number.fetch_add(1, Ordering::Relaxed)))
    }

    /// Subscribes first and looks at the stream afterwards: what is stored in between comes both ways.
    async fn activate(self: &Arc<Self>, channel: &Arc<Channel>) -> Result<(), JoinError> {
        let key = &channel.key;
        let feed = feed::of_channel(self, key).await?;
        // Before `last`, so that no message of the channel lies between its last one and the floor.
        let from = if key.is_dense() {
            let stream = self.dense_stream(key).await?;
            Standing { position: stream.last, floor: stream.last, epoch: stream.epoch.into() }
        } else {
            let stream = &self.source.recently(POSITION_AGE_MAX).await?.stream;
            let last = self.source.last(key, Purpose::Follow).await?;
            let position = last.map_or(0, |message| message.sequence);
            Standing { position, floor: stream.last, epoch: stream.epoch.as_str().into() }
        };
        if channel.is_pattern()
            && let Some((namespace, _)) = key.subject.rsplit_once('.')
        {
            self.patterns.entry(namespace.to_owned()).or_default().push(Arc::downgrade(channel));
        }
        if channel.start(feed, from) {
            self.repair(channel);
        }
        Ok(())
    }

    fn kind_of(&self, key: &ChannelKey) -> Option<&Kind> {
        kinds::of(&self.kinds, key)
    }

    /// The channel is not followed any more.
    fn unlist(&self, channel: &Arc<Channel>) {
        let Some((namespace, _)) = channel.key.subject.rsplit_once('.') else { return };
        if let Some(mut patterns) = self.patterns.get_mut(namespace) {
            patterns.retain(|one| one.as_ptr() != Arc::as_ptr(channel));
        }
        self.patterns.remove_if(namespace, |_, patterns| patterns.is_empty());
    }

    fn leave(&self, key: &ChannelKey, mailbox: &Arc<Mailbox>) {
        if let Some(channel) = self.channels.get(&key.subject) {
            channel.remove(mailbox, clock::monotonic());
        }
    }

    /// Reads a hole from the stream in the background.
    fn repair(self: &Arc<Self>, channel: &Arc<Channel>) {
        let (inner, channel) = (Arc::clone(self), Arc::clone(channel));
        self.lifecycle.spawn("edge repair", async move {
            let stop = inner.stop.clone();
            tokio::select! {
                () = repair::repair(&inner, &channel) => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Messages of the channel are missing for good: its subscribers begin anew.
    fn give_up(&self, channel: &Arc<Channel>) {
        crate::metrics::channel_lost();
        self.channels.remove_if(&channel.key.subject, |_, known| Arc::ptr_eq(known, channel));
        self.unlist(channel);
        for mailbox in channel.kill() {
            mailbox.push(Push::Lost(Arc::clone(&channel.key)));
        }
    }
}

#[cfg(test)]
mod tests;
