//! What a page needs to follow the shop over the edge: an address and two tokens.
//! Reads: the edge's secret. Writes: nothing. Never: gives a token for anything but the one public channel.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use campana_bus::clock;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::App;
use super::problem::{Code, Problem};
use crate::floor::CHANNEL;

/// All visitors are one user to the edge: nothing here is anybody's own.
const VISITOR: &str = "shop-visitor";
/// How long a token is good; the page asks for the next one by itself.
const SECONDS: i64 = 3_600;

/// `GET /api/live`: where to listen, or `null` if this shop has no edge.
pub async fn live(State(app): State<App>) -> Result<Response, Problem> {
    let options = &app.options;
    let (Some(url), Some(secret)) = (&options.edge_url, &options.edge_secret) else {
        return Ok(Json(json!({"url": null, "demo": options.demo})).into_response());
    };
    let now = clock::now().0 / 1_000_000;
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    let sign = |claims: &Value| encode(&Header::new(Algorithm::HS256), claims, &key);
    let connection = json!({"sub": VISITOR, "iat": now, "exp": now + SECONDS});
    let channel = json!({"sub": VISITOR, "channel": CHANNEL, "iat": now, "exp": now + SECONDS});
    let (Ok(connection), Ok(channel)) = (sign(&connection), sign(&channel)) else {
        return Err(Problem::new(Code::Unavailable, "tokens cannot be signed"));
    };
    let body = json!({
        "url": url, "channel": CHANNEL, "token": connection, "channel_token": channel,
        "demo": options.demo,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
