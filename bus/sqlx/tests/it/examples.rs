//! The examples as processes of their own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Event, dlq};
use campana_bus_sqlx::testing::Postgres;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, Row};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::databases::{TestDb, sqlite_url};
use crate::eventually;

#[derive(Serialize, Deserialize)]
struct OrderCreated {
    order: String,
    cents: u64,
}

impl Event for OrderCreated {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "order_created";
}

/// Cargo builds the examples with the tests and puts them beside them.
fn example(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    deps.parent().unwrap().parent().unwrap().join("examples").join(name)
}

struct Service(Child);

impl Service {
    fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(example(name));
        command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// SIGTERM: a clean drain and exit code 0.
    fn stop(mut self) {
        Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shipping_plans_every_order_once_and_tells_it() {
    let nats = NatsServer::start().unwrap();
    let bus = nats.bus_with_topology("shop").await.unwrap();
    let server = Postgres::start().unwrap();
    for number in 0..20 {
        bus.emit(&OrderCreated { order: format!("o-{number}"), cents: 1 }).await.unwrap();
    }
    let service =
        Service::start("shipping", &[("NATS_URL", &nats.url()), ("DATABASE_URL", &server.url())]);
    eventually("twenty shipments told", async || {
        let told = bus.fetch_after(EVENTS, "app.default.shipping.>", 0, 100).await.unwrap();
        told.messages.len() == 20
    })
    .await;
    service.stop();
    let mut connection = sqlx::PgConnection::connect(&server.url()).await.unwrap();
    let counts = "SELECT COUNT(*), COUNT(DISTINCT order_id) FROM shipments";
    let row = sqlx::query(counts).fetch_one(&mut connection).await.unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (20, 20));
}

/// Takes `CHARGE key cents` and `FIND key`; for `charge-lost` it does the work and hangs up without an answer.
async fn provider(listener: TcpListener, charges: Arc<AtomicUsize>) {
    let mut charged: Vec<String> = Vec::new();
    loop {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut line = String::new();
        BufReader::new(&mut connection).read_line(&mut line).await.unwrap();
        let mut words = line.split_whitespace();
        let (verb, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let answer = match verb {
            "CHARGE" if key == "charge-refused" => "NO",
            "CHARGE" => {
                charges.fetch_add(1, Ordering::SeqCst);
                charged.push(key.to_owned());
                if key == "charge-lost" { "" } else { "OK receipt" }
            }
            "FIND" if charged.iter().any(|known| known == key) => "OK receipt",
            _ => "NONE",
        };
        connection.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_charge_once_also_when_the_answer_is_lost() {
    let nats = NatsServer::start().unwrap();
    let bus = nats.bus_with_topology("shop").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let charges = Arc::new(AtomicUsize::new(0));
    let provider = tokio::spawn(provider(listener, Arc::clone(&charges)));
    for order in ["one", "lost", "refused"] {
        bus.emit(&OrderCreated { order: order.to_owned(), cents: 500 }).await.unwrap();
    }
    let variables = [("NATS_URL", &*nats.url()), ("DATABASE_URL", &*url), ("PROVIDER", &*address)];
    let service = Service::start("payments", &variables);
    let pool = sqlx::Sqlite::open(&url).await;
    eventually("the ledger is there", async || {
        let tables = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'campana_ledger'";
        sqlx::Sqlite::number(&pool, tables).await == 1
    })
    .await;
    eventually("two results", async || {
        let done = "SELECT COUNT(*) FROM campana_ledger WHERE state = 'done'";
        sqlx::Sqlite::number(&pool, done).await == 2
    })
    .await;
    eventually("the refused card is parked", async || {
        dlq::list(&bus, &dlq::Filter::default(), 10).await.unwrap().len() == 1
    })
    .await;
    service.stop();
    provider.abort();
    assert_eq!(
        charges.load(Ordering::SeqCst),
        2,
        "the lost answer was asked for, not charged again"
    );
}
