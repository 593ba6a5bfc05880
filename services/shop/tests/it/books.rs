//! An order and its event are one; the projection can be made anew.

use campana_bus::clock;
use campana_bus::testing::TestBus;
use campana_bus::topology::EVENTS;
use campana_shop::Role;
use campana_shop::events::OrderPlaced;
use campana_shop::store::{Customer, Placed, Store};
use serde_json::json;

use crate::harness::{Database, Shop};

fn customer() -> Customer {
    Customer {
        name: "Ana".to_owned(),
        email: "ana@example.com".to_owned(),
        locale: "es".to_owned(),
    }
}

#[tokio::test]
async fn an_order_of_a_process_that_died_is_told_by_the_next_one_once() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    {
        // It committed, and died before its relay looked.
        let store = Store::open(&database.url()).await.unwrap();
        let lines = [("bell-door".to_owned(), 1)];
        let placed = store.place("s-dead", &customer(), &lines, clock::now()).await.unwrap();
        assert!(matches!(placed, Placed::New(_)));
        // And an order that is refused leaves nothing behind.
        let lines = [("no-such-bell".to_owned(), 1)];
        let refused = store.place("s-none", &customer(), &lines, clock::now()).await.unwrap();
        assert_eq!(refused, Placed::UnknownProduct("no-such-bell".to_owned()));
    }
    assert!(test.events::<OrderPlaced>().await.unwrap().is_empty());
    let shop = Shop::start(&test, &database, &[]).await;
    let picture =
        shop.shows("the order is counted", |picture| picture["totals"]["counted"] == 1).await;
    assert_eq!(picture["totals"]["orders"], 1);
    let told: Vec<OrderPlaced> = test.events().await.unwrap();
    assert_eq!(told.iter().map(|one| one.order.as_str()).collect::<Vec<_>>(), ["s-dead"]);
    shop.stop().await;
}

#[tokio::test]
async fn the_best_sellers_are_made_anew_from_the_first_event() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    // Nobody else tells anything, so the first order is the first message of the stream.
    let shop = Shop::start(&test, &database, &[Role::Web, Role::Projection]).await;
    for number in 0..7 {
        assert_eq!(shop.order(number).await.0, 201);
    }
    let before =
        shop.shows("the list is complete", |picture| picture["projection"]["events"] == 7).await;
    let first = &test.stored(EVENTS, "app.default.shop.order_placed.>").await.unwrap()[0];
    assert_eq!(first.sequence, 1);
    // Somebody ruins the list.
    let store = Store::open(&database.url()).await.unwrap();
    let position = store.position().await.unwrap();
    store.replace_projection(&position, &Default::default()).await.unwrap();
    shop.shows("it is ruined", |picture| picture["projection"]["best"] == json!([])).await;
    assert_eq!(shop.post("/api/demo/rebuild", &json!({})).await.0, 200);
    let after = shop
        .shows("the list is there again", |picture| picture["projection"]["best"] != json!([]))
        .await;
    assert_eq!(after["projection"]["best"], before["projection"]["best"]);
    assert_eq!(after["projection"]["events"], 7);
    // And it goes on behind the last one.
    assert_eq!(shop.order(100).await.0, 201);
    let picture = shop.shows("one more", |picture| picture["projection"]["events"] == 8).await;
    assert_eq!(picture["projection"]["best"][0], json!(["bell-door", 16]));
    shop.stop().await;
}

#[tokio::test]
async fn a_number_is_one_order() {
    let database = Database::sqlite();
    let store = Store::open(&database.url()).await.unwrap();
    let place = async |customer: &Customer, lines: &[(&str, u32)]| {
        let lines: Vec<_> = lines.iter().map(|(sku, count)| ((*sku).to_owned(), *count)).collect();
        store.place("s-1", customer, &lines, clock::now()).await.unwrap()
    };
    let (one, two) = ([("gong-small", 1), ("bell-door", 2)], [("bell-door", 2), ("gong-small", 1)]);
    assert!(matches!(place(&customer(), &one).await, Placed::New(_)));
    let price = sqlx::query("UPDATE products SET cents = cents + 1");
    price.execute(&store.pool()).await.unwrap();
    // A repeat, whatever the price is by now.
    assert_eq!(place(&customer(), &two).await, Placed::Before);
    assert_eq!(place(&customer(), &one[1..]).await, Placed::Taken);
    assert_eq!(place(&customer(), &[("gong-small", 1), ("bell-door", 3)]).await, Placed::Taken);
    let other = Customer { email: "eva@example.com".to_owned(), ..customer() };
    assert_eq!(place(&other, &one).await, Placed::Taken);
    assert_eq!(store.customer("s-1").await.unwrap(), Some(customer()));
    assert_eq!(store.totals().await.unwrap().orders, 1);
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let shop = Shop::start(&test, &database, &[]).await;
    assert_eq!(shop.order(1).await.0, 201);
    shop.shows("the first", |picture| picture["projection"]["events"] == 1).await;
    shop.stop().await;
    let web = Shop::start(&test, &database, &[Role::Web]).await;
    assert_eq!(web.order(2).await.0, 201);
    web.stop().await;
    let shop = Shop::start(&test, &database, &[]).await;
    let picture = shop.shows("both", |picture| picture["projection"]["events"] == 2).await;
    assert_eq!(picture["projection"]["best"][0], json!(["bell-door", 4]));
    shop.stop().await;
}
