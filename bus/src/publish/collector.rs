//! Group commit for messages with subjects of their own.
//! Reads: a bounded queue of callers. Writes: JetStream. Never: waits on a timer to fill a group unless it was
//! asked to keep a pace, has two groups in flight (the server works a stream's messages one after the other, a
//! second group only makes both smaller).
//!
//! What queues while one group is in flight becomes the next group. Groups of [`ATOMIC_MIN`] and more go as
//! one atomic batch, which costs a handful of disk syncs whatever its size; smaller groups go as singles in
//! a pipeline, because a batch has a fixed cost of several milliseconds.

use futures::future::join_all;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Outgoing, PublishError, StoredAt, atomic, label, publish_until, receive, send};
use crate::clock;
use crate::connect::{Bus, Durability};
use crate::lifecycle::Lifecycle;
use crate::{headers, observe, telemetry};

/// Callers that may wait for a place in a group.
const QUEUE_MAX: usize = 16_384;
/// Messages of one group; an atomic batch takes at most 1,000.
const GROUP_MESSAGES_MAX: usize = 1_000;
/// Bytes of one group.
const GROUP_BYTES_MAX: usize = 256 * 1024;
/// From this size an atomic batch beats singles on a server that syncs every write (measured).
const ATOMIC_MIN: usize = 20;
/// Turns given to other tasks before a group closes: what is about to be published joins it for free.
pub(super) const YIELDS: usize = 3;

/// One message and who waits for it.
struct Job {
    message: Outgoing,
    done: oneshot::Sender<Result<StoredAt, PublishError>>,
}

impl Job {
    /// The same, marked as a repeat of something that may be stored already.
    fn repeated(mut self) -> Self {
        headers::set(&mut self.message.headers, headers::REPEAT, "1");
        self
    }
}

/// A publisher whose callers share groups; cheap to clone.
#[derive(Clone, Debug)]
pub struct GroupPublisher {
    jobs: mpsc::Sender<Job>,
}

impl GroupPublisher {
    /// Starts the task that forms the groups. `name` is the metric label: the stream.
    #[must_use]
    pub fn start(bus: &Bus, name: &'static str, lifecycle: &Lifecycle) -> Self {
        Self::start_paced(bus, name, Duration::ZERO, lifecycle)
    }

    /// The same with at least `pace` from the start of one group to the start of the next: for messages that
    /// nobody waits for, where larger groups save more than the moment is worth. What comes after a pause
    /// goes at once.
    #[must_use]
    pub fn start_paced(
        bus: &Bus,
        name: &'static str,
        pace: Duration,
        lifecycle: &Lifecycle,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        lifecycle.spawn("group publisher", collect(bus.clone(), name, pace, queue));
        Self { jobs }
    }

    /// Stores one message, in whatever group it falls.
    ///
    /// # Errors
    /// If the stream refuses this message or does not answer in time.
    pub async fn publish(&self, mut message: Outgoing) -> Result<StoredAt, PublishError> {
        let span = observe::publishing(&mut message);
        let (done, answer) = oneshot::channel();
        let result = match self.jobs.send(Job { message, done }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(stopped())),
            Err(_) => Err(stopped()),
        };
        observe::published(&span, &result);
        result
    }
}

pub(super) fn stopped() -> PublishError {
    PublishError::Unavailable("the publisher has stopped".to_owned())
}

/// Runs until every handle is gone, so that a drain can still publish.
async fn collect(bus: Bus, name: &'static str, pace: Duration, mut queue: mpsc::Receiver<Job>) {
    let mut next = Instant::now();
    while let Some(first) = queue.recv().await {
        if !pace.is_zero() {
            tokio::time::sleep_until(next).await;
            next = Instant::now() + pace;
        }
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
        let mut bytes = first.message.cost();
        let mut group = vec![first];
        while group.len() < GROUP_MESSAGES_MAX && bytes < GROUP_BYTES_MAX {
            let Ok(job) = queue.try_recv() else { break };
            bytes += job.message.cost();
            group.push(job);
        }
        telemetry::group_waiting(name, queue.len());
        publish_group(&bus, name, group).await;
    }
}

