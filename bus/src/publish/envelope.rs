//! Envelopes: many requests of one subject as one stored message.
//! Reads: a bounded queue of callers. Writes: JetStream. Never: mixes subjects in one envelope.
//!
//! One message costs one disk sync whatever its size, so requests that arrive while the last envelope is
//! in flight share the next one. A request alone is an envelope of one: no delay at low load. The format
//! is one line a part: its id, optionally `;` and its trace context, a space, its JSON body.

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::join_all;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::collector::{YIELDS, stopped};
use super::{Outgoing, PublishError, StoredAt, label, publish_until};
use crate::connect::Bus;
use crate::ids::MessageId;
use crate::lifecycle::Lifecycle;
use crate::trace::TraceParent;
use crate::{clock, headers, observe, telemetry};

/// Callers that may wait for a place in an envelope.
const QUEUE_MAX: usize = 16_384;
/// Parts of one envelope: one slow part holds the acknowledgement of the others.
const PARTS_MAX: usize = 256;
/// Bytes of one envelope.
const BYTES_MAX: usize = 256 * 1024;

/// One request inside an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its own id, without white space and `;`.
    pub id: String,
    /// Its JSON body.
    pub body: Bytes,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
}

impl Part {
    /// A part without a trace.
    #[must_use]
    pub fn new(id: impl Into<String>, body: Bytes) -> Self {
        Self { id: id.into(), body, trace: None }
    }
}

/// The stored form of some parts.
#[must_use]
pub fn encode_parts(parts: &[Part]) -> Bytes {
    let size = parts.iter().map(|part| part.id.len() + part.body.len() + 60).sum();
    let mut text = BytesMut::with_capacity(size);
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            text.put_u8(b'\n');
        }
        text.put_slice(part.id.as_bytes());
        if let Some(trace) = part.trace {
            text.put_u8(b';');
            text.put_slice(trace.to_string().as_bytes());
        }
        text.put_u8(b' ');
        if part.body.contains(&b'\n') {
            // A raw line break is only white space in JSON (RFC 8259 §2), never part of a value.
            text.extend(part.body.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        } else {
            text.put_slice(&part.body);
        }
    }
    text.freeze()
}

/// The parts of a stored envelope; `None` if it is not one.
#[must_use]
pub fn decode_parts(payload: &Bytes) -> Option<Vec<Part>> {
    payload
        .split(|byte| *byte == b'\n')
        .map(|line| {
            let space = line.iter().position(|byte| *byte == b' ').filter(|at| *at > 0)?;
            let head = std::str::from_utf8(&line[..space]).ok()?;
            let (id, trace) = head.split_once(';').unwrap_or((head, ""));
            Some(Part {
                id: id.to_owned(),
                body: payload.slice_ref(&line[space + 1..]),
                trace: TraceParent::parse(trace),
            })
        })
        .collect()
}

/// The message that stores these parts. An envelope of one carries the part's id as its message id, so that
/// a caller's repeat within the duplicate window is stored once. For callers that have many parts at once; those
/// who share envelopes with others use [`EnvelopePublisher`].
#[must_use]
pub fn envelope(subject: String, parts: &[Part]) -> Outgoing {
    let message_id = match parts {
        [only] => only.id.clone(),
        _ => MessageId::fresh().to_string(),
    };
    let message = Outgoing::new(subject, message_id, encode_parts(parts))
        .header(headers::ENVELOPE_PARTS, &parts.len().to_string());
    match parts {
        [Part { trace: Some(trace), .. }] => {
            message.header(headers::TRACEPARENT, &trace.to_string())
        }
        _ => message,
    }
}

struct Job {
    subject: String,
    parts: Vec<Part>,
    done: oneshot::Sender<Result<StoredAt, PublishError>>,
}

impl Job {
    fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.body.len()).sum()
    }
}

/// A publisher whose callers share envelopes; cheap to clone.
#[derive(Clone, Debug)]
pub struct EnvelopePublisher {
    jobs: mpsc::Sender<Job>,
}

impl EnvelopePublisher {
    /// Starts the task that fills the envelopes. `name` is the metric label: the stream.
    #[must_use]
    pub fn start(bus: &Bus, name: &'static str, lifecycle: &Lifecycle) -> Self {
        Self::start_paced(bus, name, Duration::ZERO, lifecycle)
    }

    /// The same with at least `pace` from the start of one envelope to the start of the next, unless the next is
    /// full before: for parts that nobody waits for, where larger envelopes save more than the moment is worth.
    /// What comes after a pause goes at once.
    #[must_use]
    pub fn start_paced(
        bus: &Bus,
        name: &'static str,
        pace: Duration,
        lifecycle: &Lifecycle,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        lifecycle.spawn("envelope publisher", collect(bus.clone(), name, pace, queue));
        Self { jobs }
    }

    /// Stores one request in whatever envelope it falls; returns when that envelope is stored.
    ///
    /// # Errors
    /// If the stream refuses or does not answer in time.
    pub async fn publish(&self, subject: String, part: Part) -> Result<StoredAt, PublishError> {
        self.send(subject, vec![part]).await
    }

