//! The node's side of tracing: who is watched, and the way of the lines to who asked.
//! Reads: orders over NATS. Writes: lines over NATS. Never: holds up a connection: a line that does not fit is
//! dropped and counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, clock, subjects};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ask::{Order, TraceRequest};
use super::show::{self, Shown};
use crate::codes::Disconnect;
use crate::encode::Encoded;
use crate::metrics;
use crate::proto::Protocol;

/// Traces of a node at the same time.
const TRACES_MAX: usize = 16;
/// Lines of a trace that may wait to be sent.
const LINES_MAX: usize = 1_024;

/// A connection, as traces see it.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) client: &'a str,
    /// Tenant and user, if they are known.
    pub(crate) identity: Option<(&'a str, &'a str)>,
    pub(crate) transport: &'static str,
    pub(crate) protocol: Protocol,
    /// Messages are pushes without a reply around them.
    pub(crate) bare: bool,
}

/// All traces of a node.
#[derive(Debug)]
pub(crate) struct Tracer {
    on: AtomicBool,
    watches: Mutex<Vec<Arc<Watch>>>,
    node: String,
}

#[derive(Debug)]
struct Watch {
    id: String,
    request: TraceRequest,
    left: AtomicU64,
    dropped: AtomicU64,
    lines: mpsc::Sender<String>,
    end: CancellationToken,
}

impl Watch {
    fn wants(&self, who: Who<'_>) -> bool {
        if self.request.client.is_empty() {
            who.identity == Some((self.request.tenant.as_str(), self.request.user.as_str()))
        } else {
            who.client == self.request.client
        }
    }

    /// One more line, if there may be one.
    fn say(&self, line: &Value) {
        let spend = |left: u64| left.checked_sub(1);
        let Ok(left) = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend) else {
            return;
        };
        let sent = self.lines.try_send(line.to_string()).is_ok();
        metrics::trace_line(sent);
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        // Behind the line, so that the end does not overtake it.
        if left == 1 {
            self.end.cancel();
        }
    }
}

impl Tracer {
    pub(crate) fn new(node: String) -> Self {
        Self { on: AtomicBool::new(false), watches: Mutex::default(), node }
    }

    /// Whether anybody is watched.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// A text frame came.
    pub(crate) fn text(&self, who: Who<'_>, frame: &str) {
        self.tell(who, "in", |payloads| show::text(frame, payloads));
    }

    /// A binary frame came.
    pub(crate) fn binary(&self, who: Who<'_>, frame: &Bytes) {
        self.tell(who, "in", |payloads| show::binary(frame, payloads));
    }

