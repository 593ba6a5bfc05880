//! Tokens of issuers, cookies, services that decide, revocation: over real sockets, a real nats-server, and a
//! real HTTP server that publishes keys.

mod caps;
mod cookies;
mod issuer;
mod keys;
mod proxies;
mod revocation;

use campana_bus::clock;
use campana_ws_edge::EdgeOptions;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Client, Edge};

fn now() -> i64 {
    clock::now().0 / 1_000_000
}

/// A token with these claims beside the usual ones, signed with the secret of all tests.
fn token(user: &str, more: &Value) -> String {
    let key = EncodingKey::from_secret(&[7; 32]);
    jsonwebtoken::encode(&Header::default(), &claims(user, more), &key).unwrap()
}

fn claims(user: &str, more: &Value) -> Value {
    let mut claims = json!({"sub": user, "iat": now() - 5, "exp": now() + 600});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// What the connect command with this token gets: its answer, or the code of the end.
async fn connect(edge: &Edge, token: &str) -> (Client, Result<Value, u16>) {
    let mut client = Client::open(edge).await;
    client.send(&json!({"id": 1, "connect": {"token": token}})).await;
    let answer = client.next().await;
    (client, answer)
}

async fn let_in(edge: &Edge, token: &str) -> Client {
    let (client, answer) = connect(edge, token).await;
    assert!(answer.as_ref().is_ok_and(|reply| reply["connect"].is_object()), "{answer:?}");
    client
}

fn options() -> EdgeOptions {
    crate::support::options()
}
