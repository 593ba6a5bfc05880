//! NATS and the database go away and come back: the relay waits, and what was committed is told.

use std::time::Duration;

use campana_bus::Durability;
use campana_bus::testing::NatsServer;
use campana_bus_sqlx::testing::Postgres;
use campana_bus_sqlx::{Outbox, Relay, Trouble, migrate, trouble};

use crate::databases::{self, TestDb};
use crate::eventually;
use crate::relay::{QUICK, Running, Step, add, stored, waiting};

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_waits_for_nats_and_for_the_database() {
    let mut nats = NatsServer::start_with(Durability::Process).unwrap();
    let mut server = Postgres::start().unwrap();
    let bus = nats.bus_with_topology("outages").await.unwrap();
    let pool = sqlx::Postgres::open(&server.url()).await;
    migrate(&pool).await.unwrap();
    let outbox = Outbox::new();
    // By default sqlx tries for half a minute to reach a server that is away.
    let impatient = sqlx::postgres::PgPoolOptions::new().acquire_timeout(Duration::from_secs(1));
    let impatient = impatient.connect(&server.url()).await.unwrap();
    let relay = Running::start(&outbox, &impatient, &bus, QUICK);
    let step = |number| [Step::new("outage", Some("k"), number)];
    add(&outbox, &pool, &step(0)).await;
    eventually("the first event", async || waiting(&pool).await == 0).await;

    nats.kill();
    for number in 1..20 {
        add(&outbox, &pool, &step(number)).await;
    }
    nats.restart().unwrap();
    eventually("the events of the outage", async || waiting(&pool).await == 0).await;

    server.kill();
    let error = impatient.begin().await.err();
    assert!(error.is_some_and(|error| trouble(&error) == Trouble::Outage));
    server.restart().unwrap();
    eventually("a database that answers", async || pool.begin().await.is_ok()).await;
    add(&outbox, &pool, &step(20)).await;
    eventually("the last event", async || waiting(&pool).await == 0).await;
    relay.stop().await;
    let numbers: Vec<u64> = stored(&bus).await.into_iter().map(|(step, _)| step.number).collect();
    assert_eq!(numbers, (0..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn missing_tables_are_an_error_and_not_an_outage() {
    let nats = NatsServer::start_with(Durability::Process).unwrap();
    let bus = nats.bus("no-tables").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pool = sqlx::Sqlite::open(&databases::sqlite_url(folder.path())).await;
    let relay = Relay::new(&Outbox::new(), QUICK);
    let ended = relay.run(pool, bus, campana_bus::lifecycle::Lifecycle::new()).await;
    assert!(ended.is_err_and(|error| error.to_string().contains("campana_outbox")));
}
