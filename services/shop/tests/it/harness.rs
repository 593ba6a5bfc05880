//! A bus, a database, a gateway that answers what a test wants, and the shop on them.
//! Everything that is started here ends with its value.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use campana_bus::clock::Micros;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::testing::TestBus;
use campana_bus_sqlx::testing::Postgres;
use campana_shop::store::{Customer, Placed, Store};
use campana_shop::{Options, Role};
use clap::Parser as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the tables are.
pub enum Database {
    Sqlite(tempfile::TempDir),
    Postgres(Box<Postgres>),
}

impl Database {
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub fn postgres() -> Self {
        Self::Postgres(Box::new(Postgres::start().unwrap()))
    }

    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite:{}", folder.path().join("shop.db").display()),
            Self::Postgres(server) => server.url(),
        }
    }
}

/// The notification API, played by the test: it keeps what it was asked.
#[derive(Clone, Default)]
pub struct Gateway {
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    /// Answers before the first good one.
    pub refusals: Arc<Mutex<Vec<u16>>>,
}

impl Gateway {
    /// Idempotency keys and bodies in the order in which they came.
    pub fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }

    async fn start(&self, lifecycle: &Lifecycle) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router =
            Router::new().route("/v1/notifications", post(answer)).with_state(self.clone());
        lifecycle.spawn("gateway", async move { axum::serve(listener, router).await.unwrap() });
        url
    }
}

async fn answer(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    assert_eq!(headers["authorization"], "Bearer ck_test");
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    gateway.asked.lock().unwrap().push((key.clone(), body));
    let refusal = gateway.refusals.lock().unwrap().pop();
    match refusal {
        Some(status) => (StatusCode::from_u16(status).unwrap(), Json(json!({}))),
        None => (StatusCode::ACCEPTED, Json(json!({"id": format!("ntf_{key}")}))),
    }
}

/// A shop that runs.
pub struct Shop {
    pub url: String,
    pub gateway: Gateway,
    http: reqwest::Client,
    lifecycle: Lifecycle,
    outside: Lifecycle,
}

impl Shop {
    /// Starts the named roles, all of them if none is named.
    pub async fn start(test: &TestBus, database: &Database, roles: &[Role]) -> Self {
        Self::start_with(test, database, roles, Gateway::default()).await
    }

    pub async fn start_with(
        test: &TestBus,
        database: &Database,
        roles: &[Role],
        gateway: Gateway,
    ) -> Self {
        let roles = if roles.is_empty() { Role::ALL.to_vec() } else { roles.to_vec() };
        Self::start_as(test, database, gateway, |options| options.roles = roles).await
    }

    /// Starts with options that a test changes.
    pub async fn start_as(
        test: &TestBus,
        database: &Database,
        gateway: Gateway,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let (lifecycle, outside) = (Lifecycle::new(), Lifecycle::new());
        let api = gateway.start(&outside).await;
        let words = ["shop", "--demo", "--api-key", "ck_test", "--api-url", &api, "--database-url"];
        let mut options =
            Options::try_parse_from(words.into_iter().chain([database.url().as_str()])).unwrap();
        change(&mut options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        campana_shop::start(listener, options, test.bus().clone(), &lifecycle).await.unwrap();
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        Self { url, gateway, http, lifecycle, outside }
    }

    /// Status and JSON body.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.request(path).json(body)).await
    }

    pub fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Places an order under a key of the page.
    pub async fn order(&self, number: usize) -> (u16, String) {
        let (status, body) = self.post("/api/orders", &order(number)).await;
        (status, body["order"].as_str().unwrap_or_default().to_owned())
    }

    /// What the page shows, once it is as wanted.
    pub async fn shows(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let looking = async {
            loop {
                last = self.get("/api/floor").await.1;
                if wanted(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, looking).await.is_ok();
        assert!(in_time, "not within {PATIENCE:?}: {what}; the page shows {last}");
        last
    }

    /// A clean stop.
    pub async fn stop(self) {
        assert!(self.lifecycle.stop(PATIENCE).await);
        assert_eq!(self.lifecycle.failure(), None);
        self.outside.hard.cancel();
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.lifecycle.hard.cancel();
        self.outside.hard.cancel();
    }
}

/// What the page sends for the order of this number.
pub fn order(number: usize) -> Value {
    json!({
        "key": format!("page-key-of-order-{number:04}"), "name": "Ana", "email": "ana@example.com",
        "locale": if number.is_multiple_of(2) { "en" } else { "es" },
        "lines": [{"sku": "bell-door", "quantity": 2}, {"sku": "gong-small", "quantity": 1}],
    })
}

/// The consumers of `OrderPlaced`.
pub const READERS: [&str; 4] = ["shop-packing", "shop-inventory", "shop-mail", "shop-analytics"];

/// Nothing was given up.
pub async fn no_dead_letters(test: &TestBus) {
    for reader in READERS.into_iter().chain(["shop-report"]) {
        let letters = test.dead_letters(reader).await.unwrap();
        assert!(letters.is_empty(), "{reader}: {letters:?}");
    }
}

/// Nothing waits for anybody, and nobody has anything in hand.
pub fn at_rest(picture: &Value) -> bool {
    let readers = picture["readers"].as_array().unwrap();
    !readers.is_empty() && readers.iter().all(|one| one["waiting"] == 0)
}

/// How many orders the packers packed.
pub fn packed(picture: &Value) -> i64 {
    let packers = picture["totals"]["packers"].as_array().unwrap();
    packers.iter().map(|packer| packer[1].as_i64().unwrap()).sum()
}

/// An order of one product.
pub async fn place(store: &Store, number: &str, pieces: u32, at: Micros) {
    let customer = Customer {
        name: "Ana".to_owned(),
        email: "ana@example.com".to_owned(),
        locale: "es".to_owned(),
    };
    let lines = [("bell-door".to_owned(), pieces)];
    let placed = store.place(number, &customer, &lines, at).await.unwrap();
    assert!(matches!(placed, Placed::New(_)), "{placed:?}");
}
