//! The gateway over real HTTP, with a real nats-server and SQLite.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall stop where it is; helpers here are part of tests"
)]

mod bad_input;
mod dead_letters;
mod idempotency;
mod issuers;
mod seen;
mod status;
#[path = "../support/gateway.rs"]
mod support;
mod surface;

use campana_notify::gateway::GatewayOptions;
use serde_json::Value;
use support::{Gateway, Platform};

pub const GOOD: &str = r#"{"to":"alice","content":{"title":"Hello"}}"#;

pub async fn start() -> (Platform, Gateway) {
    let platform = Platform::start(GatewayOptions::default()).await;
    let gateway = platform.gateway().await;
    (platform, gateway)
}

pub fn field(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

pub async fn batch_of(gateway: &Gateway, body: &Value) -> Value {
    let request = gateway.post(body.to_string()).build().unwrap();
    let mut request = request;
    request.url_mut().set_path("/v1/notifications/batch");
    let response = gateway.client.execute(request).await.unwrap();
    assert_eq!(response.status(), 202);
    response.json().await.unwrap()
}
