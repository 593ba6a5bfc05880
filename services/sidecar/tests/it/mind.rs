//! An app in this process that can leave and come back, remembers what it got, and answers when the test
//! says so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use campana_bus::lifecycle::Lifecycle;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::harness::{PATIENCE, wait_for};

/// A delivery that reached the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub path: &'static str,
    pub id: String,
    pub key: String,
    pub attempt: u32,
}

/// What an app knows, over its restarts.
#[derive(Clone)]
pub struct Mind {
    wanted: Arc<Mutex<Value>>,
    pub asked: Arc<AtomicUsize>,
    got: Arc<Mutex<Vec<Got>>>,
    /// One for each delivery that may be answered.
    go: Arc<Semaphore>,
    /// Whether the health path says that all is well.
    pub well: Arc<Mutex<bool>>,
}

impl Mind {
    pub fn new(wanted: Value) -> Self {
        Self {
            wanted: Arc::new(Mutex::new(wanted)),
            asked: Arc::default(),
            got: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
            well: Arc::new(Mutex::new(true)),
        }
    }

    pub fn want(&self, wanted: Value) {
        *self.wanted.lock().unwrap() = wanted;
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// From now on every delivery is answered at once.
    pub fn answer_all(&self) {
        self.go.add_permits(100_000);
    }

    /// Ids in the order of their first arrival.
    pub fn ids(&self) -> Vec<String> {
        let mut ids = Vec::new();
        for one in self.got() {
            if !ids.contains(&one.id) {
                ids.push(one.id);
            }
        }
        ids
    }

    /// For each key: its events came first in the order in which they were published.
    pub fn assert_in_order(&self) {
        let got = self.got();
        let mut latest = std::collections::HashMap::new();
        for one in &got {
            let number: u32 = one.id.rsplit('-').next().unwrap().parse().unwrap();
            let known = latest.entry(one.key.clone()).or_insert(0);
            assert!(number <= *known + 1, "{} came early: {got:?}", one.id);
            *known = number.max(*known);
        }
    }

    async fn takes(&self, path: &'static str, headers: &HeaderMap) -> StatusCode {
        let text = |name: &str| {
            headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let attempt = text("campana-attempt").parse().unwrap();
        let got = Got { path, id: text("ce-id"), key: text("campana-key"), attempt };
        self.got.lock().unwrap().push(got);
        self.go.acquire().await.unwrap().forget();
        StatusCode::NO_CONTENT
    }
}

/// An app that listens; it is away when this value is gone.
pub struct Here {
    pub port: u16,
    lifecycle: Lifecycle,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.lifecycle.hard.cancel();
    }
}

impl Here {
    /// Closes the port and every connection.
    pub async fn leave(self) {
        self.lifecycle.hard.cancel();
        self.lifecycle.stop(PATIENCE).await;
    }
}

pub async fn app(mind: &Mind, port: u16) -> Here {
    let router = Router::new()
        .route(
            "/campana/subscriptions",
            get(async |State(mind): State<Mind>| {
                mind.asked.fetch_add(1, Ordering::Relaxed);
                axum::Json(mind.wanted.lock().unwrap().clone())
            }),
        )
        .route(
            "/well",
            get(async |State(mind): State<Mind>| {
                let well = *mind.well.lock().unwrap();
                if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
            }),
        )
        .route(
            "/one",
            post(async |State(mind): State<Mind>, headers: HeaderMap| {
                mind.takes("/one", &headers).await
            }),
        )
        .route(
            "/two",
            post(async |State(mind): State<Mind>, headers: HeaderMap| {
                mind.takes("/two", &headers).await
            }),
        )
        .route("/quote", post(async || axum::Json(json!({"cents": 7}))))
        .with_state(mind.clone());
    // The port of an app that just left is free at once: it was closed from this side.
    let listener = wait_for("the app's port is free", || async {
        TcpListener::bind(("127.0.0.1", port)).await.ok()
    })
    .await;
    let port = listener.local_addr().unwrap().port();
    let lifecycle = Lifecycle::new();
    let serving = lifecycle.clone();
    lifecycle.spawn("app", async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            serving.spawn("app connection", async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    Here { port, lifecycle }
}

pub fn wanted(more: &Value) -> Value {
    let mut one = json!({
        "name": "work", "path": "/one", "events": [{"service": "shop", "event": "order_created"}],
        "backoff_seconds": 0.05
    });
    one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"subscriptions": [one]})
}
