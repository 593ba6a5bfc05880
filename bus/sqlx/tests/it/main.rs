//! Inbox, outbox, relay and ledger on real SQLite files, a real PostgreSQL and a real nats-server, one binary.
//! Every suite is generic over the sqlx database, so that `Postgres`, `Sqlite` and `Any` pass the same checks.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and its runtime ends with it"
)]

mod crash;
mod databases;
mod examples;
mod inbox;
mod ledger;
mod outages;
mod relay;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use campana_bus::clock::Micros;
use campana_bus::consume::Meta;
use campana_bus::testing::NatsServer;
use campana_bus::{Durability, HeaderMap};
use campana_bus_sqlx::testing::Postgres;
use databases::TestDb;

/// The metadata of a message as a consumer gets it.
pub fn meta(message_id: Option<&str>, all: &[(&'static str, &str)]) -> Meta {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        headers.insert(*name, *value);
    }
    Meta {
        stream: Arc::from("EVENTS"),
        consumer: Arc::from("shipping"),
        sequence: 7,
        subject: "app.default.shop.order_created".to_owned(),
        attempt: 1,
        is_last: false,
        redelivered: false,
        redrives: 0,
        message_id: message_id.map(str::to_owned),
        trace: None,
        published_at: Micros(0),
        headers: std::sync::Arc::new(headers),
    }
}

/// Waits for a condition, looking again and again; a minute is enough for any machine.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn conform<DB: TestDb>(url: &str) {
    let pool = DB::open(url).await;
    campana_bus_sqlx::migrate(&pool).await.unwrap();
    campana_bus_sqlx::migrate(&pool).await.expect("migrating twice changes nothing");
    DB::run_all(&pool, "CREATE TABLE effects (name TEXT NOT NULL)").await;
    inbox::suite(&pool).await;
    ledger::suite(&pool).await;
    let nats = NatsServer::start_with(Durability::Process).unwrap();
    relay::suite(&pool, &nats).await;
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conform::<sqlx::Sqlite>(&databases::sqlite_url(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_over_sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conform::<sqlx::Any>(&databases::sqlite_url(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let server = Postgres::start().unwrap();
    conform::<sqlx::Postgres>(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_over_postgres_conforms() {
    let server = Postgres::start().unwrap();
    conform::<sqlx::Any>(&server.url()).await;
}

/// An author with migrations of their own takes the text into one of them.
#[tokio::test]
async fn the_schema_is_one_text_that_runs_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let pool = sqlx::Sqlite::open(&databases::sqlite_url(folder.path())).await;
    sqlx::Sqlite::run_all(&pool, campana_bus_sqlx::schema(campana_bus_sqlx::Engine::Sqlite)).await;
    assert_eq!(sqlx::Sqlite::number(&pool, "SELECT COUNT(*) FROM campana_outbox_lanes").await, 16);
}
