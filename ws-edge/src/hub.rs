//! The channels that clients of this node listen to: each followed once, whatever the number of clients.
//! Reads: republished messages (core NATS), stored messages (direct get). Writes: mailboxes.
//! Never: creates a consumer, never delivers a message twice, out of order, or with a hole before it.
//!
//! Core NATS is at most once, so every message says which one came before it in its channel. If that is
//! not the one that was delivered last, the hole is read from the stream, once for all subscribers. A
//! missed *last* message has no successor to reveal it: after every reconnection to NATS, and now and then
//! without a reason, channels are compared with the stream.

mod channel;
mod feed;
mod history;
mod maintain;
mod recovery;
mod sequencer;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use campana_bus::Bus;
use campana_bus::clock;
use campana_bus::fetch::{FetchError, StreamPosition};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::topology::CHANNELS;
use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use crate::mailbox::{Mailbox, Push};
use crate::options::EdgeOptions;
use crate::publication::ChannelKey;
use crate::session::{Join, Joined, More, Page, Recovery};
use channel::Channel;
use feed::Feed;

/// How old the known position of the stream may be where its age does no harm.
const POSITION_AGE_MAX: Duration = Duration::from_secs(1);

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
    stream: tokio::sync::Mutex<Option<(Instant, Arc<StreamPosition>)>>,
    stop: CancellationToken,
}

impl Hub {
    /// A hub and the task that looks after it.
    pub(crate) fn start(bus: Bus, lifecycle: &Lifecycle, options: &EdgeOptions) -> Self {
        let inner = Arc::new(Inner {
            bus,
            lifecycle: lifecycle.clone(),
            options: options.clone(),
            channels: DashMap::new(),
            feeds: tokio::sync::Mutex::default(),
            stream: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
        });
        lifecycle.spawn("edge hub", maintain::run(Arc::clone(&inner)));
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

    /// Lets publications of a channel come into a mailbox, and finds what was missed.
    pub(crate) async fn join(&self, join: &Join, mailbox: &Arc<Mailbox>) -> Result<Joined, ()> {
        let inner = &self.0;
        let result = inner.join(join, mailbox).await;
        result.map_err(|why| {
            tracing::warn!(error = %why, "a channel cannot be joined");
            inner.leave(&join.key, mailbox);
        })
    }

    /// No more publications of the channel for this mailbox.
    pub(crate) fn leave(&self, key: &ChannelKey, mailbox: &Arc<Mailbox>) {
        self.0.leave(key, mailbox);
    }

    /// The next page of a recovery.
    pub(crate) async fn more(&self, more: &More) -> Result<Page, ()> {
        match recovery::next_page(&self.0, &more.key, more.after, more.at_least).await {
            Ok(found) => found.map(|(page, _)| page).ok_or(()),
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
    ) -> Result<crate::session::Found, crate::codes::ReplyError> {
        history::answer(&self.0, question).await
    }
}

impl Inner {
    async fn join(
        self: &Arc<Self>,
        join: &Join,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Joined, FetchError> {
        // Holding the channel keeps it from being swept away before the subscriber is in.
        let channel = Arc::clone(
            self.channels
                .entry(join.key.subject.clone())
                .or_insert_with(|| Arc::new(Channel::new(Arc::clone(&join.key))))
                .value(),
        );
        channel.ready.get_or_try_init(|| self.activate(&channel)).await?;
        let Some((position, floor)) = channel.add(mailbox) else {
            return Err(FetchError::Unavailable("the channel is being started again".to_owned()));
        };
        let stream = self.position(POSITION_AGE_MAX).await?;
        let recovery = match &join.since {
            None => Recovery::None,
            Some(since) => recovery::recover(self, join, since, position, &stream).await?,
        };
        Ok(Joined { top: position.max(floor), epoch: stream.epoch.as_str().into(), recovery })
    }

    /// Subscribes first and looks at the stream afterwards: what is stored in between comes both ways.
    async fn activate(self: &Arc<Self>, channel: &Arc<Channel>) -> Result<(), FetchError> {
        let feed = feed::of_channel(self, &channel.key).await?;
        // Before `last`, so that no message of the channel lies between its last one and the floor.
        let floor = self.position(POSITION_AGE_MAX).await?.last;
        let last = self
            .bus
            .last(CHANNELS, &channel.key.subject)
            .await?
            .map_or(0, |message| message.sequence);
        if channel.start(feed, last, floor) {
            self.repair(channel);
        }
        Ok(())
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
                () = recovery::repair(&inner, &channel) => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Messages of the channel are missing for good: its subscribers begin anew.
    fn give_up(&self, channel: &Arc<Channel>) {
        crate::metrics::channel_lost();
        self.channels.remove_if(&channel.key.subject, |_, known| Arc::ptr_eq(known, channel));
        for mailbox in channel.kill() {
            mailbox.push(Push::Lost(Arc::clone(&channel.key)));
        }
    }

    /// Where the stream stands, known for at most `age_max`.
    async fn position(&self, age_max: Duration) -> Result<Arc<StreamPosition>, FetchError> {
        let mut known = self.stream.lock().await;
        if let Some((at, position)) = &*known
            && at.elapsed() < age_max
        {
            return Ok(Arc::clone(position));
        }
        let position = Arc::new(self.bus.position(CHANNELS).await?);
        *known = Some((clock::monotonic(), Arc::clone(&position)));
        Ok(position)
    }
}

#[cfg(test)]
mod tests;
