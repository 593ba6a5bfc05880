//! One endpoint at work: takes requests, runs the handler within its limits, answers.
//! Reads: requests. Writes: answers. Never: lets more wait than its queue holds, shows a caller a panic's text,
//! begins what the caller no longer waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::protocol::{Counters, Instance};
use super::{CallMeta, Endpoint, QUEUE_GROUP, Reply, ServeError, ServiceError};
use crate::call::{ERROR_CODE, ERROR_TEXT};
use crate::clock::{self, Micros};
use crate::connect::Bus;
use crate::{headers, subjects, telemetry};

/// How long leaving may take while requests keep coming.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// A leaving endpoint takes this many requests more, if they come: more than can be on their way at that moment.
const LEAVE_AHEAD: u64 = 64;
/// An endpoint to which no request came for this long while it leaves is not busy.
const LEAVE_QUIET: Duration = Duration::from_millis(250);
/// Clocks of caller and service may differ by this much before a deadline is wrong.
const CLOCK_GRACE: Duration = Duration::from_secs(1);
/// Longest text of an error in bytes: it travels in a header.
const ERROR_BYTES_MAX: usize = 1_024;

/// An endpoint that is subscribed.
pub(super) struct Running {
    shared: Arc<Shared>,
    requests: Subscriber,
    /// Requests that came.
    taken: u64,
    /// How often the client had connected when it subscribed.
    connects: u64,
    /// Where this very instance answers.
    ping: String,
}

/// What every request of the endpoint needs.
struct Shared {
    bus: Bus,
    service: String,
    endpoint: Endpoint,
    counters: Arc<Counters>,
    /// Requests that are in hand or wait.
    places: Arc<Semaphore>,
    /// Handlers at work.
    handlers: Arc<Semaphore>,
}

impl Running {
    /// Subscribes; requests wait until [`Running::run`].
    pub async fn subscribe(
        bus: &Bus,
        instance: &Arc<Instance>,
        endpoint: Endpoint,
    ) -> Result<Self, ServeError> {
        let subject = subjects::service(instance.name(), &endpoint.name);
        let connects = connects(bus);
        let requests = bus
            .client()
            .queue_subscribe(subject.clone(), QUEUE_GROUP.to_owned())
            .await
            .map_err(|_| ServeError::Closed)?;
        let concurrency = endpoint.options.concurrency.max(1);
        let shared = Shared {
            bus: bus.clone(),
            service: instance.name().to_owned(),
            counters: instance.add_endpoint(&endpoint.name, subject),
            places: Arc::new(Semaphore::new(concurrency.saturating_add(endpoint.options.queue))),
            handlers: Arc::new(Semaphore::new(concurrency)),
            endpoint,
        };
        let ping = instance.ping_subject();
        Ok(Self { shared: Arc::new(shared), requests, taken: 0, connects, ping })
    }