async fn publish_group(bus: &Bus, name: &'static str, group: Vec<Job>) {
    let (batch, singles) = split(bus.durability(), group);
    if !batch.is_empty() {
        publish_batch(bus, name, batch).await;
    }
    if !singles.is_empty() {
        publish_singles(bus, name, singles).await;
    }
}

/// Decides what goes as a batch. A repeated id refuses a whole batch, and an expected sequence can too, so
/// such messages go alone.
fn split(durability: Durability, group: Vec<Job>) -> (Vec<Job>, Vec<Job>) {
    if durability == Durability::Process || group.len() < ATOMIC_MIN {
        return (Vec::new(), group);
    }
    let mut ids = HashSet::with_capacity(group.len());
    let (batch, mut singles): (Vec<Job>, Vec<Job>) = group.into_iter().partition(|job| {
        job.message.expect_last_subject_sequence.is_none()
            && ids.insert(job.message.message_id.clone())
    });
    if batch.len() < ATOMIC_MIN {
        singles.splice(0..0, batch);
        return (Vec::new(), singles);
    }
    (batch, singles)
}

async fn publish_batch(bus: &Bus, name: &'static str, batch: Vec<Job>) {
    let started = clock::monotonic();
    let messages: Vec<&Outgoing> = batch.iter().map(|job| &job.message).collect();
    telemetry::group(name, "atomic", messages.len());
    match atomic::publish(bus, &messages).await {
        Ok(last) => {
            if let Some(first) = batch.first() {
                let subject = &first.message.subject;
                telemetry::published(subject, "", batch.len() as u64, started.elapsed());
            }
            let first = last + 1 - batch.len() as u64;
            for (sequence, job) in (first..).zip(batch) {
                let _ = job.done.send(Ok(StoredAt { sequence, duplicate: false }));
            }
        }
        Err(error) => {
            // Refused: one message is at fault, singles find out which. Unknown: singles with the same ids
            // are answered "duplicate" if the batch was stored after all.
            tracing::debug!(
                publisher = name,
                messages = batch.len(),
                "atomic batch not stored, sending singles: {error}"
            );
            let unknown = matches!(error, PublishError::Unavailable(_));
            let batch = batch.into_iter().map(|job| if unknown { job.repeated() } else { job });
            publish_singles(bus, name, batch.collect()).await;
        }
    }
}

async fn publish_singles(bus: &Bus, name: &'static str, jobs: Vec<Job>) {
    let started = clock::monotonic();
    telemetry::group(name, "single", jobs.len());
    let mut waiting = Vec::with_capacity(jobs.len());
    for job in jobs {
        let ack = send(bus, &job.message).await;
        waiting.push((job, ack));
    }
    join_all(waiting.into_iter().map(|(mut job, ack)| async move {
        let result = match ack {
            Ok(ack) => receive(ack).await,
            Err(error) => Err(error),
        };
        let result = match result {
            Err(PublishError::Unavailable(_)) => {
                let left =
                    bus.publish_deadline().saturating_sub(started.elapsed()).max(bus.ack_timeout());
                job = job.repeated();
                publish_until(bus, &job.message, left).await
            }
            settled => settled,
        };
        telemetry::published(&job.message.subject, label(&result), 1, started.elapsed());
        let _ = job.done.send(result);
    }))
    .await;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn job(id: &str) -> Job {
        Job { message: Outgoing::new("a", id, Bytes::new()), done: oneshot::channel().0 }
    }

    #[test]
    fn repeated_ids_leave_the_batch() {
        let group = (0..30).map(|i| job(&format!("m{}", i % 25))).collect();
        let (batch, singles) = split(Durability::Power, group);
        assert_eq!((batch.len(), singles.len()), (25, 5));
    }

    #[test]
    fn small_groups_and_lazy_servers_take_singles() {
        let (batch, singles) =
            split(Durability::Power, (0..19).map(|i| job(&i.to_string())).collect());
        assert_eq!((batch.len(), singles.len()), (0, 19));
        let (batch, singles) =
            split(Durability::Process, (0..500).map(|i| job(&i.to_string())).collect());
        assert_eq!((batch.len(), singles.len()), (0, 500));
    }
}
