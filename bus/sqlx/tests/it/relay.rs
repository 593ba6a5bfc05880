//! The relay: what is committed is told, once and in order, whatever stands in the way.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::topology::{self, EVENTS, TopologyOptions};
use campana_bus::{Bus, Event, headers, subjects};
use campana_bus_sqlx::{Outbox, OutboxError, Relay, RelayOptions};
use serde::{Deserialize, Serialize};
use sqlx::Pool;

use crate::databases::TestDb;
use crate::eventually;

/// Quick, so that what a lease or a poll delays is over soon.
pub const QUICK: RelayOptions = RelayOptions {
    batch: 16,
    lanes: 4,
    lease: Duration::from_secs(1),
    poll: Duration::from_millis(10),
};

#[derive(Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub key: Option<String>,
    pub number: u64,
}

impl Step {
    pub fn new(name: &str, key: Option<&str>, number: u64) -> Self {
        Self { name: name.to_owned(), key: key.map(str::to_owned), number }
    }
}

impl Event for Step {
    const SERVICE: &'static str = "test";
    const NAME: &'static str = "step";

    fn key(&self) -> Option<String> {
        self.key.clone()
    }
}

/// Every event in the stream, in its order, with the mark of a repeat.
pub async fn stored(bus: &Bus) -> Vec<(Step, bool)> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let page = bus.fetch_after(EVENTS, "app.>", after, 256).await.unwrap();
        let Some(last) = page.messages.last() else { return all };
        after = last.sequence;
        for message in &page.messages {
            let repeat = headers::get(&message.headers, headers::REPEAT).is_some();
            if let Ok(step) = serde_json::from_slice(&message.payload) {
                all.push((step, repeat));
            }
        }
    }
}

/// A relay in a lifecycle of its own.
pub struct Running(Lifecycle);

impl Running {
    pub fn start<DB: TestDb>(
        outbox: &Outbox,
        pool: &Pool<DB>,
        bus: &Bus,
        options: RelayOptions,
    ) -> Self {
        let lifecycle = Lifecycle::new();
        let (relay, pool, bus) = (Relay::new(outbox, options), pool.clone(), bus.clone());
        let inner = lifecycle.clone();
        lifecycle.spawn("relay", async move { relay.run(pool, bus, inner).await.unwrap() });
        Self(lifecycle)
    }

    pub async fn stop(self) {
        assert!(self.0.stop(Duration::from_secs(60)).await, "a relay stops when it is told to");
    }
}

pub async fn add<DB: TestDb>(outbox: &Outbox, pool: &Pool<DB>, steps: &[Step]) {
    let mut tx = pool.begin().await.unwrap();
    for step in steps {
        outbox.add(&mut tx, step).await.unwrap();
    }
    outbox.commit(tx).await.unwrap();
}

pub async fn waiting<DB: TestDb>(pool: &Pool<DB>) -> i64 {
    DB::number(pool, "SELECT COUNT(*) FROM campana_outbox WHERE set_aside_at = 0").await
}

async fn fresh_stream(nats: &NatsServer) -> Bus {
    let bus = nats.bus("relay-test").await.unwrap();
    let _ = bus.jetstream().delete_stream(EVENTS).await;
    topology::apply(&bus, &topology::platform(TopologyOptions::default())).await.unwrap();
    bus
}

pub async fn suite<DB: TestDb>(pool: &Pool<DB>, nats: &NatsServer) {
    what_commits_is_told_once_and_in_order(pool, nats).await;
    keys_keep_the_order_of_commits(pool).await;
    a_lane_of_a_living_relay_is_left_alone(pool, nats).await;
    a_commit_wakes_the_relay(pool, nats).await;
    poison_is_set_aside_and_blocks_nobody(pool, nats).await;
    a_subject_that_nobody_stores_blocks_nobody(pool, nats).await;
    a_crash_before_the_delete_repeats_under_the_same_id(pool, nats).await;
    what_cannot_be_relayed_is_refused_at_once(pool).await;
}

