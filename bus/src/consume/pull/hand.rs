//! The messages in hand: their permits, their tasks, and what becomes of them at a stop.
//! Reads: nothing. Writes: negative acknowledgements of messages that nobody finishes. Never: runs more
//! handlers than there are permits.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::task::Poll;
use std::time::Duration;

use async_nats::{Message, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pace::Pace;
use super::{LEFTOVERS, Sink};
use crate::connect::Bus;
use crate::consume::ConsumerSpec;
use crate::{clock, telemetry};

/// A message's way to its end. On the heap, because it is large and may move to a task.
type Work<F> = Pin<Box<F>>;

/// Shared by the loop and the tasks of its messages.
pub(super) struct Hand<S> {
    bus: Bus,
    consumer: String,
    max: usize,
    sink: Arc<S>,
    pace: Pace,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Wakes the loop.
    freed: Notify,
    /// Free permits from which on the loop wants to be woken.
    wake_at: AtomicUsize,
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
            permits: Arc::new(Semaphore::new(spec.max_in_flight)),
            tasks: TaskTracker::new(),
            freed: Notify::new(),
            wake_at: AtomicUsize::new(1),
            hard: hard.clone(),
            cut: hard.child_token(),
            cut_off: AtomicUsize::new(0),
            metrics: telemetry::InFlight::new(&spec.durable, spec.max_in_flight),
        })
    }

    /// Permits that no message holds.
    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// Ready once when [`Hand::wake_at`] permits are free.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Asks to be woken when so many permits are free. Whoever calls looks at [`Hand::free`] afterwards:
    /// either the task that frees a permit sees the new number, or the look sees its permit.
    pub fn wake_at(&self, permits: usize) {
        self.wake_at.store(permits, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub fn report(&self) {
        self.metrics.set(self.max.saturating_sub(self.free()));
    }

    /// Runs one message: here as far as it comes without waiting if that is quick (see [`super::pace`]), else
    /// in a task. The loop asks for no more than there are permits, so there is one; if a server sent more than
    /// it was asked for, the message goes back.
    pub fn start(self: &Arc<Self>, message: Message) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            self.return_one(&message);
            return;
        };
        let this = Arc::clone(self);
        let reply = message.reply.clone();
        let arrived = self.sink.arrive(message);
        let work = Box::pin(async move {
            // By hand, because `select!` would move the large future once more for every message.
            let done = {
                let mut taken = pin!(Arc::clone(&this.sink).take(arrived, permit));
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
            fence(Ordering::SeqCst);
            if this.free() >= this.wake_at.load(Ordering::Relaxed) {
                this.freed.notify_one();
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

    /// Ends a subscription and gives back what still comes out of it. (A drain, because the client forgets
    /// an ended subscription at once, and with it what is on its way: that would come back by `ack_wait`.)
    pub fn give_back(self: &Arc<Self>, mut messages: Subscriber) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let rest = async {
                let _ = messages.drain().await;
                while let Some(message) = messages.next().await {
                    if message.status.is_none() {
                        nak(&this.bus, message.reply).await;
                    }
                }
            };
            // While there is no connection, the end of the subscription does not come.
            tokio::select! {
                _ = tokio::time::timeout(LEFTOVERS, rest) => {}
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
            LEFTOVERS,
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
