//! An identity provider: signs with Ed25519 keys and publishes them over HTTP.
//! Reads: requests on the loopback interface. Writes: JWKS documents. Never: has a key that anybody could trust:
//! they are those of RFC 8032 §7.1.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use campana_identity::{JwksOptions, RefreshOptions, TokenOptions};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Seeds in hexadecimal, and public keys in base64url.
const PAIRS: [(&str, &str); 2] = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
    ),
];

/// A token signed with one of the pairs under this name.
pub fn signed(pair: usize, id: &str, claims: &Value) -> String {
    let prefix = "302e020100300506032b657004220420";
    let hex = format!("{prefix}{}", PAIRS[pair].0);
    let der: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&der)).unwrap()
}

/// What the provider serves.
#[derive(Debug, Clone)]
pub enum Page {
    /// These pairs under these names.
    Keys(Vec<(usize, &'static str)>),
    /// Something else, with this status.
    Other(u16, String),
}

#[derive(Debug)]
struct Shelf {
    page: Mutex<Page>,
    fetches: AtomicUsize,
}

/// A running provider.
pub struct Issuer {
    shelf: Arc<Shelf>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Issuer {
    #[expect(clippy::disallowed_methods, reason = "the task ends with the issuer that is dropped")]
    pub async fn start(page: Page) -> Self {
        let shelf = Arc::new(Shelf { page: Mutex::new(page), fetches: AtomicUsize::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/keys", get(serve)).with_state(Arc::clone(&shelf));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            axum::serve(listener, router).with_graceful_shutdown(stopped).await.unwrap();
        });
        Self { shelf, address, stop }
    }

    pub fn publish(&self, page: Page) {
        *self.shelf.page.lock().unwrap() = page;
    }

    pub fn fetches(&self) -> usize {
        self.shelf.fetches.load(Ordering::SeqCst)
    }

    /// Options of an edge that believes it.
    pub fn trusted(&self) -> TokenOptions {
        let refresh =
            RefreshOptions { unknown_key_interval_seconds: 1, ..RefreshOptions::default() };
        let url = format!("http://{}/keys", self.address);
        TokenOptions {
            jwks: vec![JwksOptions { url, refresh, ..JwksOptions::default() }],
            ..TokenOptions::default()
        }
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(State(shelf): State<Arc<Shelf>>) -> Response {
    shelf.fetches.fetch_add(1, Ordering::SeqCst);
    match shelf.page.lock().unwrap().clone() {
        Page::Keys(pairs) => {
            let keys: Vec<Value> = pairs
                .iter()
                .map(|(pair, id)| json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": id, "x": PAIRS[*pair].1}))
                .collect();
            json!({"keys": keys}).to_string().into_response()
        }
        Page::Other(status, body) => {
            let location = [("location", "/elsewhere")];
            (StatusCode::from_u16(status).unwrap(), location, body).into_response()
        }
    }
}