async fn what_commits_is_told_once_and_in_order<DB: TestDb>(pool: &Pool<DB>, nats: &NatsServer) {
    let bus = fresh_stream(nats).await;
    let outbox = Outbox::new();
    let relays: Vec<Running> = (0..3).map(|_| Running::start(&outbox, pool, &bus, QUICK)).collect();
    for number in 0..30 {
        let mut steps: Vec<Step> =
            ["a", "b", "c"].into_iter().map(|key| Step::new("order", Some(key), number)).collect();
        steps.push(Step::new("order", None, number));
        add(&outbox, pool, &steps).await;
        let mut tx = pool.begin().await.unwrap();
        outbox.add(&mut tx, &Step::new("rolled back", Some("a"), number)).await.unwrap();
        tx.rollback().await.unwrap();
    }
    eventually("an empty outbox", async || waiting(pool).await == 0).await;
    for relay in relays {
        relay.stop().await;
    }
    let mut numbers: HashMap<Option<String>, Vec<u64>> = HashMap::new();
    for (step, _) in stored(&bus).await {
        assert_eq!(step.name, "order");
        numbers.entry(step.key).or_default().push(step.number);
    }
    let mut unkeyed = numbers.remove(&None).unwrap();
    unkeyed.sort_unstable();
    assert_eq!(unkeyed, (0..30).collect::<Vec<_>>());
    assert_eq!(numbers.len(), 3);
    for (key, numbers) in numbers {
        assert_eq!(numbers, (0..30).collect::<Vec<_>>(), "{key:?}");
    }
    let held = "SELECT COUNT(*) FROM campana_outbox_lanes WHERE owner <> ''";
    assert_eq!(DB::number(pool, held).await, 0, "a relay that stops lets its lanes go");
}

/// On PostgreSQL two transactions could draw numbers in one order and commit in the other, so the second waits.
/// SQLite has one writer.
async fn keys_keep_the_order_of_commits<DB: TestDb>(pool: &Pool<DB>) {
    let outbox = Outbox::new();
    let mut one = pool.begin().await.unwrap();
    outbox.add(&mut one, &Step::new("first", Some("same"), 1)).await.unwrap();
    let two = {
        let (pool, outbox) = (pool.clone(), outbox.clone());
        tokio::spawn(async move {
            let mut two = pool.begin().await.unwrap();
            outbox.add(&mut two, &Step::new("other", Some("another"), 1)).await.unwrap();
            outbox.add(&mut two, &Step::new("second", Some("same"), 2)).await.unwrap();
            two.commit().await.unwrap();
        })
    };
    if DB::is_postgres(pool).await {
        let waits = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        eventually("the second waits for the first", async || {
            assert!(!two.is_finished(), "it did not wait");
            DB::number(pool, waits).await == 1
        })
        .await;
    }
    one.commit().await.unwrap();
    two.await.unwrap();
    assert_eq!(waiting(pool).await, 3);
    DB::run_all(pool, "DELETE FROM campana_outbox").await;
}

async fn a_lane_of_a_living_relay_is_left_alone<DB: TestDb>(pool: &Pool<DB>, nats: &NatsServer) {
    let bus = fresh_stream(nats).await;
    let outbox = Outbox::new();
    let (now, hour) = (campana_bus::clock::now().0, 3_600_000_000);
    let hold = format!(
        "UPDATE campana_outbox_lanes SET owner = 'another', until = {} WHERE lane <> 3",
        now + hour
    );
    DB::run_all(pool, &hold).await;
    let steps: Vec<Step> = (0..100).map(|number| Step::new("held", None, number)).collect();
    add(&outbox, pool, &steps).await;
    let held = "SELECT COUNT(*) FROM campana_outbox WHERE lane <> 3";
    let before = DB::number(pool, held).await;
    assert!(before > 0, "a hundred ids are spread");
    let relay = Running::start(&outbox, pool, &bus, QUICK);
    for number in 0..3 {
        add(&outbox, pool, &[Step::new("free", None, number)]).await;
        DB::run_all(
            pool,
            "UPDATE campana_outbox SET lane = 3 WHERE id = (SELECT MAX(id) FROM campana_outbox)",
        )
        .await;
        let free = "SELECT COUNT(*) FROM campana_outbox WHERE lane = 3";
        eventually("the free lane is empty", async || DB::number(pool, free).await == 0).await;
    }
    assert!(DB::number(pool, held).await >= before, "somebody else's lanes were published");
    // The other relay died, and its lease is over.
    let expire = format!("UPDATE campana_outbox_lanes SET until = {now} WHERE owner = 'another'");
    DB::run_all(pool, &expire).await;
    eventually("everything", async || waiting(pool).await == 0).await;
    relay.stop().await;
    assert_eq!(stored(&bus).await.len(), 103);
}

