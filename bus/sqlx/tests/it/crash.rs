//! A relay that is killed again and again: nothing is lost, nothing has an effect twice, keys stay in order.
//!
//! The relay is a process of its own (this test binary, started again), killed with SIGKILL when the stream has
//! grown by a random number of messages. The stream forgets ids after a tenth of a second, so what the relay
//! repeats is stored twice, and only the consumer's inbox keeps effects apart.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use campana_bus::consume::Meta;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Bus, BusOptions, Durability};
use campana_bus_sqlx::testing::Postgres;
use campana_bus_sqlx::{Outbox, Relay, migrate};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::Pool;

use crate::databases::{self, TestDb};
use crate::eventually;
use crate::inbox::handle;
use crate::relay::{QUICK, Step, stored, waiting};

const NATS: &str = "CAMPANA_TEST_RELAY_NATS";
const DATABASE: &str = "CAMPANA_TEST_RELAY_DATABASE";
const TRANCHES: u64 = 8;
const ROWS: u64 = 250;
const KEYS: u64 = 20;

/// Not a test by itself: the process that the tests below start and kill.
#[tokio::test(flavor = "multi_thread")]
async fn relay_process() {
    let (Ok(nats), Ok(url)) = (std::env::var(NATS), std::env::var(DATABASE)) else { return };
    let bus = Bus::connect(BusOptions {
        url: nats,
        name: "relay".to_owned(),
        durability: Durability::Process,
        credentials_file: None,
    })
    .await
    .unwrap();
    let relay = Relay::new(&Outbox::new(), QUICK);
    if url.starts_with("postgres") {
        relay.run(sqlx::Postgres::open(&url).await, bus, Lifecycle::new()).await.unwrap();
    } else {
        relay.run(sqlx::Sqlite::open(&url).await, bus, Lifecycle::new()).await.unwrap();
    }
}

struct RelayProcess(Child);

impl RelayProcess {
    fn start(nats: &NatsServer, url: &str) -> Self {
        let program: PathBuf = std::env::current_exe().unwrap();
        let child = Command::new(program)
            .args(["crash::relay_process", "--exact"])
            .env(NATS, nats.url())
            .env(DATABASE, url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for RelayProcess {
    /// `kill -9`.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn messages(bus: &Bus) -> u64 {
    bus.jetstream().get_stream(EVENTS).await.unwrap().get_info().await.unwrap().state.messages
}

async fn forget_ids_quickly(bus: &Bus) {
    let mut stream = bus.jetstream().get_stream(EVENTS).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    bus.jetstream().update_stream(config).await.unwrap();
}

/// One tranche of events in transactions of ten; every fifth transaction is rolled back.
async fn add_tranche<DB: TestDb>(pool: &Pool<DB>, outbox: &Outbox, tranche: u64) {
    let mut number = tranche * ROWS;
    while number < (tranche + 1) * ROWS {
        for commits in [true, false] {
            let mut tx = pool.begin().await.unwrap();
            for offset in 0..10 {
                let key = format!("k{}", (number + offset) % KEYS);
                let name = if commits { "told" } else { "never" };
                let step = Step::new(name, Some(&key), number + offset);
                outbox.add(&mut tx, &step).await.unwrap();
            }
            if commits {
                tx.commit().await.unwrap();
            } else if number.is_multiple_of(50) {
                tx.rollback().await.unwrap();
            }
        }
        number += 10;
    }
}

fn consume<DB: TestDb>(pool: &Pool<DB>, bus: &Bus, lifecycle: &Lifecycle) {
    let (pool, bus, stop) = (pool.clone(), bus.clone(), lifecycle.clone());
    lifecycle.spawn("consumer", async move {
        let handler = move |step: Step, meta: Meta| {
            let pool = pool.clone();
            async move { handle(&pool, &meta, &format!("{}-{}", step.name, step.number)).await }
        };
        let consumer = bus.consumer::<Step>("counter").max_in_flight(4);
        consumer.run(handler, async move { stop.soft.cancelled().await }).await.unwrap();
    });
}

async fn nothing_is_lost_and_nothing_happens_twice<DB: TestDb>(url: &str) {
    let seed: u64 = rand::random();
    let mut draw = StdRng::seed_from_u64(seed);
    let nats = NatsServer::start_with(Durability::Process).unwrap();
    let bus = nats.bus_with_topology("crash-test").await.unwrap();
    forget_ids_quickly(&bus).await;
    let pool = DB::open(url).await;
    migrate(&pool).await.unwrap();
    DB::run_all(&pool, "CREATE TABLE effects (name TEXT NOT NULL)").await;
    let outbox = Outbox::new();
    let consumer = Lifecycle::new();
    consume(&pool, &bus, &consumer);

    for tranche in 0..TRANCHES {
        let before = messages(&bus).await;
        let mut relay = RelayProcess::start(&nats, url);
        add_tranche(&pool, &outbox, tranche).await;
        let kill_at = before + draw.random_range(1..ROWS);
        eventually("the stream grew", async || messages(&bus).await >= kill_at).await;
        assert!(relay.is_alive(), "the relay ended by itself, seed {seed}");
        drop(relay);
    }
    let total = i64::try_from(TRANCHES * ROWS).unwrap();
    let relay = RelayProcess::start(&nats, url);
    eventually("an empty outbox", async || waiting(&pool).await == 0).await;
    let effects = "SELECT COUNT(DISTINCT name) FROM effects";
    eventually("every effect", async || DB::number(&pool, effects).await == total).await;
    // Repeats may still be on their way: they are handled when the consumer has nothing left.
    let stream = bus.jetstream().get_stream(EVENTS).await.unwrap();
    eventually("a consumer without work", async || {
        let info = stream.consumer_info("counter").await.unwrap();
        info.num_pending == 0 && info.num_ack_pending == 0
    })
    .await;
    drop(relay);
    assert!(consumer.stop(Duration::from_secs(60)).await);
    let rows = DB::number(&pool, "SELECT COUNT(*) FROM effects").await;
    assert_eq!(rows, total, "an effect happened twice, seed {seed}");
    let never = DB::number(&pool, "SELECT COUNT(*) FROM effects WHERE name LIKE 'never%'").await;
    assert_eq!(never, 0, "a rolled-back event was told, seed {seed}");

    let mut last: HashMap<String, u64> = HashMap::new();
    for (step, repeat) in stored(&bus).await {
        let newest = last.entry(step.key.unwrap()).or_insert(step.number);
        assert!(
            step.number >= *newest || repeat,
            "{} came after {newest} for the first time, seed {seed}",
            step.number
        );
        *newest = step.number.max(*newest);
    }
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_on_sqlite_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = databases::sqlite_url(folder.path());
    nothing_is_lost_and_nothing_happens_twice::<sqlx::Sqlite>(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_on_postgres_loses_and_doubles_nothing() {
    let server = Postgres::start().unwrap();
    nothing_is_lost_and_nothing_happens_twice::<sqlx::Postgres>(&server.url()).await;
}