    /// Stores parts that one caller has together, in their order, in as few envelopes as hold them; they share these
    /// with other callers. Returns when all are stored or refused, with a result for each.
    pub async fn publish_all(
        &self,
        subject: &str,
        parts: Vec<Part>,
    ) -> Vec<Result<StoredAt, PublishError>> {
        let jobs = fitting(parts).into_iter().map(async |parts| {
            let count = parts.len();
            vec![self.send(subject.to_owned(), parts).await; count]
        });
        join_all(jobs).await.concat()
    }

    async fn send(&self, subject: String, mut parts: Vec<Part>) -> Result<StoredAt, PublishError> {
        let span = observe::publishing_parts(&subject, &mut parts);
        let (done, answer) = oneshot::channel();
        let result = match self.jobs.send(Job { subject, parts, done }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(stopped())),
            Err(_) => Err(stopped()),
        };
        observe::published(&span, &result);
        result
    }
}

/// The parts in their order, in lists that each fit into one envelope; a part that is larger stands alone.
fn fitting(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut lists: Vec<Vec<Part>> = Vec::with_capacity(1);
    let mut bytes = 0;
    for part in parts {
        bytes += part.body.len();
        match lists.last_mut() {
            Some(list) if list.len() < PARTS_MAX && bytes <= BYTES_MAX => list.push(part),
            _ => {
                bytes = part.body.len();
                lists.push(vec![part]);
            }
        }
    }
    lists
}

/// Runs until every handle is gone, so that a drain can still publish.
async fn collect(bus: Bus, name: &'static str, pace: Duration, mut queue: mpsc::Receiver<Job>) {
    let mut next = Instant::now();
    let mut held: Option<Job> = None;
    loop {
        let (first, full) = match held.take() {
            Some(job) => (job, true),
            None => match queue.recv().await {
                Some(job) => (job, false),
                None => return,
            },
        };
        if !pace.is_zero() {
            // A held job tells that there is more than fits: then the pace would only pile it up.
            if !full {
                tokio::time::sleep_until(next).await;
            }
            next = Instant::now() + pace;
        }
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
        let (mut count, mut bytes) = (first.parts.len(), first.bytes());
        let mut group = vec![first];
        while let Ok(job) = queue.try_recv() {
            count += job.parts.len();
            bytes += job.bytes();
            if count > PARTS_MAX || bytes > BYTES_MAX {
                held = Some(job);
                break;
            }
            group.push(job);
        }
        telemetry::group_waiting(name, queue.len() + usize::from(held.is_some()));
        join_all(by_subject(group).into_iter().map(|jobs| publish_group(&bus, name, jobs))).await;
    }
}

/// Callers grouped by subject, in order of arrival. There are a handful of subjects, so a scan is cheapest.
fn by_subject(group: Vec<Job>) -> Vec<Vec<Job>> {
    let mut groups: Vec<Vec<Job>> = Vec::with_capacity(1);
    for job in group {
        match groups
            .iter_mut()
            .find(|jobs| jobs.first().is_some_and(|first| first.subject == job.subject))
        {
            Some(jobs) => jobs.push(job),
            None => groups.push(vec![job]),
        }
    }
    groups
}

async fn publish_group(bus: &Bus, name: &'static str, jobs: Vec<Job>) {
    let started = clock::monotonic();
    let mut waiting = Vec::with_capacity(jobs.len());
    let mut parts = Vec::with_capacity(jobs.len());
    let mut subject = String::new();
    for job in jobs {
        subject = job.subject;
        parts.extend(job.parts);
        waiting.push(job.done);
    }
    telemetry::group(name, "envelope", parts.len());
    let message = envelope(subject, &parts);
    let result = publish_until(bus, &message, bus.publish_deadline()).await;
    telemetry::published(&message.subject, label(&result), parts.len() as u64, started.elapsed());
    for done in waiting {
        let _ = done.send(result.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn envelopes_round_trip(bodies in proptest::collection::vec("[^\n]{0,50}", 1..20)) {
            let parts: Vec<Part> = bodies
                .into_iter()
                .enumerate()
                .map(|(i, body)| Part {
                    trace: (i % 2 == 0).then(TraceParent::fresh),
                    ..Part::new(format!("p{i}"), Bytes::from(body))
                })
                .collect();
            prop_assert_eq!(decode_parts(&encode_parts(&parts)), Some(parts));
        }

        #[test]
        fn anything_is_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_parts(&Bytes::from(bytes));
        }
    }

    #[test]
    fn many_parts_become_few_lists_in_their_order() {
        let big = Bytes::from(vec![b'x'; BYTES_MAX]);
        let small = Bytes::from_static(b"{}");
        let bodies = [&small, &small, &big, &small, &big, &big].into_iter().cloned();
        let bodies = bodies.chain(std::iter::repeat_n(small.clone(), PARTS_MAX + 1));
        let parts: Vec<Part> =
            (0..).zip(bodies).map(|(n, body)| Part::new(format!("p{n}"), body)).collect();
        let lists = fitting(parts.clone());
        let sizes: Vec<usize> = lists.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1, 1, 1, PARTS_MAX, 1]);
        assert_eq!(lists.concat(), parts);
        assert!(fitting(Vec::new()).is_empty());
    }

    #[test]
    fn a_line_break_in_a_body_cannot_forge_a_part() {
        let part = Part::new("p1", Bytes::from_static(b"{\n\"a\": 1}"));
        assert_eq!(decode_parts(&encode_parts(&[part])).map(|parts| parts.len()), Some(1));
    }
}