    /// Messages were written.
    pub(crate) fn written<'a>(
        &self,
        who: Who<'_>,
        messages: impl Iterator<Item = &'a Encoded> + Clone,
    ) {
        self.tell(who, "out", |payloads| {
            messages.clone().map(|one| show::encoded(one, who.bare, payloads)).collect()
        });
    }

    /// The connection ended.
    pub(crate) fn closed(&self, who: Who<'_>, why: Disconnect) {
        self.tell(who, "out", |_| {
            let mut line = Shown::new();
            line.insert("kind".to_owned(), "close".into());
            line.insert("code".to_owned(), why.code.into());
            line.insert("reason".to_owned(), why.label.into());
            vec![line]
        });
    }

    fn tell(&self, who: Who<'_>, direction: &str, show: impl Fn(bool) -> Vec<Shown>) {
        let watches: Vec<Arc<Watch>> =
            self.lock().iter().filter(|watch| watch.wants(who)).map(Arc::clone).collect();
        for watch in watches {
            for mut line in show(watch.request.payloads) {
                line.insert("time".to_owned(), clock::now().to_rfc3339().into());
                line.insert("node".to_owned(), self.node.as_str().into());
                line.insert("client".to_owned(), who.client.into());
                line.insert("transport".to_owned(), who.transport.into());
                line.insert("protocol".to_owned(), who.protocol.label().into());
                line.insert("direction".to_owned(), direction.into());
                watch.say(&Value::Object(line));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Watch>>> {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new watch and its lines; `None` if there are too many.
    fn add(
        &self,
        id: String,
        request: TraceRequest,
    ) -> Option<(Arc<Watch>, mpsc::Receiver<String>)> {
        let mut watches = self.lock();
        if watches.len() >= TRACES_MAX || watches.iter().any(|watch| watch.id == id) {
            return None;
        }
        let (lines, taken) = mpsc::channel(LINES_MAX);
        let watch = Arc::new(Watch {
            id,
            left: AtomicU64::new(request.frames),
            request,
            dropped: AtomicU64::new(0),
            lines,
            end: CancellationToken::new(),
        });
        watches.push(Arc::clone(&watch));
        self.on.store(true, Ordering::Relaxed);
        Some((watch, taken))
    }

    fn remove(&self, id: &str) {
        let mut watches = self.lock();
        watches.retain(|watch| watch.id != id);
        self.on.store(!watches.is_empty(), Ordering::Relaxed);
    }

    fn stop(&self, id: &str) {
        self.lock().iter().filter(|watch| watch.id == id).for_each(|watch| watch.end.cancel());
    }
}

/// Hears orders until `end`.
pub(crate) fn serve(
    tracer: &Arc<Tracer>,
    bus: &Bus,
    lifecycle: &Lifecycle,
    end: CancellationToken,
) {
    let (tracer, bus, spawner) = (Arc::clone(tracer), bus.clone(), lifecycle.clone());
    lifecycle.spawn("edge traces", async move {
        let mut orders = match bus.client().subscribe(subjects::EDGE_TRACE).await {
            Ok(orders) => orders,
            Err(error) => return tracing::warn!(%error, "this node cannot be asked for traces"),
        };
        loop {
            let message = tokio::select! {
                message = orders.next() => message,
                () = end.cancelled() => None,
            };
            let Some(message) = message else { return };
            match (serde_json::from_slice(&message.payload), message.reply) {
                (Ok(Order::Start { id, request }), Some(reply)) => {
                    start(&tracer, &bus, &spawner, end.clone(), (id, request), reply);
                }
                (Ok(Order::Stop { id }), _) => tracer.stop(&id),
                _ => tracing::warn!("somebody asks for a trace in a way that is not understood"),
            }
        }
    });
}

fn start(
    tracer: &Arc<Tracer>,
    bus: &Bus,
    lifecycle: &Lifecycle,
    end: CancellationToken,
    (id, request): (String, TraceRequest),
    reply: Subject,
) {
    let of = if request.user.is_empty() { "client" } else { "user" };
    let (by, payloads, seconds) = (request.by.clone(), request.payloads, request.seconds);
    if let Err(error) = request.check() {
        return tracing::warn!(%error, by, "a trace is refused");
    }
    let Some((watch, lines)) = tracer.add(id, request) else {
        return tracing::warn!(by, "a trace is refused: there are too many");
    };
    tracing::info!(by, of, payloads, seconds, "tracing starts");
    let (tracer, bus) = (Arc::clone(tracer), bus.clone());
    lifecycle.spawn("edge trace", async move {
        forward(&tracer, &bus, &watch, lines, end, reply).await;
        tracing::info!(by, of, "tracing ends");
    });
}

/// Brings lines to who asked, until the trace ends.
async fn forward(
    tracer: &Tracer,
    bus: &Bus,
    watch: &Watch,
    mut lines: mpsc::Receiver<String>,
    end: CancellationToken,
    reply: Subject,
) {
    let client = bus.client();
    let node = tracer.node.as_str();
    let send = async |line: String| {
        if let Err(error) = client.publish(reply.clone(), line.into()).await {
            tracing::debug!(%error, "a line of a trace is lost");
        }
    };
    send(json!({"kind": "started", "node": node}).to_string()).await;
    let timeout = tokio::time::sleep(Duration::from_secs(watch.request.seconds));
    tokio::pin!(timeout);
    let reason = loop {
        tokio::select! {
            Some(line) = lines.recv() => send(line).await,
            () = &mut timeout => break "time",
            () = watch.end.cancelled() => break "stopped",
            () = end.cancelled() => break "node stops",
        }
    };
    tracer.remove(&watch.id);
    // What was said before the end.
    while let Ok(line) = lines.try_recv() {
        send(line).await;
    }
    let frames = watch.request.frames - watch.left.load(Ordering::Relaxed);
    let dropped = watch.dropped.load(Ordering::Relaxed);
    let reason = if watch.left.load(Ordering::Relaxed) == 0 { "frames" } else { reason };
    let last = json!({
        "kind": "ended", "node": node, "frames": frames, "dropped": dropped, "reason": reason,
    });
    send(last.to_string()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(user: &str, client: &str, frames: u64) -> TraceRequest {
        TraceRequest {
            tenant: "t".to_owned(),
            user: user.to_owned(),
            client: client.to_owned(),
            seconds: 1,
            frames,
            payloads: false,
            by: "test".to_owned(),
        }
    }

    fn who<'a>(client: &'a str, user: &'a str) -> Who<'a> {
        Who {
            client,
            identity: Some(("t", user)),
            transport: "websocket",
            protocol: Protocol::Json,
            bare: false,
        }
    }

    #[test]
    fn only_who_is_watched_is_seen_and_only_so_many_times() {
        let tracer = Tracer::new("n1".to_owned());
        assert!(!tracer.is_on());
        let (of_user, mut user) = tracer.add("1".to_owned(), request("alice", "", 2)).unwrap();
        let (_, mut client) = tracer.add("2".to_owned(), request("", "cli_2", 9)).unwrap();
        assert!(tracer.is_on() && tracer.add("2".to_owned(), request("x", "", 1)).is_none());
        tracer.text(who("cli_1", "alice"), "{}");
        tracer.text(who("cli_2", "bob"), "{}");
        tracer.text(Who { identity: Some(("t2", "alice")), ..who("cli_3", "") }, "{}");
        let line: Value = serde_json::from_str(&user.try_recv().unwrap()).unwrap();
        assert_eq!(
            (&line["kind"], &line["client"], &line["node"]),
            (&json!("pong"), &json!("cli_1"), &json!("n1"))
        );
        assert!(user.try_recv().is_err());
        assert!(client.try_recv().unwrap().contains("cli_2") && client.try_recv().is_err());
        (0..5).for_each(|_| tracer.text(who("cli_1", "alice"), "{}"));
        assert!(user.try_recv().is_ok() && user.try_recv().is_err() && of_user.end.is_cancelled());
        tracer.remove("1");
        assert!(tracer.is_on());
        tracer.remove("2");
        assert!(!tracer.is_on());
    }

    #[test]
    fn there_are_not_too_many_and_a_full_queue_holds_nobody_up() {
        let tracer = Tracer::new("n1".to_owned());
        let many: Vec<_> = (0..TRACES_MAX)
            .map(|at| tracer.add(at.to_string(), request("alice", "", 1_000_000)).unwrap())
            .collect();
        assert!(tracer.add("one more".to_owned(), request("alice", "", 1)).is_none());
        (0..LINES_MAX + 5).for_each(|_| tracer.text(who("c", "alice"), "{}"));
        assert!(many.iter().all(|(watch, _)| watch.dropped.load(Ordering::Relaxed) == 5));
    }
}
