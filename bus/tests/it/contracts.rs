//! Derived events through a real server: subjects, versions side by side, and what a reader does not know.

use std::time::Duration;

use campana_bus::consume::{Failure, Meta};
use campana_bus::contract::{self, ContractEntry, UpcastError, Value};
use campana_bus::publish::Outgoing;
use campana_bus::testing::NatsServer;
use campana_bus::{Bus, Event, headers, subjects, topology};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;

const WITHIN: Duration = Duration::from_secs(60);

mod first {
    use super::*;

    /// A customer ordered something.
    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema, Event)]
    #[event(subject = "app.{shop}.shop.ordered.{order}", id = "order")]
    pub struct Ordered {
        pub shop: String,
        pub order: u64,
        pub units: u64,
    }
}

mod second {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema, Event)]
    #[event(subject = "app.{shop}.shop.ordered.{order}", version = 2, upcast = in_cents)]
    pub struct Ordered {
        pub shop: String,
        pub order: u64,
        pub cents: u64,
        #[serde(default)]
        pub note: Option<String>,
    }

    fn in_cents(version: u32, mut body: Value) -> Result<Value, UpcastError> {
        assert_eq!(version, 1);
        let units = body["units"].as_u64().ok_or_else(|| UpcastError::new("no units"))?;
        body["cents"] = (units * 100).into();
        Ok(body)
    }
}

/// Runs a consumer until `wanted` events have been handled; gives them.
async fn handled<E: Event + Sync>(bus: &Bus, durable: &str, wanted: usize) -> Vec<E> {
    let (done, mut events) = mpsc::unbounded_channel();
    let mut all = Vec::new();
    let collect = async {
        while all.len() < wanted {
            all.push(events.recv().await.unwrap());
        }
    };
    let handler = move |event: E, _: Meta| {
        let _ = done.send(event);
        std::future::ready(Ok::<(), Failure>(()))
    };
    let running = bus.consumer::<E>(durable).run(handler, collect);
    tokio::time::timeout(WITHIN, running).await.unwrap().unwrap();
    all
}

#[tokio::test]
async fn a_derived_event_goes_where_its_template_says() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("shop").await.unwrap();
    let event = first::Ordered { shop: "Zoë's".into(), order: 7, units: 3 };
    let at = bus.emit(&event).await.unwrap();
    assert!(bus.emit(&event).await.unwrap().duplicate, "the id is the field that was named");
    let stored = bus.message(topology::EVENTS, at.sequence).await.unwrap().unwrap();
    let expected = subjects::app_event_keyed("Zoë's", "shop", "ordered", "7");
    assert_eq!(stored.subject.as_str(), expected);
    assert_eq!(headers::get(&stored.headers, headers::CE_TYPE), Some("shop.ordered.v1"));
    assert_eq!(headers::get(&stored.headers, headers::KEY), Some("7"));
    assert_eq!(handled::<first::Ordered>(&bus, "audit", 1).await, [event]);
    let entry = ContractEntry::event::<first::Ordered>();
    assert_eq!(entry.schema()["required"], json!(["shop", "order", "units"]));
    let document = contract::asyncapi("Shop", "1", &[entry]);
    assert_eq!(document["channels"]["shop.ordered"]["address"], first::Ordered::SUBJECT);
}

#[tokio::test]
async fn a_rolling_deployment_loses_nothing() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("shop").await.unwrap();
    bus.emit(&first::Ordered { shop: "a".into(), order: 1, units: 3 }).await.unwrap();
    let newer = second::Ordered { shop: "a".into(), order: 2, cents: 5, note: Some("x".into()) };
    bus.emit(&newer).await.unwrap();
    bus.emit(&first::Ordered { shop: "a".into(), order: 3, units: 4 }).await.unwrap();
    // The old process takes what it knows and leaves the rest, of the same durable consumer, to the new one.
    let mut old: Vec<u64> =
        handled::<first::Ordered>(&bus, "audit", 2).await.iter().map(|one| one.order).collect();
    old.sort_unstable();
    assert_eq!(old, [1, 3]);
    assert_eq!(handled::<second::Ordered>(&bus, "audit", 1).await, [newer]);
    // A new consumer that starts from the beginning reads all of them, the old ones brought up.
    let mut all = handled::<second::Ordered>(&bus, "report", 3).await;
    all.sort_by_key(|one| one.order);
    let seen: Vec<(u64, u64)> = all.iter().map(|one| (one.order, one.cents)).collect();
    assert_eq!(seen, [(1, 300), (2, 5), (3, 400)]);
}

#[tokio::test]
async fn what_is_of_another_type_is_parked_and_plain_json_is_taken() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("shop").await.unwrap();
    let subject = subjects::app_event("a", "shop", "ordered");
    let body = |order: u64| json!({"shop": "a", "order": order, "units": 1, "new": []}).to_string();
    let foreign = Outgoing::new(subject.as_str(), "1", body(1).into())
        .header(headers::CE_TYPE, "com.example.other");
    bus.publish(foreign).await.unwrap();
    bus.publish(Outgoing::new(subject.as_str(), "2", body(2).into())).await.unwrap();
    let taken = handled::<first::Ordered>(&bus, "audit", 1).await;
    assert_eq!(taken[0].order, 2);
    let parked = tokio::time::timeout(WITHIN, async {
        loop {
            if let Some(letter) = bus.message(topology::DLQ, 1).await.unwrap() {
                break letter;
            }
            tokio::task::yield_now().await;
        }
    });
    let letter = parked.await.unwrap();
    assert_eq!(letter.payload, body(1));
    let named = letter
        .headers
        .iter()
        .any(|(_, values)| values.iter().any(|value| value.as_str() == "unexpected_type"));
    assert!(named, "{:?}", letter.headers);
}
