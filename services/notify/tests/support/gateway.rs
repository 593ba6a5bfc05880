//! A whole gateway for a test: real HTTP, real nats-server, SQLite.
//! Writes: temporary folders. Never: outlives its owner.

use std::time::Duration;

use bytes::Bytes;
use campana_bus::clock;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{EnvelopePublisher, GroupPublisher, decode_parts};
use campana_bus::testing::NatsServer;
use campana_bus::{Bus, topology};
use campana_identity::{ApiKey, ConnectionSpec, Role, TokenKeys, TokenOptions};
use campana_notify::contracts::{NotificationRequest, Outcome};
use campana_notify::gateway::{self, DemoOptions, GatewayDeps, GatewayOptions};
use campana_notify::store::{KeyRow, Recipient, Store};
use reqwest::{Method, RequestBuilder, Response};
use secrecy::SecretString;
use serde_json::Value;

pub const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
pub const TWILIO_TOKEN: &str = "twilio-token";
pub const PUBLIC_URL: &str = "https://notify.example.com";

/// What a running gateway is made of.
pub struct Platform {
    pub nats: NatsServer,
    pub bus: Bus,
    pub store: Store,
    pub options: GatewayOptions,
    pub keys: [ApiKey; 3],
    pub token_keys: TokenKeys,
    _folder: tempfile::TempDir,
}

/// A gateway that serves.
pub struct Gateway {
    pub url: String,
    pub client: reqwest::Client,
    pub lifecycle: Lifecycle,
    sender: String,
    admin: String,
}

impl Platform {
    pub async fn start(options: GatewayOptions) -> Self {
        let nats = NatsServer::start().unwrap();
        let bus = nats.bus_with_topology("gateway-test").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite://{}/notify.db", folder.path().display()))
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let keys = Role::ALL.map(|_| ApiKey::generate());
        for (key, role) in keys.iter().zip(Role::ALL) {
            let row = KeyRow {
                id: format!("key_{}", key.id()),
                tenant: "default".to_owned(),
                name: role.to_string(),
                role: role.to_string(),
                hash: key.hash().to_string(),
                created_at: clock::now(),
                expires_at: None,
                revoked_at: None,
            };
            store.insert_key(&row).await.unwrap();
        }
        let alice = Recipient {
            tenant: "default".to_owned(),
            id: "alice".to_owned(),
            ..Recipient::default()
        };
        store.put_recipient(&alice).await.unwrap();
        let token_keys = TokenKeys::new(SECRET, None).unwrap();
        Self { nats, bus, store, options, keys, token_keys, _folder: folder }
    }

    /// Another gateway on the same bus and store.
    pub async fn gateway(&self) -> Gateway {
        self.gateway_that_believes(TokenOptions::default()).await
    }

