//! The HTTP side: upgrades to WebSocket, limits before a connection exists, and the orderly end.
//! Reads: HTTP requests. Writes: HTTP answers. Never: upgrades a page of an origin that is not listed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::GroupPublisher;
use campana_bus::topology::CHANNELS;
use campana_bus::{Bus, clock};
use campana_identity::TokenKeys;
use dashmap::DashMap;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::codes::disconnect;
use crate::hub::Hub;
use crate::mailbox::Mailbox;
use crate::options::EdgeOptions;
use crate::proto::Protocol;
use crate::rules::Rules;
use crate::session::Now;
use crate::{metrics, socket};

/// Where clients connect.
pub const WEBSOCKET_PATH: &str = "/connection/websocket";
/// Connections sent away at once when the node stops.
const DRAIN_SLICE_MIN: usize = 64;
const DRAIN_SLICE_PAUSE: Duration = Duration::from_millis(50);
const GAUGE_INTERVAL: Duration = Duration::from_secs(5);

/// What all connections of a node share.
pub(crate) struct Node {
    pub(crate) rules: Arc<Rules>,
    pub(crate) hub: Hub,
    pub(crate) bus: Bus,
    pub(crate) publisher: GroupPublisher,
    connections: DashMap<u64, Arc<Mailbox>>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    next_number: AtomicU64,
    draining: AtomicBool,
    started: Instant,
    lifecycle: Lifecycle,
}

impl Node {
    /// The time as sessions see it.
    pub(crate) fn now(&self) -> Now {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { ms, unix: clock::now().0.div_euclid(1_000_000) }
    }

    /// When a session's clock shows this.
    pub(crate) fn moment(&self, ms: u64) -> tokio::time::Instant {
        // A day stands for "never": the timer asks again and nothing is due.
        let day = self.now().ms.saturating_add(24 * 3_600 * 1_000);
        tokio::time::Instant::from_std(self.started + Duration::from_millis(ms.min(day)))
    }

    pub(crate) fn register(&self, number: u64, mailbox: &Arc<Mailbox>) {
        self.connections.insert(number, Arc::clone(mailbox));
        if self.draining.load(Ordering::Acquire) {
            mailbox.end(disconnect::SHUTDOWN);
        }
    }

    pub(crate) fn unregister(&self, number: u64) {
        self.connections.remove(&number);
    }
}

/// Serves until the soft stop and the end of all connections, or until the hard stop.
///
/// # Errors
/// If the options contradict each other or the listener fails.
pub async fn run(
    listener: TcpListener,
    options: EdgeOptions,
    bus: Bus,
    keys: TokenKeys,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    options.check().map_err(anyhow::Error::msg).context("options of the edge")?;
    metrics::initialise(&options);
    let node = Arc::new(Node {
        hub: Hub::start(bus.clone(), &lifecycle, &options),
        publisher: GroupPublisher::start(&bus, CHANNELS, &lifecycle),
        bus,
        connections: DashMap::new(),
        slots: Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS))),
        tasks: TaskTracker::new(),
        next_number: AtomicU64::new(1),
        draining: AtomicBool::new(false),
        started: clock::monotonic(),
        lifecycle: lifecycle.clone(),
        rules: Arc::new(Rules::new(options, keys)),
    });
    let router = Router::new()
        .route("/", get(info))
        .route(WEBSOCKET_PATH, get(upgrade))
        .with_state(Arc::clone(&node));
    let listener = listener.tap_io(|stream| {
        // Small frames must not wait for the acknowledgement of the last one.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps Nagle's algorithm");
        }
    });
    let serve = axum::serve(listener, router)
        .with_graceful_shutdown(lifecycle.soft.clone().cancelled_owned());
    let result = tokio::select! {
        result = serve.into_future() => result.context("the edge's listener"),
        () = stopping(&node) => Ok(()),
    };
    drain(&node).await;
    node.hub.stop();
    result
}

/// Keeps the gauges fresh until the soft stop, and leaves half-open HTTP requests a moment after it.
async fn stopping(node: &Node) {
    while !node.lifecycle.soft.is_cancelled() {
        metrics::channels(node.hub.channels());
        let _ = tokio::time::timeout(GAUGE_INTERVAL, node.lifecycle.soft.cancelled()).await;
    }
    tokio::time::sleep(DRAIN_SLICE_PAUSE).await;
}

/// Sends all clients to other nodes, some at a time, so that they do not all come back at once.
async fn drain(node: &Node) {
    node.draining.store(true, Ordering::Release);
    let all: Vec<Arc<Mailbox>> =
        node.connections.iter().map(|entry| Arc::clone(entry.value())).collect();
    let window = Duration::from_millis(node.rules.options.drain_window_ms);
    let slices =
        usize::try_from(window.as_millis() / DRAIN_SLICE_PAUSE.as_millis()).unwrap_or(1).max(1);
    let slice = all.len().div_ceil(slices).max(DRAIN_SLICE_MIN);
    tracing::info!(connections = all.len(), slice, "the edge sends its clients away");
    let paced = async {
        for part in all.chunks(slice) {
            part.iter().for_each(|mailbox| mailbox.end(disconnect::SHUTDOWN));
            tokio::time::sleep(DRAIN_SLICE_PAUSE).await;
        }
        node.tasks.close();
        node.tasks.wait().await;
    };
    tokio::select! {
        () = paced => {}
        () = node.lifecycle.hard.cancelled() => {}
    }
}