async fn a_commit_wakes_the_relay<DB: TestDb>(pool: &Pool<DB>, nats: &NatsServer) {
    let bus = fresh_stream(nats).await;
    let outbox = Outbox::new();
    // By itself it would look after `eventually` has given up.
    let asleep = RelayOptions { poll: Duration::from_secs(3_600), ..QUICK };
    let relay = Running::start(&outbox, pool, &bus, asleep);
    for number in 0..3 {
        add(&outbox, pool, &[Step::new("wake", None, number)]).await;
        eventually("a relay that woke up", async || waiting(pool).await == 0).await;
    }
    relay.stop().await;
}

async fn poison_is_set_aside_and_blocks_nobody<DB: TestDb>(pool: &Pool<DB>, nats: &NatsServer) {
    let bus = fresh_stream(nats).await;
    let outbox = Outbox::new();
    let subject = subjects::app_event("default", "test", "step");
    let large = Outgoing::new(&subject, "too-large", Bytes::from(vec![b'x'; 1_200_000]));
    let refused = Outgoing::new(&subject, "refused", Bytes::new())
        .header("Nats-Expected-Stream", "ANOTHER")
        .header(headers::KEY, "k");
    let mut tx = pool.begin().await.unwrap();
    outbox.add_raw(&mut tx, large.header(headers::KEY, "k")).await.unwrap();
    outbox.add_raw(&mut tx, refused).await.unwrap();
    outbox.commit(tx).await.unwrap();
    add(&outbox, pool, &[Step::new("after", Some("k"), 1), Step::new("beside", None, 1)]).await;
    let relay = Running::start(&outbox, pool, &bus, QUICK);
    eventually("only poison left", async || waiting(pool).await == 0).await;
    assert_eq!(stored(&bus).await.len(), 2);

    let aside = outbox.set_aside(pool, 0, 10).await.unwrap();
    let names: Vec<&str> = aside.iter().map(|entry| entry.message_id.as_str()).collect();
    assert_eq!(names, ["too-large", "refused"]);
    assert!(aside[0].reason.contains("larger"), "{aside:?}");
    assert!(aside[1].reason.contains("10060"), "{aside:?}");
    assert_eq!(outbox.set_aside(pool, aside[0].id, 10).await.unwrap().len(), 1);
    assert!(outbox.discard(pool, aside[0].id).await.unwrap());
    assert!(!outbox.discard(pool, aside[0].id).await.unwrap());
    assert!(outbox.release(pool, aside[1].id).await.unwrap());
    eventually("refused again", async || {
        outbox.set_aside(pool, 0, 10).await.unwrap().len() == 1 && waiting(pool).await == 0
    })
    .await;
    relay.stop().await;
    assert!(outbox.discard(pool, aside[1].id).await.unwrap());
}

/// JetStream answers the same for such a subject and while it starts, so the row is kept and tried again.
async fn a_subject_that_nobody_stores_blocks_nobody<DB: TestDb>(
    pool: &Pool<DB>,
    nats: &NatsServer,
) {
    let bus = fresh_stream(nats).await;
    let outbox = Outbox::new();
    let mut tx = pool.begin().await.unwrap();
    for number in 0..3 {
        let lost = Outgoing::new("nobody.stores.this", format!("lost-{number}"), Bytes::new());
        outbox.add_raw(&mut tx, lost.header(headers::KEY, "lost")).await.unwrap();
    }
    outbox.commit(tx).await.unwrap();
    let steps: Vec<Step> = (0..40).map(|number| Step::new("beside", None, number)).collect();
    add(&outbox, pool, &steps).await;
    let relay = Running::start(&outbox, pool, &bus, QUICK);
    eventually("everything else", async || waiting(pool).await == 3).await;
    let failed = "SELECT COUNT(*) FROM campana_outbox WHERE failures > 0";
    eventually("a failure is noted", async || DB::number(pool, failed).await == 1).await;
    relay.stop().await;
    assert_eq!(DB::number(pool, failed).await, 1, "those behind it in its key were not tried");
    assert_eq!(stored(&bus).await.len(), 40);
    DB::run_all(pool, "DELETE FROM campana_outbox").await;
}

