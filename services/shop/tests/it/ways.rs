//! One event as a queue, as a topic, as a stream, and later.

use std::collections::BTreeSet;

use campana_bus::testing::TestBus;
use campana_bus::topology::EVENTS;
use campana_shop::events::OrderPlaced;
use campana_shop::{Role, report};
use serde_json::json;

use crate::harness::{Database, Gateway, Shop, packed};

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
    first.stop().await;
}

#[tokio::test]
async fn the_nightly_report_waits_in_the_stream_and_can_be_had_at_once() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let shop = Shop::start(&test, &database, &[]).await;
    let picture =
        shop.shows("the report is scheduled", |picture| picture["report_due_at"].is_i64()).await;
    assert!(picture["report_due_at"].as_i64() > picture["at"].as_i64());
    let schedules = test.bus().schedules(EVENTS, 0, 10).await.unwrap();
    assert_eq!((schedules.len(), schedules[0].key.as_str()), (1, report::SCHEDULE));
    for number in 0..3 {
        assert_eq!(shop.order(number).await.0, 201);
    }
    shop.shows("the orders are reserved", |picture| picture["totals"]["reserved"] == 3).await;
    assert_eq!(shop.post("/api/demo/report", &json!({})).await.0, 200);
    let picture = shop
        .shows("the report is made", |picture| !picture["reports"].as_array().unwrap().is_empty())
        .await;
    // Around midnight the orders may be of the day before.
    let found = picture["reports"][0]["orders"].as_i64().unwrap();
    assert!((0..=3).contains(&found), "{picture}");
    shop.stop().await;
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
