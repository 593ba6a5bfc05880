//! Reading a stream again, from a place in it or a time, in order.
//! Reads: JetStream (direct get). Writes: nothing. Never: creates a consumer, reads ahead of its reader by more
//! than one page, skips or repeats a message when the server goes away in between.
//!
//! Why pages of direct get and not an ordered consumer: the position is this side's own, so that after an outage
//! it goes on exactly behind the last message it gave, the server keeps nothing for a reader that is slow or
//! gone, and nothing arrives that was not asked for. What it costs is a request a page, and in [`Replay::follow`]
//! a question every 200 ms.
//!
//! ```no_run
//! # async fn example(bus: campana_bus::Bus) -> anyhow::Result<()> {
//! use campana_bus::replay::From;
//! use futures::TryStreamExt;
//!
//! let mut messages = bus.replay("EVENTS", "app.*.shop.order_created", From::Start);
//! while let Some(message) = messages.try_next().await? {
//!     println!("{} {} bytes", message.sequence, message.payload.len());
//! }
//! # Ok(())
//! # }
//! ```

mod follow;
mod reader;

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};

use crate::clock::Micros;
use crate::connect::Bus;
use crate::event::Event;
use crate::fetch::{FetchError, StoredMessage};
use crate::{subjects, topology};

use reader::Reader;

/// How long a replay goes on trying when the server is away, before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a replay begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the oldest message there is.
    Start,
    /// With the message of this sequence, or the next one there is.
    Sequence(u64),
    /// With the first message stored at this time or later.
    Time(Micros),
    /// Behind the newest message there is: only useful with [`Replay::follow`].
    New,
}

/// Why a replay broke off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The stream refused, or did not answer for [`Replay::patience`].
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The stream was deleted and created anew meanwhile: its sequences mean something else now.
    #[error("the stream was created anew during the replay")]
    Recreated,
    /// A message is not what the reader expects; the replay goes on with the next one.
    #[error("message {sequence} cannot be read: {reason}")]
    Decode {
        /// Which one.
        sequence: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// What to read.
#[derive(Clone, Debug)]
struct Plan {
    bus: Bus,
    stream: String,
    filters: Vec<String>,
    from: From,
    follow: bool,
    /// Whether the messages' own publication tells when to look, so that a quiet stream is hardly asked.
    listen: bool,
    patience: Duration,
}

enum State {
    Planned(Box<Plan>),
    Running(BoxStream<'static, Result<StoredMessage, ReplayError>>),
}

/// Stored messages in order, as a [`futures::Stream`]; nothing is read before it is polled, and no more than one
/// page ahead of its reader. It ends behind the message that was the newest when it began, unless it follows.
/// After an error other than [`ReplayError::Decode`] it is at its end.
///
/// The library's own copies (schedules, retries) are left out unless the filter names them.
#[must_use = "a replay reads nothing until it is polled"]
pub struct Replay {
    state: State,
}

impl Replay {
    /// Goes on with new messages as they are stored instead of ending.
    pub fn follow(self) -> Self {
        self.change(|plan| plan.follow = true)
    }

    /// How long to go on trying when the server is away (60 s).
    pub fn patience(self, patience: Duration) -> Self {
        self.change(|plan| plan.patience = patience)
    }

    /// Follows by hearing of new messages instead of asking all the time. For streams of few and small changes:
    /// each is sent to this process once more.
    pub(crate) fn listen(self) -> Self {
        self.change(|plan| (plan.follow, plan.listen) = (true, true))
    }

    fn change(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        if let State::Planned(plan) = &mut self.state {
            change(plan);
        }
        self
    }
}

impl Stream for Replay {
    type Item = Result<StoredMessage, ReplayError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let State::Planned(plan) = &self.state {
            self.state = State::Running(run(plan.clone()));
        }
        match &mut self.state {
            State::Running(messages) => messages.poll_next_unpin(context),
            State::Planned(_) => Poll::Ready(None),
        }
    }
}

fn run(plan: Box<Plan>) -> BoxStream<'static, Result<StoredMessage, ReplayError>> {
    enum Step {
        Open(Box<Plan>),
        Read(Box<Reader>),
    }
    stream::try_unfold(Step::Open(plan), |step| async move {
        let mut reader = match step {
            Step::Open(plan) => Box::new(Reader::open(*plan).await?),
            Step::Read(reader) => reader,
        };
        let next = reader.next().await?;
        Ok(next.map(|message| (message, Step::Read(reader))))
    })
    .boxed()
}

impl Bus {
    /// Reads the messages of `filter` (wildcards allowed) that `stream` holds.
    pub fn replay(
        &self,
        stream: impl Into<String>,
        filter: impl Into<String>,
        from: From,
    ) -> Replay {
        self.replay_many(stream, vec![filter.into()], from)
    }

    /// Reads the messages of several filters, in the order of the stream.
    pub fn replay_many(
        &self,
        stream: impl Into<String>,
        filters: Vec<String>,
        from: From,
    ) -> Replay {
        let stream = stream.into();
        let bus = self.clone();
        let plan =
            Plan { bus, stream, filters, from, follow: false, listen: false, patience: PATIENCE };
        Replay { state: State::Planned(Box::new(plan)) }
    }

    /// Reads the stored events of one kind, of every tenant.
    pub fn replay_events<E: Event>(&self, from: From) -> EventReplay<E> {
        let filters = vec![
            subjects::app_event_filter(E::SERVICE, E::NAME),
            subjects::app_event_keyed_filter(E::SERVICE, E::NAME),
        ];
        EventReplay { inner: self.replay_many(topology::EVENTS, filters, from), event: PhantomData }
    }
}

/// Stored events in order, decoded; see [`Replay`].
#[must_use = "a replay reads nothing until it is polled"]
pub struct EventReplay<E> {
    inner: Replay,
    event: PhantomData<fn() -> E>,
}

impl<E> EventReplay<E> {
    /// Goes on with new events as they are told instead of ending.
    pub fn follow(mut self) -> Self {
        self.inner = self.inner.follow();
        self
    }
}

impl<E: Event> Stream for EventReplay<E> {
    type Item = Result<(E, StoredMessage), ReplayError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.poll_next_unpin(context).map(|next| {
            next.map(|message| {
                let message = message?;
                let event = serde_json::from_slice(&message.payload).map_err(|error| {
                    ReplayError::Decode { sequence: message.sequence, reason: error.to_string() }
                })?;
                Ok((event, message))
            })
        })
    }
}