    /// One that also takes connection tokens of others.
    pub async fn gateway_that_believes(&self, tokens: TokenOptions) -> Gateway {
        let lifecycle = Lifecycle::new();
        let bus = self.nats.bus("gateway").await.unwrap();
        let deps = GatewayDeps {
            store: self.store.clone(),
            requests: EnvelopePublisher::start(&bus, "requests", &lifecycle),
            channels: GroupPublisher::start(&bus, "channels", &lifecycle),
            outcomes: GroupPublisher::start(&bus, "outcomes", &lifecycle),
            bus,
            token_keys: self.token_keys.clone(),
            verifying: self.token_keys.key_set().clone(),
            tokens,
            ws_url: "ws://127.0.0.1:8000/connection/websocket".to_owned(),
            demo: Some(DemoOptions {
                api_key: SecretString::from(self.keys[1].expose().to_owned()),
                sandbox_url: Some("http://127.0.0.1:8025".to_owned()),
                metrics_url: None,
            }),
            front: None,
            twilio_auth_token: Some(SecretString::from(TWILIO_TOKEN)),
            public_url: PUBLIC_URL.to_owned(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (options, role) = (self.options.clone(), lifecycle.clone());
        lifecycle.spawn_essential("gateway", async move {
            gateway::run(listener, options, deps, role).await.map_err(|error| error.to_string())
        });
        let client = reqwest::Client::builder().timeout(Duration::from_secs(40)).build().unwrap();
        let [_, sender, admin] = &self.keys;
        Gateway {
            url,
            client,
            lifecycle,
            sender: sender.expose().to_owned(),
            admin: admin.expose().to_owned(),
        }
    }

    pub fn token(&self, user: &str) -> String {
        let now = clock::now().0 / 1_000_000;
        self.token_keys
            .mint_connection(user, "default", 60, now, &ConnectionSpec::default())
            .unwrap()
    }

    async fn payloads(&self, stream: &str) -> Vec<Bytes> {
        let mut stream = self.bus.jetstream().get_stream(stream).await.unwrap();
        let state = stream.info().await.unwrap().state.clone();
        let mut found = Vec::new();
        if state.messages > 0 {
            for sequence in state.first_sequence..=state.last_sequence {
                found.push(stream.get_raw_message(sequence).await.unwrap().payload);
            }
        }
        found
    }

    /// Every request that the gateway stored.
    pub async fn stored(&self) -> Vec<NotificationRequest> {
        let envelopes = self.payloads(topology::REQUESTS).await;
        let parts = envelopes.iter().flat_map(|payload| decode_parts(payload).unwrap());
        parts.map(|part| serde_json::from_slice(&part.body).unwrap()).collect()
    }

    pub async fn outcomes(&self) -> Vec<Outcome> {
        let payloads = self.payloads(topology::OUTCOMES).await;
        payloads.iter().map(|payload| serde_json::from_slice(payload).unwrap()).collect()
    }

    pub async fn channel_messages(&self) -> Vec<Value> {
        let payloads = self.payloads(topology::CHANNELS).await;
        payloads.iter().map(|payload| serde_json::from_slice(payload).unwrap()).collect()
    }

    /// Nothing may be left behind by a refused request.
    pub async fn assert_nothing_stored(&self) {
        for stream in [topology::REQUESTS, topology::OUTCOMES, topology::CHANNELS, topology::DLQ] {
            assert!(self.payloads(stream).await.is_empty(), "something was left in {stream}");
        }
        assert!(
            self.store
                .list_notifications("default", &Default::default(), 10)
                .await
                .unwrap()
                .is_empty()
        );
    }
}

impl Gateway {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A POST of a notification with the sender's key.
    pub fn post(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.request(Method::POST, "/v1/notifications")
            .bearer_auth(&self.sender)
            .header("content-type", "application/json")
            .body(body)
    }

    /// A JSON request with the admin's key.
    pub async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let request = self.request(method, path).bearer_auth(&self.admin);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// Stops and waits for what is under way.
    pub async fn stop(self) {
        assert!(
            self.lifecycle.stop(Duration::from_secs(10)).await,
            "the gateway did not stop cleanly"
        );
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.lifecycle.hard.cancel();
    }
}

/// A problem document: status, code, and pointer and code of each field.
pub async fn problem(response: Response) -> (u16, String, Vec<(String, String)>) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{status}");
    let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["request_id"], request_id.as_str());
    assert_eq!(body["status"], status);
    let code = body["code"].as_str().unwrap().to_owned();
    assert_eq!(body["type"], format!("https://campana.dev/errors/{code}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    (
        status,
        code,
        errors.iter().map(|error| (text(&error["pointer"]), text(&error["code"]))).collect(),
    )
}

/// The recorder role on this platform, until the lifecycle stops.
pub fn record(platform: &Platform, lifecycle: &Lifecycle) {
    let (store, bus, role) = (platform.store.clone(), platform.bus.clone(), lifecycle.clone());
    lifecycle.spawn_essential("recorder", async move {
        campana_notify::recorder::run(Default::default(), store, bus, role)
            .await
            .map_err(|error| error.to_string())
    });
}
