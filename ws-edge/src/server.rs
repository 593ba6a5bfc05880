//! The HTTP side: upgrades to WebSocket, limits before a connection exists, and the orderly end.
//! Reads: HTTP requests. Writes: HTTP answers. Never: upgrades a page of an origin that is not listed.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::response::Json;
use axum::routing::get;
use campana_bus::ids::NodeId;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::GroupPublisher;
use campana_bus::topology::CHANNELS;
use campana_bus::{Bus, clock};
use campana_identity::KeySet;
use http::HeaderMap;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::api;
use crate::auth;
use crate::auth::origin;
use crate::codes::disconnect;
use crate::control::Plane;
use crate::drain::{self, Drain};
use crate::hub::Hub;
use crate::limits::{Admission, Limits, Refused};
use crate::mailbox::Mailbox;
use crate::metrics;
use crate::options::EdgeOptions;
use crate::presence::Presence;
use crate::proto::Protocol;
use crate::receipts::Receipts;
use crate::registry::Registry;
use crate::rules::Rules;
use crate::session::Now;
use crate::trace::{self, Tracer};
use crate::transport::{emulation, listen, routes};

/// What all connections of a node share.
pub(crate) struct Node {
    pub(crate) rules: Arc<Rules>,
    pub(crate) hub: Hub,
    pub(crate) bus: Bus,
    pub(crate) publisher: GroupPublisher,
    pub(crate) presence: Presence,
    pub(crate) receipts: Receipts,
    /// As other nodes know it.
    pub(crate) id: String,
    pub(crate) registry: Arc<Registry>,
    /// Fetches keys that tokens name.
    pub(crate) keys: campana_jwks::Fetcher,
    pub(crate) control: Plane,
    pub(crate) api_keys: api::Keys,
    pub(crate) api_slots: Semaphore,
    /// Sessions that are reached by requests.
    pub(crate) sessions: Arc<emulation::Sessions>,
    pub(crate) limits: Limits,
    pub(crate) drain: Drain,
    pub(crate) tracer: Arc<Tracer>,
    pub(crate) tasks: TaskTracker,
    next_number: AtomicU64,
    started: Instant,
    /// Set when nobody serves any more; see [`Node::until_cut`].
    cut: AtomicBool,
    pub(crate) lifecycle: Lifecycle,
}

/// Ends what is left of the connections with the role itself, however that ends.
struct CutAtEnd(Arc<Node>);

impl Drop for CutAtEnd {
    fn drop(&mut self) {
        self.0.cut();
    }
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

