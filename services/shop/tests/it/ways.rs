//! One event as a queue, as a topic and as a stream.

use std::collections::BTreeSet;

use campana_bus::consumers;
use campana_bus::testing::TestBus;
use campana_bus::topology::EVENTS;
use campana_shop::Role;
use campana_shop::events::OrderPlaced;
use serde_json::json;

use crate::harness::{Database, Gateway, READERS, Shop, at_rest, no_dead_letters, packed};

const ORDERS: usize = 24;

#[tokio::test]
async fn on_sqlite_everybody_hears_of_an_order_in_their_way() {
    everybody_hears_of_an_order_in_their_way(Database::sqlite()).await;
}

#[tokio::test]
async fn on_postgres_everybody_hears_of_an_order_in_their_way() {
    everybody_hears_of_an_order_in_their_way(Database::postgres()).await;
}

async fn everybody_hears_of_an_order_in_their_way(database: Database) {
    let test = TestBus::start().await.unwrap();
    let gateway = Gateway::default();
    // The first answers of the gateway cost a repeat, never a letter.
    gateway.refusals.lock().unwrap().extend([503, 429]);
    let shop = Shop::start_with(&test, &database, &[], gateway).await;
    let mut numbers = BTreeSet::new();
    for number in 0..ORDERS {
        let (status, order) = shop.order(number).await;
        assert_eq!(status, 201);
        numbers.insert(order);
    }
    // The page did not hear the answer and asks again.
    let (status, again) = shop.order(0).await;
    assert!(status == 200 && numbers.contains(&again));

    let all = ORDERS as i64;
    let picture = shop
        .shows("everybody is done", |picture| {
            let totals = &picture["totals"];
            packed(picture) == all
                && ["reserved", "confirmed", "counted"].iter().all(|name| totals[name] == all)
                && picture["projection"]["events"] == all
        })
        .await;
    assert_eq!(picture["totals"]["orders"], all);
    assert_eq!(picture["projection"]["best"], json!([["bell-door", all * 2], ["gong-small", all]]));
    let stock = |sku: &str| {
        let products = picture["products"].as_array().unwrap();
        products.iter().find(|one| one["sku"] == sku).unwrap()["stock"].as_i64().unwrap()
    };
    assert_eq!((stock("bell-door"), stock("gong-small")), (500 - all * 2, 500 - all));
    assert!(!picture.to_string().contains("Ana"), "the page shows who ordered");

    // One letter each, and repeats under the same key.
    let asked = shop.gateway.asked();
    let keys: BTreeSet<_> = asked.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, numbers.iter().map(|number| format!("shop-{number}")).collect());
    assert_eq!(asked.len(), ORDERS + 2);
    // The event says nothing about the person.
    let events: Vec<OrderPlaced> = test.events().await.unwrap();
    assert_eq!(events.len(), ORDERS);
    assert!(!serde_json::to_string(&events).unwrap().contains("Ana"));
    // One queue for all packers, and no attempt that did work which another one had done.
    let known = consumers::list(test.bus(), Some(EVENTS)).await.unwrap();
    let known: Vec<_> = known.iter().map(|one| one.consumer.as_str()).collect();
    let mut wanted = READERS.to_vec();
    wanted.push("shop-report");
    wanted.sort_unstable();
    assert_eq!(known, wanted);
    shop.shows("nothing is left", at_rest).await;
    no_dead_letters(&test).await;
    shop.stop().await;
}

#[tokio::test]
async fn a_queue_that_rests_holds_up_nobody_else_and_loses_nothing() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let shop = Shop::start(&test, &database, &[]).await;
    shop.shows("the packers are there", |picture| {
        picture["readers"].as_array().unwrap().iter().any(|one| one["name"] == "shop-packing")
    })
    .await;
    assert_eq!(shop.post("/api/demo/pause", &json!({})).await.0, 200);
    for number in 0..5 {
        assert_eq!(shop.order(number).await.0, 201);
    }
    let picture = shop
        .shows("all but the packers are done", |picture| {
            picture["totals"]["counted"] == 5
                && picture["totals"]["confirmed"] == 5
                && picture["projection"]["events"] == 5
        })
        .await;
    let queue = |picture: &serde_json::Value| {
        let readers = picture["readers"].as_array().unwrap();
        readers.iter().find(|one| one["name"] == "shop-packing").unwrap().clone()
    };
    assert_eq!((queue(&picture)["paused"].clone(), packed(&picture)), (json!(true), 0));
    assert_eq!(queue(&picture)["waiting"], 5);
    assert_eq!(shop.post("/api/demo/resume", &json!({})).await.0, 200);
    shop.shows("the packers catch up", |picture| packed(picture) == 5).await;
    shop.stop().await;
}

#[tokio::test]
async fn processes_share_the_queue_and_each_topic_reader_sees_everything_once() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let first = Shop::start(&test, &database, &[]).await;
    let second = Shop::start(&test, &database, &[]).await;
    for number in 0..20_usize {
        let shop = if number.is_multiple_of(2) { &first } else { &second };
        assert_eq!(shop.order(number).await.0, 201);
    }
    // One of them goes away with what it has in hand.
    drop(second);
    let picture = first
        .shows("everything is done once", |picture| {
            let totals = &picture["totals"];
            packed(picture) == 20
                && ["reserved", "confirmed", "counted"].iter().all(|name| totals[name] == 20)
                && picture["projection"]["events"] == 20
        })
        .await;
    assert_eq!(picture["projection"]["best"][0], json!(["bell-door", 40]));
    first.shows("nothing is left", at_rest).await;
    no_dead_letters(&test).await;
    first.stop().await;
}

#[tokio::test]
async fn roles_can_run_apart() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let web = Shop::start(&test, &database, &[Role::Web]).await;
    assert_eq!(web.order(1).await.0, 201);
    // Nobody listens yet: the stream keeps it.
    let others = [Role::Packing, Role::Inventory, Role::Analytics, Role::Mail, Role::Projection];
    let rest = Shop::start(&test, &database, &others).await;
    web.shows("those who came later are done", |picture| {
        packed(picture) == 1
            && picture["totals"]["counted"] == 1
            && picture["totals"]["confirmed"] == 1
            && picture["projection"]["events"] == 1
    })
    .await;
    rest.stop().await;
    web.stop().await;
}
