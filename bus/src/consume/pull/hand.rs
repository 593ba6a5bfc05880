//! The messages in hand: their places, their tasks, and what becomes of them at a stop.
//! Reads: nothing. Writes: negative acknowledgements of messages that nobody finishes. Never: runs more
//! handlers than there are places.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_nats::{Message, Subject, Subscriber};
use bytes::Bytes;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pace::Pace;
use super::room::Room;
use super::{Sink, ending};
use crate::connect::Bus;
use crate::consume::ConsumerSpec;
use crate::{clock, telemetry};

/// How long a negative acknowledgement may wait for a connection; redelivery does it without.
const NAK_WAIT: Duration = Duration::from_secs(2);

/// A message's way to its end. On the heap, because it is large and may move to a task.
type Work<F> = Pin<Box<F>>;

/// Shared by the loop and the tasks of its messages.
pub(super) struct Hand<S> {
    bus: Bus,
    consumer: String,
    max: usize,
    sink: Arc<S>,
    pace: Pace,
    room: Arc<Room>,
    tasks: TaskTracker,
    /// Drop everything, and leave it to redelivery.
    hard: CancellationToken,
    /// Drop what is in hand, and give it back; also cancelled by `hard`.
    cut: CancellationToken,
    cut_off: AtomicUsize,
    metrics: telemetry::InFlight,
}

impl<S: Sink> Hand<S> {
    pub fn new(
        bus: &Bus,
        spec: &ConsumerSpec,
        sink: Arc<S>,
        hard: &CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            bus: bus.clone(),
            consumer: spec.durable.clone(),
            max: spec.max_in_flight,
            sink,
            pace: Pace::new(),
            room: Room::new(spec.max_in_flight),
            tasks: TaskTracker::new(),
            hard: hard.clone(),
            cut: hard.child_token(),
            cut_off: AtomicUsize::new(0),
            metrics: telemetry::InFlight::new(&spec.durable, spec.max_in_flight),
        })
    }

    /// Places for further messages.
    pub fn room(&self) -> &Room {
        &self.room
    }

    pub fn report(&self) {
        self.metrics.set(self.max.saturating_sub(self.room.free()));
    }

    /// Runs one message: here as far as it comes without waiting if that is quick (see [`super::pace`]), else
    /// in a task. The loop asks for no more than there are places, so there is one; if a server sent more than
    /// it was asked for, the message goes back.
    pub fn start(self: &Arc<Self>, message: Message) {
        let Some(place) = self.room.take() else {
            self.return_one(&message);
            return;
        };
        let this = Arc::clone(self);
        let reply = message.reply.clone();
        let arrived = self.sink.arrive(message);
        let work = Box::pin(async move {
            // By hand, because `select!` would move the large future once more for every message.
            let done = {
                let mut taken = pin!(Arc::clone(&this.sink).take(arrived, place));
                let mut cut = pin!(this.cut.cancelled());
                poll_fn(|context| match taken.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(true),
                    Poll::Pending => cut.as_mut().poll(context).map(|()| false),
                })
                .await
            };
            // The handler is dropped by now: nobody else gets the message while it still holds something.
            if !done {
                this.cut_off(reply).await;
            }
        });
        if !self.pace.is_quick() {
            return self.spread(work);
        }
        let started = clock::monotonic();
        let rest = begin(work);
        self.pace.began(started.elapsed(), rest.is_none());
        if let Some(rest) = rest {
            // Polled again in its task, so that it is that task which is woken.
            self.tasks.spawn(rest);
        }
    }

    /// Runs a message in a task from its beginning.
    fn spread(self: &Arc<Self>, mut work: Work<impl Future<Output = ()> + Send + 'static>) {
        let (this, mut first) = (Arc::clone(self), true);
        self.tasks.spawn(poll_fn(move |context| {
            if !std::mem::take(&mut first) {
                return work.as_mut().poll(context);
            }
            let started = clock::monotonic();
            let polled = work.as_mut().poll(context);
            this.pace.began(started.elapsed(), polled.is_ready());
            polled
        }));
    }

    /// A handler was dropped at the drain deadline: its message goes back. An acknowledgement that was sent
    /// already wins. At the hard stop there is no time, and redelivery does it.
    async fn cut_off(&self, reply: Option<Subject>) {
        if self.hard.is_cancelled() {
            return;
        }
        self.cut_off.fetch_add(1, Ordering::Relaxed);
        nak(&self.bus, reply).await;
    }

    /// Gives one message back that nobody takes.
    pub fn return_one(self: &Arc<Self>, message: &Message) {
        if message.status.is_some() {
            return;
        }
        let (this, reply) = (Arc::clone(self), message.reply.clone());
        self.tasks.spawn(async move { nak(&this.bus, reply).await });
    }

    /// Ends a subscription and gives back what still comes out of it.
    pub fn give_back(self: &Arc<Self>, messages: Subscriber) {
        // At once: what is given back would come again for as long as the subscription has a limit.
        self.leftovers(messages, None, |this, message| this.return_one(&message));
    }

    /// Ends a subscription and handles what still comes out of it: it was asked for while there was room,
    /// and given back it would have cost an attempt that no handler saw. For `limit` see [`ending::end`].
    pub fn finish(self: &Arc<Self>, messages: Subscriber, limit: Option<u64>) {
        self.leftovers(messages, limit, |this, message| {
            if message.status.is_none() {
                this.start(message);
            }
        });
    }

    fn leftovers(
        self: &Arc<Self>,
        messages: Subscriber,
        limit: Option<u64>,
        with: fn(&Arc<Self>, Message),
    ) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = ending::end(messages, limit, |message| with(&this, message)) => {}
                () = this.hard.cancelled() => {}
            }
        });
    }

    /// Waits for the handlers, then drops them.
    pub async fn drain(&self, deadline: Duration) {
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
            let count = self.cut_off.load(Ordering::Relaxed);
            telemetry::cut_off(&self.consumer, count);
            tracing::warn!(
                consumer = self.consumer,
                messages = count,
                "handlers did not finish within the drain deadline: their messages were given back"
            );
        }
        self.report();
    }
}

/// Begins a message here; returns it if it has to wait for something. What panics is gone, as it would be with
/// its task: the server offers it again.
fn begin<F: Future<Output = ()>>(mut work: Work<F>) -> Option<Work<F>> {
    let rest = catch_unwind(AssertUnwindSafe(move || match (&mut work).now_or_never() {
        Some(()) => None,
        None => Some(work),
    }));
    rest.unwrap_or(None)
}

async fn nak(bus: &Bus, reply: Option<Subject>) {
    if let Some(reply) = reply {
        let _ = tokio::time::timeout(
            NAK_WAIT,
            bus.client().publish(reply, Bytes::from_static(b"-NAK")),
        )
        .await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_begun_is_done_or_goes_on_elsewhere_or_is_gone() {
        assert!(begin(Box::pin(async {})).is_none());
        let (go, wait) = oneshot::channel();
        let held = Arc::new(());
        let holds = Arc::clone(&held);
        let rest = begin(Box::pin(async move {
            assert_eq!(wait.await, Ok(7), "{holds:?}");
        }));
        assert_eq!(Arc::strong_count(&held), 2);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(rest.expect("it waits"));
        go.send(7).unwrap();
        tasks.join_next().await.unwrap().unwrap();
        let holds = Arc::clone(&held);
        assert!(begin(Box::pin(async move { panic!("planned, with {holds:?}") })).is_none());
        assert_eq!(Arc::strong_count(&held), 1, "what panicked holds nothing");
    }
}
