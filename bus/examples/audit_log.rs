//! An audit log of the shop's orders: a whole service. `NATS_URL` says where the bus is.

use campana_bus::consume::{Failure, Meta};
use campana_bus::{Bus, Event, stop_on_signal};
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
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bus = Bus::from_env("audit-log").await?;
    let consumer = bus.consumer::<OrderCreated>("audit-log").max_in_flight(64).max_attempts(5);
    consumer.run(record, stop_on_signal()).await?; // returns after a clean drain
    Ok(())
}

async fn record(event: OrderCreated, meta: Meta) -> Result<(), Failure> {
    if event.currency.len() != 3 {
        return Err(Failure::dead("unknown_currency", event.currency)); // parked, never tried again
    }
    let line = format!(
        "{} {} {}.{:02} {}\n",
        meta.sequence,
        event.order,
        event.cents / 100,
        event.cents % 100,
        event.currency
    );
    let append = async {
        let mut file =
            tokio::fs::OpenOptions::new().append(true).create(true).open("audit.log").await?;
        tokio::io::AsyncWriteExt::write_all(&mut file, line.as_bytes()).await
    };
    append.await.map_err(Failure::retry) // tried again with growing pauses, then parked
}
