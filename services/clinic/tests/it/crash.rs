//! `kill -9` between a booking and its event: never one without the other.
//!
//! On PostgreSQL the moment is held still: a lock keeps the outbox closed, so that the program has written the
//! appointment and stands before its event when it is killed. On SQLite the program is killed again and again at
//! random moments while many forms arrive. Both run the real program over HTTP.

use std::collections::BTreeSet;

use campana_bus::Durability;
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus_sqlx::testing::Postgres;
use campana_clinic::store::Store;
use serde_json::json;

use crate::world::{Program, Recorder, Visitor, eventually, number, sqlite};

const APPOINTMENTS: &str = "SELECT COUNT(*) FROM appointments";
const HELD: &str = "SELECT COUNT(*) FROM held_times";
const ROUNDS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_its_event_a_booking_never_happened() {
    let nats = NatsServer::start_with(Durability::Process).unwrap();
    let bus = nats.bus_with_topology("crash-test").await.unwrap();
    let (platform, database) = (Recorder::start().await, Postgres::start().unwrap());
    let mut program = Program::start(&nats.url(), &platform.url, &database.url()).await;
    let ana = Visitor::demo(&program.url, "pat_demo_ana").await;
    let starts_at = ana.times("den_demo_ruiz", 2).await.remove(0);
    let store = Store::open(&database.url()).await.unwrap();

    // Nobody gets into the outbox from here on.
    let mut lock = store.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE campana_outbox IN EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let form = json!({"dentist": "den_demo_ruiz", "starts_at": starts_at, "request_id": "crash"});
    let asking = {
        let (ana, form) = (ana.clone(), form.clone());
        let request = ana.http.post(format!("{}/api/appointments", ana.url));
        let request = request.header("cookie", &ana.cookie).json(&form);
        tokio::spawn(async move { request.send().await })
    };
    let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND query LIKE 'INSERT INTO campana_outbox%'";
    eventually("the booking stands before its event", async || number(&store, waits).await == 1)
        .await;
    program.kill();
    assert!(asking.await.unwrap().is_err(), "the patient got no answer");
    lock.rollback().await.unwrap();

    eventually("PostgreSQL notices", async || {
        number(
            &store,
            "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO campana_outbox%' \
                        AND state <> 'idle'",
        )
        .await
            == 0
    })
    .await;
    assert_eq!((number(&store, APPOINTMENTS).await, number(&store, HELD).await), (0, 0));

    // The same form again, after a restart, books it.
    let program = Program::start(&nats.url(), &platform.url, &database.url()).await;
    let ana = Visitor { url: program.url.clone(), ..ana };
    let (status, booked) = ana.post("/api/appointments", &form).await;
    assert_eq!(status, 201, "{booked}");
    let told = || platform.titles("den_demo_ruiz").len();
    eventually("the dentist hears of it", async || told() == 1).await;
    assert_eq!(number(&store, APPOINTMENTS).await, 1);
    let events = stored(&bus).await;
    assert_eq!(events, BTreeSet::from([format!("{}-1", booked["id"].as_str().unwrap())]));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_every_booking_has_its_event() {
    let nats = NatsServer::start_with(Durability::Process).unwrap();
    let bus = nats.bus_with_topology("crash-test").await.unwrap();
    let (platform, folder) = (Recorder::start().await, tempfile::tempdir().unwrap());
    let url = sqlite(folder.path());
    let mut answered = 0;
    for round in 0..ROUNDS {
        let mut program = Program::start(&nats.url(), &platform.url, &url).await;
        let visitors = [("pat_demo_ana", "den_demo_ruiz"), ("pat_demo_ben", "den_demo_costa")];
        let mut asking = Vec::new();
        for (patient, dentist) in visitors {
            let visitor = Visitor::demo(&program.url, patient).await;
            let times = visitor.times(dentist, 3 + i64::try_from(round).unwrap() * 8).await;
            for (number, starts_at) in times.into_iter().take(3).enumerate() {
                let id = format!("form-{round}-{number}");
                let form = json!({"dentist": dentist, "starts_at": starts_at, "request_id": id});
                let request = visitor.http.post(format!("{}/api/appointments", visitor.url));
                let request = request.header("cookie", &visitor.cookie).json(&form);
                asking.push(tokio::spawn(async move { request.send().await }));
            }
        }
        // The last round lives; the others are killed after a random number of answers.
        let spare = round + 1 == ROUNDS;
        let wanted = if spare { asking.len() } else { rand::random_range(0..asking.len()) };
        for asked in asking.drain(..wanted) {
            let answer = asked.await.unwrap().unwrap();
            assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
            answered += 1;
        }
        if !spare {
            program.kill();
            continue;
        }
        let store = Store::open(&url).await.unwrap();
        let booked: Vec<String> = sqlx::query_scalar("SELECT id FROM appointments")
            .fetch_all(store.pool())
            .await
            .unwrap();
        assert!(booked.len() >= answered, "{} of {answered} that were told yes", booked.len());
        let wanted: BTreeSet<String> = booked.iter().map(|id| format!("{id}-1")).collect();
        eventually("an empty outbox", async || {
            number(&store, "SELECT COUNT(*) FROM campana_outbox").await == 0
        })
        .await;
        assert_eq!(stored(&bus).await, wanted, "one event for each booking, none without");
        assert_eq!(number(&store, HELD).await, number(&store, APPOINTMENTS).await);
        store.close().await;
    }
}

/// The ids of all stored events of appointments.
async fn stored(bus: &campana_bus::Bus) -> BTreeSet<String> {
    let stream = bus.jetstream().get_stream(EVENTS).await.unwrap();
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let mut found = BTreeSet::new();
    for sequence in 1..=last {
        let Ok(message) = stream.get_raw_message(sequence).await else { continue };
        if message.subject.contains(".appointment_changed.") && message.subject.starts_with("app.")
        {
            let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            found.insert(body["id"].as_str().unwrap().to_owned());
        }
    }
    found
}