async fn a_crash_before_the_delete_repeats_under_the_same_id<DB: TestDb>(
    pool: &Pool<DB>,
    nats: &NatsServer,
) {
    let bus = fresh_stream(nats).await;
    let outbox = Outbox::new();
    let postgres = DB::is_postgres(pool).await;
    DB::run_all(pool, if postgres { POSTGRES_TRAP } else { SQLITE_TRAP }).await;
    add(&outbox, pool, &[Step::new("twice", Some("k"), 1)]).await;
    let relay = Running::start(&outbox, pool, &bus, QUICK);
    eventually("stored, but not removed", async || stored(&bus).await.len() == 1).await;
    relay.stop().await;
    assert_eq!(waiting(pool).await, 1);
    assert!(!stored(&bus).await[0].1, "the first time is no repeat");

    // The stream still knows the id: its answer "duplicate" is a success.
    DB::run_all(pool, if postgres { POSTGRES_FREE } else { SQLITE_FREE }).await;
    let relay = Running::start(&outbox, pool, &bus, QUICK);
    eventually("removed", async || waiting(pool).await == 0).await;
    relay.stop().await;
    assert_eq!(stored(&bus).await.len(), 1);

    // A stream that has forgotten the id stores it again, and the copy says that it is a repeat.
    DB::run_all(pool, if postgres { POSTGRES_TRAP } else { SQLITE_TRAP }).await;
    add(&outbox, pool, &[Step::new("twice", Some("k"), 2)]).await;
    let relay = Running::start(&outbox, pool, &bus, QUICK);
    eventually("stored, but not removed", async || stored(&bus).await.len() == 2).await;
    relay.stop().await;
    let bus = fresh_stream(nats).await;
    DB::run_all(pool, if postgres { POSTGRES_FREE } else { SQLITE_FREE }).await;
    let relay = Running::start(&outbox, pool, &bus, QUICK);
    eventually("removed", async || waiting(pool).await == 0).await;
    relay.stop().await;
    let again = stored(&bus).await;
    assert_eq!((again.len(), again[0].0.number, again[0].1), (1, 2, true));
}

const SQLITE_TRAP: &str = "CREATE TRIGGER trap BEFORE DELETE ON campana_outbox \
    BEGIN SELECT RAISE(ABORT, 'the power is gone'); END";
const SQLITE_FREE: &str = "DROP TRIGGER trap";
const POSTGRES_TRAP: &str = "CREATE OR REPLACE FUNCTION trap() RETURNS trigger AS \
    $$ BEGIN RAISE EXCEPTION 'the power is gone'; END $$ LANGUAGE plpgsql; \
    CREATE TRIGGER trap BEFORE DELETE ON campana_outbox EXECUTE FUNCTION trap()";
const POSTGRES_FREE: &str = "DROP TRIGGER trap ON campana_outbox";

async fn what_cannot_be_relayed_is_refused_at_once<DB: TestDb>(pool: &Pool<DB>) {
    let outbox = Outbox::new();
    let mut tx = pool.begin().await.unwrap();
    let expecting = Outgoing {
        expect_last_subject_sequence: Some(3),
        ..Outgoing::new("app.a.b.c", "m", Bytes::new())
    };
    let refused = outbox.add_raw(&mut tx, expecting).await;
    assert!(matches!(refused, Err(OutboxError::Invalid(_))), "{refused:?}");
    let control = outbox.add(&mut tx, &Step::new("key", Some("a\nb"), 0)).await;
    assert!(matches!(control, Err(OutboxError::Event(_))), "{control:?}");
    tx.rollback().await.unwrap();
    assert_eq!(waiting(pool).await, 0);
}
