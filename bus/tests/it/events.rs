//! The typed surface that service authors use, through the example services as processes of their own.

use std::process::{Command, Stdio};
use std::time::Duration;

use campana_bus::dlq::{self, Filter};
use campana_bus::testing::{NatsServer, TestBus};
use campana_bus::{CallError, Event, headers, topology};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

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

#[derive(Clone, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.{tenant}.shop.order_paid", id = "order")]
struct OrderPaid {
    tenant: String,
    order: String,
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
    // Another kind of event, or another tenant's, about the same order is another event.
    let paid = OrderPaid { order: "o-0".to_owned(), tenant: "default".to_owned() };
    let other = OrderPaid { tenant: "acme".to_owned(), ..paid.clone() };
    for event in [paid, other] {
        assert!(!bus.emit(&event).await.unwrap().duplicate);
    }
    let stored = bus.message(topology::EVENTS, 1).await.unwrap().unwrap();
    let id = headers::get(&stored.headers, headers::CE_ID);
    assert_eq!(id, Some("default/shop.order_created/o-0"));
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

/// An example service, ended with its owner.
struct Example(std::process::Child);

impl Example {
    fn start(name: &str, url: &str) -> Self {
        let mut command = Command::new(example(name));
        command.env("NATS_URL", url).env("REMIND_AFTER_SECONDS", "600").stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// SIGTERM: a clean drain and exit code 0.
    fn stop(mut self) {
        Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_prices_answers_and_refuses() {
    let test = TestBus::start().await.unwrap();
    let pricing = Example::start("pricing", &test.url());
    let quote = async |sku: &str, quantity: u64| -> Result<Value, CallError> {
        let ask = json!({"sku": sku, "quantity": quantity});
        test.bus().call("pricing", "quote", &ask, PATIENCE).await
    };
    // Nobody answers before the process is up.
    let started = tokio::time::Instant::now();
    let first = loop {
        match quote("bell", 2).await {
            Err(CallError::NoResponders) if started.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(first, json!({"cents": 8_400}));
    for (sku, quantity, code) in [("gong", 1, 404), ("bell", u64::MAX, 400)] {
        let refused = quote(sku, quantity).await.unwrap_err();
        assert!(
            matches!(&refused, CallError::Service { code: found, .. } if *found == code),
            "{refused}"
        );
    }
    pricing.stop();
}

#[derive(Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.default.shop.order_changed.{order}")]
struct OrderChanged {
    order: String,
    paid: bool,
}

#[derive(Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.default.reminders.payment_due.{order}")]
struct PaymentDue {
    order: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_reminders_reminds_of_what_is_not_paid() {
    let test = TestBus::start().await.unwrap();
    let reminders = Example::start("reminders", &test.url());
    for (order, paid) in [("a", false), ("b", false), ("a", true), ("c", false), ("b", false)] {
        test.emit(&OrderChanged { order: order.to_owned(), paid }).await.unwrap();
    }
    test.drive("reminders").await.unwrap();
    let mut keys: Vec<String> =
        test.schedules().await.unwrap().into_iter().map(|one| one.key).collect();
    keys.sort();
    assert_eq!(keys, ["payment-b", "payment-c"], "a is paid, b was changed twice");
    assert_eq!(test.fire_now().await.unwrap(), 2);
    let mut due: Vec<String> =
        test.events::<PaymentDue>().await.unwrap().into_iter().map(|one| one.order).collect();
    due.sort();
    assert_eq!(due, ["b", "c"]);
    reminders.stop();
}
