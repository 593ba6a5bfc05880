//! Whatever comes again, or cannot be stored for a while: each order counts once, and the stock is enough for it or not.

use campana_bus::publish::Outgoing;
use campana_bus::testing::TestBus;
use campana_bus::topology::EVENTS;
use campana_bus::{clock, headers};
use campana_shop::Role;
use campana_shop::events::{Line, OrderPlaced};
use campana_shop::store::Store;
use serde_json::{Value, json};

use crate::harness::{Database, Shop, at_rest, no_dead_letters, packed, place};

#[tokio::test]
async fn the_stock_never_falls_below_zero() {
    the_stock_is_shared(Database::sqlite()).await;
}

#[tokio::test]
async fn the_stock_never_falls_below_zero_on_postgres() {
    the_stock_is_shared(Database::postgres()).await;
}

/// Orders for more than there is, all at once.
async fn the_stock_is_shared(database: Database) {
    let test = TestBus::start().await.unwrap();
    let store = Store::open(&database.url()).await.unwrap();
    for number in 0..20 {
        place(&store, &format!("s-{number}"), 90, clock::now()).await;
    }
    let shop = Shop::start(&test, &database, &[]).await;
    let picture = shop
        .shows("all are handled", |picture| picture["totals"]["reserved"] == 20 && at_rest(picture))
        .await;
    let products = picture["products"].as_array().unwrap();
    let left = products.iter().find(|one| one["sku"] == "bell-door").unwrap()["stock"].clone();
    // Five times ninety are in five hundred; the others go without.
    assert_eq!(left, json!(50));
    let orders = picture["orders"].as_array().unwrap();
    assert!(orders.iter().all(|one| one["short"].is_i64()));
    let short = store.latest(100).await.unwrap();
    assert_eq!(short.iter().filter(|one| one.short == Some(1)).count(), 15);
    no_dead_letters(&test).await;
    shop.stop().await;
}

#[tokio::test]
async fn an_event_that_comes_again_changes_nothing() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let shop = Shop::start(
        &test,
        &database,
        &[Role::Web, Role::Packing, Role::Inventory, Role::Mail, Role::Analytics],
    )
    .await;
    assert_eq!(shop.order(1).await.0, 201);
    let done = |picture: &Value| {
        packed(picture) == 1
            && picture["totals"]["confirmed"] == 1
            && at_rest(picture)
            && picture["totals"]["counted"] == 1
            && picture["totals"]["reserved"] == 1
    };
    let before = shop.shows("the order is handled", done).await;
    // As it comes from the dead letters: under another id, with the first one beside it.
    let told = &test.stored(EVENTS, "app.default.shop.order_placed.>").await.unwrap()[0];
    let first = told.headers.get("Nats-Msg-Id").unwrap().as_str();
    for copy in 0..3 {
        let copy =
            Outgoing::new(told.subject.clone(), format!("copy-{copy}"), told.payload.clone());
        test.publish(copy.header(headers::ORIGINAL_MESSAGE_ID, first)).await.unwrap();
    }
    let after = shop.shows("the copies were read", done).await;
    for part in ["products", "totals"] {
        assert_eq!(after[part], before[part]);
    }
    assert_eq!(shop.gateway.asked().len(), 1);
    no_dead_letters(&test).await;
    shop.stop().await;
}

#[tokio::test]
async fn a_process_that_dies_between_message_and_commit_loses_nothing() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let roles = [Role::Packing, Role::Inventory, Role::Analytics];
    let shop = Shop::start(&test, &database, &roles).await;
    let store = Store::open(&database.url()).await.unwrap();
    place(&store, "s-1", 2, clock::now()).await;
    // Somebody else writes, so no effect can be stored.
    let mut other = store.pool().begin().await.unwrap();
    sqlx::query("UPDATE products SET stock = stock").execute(&mut *other).await.unwrap();
    let lines = vec![Line { sku: "bell-door".to_owned(), quantity: 2, cents: 3_700 }];
    let order = OrderPlaced { order: "s-1".to_owned(), lines, cents: 3_700, placed_at: 0 };
    test.emit(&order).await.unwrap();
    shop.shows("everybody has it in hand", |picture| {
        let readers = picture["readers"].as_array().unwrap();
        readers.len() == roles.len() && readers.iter().all(|one| one["in_hand"] == 1)
    })
    .await;
    drop(shop);
    other.rollback().await.unwrap();
    let shop = Shop::start(&test, &database, &roles).await;
    let picture = shop
        .shows("the next one does it", |picture| {
            let totals = &picture["totals"];
            packed(picture) == 1 && totals["reserved"] == 1 && totals["counted"] == 1
        })
        .await;
    let products = picture["products"].as_array().unwrap();
    let stock = &products.iter().find(|one| one["sku"] == "bell-door").unwrap()["stock"];
    assert_eq!(stock, &json!(498));
    shop.shows("nothing is left", at_rest).await;
    no_dead_letters(&test).await;
    shop.stop().await;
}
