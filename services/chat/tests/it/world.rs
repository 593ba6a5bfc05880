//! A chat that runs in this process, with a nats-server of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::testing::NatsServer;
use campana_bus::{Bus, Durability};
use campana_chat::Options;
use campana_chat::store::timeline::channel;
use futures::StreamExt as _;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(30);
const SECRET: &str = "a secret of at least 32 bytes, for tests";

pub struct World {
    nats: NatsServer,
    bus: Bus,
    folder: tempfile::TempDir,
    database: String,
    lifecycle: Lifecycle,
    edge: Edge,
    pub url: String,
}

/// An edge that only writes down which tokens are taken back. It does not answer the first question about each.
#[derive(Clone, Default)]
struct Edge {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    revoked: Arc<Mutex<Vec<String>>>,
}

impl Edge {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let edge = Self { url, ..Self::default() };
        let router =
            Router::new().route("/api/revoke_token", post(revoke)).with_state(edge.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        edge
    }
}

async fn revoke(State(edge): State<Edge>, Json(asked): Json<Value>) -> (StatusCode, Json<Value>) {
    let token = asked["uid"].as_str().unwrap().to_owned();
    let mut before = edge.asked.lock().unwrap();
    if !before.contains(&token) {
        before.push(token);
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({})));
    }
    edge.revoked.lock().unwrap().push(token);
    (StatusCode::OK, Json(json!({"result": {}})))
}

fn options(nats: &NatsServer, edge: &Edge, folder: &std::path::Path, database: &str) -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        nats_url: nats.url(),
        replicas: 1,
        api_url: String::new(),
        api_key: String::new(),
        public_api_url: String::new(),
        edge_url: "ws://127.0.0.1:9/connection/websocket".to_owned(),
        edge_secret: SECRET.to_owned(),
        edge_api_url: edge.url.clone(),
        edge_api_key: "key".to_owned(),
        away_after_ms: 1_000,
        database_url: database.to_owned(),
        data_dir: folder.to_owned(),
        public_url: String::new(),
        demo: false,
        registration: true,
        messages_per_second: 0.5,
        messages_burst: 40,
    }
}

impl World {
    pub async fn start(database: &str) -> Self {
        let nats = NatsServer::start_with(Durability::Process).unwrap();
        let bus = nats.bus_with_topology("chat test").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self::launch(nats, bus, Edge::start().await, folder, database.to_owned()).await
    }

    async fn launch(
        nats: NatsServer,
        bus: Bus,
        edge: Edge,
        folder: tempfile::TempDir,
        database: String,
    ) -> Self {
        let lifecycle = Lifecycle::new();
        let options = options(&nats, &edge, folder.path(), &database);
        let running = campana_chat::start(options, &lifecycle).await.unwrap();
        let url = format!("http://{}", running.address);
        Self { nats, bus, folder, database, lifecycle, edge, url }
    }

    pub async fn restarted(self) -> Self {
        let Self { nats, bus, folder, database, lifecycle, edge, .. } = self;
        lifecycle.stop(STOPS_WITHIN).await;
        Self::launch(nats, bus, edge, folder, database).await
    }

    pub async fn stop(self) {
        assert!(self.lifecycle.stop(STOPS_WITHIN).await, "a clean stop");
        assert_eq!(self.lifecycle.failure(), None);
    }

    /// Where its tables are.
    pub fn database(&self) -> String {
        options(&self.nats, &self.edge, self.folder.path(), &self.database).database()
    }

    /// The tokens that the edge was asked to take back, and did.
    pub fn revoked(&self) -> Vec<String> {
        self.edge.revoked.lock().unwrap().clone()
    }

    /// What a token for the edge says; its signature is looked at.
    pub fn claims(&self, token: &Value) -> Value {
        let key = DecodingKey::from_secret(SECRET.as_bytes());
        let validation = Validation::new(Algorithm::HS256);
        jsonwebtoken::decode(token.as_str().unwrap(), &key, &validation).unwrap().claims
    }

    /// Whether the bucket has an attachment.
    pub async fn has_bytes(&self, file: &str) -> bool {
        let bucket = self.bus.jetstream().get_object_store("chat_files").await.unwrap();
        bucket.get(file).await.is_ok()
    }

    /// What was told in a room, as the edge reads it.
    pub async fn told(&self, room: &str) -> Vec<Value> {
        let subject = subjects::channel("default", &ChannelName::parse(&channel(room)).unwrap());
        let stream = self.bus.jetstream().get_stream("CHANNELS").await.unwrap();
        let config = async_nats::jetstream::consumer::pull::OrderedConfig {
            filter_subject: subject,
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.unwrap();
        let pending = consumer.cached_info().num_pending;
        let messages = consumer.messages().await.unwrap().take(usize::try_from(pending).unwrap());
        let bodies =
            messages.map(|message| serde_json::from_slice(&message.unwrap().payload).unwrap());
        bodies.collect().await
    }
}

/// Asks again and again; a minute is enough for any machine.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A picture.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut made = std::io::Cursor::new(Vec::new());
    let picture = image::DynamicImage::new_rgb8(width, height);
    picture.write_to(&mut made, image::ImageFormat::Png).unwrap();
    made.into_inner()
}
