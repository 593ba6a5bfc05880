//! One conformance suite for the store, run on SQLite and on a real PostgreSQL 15.
//! Each check is a function of a fresh, migrated store and a tenant name of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall stop where it is; helpers here are part of tests"
)]

mod counts;
mod rows;
mod status;
mod story;

use campana_bus::clock::Micros;
use campana_bus_sqlx::testing::Postgres;
use campana_notify::store::{Store, StoreError};

pub const T0: i64 = 1_800_000_000_000_000;

pub const fn at(offset: i64) -> Micros {
    Micros(T0 + offset)
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/a folder/notify.db", folder.path().display());
    let store = Store::connect(&url).await.unwrap();
    conform(&store).await;
    store.close().await;
    let again = Store::connect(&url).await.unwrap();
    again.migrate().await.unwrap();
    assert!(
        again.recipient("recipients", "alice").await.unwrap().is_some(),
        "data must survive a restart"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let server = Postgres::start().unwrap();
    let store = Store::connect(&server.url()).await.unwrap();
    conform(&store).await;
    drop(server);
    let error = store.recipient("recipients", "alice").await.unwrap_err();
    assert!(error.is_outage(), "{error}");
}

#[tokio::test]
async fn an_unknown_engine_is_refused() {
    assert!(matches!(Store::connect("mysql://x/y").await, Err(StoreError::UnknownEngine)));
}

async fn conform(store: &Store) {
    let (one, two) = tokio::join!(store.migrate(), store.ping());
    one.unwrap();
    two.unwrap();
    store.migrate().await.expect("migrating twice changes nothing");
    rows::recipients(store, "recipients").await;
    rows::recipient_names(store, "recipients").await;
    rows::templates(store, "templates").await;
    rows::keys(store, "keys").await;
    status::outcomes_in_any_order_give_the_same_rows(store).await;
    status::an_attempt_before_its_plan_is_kept(store, "early").await;
    status::a_status_moves_forward_only_and_a_redrive_reopens_it(store, "forward").await;
    status::notification_statuses_follow_the_deliveries(store, "derived").await;
    status::scheduled_and_rejected_requests_have_statuses_of_their_own(store, "held").await;
    status::pages_are_complete_and_do_not_overlap(store, "pages").await;
    counts::notifications_and_deliveries_are_counted_by_state(store, "counts").await;
    status::tenants_are_apart(store).await;
    status::a_large_batch_is_one_transaction(store, "large").await;
}
