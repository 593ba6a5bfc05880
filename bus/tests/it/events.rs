//! The typed surface that service authors use, through the example service as a process of its own.

use std::process::{Command, Stdio};
use std::time::Duration;

use campana_bus::dlq::{self, Filter};
use campana_bus::testing::NatsServer;
use campana_bus::{Event, headers, topology};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct OrderCreated {
    order: String,
    currency: String,
    cents: u64,
}

impl Event for OrderCreated {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "order_created";

    fn id(&self) -> Option<String> {
        Some(self.order.clone())
    }
}

/// Cargo builds the examples with the tests and puts them beside them.
fn example(name: &str) -> std::path::PathBuf {
    let deps = std::env::current_exe().unwrap();
    deps.parent().unwrap().parent().unwrap().join("examples").join(name)
}

#[tokio::test]
async fn the_example_service_records_orders_and_parks_what_it_refuses() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("shop").await.unwrap();
    for n in 0..20 {
        let currency = if n == 7 { "doubloons" } else { "EUR" };
        let order =
            OrderCreated { order: format!("o-{n}"), currency: currency.to_owned(), cents: 100 + n };
        bus.emit(&order).await.unwrap();
        assert!(
            bus.emit(&order).await.unwrap().duplicate,
            "the same event told again is stored once"
        );
    }
    let stored = bus.message(topology::EVENTS, 1).await.unwrap().unwrap();
    assert_eq!(headers::get(&stored.headers, headers::CE_TYPE), Some("shop.order_created.v1"));
    assert!(headers::trace(&stored.headers).is_some());

    let folder = tempfile::tempdir().unwrap();
    let mut service = Command::new(example("audit_log"))
        .current_dir(folder.path())
        .env("NATS_URL", server.url())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = || {
        std::fs::read_to_string(folder.path().join("audit.log")).unwrap_or_default().lines().count()
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while lines() < 19 || dlq::list(&bus, &Filter::default(), 10).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "{} lines", lines());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // SIGTERM: a clean drain and exit code 0.
    Command::new("kill").arg(service.id().to_string()).status().unwrap();
    assert!(service.wait().unwrap().success());
    assert_eq!(lines(), 19);
    let dead = dlq::list(&bus, &Filter::default(), 10).await.unwrap();
    assert_eq!(
        (dead.len(), dead[0].reason.as_str(), dead[0].consumer.as_str()),
        (1, "unknown_currency", "audit-log")
    );
}
