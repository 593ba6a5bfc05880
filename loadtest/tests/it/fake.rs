//! A platform of one process and a page of code: it takes tokens and notifications over HTTP and
//! pushes over WebSocket in the Centrifuge protocol, and can lose, double, delay, refuse, swap
//! or stay silent on demand. It stores nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// What goes wrong, counted over accepted or posted notifications.
#[derive(Clone, Default)]
pub struct Faults {
    /// Every n-th accepted notification is never pushed.
    pub lose_every: Option<u64>,
    /// Every n-th accepted notification is pushed twice.
    pub double_every: Option<u64>,
    /// Every push waits this long.
    pub delay: Duration,
    /// Every answer to a notification waits this long.
    pub answer_delay: Duration,
    /// More than this in one second are answered 503.
    pub shed_above_per_s: Option<u64>,
    /// Every n-th request is answered with this status.
    pub refuse_every: Option<(u64, u16)>,
    /// Every n-th accepted notification goes to somebody else as well.
    pub misdeliver_every: Option<u64>,
    /// Every n-th accepted notification arrives with another text than was sent.
    pub corrupt_every: Option<u64>,
    /// Every n-th publication carries an offset that is older than the one before.
    pub reorder_every: Option<u64>,
}

type Outboxes = Mutex<HashMap<String, mpsc::UnboundedSender<String>>>;

struct Platform {
    faults: Faults,
    edge_ws: String,
    outboxes: Outboxes,
    posted: AtomicU64,
    accepted: AtomicU64,
    /// Nanoseconds since the start until which the allowed rate is used up.
    busy_until: Mutex<u128>,
    started: Instant,
    offset: AtomicU64,
    tasks: TaskTracker,
}

impl Platform {
    fn sheds(&self) -> bool {
        let Some(most) = self.faults.shed_above_per_s else { return false };
        let now = self.started.elapsed().as_nanos();
        let mut busy_until = self.busy_until.lock().unwrap();
        // A tenth of a second's worth may come at once.
        if *busy_until > now + 100_000_000 {
            return true;
        }
        *busy_until = (*busy_until).max(now) + u128::from(1_000_000_000 / most);
        false
    }
}

/// A running fake; it ends with the test's runtime.
pub struct Fake {
    pub data_dir: tempfile::TempDir,
    platform: Arc<Platform>,
}

impl Fake {
    /// Starts on a free port and writes its up.json.
    pub async fn start(faults: Faults) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let platform = Arc::new(Platform {
            faults,
            edge_ws: format!("ws://{address}/connection/websocket"),
            outboxes: Mutex::default(),
            posted: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            busy_until: Mutex::default(),
            started: Instant::now(),
            offset: AtomicU64::new(1_000),
            tasks: TaskTracker::new(),
        });
        let data_dir = tempfile::tempdir().unwrap();
        write_up_file(data_dir.path(), &format!("http://{address}"), &platform.edge_ws);
        let routes = Router::new()
            .route("/v1/tokens", post(token))
            .route("/v1/notifications", post(notify))
            .route("/connection/websocket", any(upgrade))
            .with_state(Arc::clone(&platform));
        platform.tasks.spawn(async move { axum::serve(listener, routes).await });
        Self { data_dir, platform }
    }

    /// Returns when that many notifications were posted.
    pub async fn until_posted(&self, count: u64) {
        while self.platform.posted.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    }
}

fn write_up_file(dir: &Path, gateway: &str, edge_ws: &str) {
    let up = json!({
        "schema_version": 1, "pid": std::process::id(), "nats_pid": null, "gateway": gateway,
        "edge_ws": edge_ws, "api_key": "ck_test", "durability": "power", "version": "0.0.0",
    });
    std::fs::write(dir.join("up.json"), up.to_string()).unwrap();
}

fn authorised(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value == "Bearer ck_test")
}

