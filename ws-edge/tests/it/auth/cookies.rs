//! Tokens that JavaScript does not hold: cookies and the `Authorization` header.

use campana_ws_edge::EdgeOptions;
use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, Request};

use super::*;
use crate::support::World;

fn request(edge: &Edge, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = edge.url().into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    request
}

/// How a connect command without a token ends that comes over a request with these headers.
async fn by(edge: &Edge, headers: &[(&str, &str)], command: &str) -> Result<Value, u16> {
    let mut client = Client::over(request(edge, headers)).await;
    client.send(&json!({"id": 1, "connect": {"token": command}})).await;
    client.next().await
}

fn user(answer: &Result<Value, u16>) -> Option<String> {
    let subs = answer.as_ref().ok()?["connect"]["subs"].as_object()?;
    subs.keys().find_map(|name| name.strip_prefix("inbox:#").map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_lets_in_pages_of_listed_origins_and_no_others() {
    let world = World::start().await;
    let edge = world
        .edge(EdgeOptions {
            token_cookie: "bell".to_owned(),
            token_header: true,
            allowed_origins: vec!["https://*.example.com".to_owned()],
            ..options()
        })
        .await;
    let (alice, bob) = (token("alice", &json!({})), token("bob", &json!({})));
    let cookie = format!("theme=dark; bell={alice}");
    let bearer = format!("Bearer {bob}");
    let origin = ("origin", "https://app.example.com");
    let cookie = ("cookie", cookie.as_str());
    assert_eq!(user(&by(&edge, &[origin, cookie], "").await).as_deref(), Some("alice"));
    assert_eq!(user(&by(&edge, &[origin, cookie], &bob).await).as_deref(), Some("bob"));
    assert_eq!(by(&edge, &[cookie], "").await, Err(3501), "a cookie without an origin");
    assert_eq!(user(&by(&edge, &[("authorization", &bearer)], "").await).as_deref(), Some("bob"));
    let stale = token("alice", &json!({"exp": now() - 100}));
    let stale = format!("bell={stale}");
    let expired = by(&edge, &[origin, ("cookie", &stale)], "").await.unwrap();
    assert_eq!(expired["error"]["code"], 109);
    for stranger in ["https://example.com.evil.test", "https://evilexample.com", "null"] {
        let refused =
            tokio_tungstenite::connect_async(request(&edge, &[("origin", stranger), cookie])).await;
        assert!(refused.is_err(), "{stranger}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_command_counts_unless_an_option_says_so() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let alice = token("alice", &json!({}));
    let (cookie, bearer) = (format!("bell={alice}"), format!("Bearer {alice}"));
    let headers = [("cookie", cookie.as_str()), ("authorization", bearer.as_str())];
    assert_eq!(by(&edge, &headers, "").await, Err(3501));
    edge.stop().await;
    let edge = world.edge(EdgeOptions { anonymous_connect: true, ..options() }).await;
    let anonymous = by(&edge, &headers, "").await.unwrap();
    assert!(anonymous["connect"]["client"].is_string() && anonymous["connect"]["subs"].is_null());
    edge.stop().await;
}