    /// Takes requests until `stopping`, then finishes those that are in hand or on their way.
    pub async fn run(mut self, stopping: CancellationToken) {
        let mut in_hand = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(_) = in_hand.join_next() => {}
                request = self.requests.next() => match request {
                    Some(request) => self.take(request, &mut in_hand),
                    None => break,
                },
            }
        }
        self.leave(&mut in_hand).await;
        while in_hand.join_next().await.is_some() {}
    }

    fn take(&mut self, request: Message, in_hand: &mut JoinSet<()>) {
        self.taken += 1;
        self.shared.take(request, in_hand);
    }

    /// Leaves the queue group and loses nothing that is on its way.
    ///
    /// The client drops a drained subscription as soon as it wakes again, not when the server has answered, so a
    /// request that the server sent meanwhile would be lost. A limit on the number of requests has no such gap:
    /// the server counts what it sends, the client what it gets, and both end at the same request. So a busy
    /// endpoint leaves by a limit a little ahead, and only one to which nothing comes for a while is drained.
    async fn leave(&mut self, in_hand: &mut JoinSet<()>) {
        // The server counts anew on each connection: after a reconnect its number is not ours.
        if self.connects == connects(&self.shared.bus) {
            // An answer comes after everything that was sent before it, so little is left on its way.
            let bus = &self.shared.bus;
            let own = self.ping.clone();
            let _ = bus.request(own, HeaderMap::new(), Bytes::new(), DRAIN_WAIT).await;
            while let Some(Some(request)) = self.requests.next().now_or_never() {
                self.take(request, in_hand);
            }
            let _ = self.requests.unsubscribe_after(self.taken + LEAVE_AHEAD).await;
            if !self.take_until_quiet(LEAVE_QUIET, in_hand).await {
                return;
            }
        }
        let _ = self.requests.drain().await;
        self.take_until_quiet(DRAIN_WAIT, in_hand).await;
    }

    /// `true` if nothing came for `quiet` (or all took longer than [`DRAIN_WAIT`]), `false` if the subscription is
    /// at its end.
    async fn take_until_quiet(&mut self, quiet: Duration, in_hand: &mut JoinSet<()>) -> bool {
        let started = clock::monotonic();
        while started.elapsed() < DRAIN_WAIT {
            match tokio::time::timeout(quiet, self.requests.next()).await {
                Ok(Some(request)) => self.take(request, in_hand),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
        true
    }
}

impl Shared {
    /// Never waits, so that requests do not pile up in the subscription.
    fn take(self: &Arc<Self>, request: Message, in_hand: &mut JoinSet<()>) {
        let this = Arc::clone(self);
        let arrived = clock::monotonic();
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => {
                telemetry::service_in_flight(&self.service, &self.endpoint.name, 1.0);
                in_hand.spawn(async move { this.serve(request, arrived, place).await })
            }
            Err(_) => {
                let busy = ServiceError::new(
                    503,
                    "the service has more requests than it can take; try again later",
                );
                in_hand.spawn(async move { this.answer(&request, Err(busy), arrived).await })
            }
        };
    }

    async fn serve(&self, request: Message, arrived: Instant, place: OwnedSemaphorePermit) {
        let all = request.headers.clone().unwrap_or_default();
        let meta = CallMeta {
            subject: request.subject.to_string(),
            trace: headers::trace(&all),
            deadline: headers::get(&all, headers::DEADLINE).and_then(Micros::from_rfc3339),
            headers: all,
        };
        let answer = self.handle(&request, meta).await;
        self.answer(&request, answer, arrived).await;
        telemetry::service_in_flight(&self.service, &self.endpoint.name, -1.0);
        drop(place);
    }

    async fn handle(&self, request: &Message, meta: CallMeta) -> Result<Reply, ServiceError> {
        let limit = time_left(meta.deadline, clock::now(), self.endpoint.options.timeout);
        let Some(limit) = limit else {
            return Err(ServiceError::new(
                504,
                "the caller's deadline had passed when the request came",
            ));
        };
        let trace = meta.trace;
        let work = async {
            // The semaphore is never closed.
            let _permit = self.handlers.acquire().await;
            (self.endpoint.handler)(request.payload.clone(), meta).await
        };
        let work = std::panic::AssertUnwindSafe(work).catch_unwind();
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => {
                tracing::error!(
                    service.name = %self.service, service.endpoint = %self.endpoint.name,
                    trace_id = trace.map(|trace| trace.trace_id()),
                    "the handler panicked: {}", panic_text(&*panic)
                );
                Err(ServiceError::new(500, "the service failed; its log says more"))
            }
            Err(_) => Err(ServiceError::new(504, "the service did not finish in time")),
        }
    }

    async fn answer(
        &self,
        request: &Message,
        answer: Result<Reply, ServiceError>,
        arrived: Instant,
    ) {
        let max = self.bus.client().server_info().max_payload;
        let answer = answer.and_then(|reply| {
            if max > 0 && reply.payload.len() > max {
                return Err(ServiceError::new(500, "the answer is larger than the server carries"));
            }
            Ok(reply)
        });
        let error = answer.as_ref().err().cloned();
        if let Some(to) = &request.reply {
            let reply = answer.unwrap_or_else(refusal);
            let sent =
                self.bus.client().publish_with_headers(to.clone(), reply.headers, reply.payload);
            if let Err(error) = sent.await {
                tracing::warn!(
                    service.name = %self.service, service.endpoint = %self.endpoint.name,
                    "an answer could not be sent: {error}"
                );
            }
        }
        let took = arrived.elapsed();
        let code = error.as_ref().map_or(200, |error| error.code);
        telemetry::service_request(&self.service, &self.endpoint.name, code, took);
        self.counters.count(took, error);
    }
}

fn connects(bus: &Bus) -> u64 {
    bus.client().statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
}

/// How long the handler may take: up to its own limit and the caller's deadline. `None` if that has passed.
fn time_left(deadline: Option<Micros>, now: Micros, limit: Duration) -> Option<Duration> {
    let Some(deadline) = deadline else {
        return Some(limit);
    };
    let grace = i64::try_from(CLOCK_GRACE.as_micros()).unwrap_or_default();
    let left =
        u64::try_from(deadline.since(now).saturating_add(grace)).ok().filter(|left| *left > 0)?;
    Some(limit.min(Duration::from_micros(left)))
}

/// An error as an answer.
fn refusal(error: ServiceError) -> Reply {
    let mut text: String =
        error.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = text.floor_char_boundary(ERROR_BYTES_MAX);
    text.truncate(end);
    let mut headers = HeaderMap::new();
    headers::set(&mut headers, ERROR_CODE, &error.code.to_string());
    headers::set(&mut headers, ERROR_TEXT, &text);
    Reply { headers, payload: Bytes::new() }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_s_deadline_limits_the_handler() {
        let now = Micros(1_790_000_000_000_000);
        let at = |seconds: i64| Some(now.plus_seconds(seconds));
        let limit = Duration::from_secs(30);
        assert_eq!(time_left(None, now, limit), Some(limit));
        assert_eq!(time_left(at(60), now, limit), Some(limit));
        assert_eq!(time_left(at(2), now, limit), Some(Duration::from_secs(3)));
        assert_eq!(time_left(at(-5), now, limit), None);
        assert_eq!(time_left(Some(Micros(i64::MIN)), now, limit), None);
        assert_eq!(time_left(Some(Micros(i64::MAX)), now, limit), Some(limit));
    }

    #[test]
    fn an_error_s_text_cannot_forge_a_header() {
        let reply = refusal(ServiceError::new(400, format!("a\r\nX-Evil: 1{}", "ü".repeat(2_000))));
        let text = headers::get(&reply.headers, ERROR_TEXT).unwrap();
        assert!(text.starts_with("a  X-Evil: 1ü") && text.len() <= ERROR_BYTES_MAX);
        assert_eq!(headers::get(&reply.headers, ERROR_CODE), Some("400"));
    }
}