async fn info() -> Json<serde_json::Value> {
    Json(json!({
        "name": "campana edge",
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": "centrifuge v2",
        "encodings": [Protocol::Json.label(), Protocol::Protobuf.label()],
        "websocket": WEBSOCKET_PATH,
    }))
}

/// Lets a client in, or says why not.
async fn upgrade(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    let permit = match admit(&node, &headers) {
        Ok(permit) => permit,
        Err((reason, status, text)) => {
            metrics::refused(reason);
            return (status, text).into_response();
        }
    };
    let options = &node.rules.options;
    let protocol = wanted(&headers, query.as_deref());
    let subprotocol = match protocol {
        Protocol::Json => "centrifuge-json",
        Protocol::Protobuf => "centrifuge-protobuf",
    };
    let number = node.next_number.fetch_add(1, Ordering::Relaxed);
    // The token counts the connection among the tasks from now on, also while it is still being upgraded.
    let (task, hard) = (node.tasks.token(), node.lifecycle.hard.clone());
    upgrade
        // Named back only to who asked for it: some clients refuse a name that they did not offer.
        .protocols([subprotocol])
        .read_buffer_size(options.read_buffer_bytes)
        .write_buffer_size(options.write_buffer_bytes)
        .max_message_size(options.message_bytes_max)
        .max_frame_size(options.message_bytes_max)
        .on_upgrade({
            let node = Arc::clone(&node);
            move |socket| async move {
                let _held = (task, permit);
                tokio::select! {
                    () = socket::run(socket, node, protocol, number) => {}
                    () = hard.cancelled() => {}
                }
            }
        })
}

type Refusal = (&'static str, StatusCode, &'static str);

fn admit(node: &Node, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Refusal> {
    if node.draining.load(Ordering::Acquire) || node.lifecycle.soft.is_cancelled() {
        return Err(("drain", StatusCode::SERVICE_UNAVAILABLE, "this node stops"));
    }
    if !origin_allowed(&node.rules.options.allowed_origins, headers) {
        return Err(("origin", StatusCode::FORBIDDEN, "this origin may not connect"));
    }
    Arc::clone(&node.slots)
        .try_acquire_owned()
        .map_err(|_| ("limit", StatusCode::SERVICE_UNAVAILABLE, "this node is full"))
}

/// A browser always says its origin, and only a browser carries a stranger's page.
fn origin_allowed(allowed: &[String], headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    allowed.iter().any(|one| one == "*" || origin.as_bytes() == one.as_bytes())
}

/// Protobuf for who asks for it by subprotocol or query, JSON for all others.
fn wanted(headers: &HeaderMap, query: Option<&str>) -> Protocol {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut offered = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim);
    let by_query = query.is_some_and(|query| {
        query.split('&').any(|pair| matches!(pair, "format=protobuf" | "cf_protocol=protobuf"))
    });
    match by_query || offered.any(|protocol| protocol == "centrifuge-protobuf") {
        true => Protocol::Protobuf,
        false => Protocol::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                ((*name).parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
            })
            .collect()
    }

    #[test]
    fn only_listed_origins_may_connect() {
        let list = vec!["https://app.example".to_owned()];
        let from = |origin: &str| headers(&[("origin", origin)]);
        assert!(origin_allowed(&list, &from("https://app.example")));
        for other in [
            "https://app.example.evil.example",
            "http://app.example",
            "https://app.example:444",
            "null",
            "*",
        ] {
            assert!(!origin_allowed(&list, &from(other)), "{other}");
        }
        assert!(origin_allowed(&list, &headers(&[])));
        assert!(origin_allowed(&["*".to_owned()], &from("https://any.example")));
        assert!(!origin_allowed(&[], &from("https://any.example")));
    }

    #[test]
    fn protobuf_is_recognised_however_it_is_asked_for() {
        let offer = |list: &str| headers(&[("sec-websocket-protocol", list)]);
        for (offered, query, protocol) in [
            (offer("centrifuge-protobuf"), None, Protocol::Protobuf),
            (offer("other, centrifuge-protobuf"), Some("format=json"), Protocol::Protobuf),
            (headers(&[]), Some("a=1&cf_protocol=protobuf"), Protocol::Protobuf),
            (headers(&[]), Some("format=protobuf"), Protocol::Protobuf),
            (offer("centrifuge-json"), Some("format=json"), Protocol::Json),
            (offer("protobuf"), Some("format=protobuf2"), Protocol::Json),
            (headers(&[]), None, Protocol::Json),
        ] {
            assert_eq!(wanted(&offered, query), protocol, "{offered:?} {query:?}");
        }
    }
}
