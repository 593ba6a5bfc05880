//! Marks with the tokens of a foreign issuer: whatever lets a browser in at the edge is good at the gateway, too.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use campana_bus::clock;
use campana_bus::lifecycle::Lifecycle;
use campana_identity::{JwksOptions, RefreshOptions, TokenOptions};
use campana_notify::gateway::GatewayOptions;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Gateway, Platform};

/// The first key pair of RFC 8032 §7.1: PKCS #8 in hexadecimal, and the public half in base64url.
const PRIVATE: &str = "302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// The public half of the second pair.
const OTHER: &str = "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";

fn keys(id: &str, public: &str) -> Value {
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": id, "x": public}]})
}

/// A document that can be replaced, and its address.
async fn document(lifecycle: &Lifecycle) -> (Arc<Mutex<Value>>, String) {
    let shelf = Arc::new(Mutex::new(keys("older", OTHER)));
    let served = Arc::clone(&shelf);
    let page = move || async move { axum::Json(served.lock().unwrap().clone()) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let router = Router::new().route("/keys", get(page));
    lifecycle.spawn("issuer", async move {
        let _ = axum::serve(listener, router).await;
    });
    (shelf, url)
}

fn signed(claims: &Value) -> String {
    let der: Vec<u8> = hex::decode(PRIVATE).unwrap();
    let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&der)).unwrap()
}

async fn seen(gateway: &Gateway, token: &str) -> (StatusCode, Value) {
    let ids = json!({"ids": ["dlv_0193f2c1a4d57c2e8b1a5d3f6e9c0b7a"]});
    let request = gateway.request(Method::POST, "/v1/inbox/seen").bearer_auth(token);
    let answer = request.json(&ids).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_key_that_came_later_marks_and_any_other_does_not() {
    let platform = Platform::start(GatewayOptions::default()).await;
    let lifecycle = Lifecycle::new();
    let (shelf, url) = document(&lifecycle).await;
    let refresh = RefreshOptions { unknown_key_interval_seconds: 1, ..RefreshOptions::default() };
    let tokens = TokenOptions {
        jwks: vec![JwksOptions { url, refresh, ..JwksOptions::default() }],
        user_claim: "login".to_owned(),
        audience: "bell".to_owned(),
        ..TokenOptions::default()
    };
    let gateway = platform.gateway_that_believes(tokens).await;
    let exp = clock::now().0 / 1_000_000 + 60;
    let good = signed(&json!({"login": "alice", "aud": "bell", "exp": exp}));

    assert_eq!(seen(&gateway, &good).await.0, StatusCode::UNAUTHORIZED);
    *shelf.lock().unwrap() = keys("one", PUBLIC);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while seen(&gateway, &good).await.0 != StatusCode::OK {
        assert!(tokio::time::Instant::now() < deadline, "the new key was never fetched");
    }
    let messages = platform.channel_messages().await;
    assert_eq!(messages.last().unwrap()["type"], "seen");

    for wrong in [
        json!({"login": "alice", "aud": "other", "exp": exp}),
        json!({"sub": "alice", "aud": "bell", "exp": exp}),
        json!({"login": "alice", "aud": "bell", "exp": exp - 7_200}),
    ] {
        let (status, problem) = seen(&gateway, &signed(&wrong)).await;
        assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")));
    }
    lifecycle.hard.cancel();
}