async fn token(
    State(platform): State<Arc<Platform>>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    if !authorised(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let user = request["user"].as_str().unwrap();
    let body = json!({
        "token": user, "expires_at": "2100-01-01T00:00:00Z",
        "ws_url": platform.edge_ws, "channel": format!("inbox:#{user}"),
    });
    Json(body).into_response()
}

/// Whether this is the n-th of every n.
fn hits(every: Option<u64>, count: u64) -> bool {
    every.is_some_and(|n| count.is_multiple_of(n))
}

async fn notify(
    State(platform): State<Arc<Platform>>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    assert!(authorised(&headers));
    let posted = platform.posted.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some((every, status)) = platform.faults.refuse_every
        && posted.is_multiple_of(every)
    {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    if platform.sheds() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    tokio::time::sleep(platform.faults.answer_delay).await;
    let count = platform.accepted.fetch_add(1, Ordering::SeqCst) + 1;
    let id = format!("ntf_{count}");
    for recipient in request["to"].as_array().unwrap() {
        let user = recipient["id"].as_str().unwrap().to_owned();
        let delivery = deliver(Arc::clone(&platform), user, request["content"].clone(), count);
        platform.tasks.spawn(delivery);
    }
    (StatusCode::ACCEPTED, Json(json!({"id": id, "status": "accepted", "recipients": 1})))
        .into_response()
}

async fn deliver(platform: Arc<Platform>, user: String, mut content: Value, count: u64) {
    let faults = &platform.faults;
    if !faults.delay.is_zero() {
        tokio::time::sleep(faults.delay).await;
    }
    if hits(faults.lose_every, count) {
        return;
    }
    let next = platform.offset.fetch_add(1, Ordering::SeqCst);
    let offset = if hits(faults.reorder_every, count) { 1 } else { next };
    if hits(faults.corrupt_every, count) {
        let body = content["body"].as_str().unwrap().replacen('+', "+spoilt ", 1);
        content["body"] = Value::String(body);
    }
    let frame = push(&user, &content, offset);
    let outboxes = platform.outboxes.lock().unwrap();
    let repeat = if hits(faults.double_every, count) { 2 } else { 1 };
    for _ in 0..repeat {
        let _ = outboxes[&user].send(frame.clone());
    }
    if hits(faults.misdeliver_every, count)
        && let Some(stranger) = outboxes.keys().find(|name| **name != user)
    {
        let _ = outboxes[stranger].send(frame);
    }
}

fn push(user: &str, content: &Value, offset: u64) -> String {
    json!({"push": {"channel": format!("inbox:#{user}"), "pub": {
        "data": {"type": "notification", "id": "dlv_x", "notification_id": "ntf_x",
                 "title": content["title"], "body": content["body"], "url": null,
                 "created_at": "2026-01-01T00:00:00Z"},
        "offset": offset,
    }}})
    .to_string()
}

async fn upgrade(State(platform): State<Arc<Platform>>, socket: WebSocketUpgrade) -> Response {
    socket.on_upgrade(move |socket| serve(platform, socket))
}

async fn serve(platform: Arc<Platform>, mut socket: WebSocket) {
    let Some(Ok(Message::Text(first))) = socket.recv().await else {
        return;
    };
    let command: Value = serde_json::from_str(&first).unwrap();
    let user = command["connect"]["token"].as_str().unwrap().to_owned();
    let (sender, mut outbox) = mpsc::unbounded_channel();
    platform.outboxes.lock().unwrap().insert(user.clone(), sender);
    let reply = json!({"id": command["id"], "connect": {
        "client": "c", "version": "0", "ping": 25, "pong": true,
        "subs": {format!("inbox:#{user}"): {"recoverable": true, "epoch": "e", "offset": 0}},
    }});
    // A ping behind the reply, in one message: the harness must answer and not count it.
    let hello = format!("{reply}\n{{}}");
    if socket.send(Message::Text(hello.into())).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            Some(frame) = outbox.recv() => {
                if socket.send(Message::Text(frame.into())).await.is_err() {
                    return;
                }
            }
            received = socket.recv() => if !matches!(received, Some(Ok(_))) { return },
        }
    }
}