    /// A number that no other connection of this node has.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn register(&self, number: u64, mailbox: &Arc<Mailbox>) {
        self.registry.register(number, mailbox);
        if self.drain.is_closed() {
            mailbox.end(disconnect::SHUTDOWN);
        }
    }

    pub(crate) fn unregister(&self, number: u64) {
        self.registry.unregister(number);
    }

    /// Drops all connections where they are.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.registry.mailboxes().iter().for_each(|mailbox| mailbox.wake());
    }

    /// A connection's work with what it holds, until it ends or the role does. A flag that all read costs nothing at
    /// each wake of ten thousand connections; a cancellation token is a lock that all of them take. The work is on
    /// the heap once: handed on by value it would lie in every future that it passes.
    pub(crate) fn until_cut(
        self: Arc<Self>,
        held: impl Send + 'static,
        serving: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send {
        let mut serving = Box::pin(serving);
        std::future::poll_fn(move |context| {
            let _held = &held;
            match self.cut.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => serving.as_mut().poll(context),
            }
        })
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
    keys: KeySet,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    options.check().map_err(anyhow::Error::msg).context("options of the edge")?;
    metrics::initialise(&options);
    let me = NodeId::fresh();
    let id = me.to_string();
    let hub = Hub::start(bus.clone(), &lifecycle, &options);
    let rules = Arc::new(Rules::new(options.clone(), keys));
    let keys = campana_jwks::start(&rules.keys, &lifecycle)?;
    let registry = Arc::new(Registry::default());
    let port = listener.local_addr().map_or(0, |address| address.port());
    let control = Plane::start(me, port, &bus, &lifecycle, &options.control, &registry)
        .await
        .context("the edge's way to other edges")?;
    let node = Arc::new(Node {
        control,
        api_slots: Semaphore::new(options.api.requests_max.min(Semaphore::MAX_PERMITS)),
        api_keys: api::Keys::load(&options.api).map_err(anyhow::Error::msg).context("edge.api")?,
        presence: Presence::start(&bus, &lifecycle, &rules),
        receipts: Receipts::start(&bus, &hub, &lifecycle, &options.receipts),
        hub,
        publisher: GroupPublisher::start(&bus, CHANNELS, &lifecycle),
        bus,
        tracer: Arc::new(Tracer::new(id.clone())),
        id,
        keys,
        registry,
        sessions: Arc::default(),
        limits: Limits::new(&options, 0).map_err(anyhow::Error::msg)?,
        drain: Drain::default(),
        tasks: TaskTracker::new(),
        next_number: AtomicU64::new(1),
        cut: AtomicBool::new(false),
        started: clock::monotonic(),
        lifecycle: lifecycle.clone(),
        rules,
    });
    let _cut = CutAtEnd(Arc::clone(&node));
    auth::start(&node, &lifecycle).await?;
    relieve(&node);
    metrics::node(&node.id);
    trace::serve(&node.tracer, &node.bus, &lifecycle, node.drain.closed());
    let router = Router::new()
        .route("/", get(info))
        .merge(routes::routes(&node.rules.options))
        .merge(api::routes())
        .with_state(Arc::clone(&node));
    let commands = emulation::listen(&node.bus, &node.id).await.context("commands of clients")?;
    let sessions = Arc::clone(&node.sessions);
    let serving = emulation::serve(node.bus.clone(), sessions, commands);
    let serving = lifecycle.spawn("edge commands", serving);
    let stop = node.drain.closed();
    tokio::select! {
        () = listen::serve(listener, router, &node.rules.options, &lifecycle, &stop) => {}
        () = drain::closing(&node) => {}
    }
    drain::run(&node).await;
    serving.abort();
    node.receipts.stop().await;
    node.presence.stop().await;
    node.control.stop().await;
    node.hub.stop();
    Ok(())
}

/// Cuts the slowest clients whenever more waits for all of them than may.
fn relieve(node: &Arc<Node>) {
    let watched = Arc::clone(node);
    node.lifecycle.spawn("edge backlog", async move {
        loop {
            tokio::select! {
                () = watched.limits.backlog.full() => {}
                () = watched.drain.closed().cancelled_owned() => return,
            }
            let cut = watched.limits.backlog.relieve(&watched.registry.mailboxes());
            if cut > 0 {
                tracing::warn!(
                    connections = cut,
                    "too much waits for clients: the slowest were cut"
                );
            }
        }
    });
}

async fn info() -> Json<serde_json::Value> {
    Json(json!({
        "name": "campana edge",
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": "centrifuge v2",
        "encodings": [Protocol::Json.label(), Protocol::Protobuf.label()],
        "websocket": routes::WEBSOCKET_PATH,
        "sse": routes::SSE_PATH,
        "http_stream": routes::HTTP_STREAM_PATH,
        "emulation": routes::EMULATION_PATH,
        "uni_websocket": routes::UNI_WEBSOCKET_PATH,
        "uni_sse": routes::UNI_SSE_PATH,
        "uni_http_stream": routes::UNI_HTTP_STREAM_PATH,
    }))
}

/// Counts a connection, before it is one, from here on; `ip` is the client's behind trusted proxies.
pub(crate) fn admit(node: &Node, headers: &HeaderMap, ip: IpAddr) -> Result<Admission, Refused> {
    if node.drain.is_closed() {
        return Err(Refused::DRAIN);
    }
    if !origin::allowed(&node.rules.options.allowed_origins, headers) {
        return Err(Refused::ORIGIN);
    }
    node.limits.admit(ip, node.now().ms)
}
