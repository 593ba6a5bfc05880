//! Reminds of orders that are not paid in time: schedules, and order by key. `NATS_URL`, `REMIND_AFTER_SECONDS`.

use std::time::Duration;

use campana_bus::consume::{Failure, Meta};
use campana_bus::schedule::When;
use campana_bus::{Bus, Event, stop_on_signal, topology::EVENTS};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bus = Bus::from_env("reminders").await?;
    let after = std::env::var("REMIND_AFTER_SECONDS").ok().and_then(|text| text.parse().ok());
    let wait = When::After(Duration::from_secs(after.unwrap_or(3 * 24 * 3_600)));
    let shop = bus.clone();
    let changed = move |event: OrderChanged, _: Meta| remember(shop.clone(), event, wait.clone());
    // In order for each order, so that "paid" never overtakes "ordered"; 32 orders at a time.
    let consumer = bus.consumer::<OrderChanged>("reminders").ordered_by_key(32);
    consumer.run(changed, stop_on_signal()).await?;
    Ok(())
}

async fn remember(bus: Bus, event: OrderChanged, wait: When) -> Result<(), Failure> {
    let key = format!("payment-{}", event.order);
    let done = if event.paid {
        bus.unschedule(EVENTS, &key).await.map(drop)
    } else {
        let due = PaymentDue { order: event.order };
        bus.emit_at(&due, &wait, &key).await.map(drop) // the same key again replaces it
    };
    done.map_err(Failure::retry)
}
