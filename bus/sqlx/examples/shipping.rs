//! Plans a shipment for every order of the shop: once each, and told to others if and only if it is planned.
//! `NATS_URL` says where the bus is, `DATABASE_URL` where PostgreSQL is.

use std::time::Duration;

use campana_bus::consume::{Failure, Meta};
use campana_bus::{Bus, Event, lifecycle::Lifecycle, stop_on_signal};
use campana_bus_sqlx::{Inbox, Outbox, Relay, RelayOptions, migrate};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, Postgres, Transaction};

#[derive(Serialize, Deserialize)]
struct OrderCreated {
    order: String,
}

impl Event for OrderCreated {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "order_created";
}

#[derive(Serialize, Deserialize)]
struct ShipmentPlanned {
    order: String,
}

impl Event for ShipmentPlanned {
    const SERVICE: &'static str = "shipping";
    const NAME: &'static str = "shipment_planned";
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bus = Bus::from_env("shipping").await?;
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    migrate(&pool).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS shipments (order_id TEXT)").execute(&pool).await?;

    let (outbox, lifecycle) = (Outbox::new(), Lifecycle::new());
    let relay = Relay::new(&outbox, RelayOptions::default());
    let relaying = relay.run(pool.clone(), bus.clone(), lifecycle.clone());
    lifecycle.spawn_essential("relay", async { relaying.await.map_err(|e| e.to_string()) });

    let consumer = bus.consumer::<OrderCreated>("shipping").max_in_flight(8);
    let handle = move |event, meta| plan(pool.clone(), outbox.clone(), event, meta);
    consumer.run(handle, stop_on_signal()).await?;
    lifecycle.stop(Duration::from_secs(20)).await;
    Ok(())
}

async fn plan(
    pool: PgPool,
    outbox: Outbox,
    event: OrderCreated,
    meta: Meta,
) -> Result<(), Failure> {
    let told = outbox.clone();
    let effect = |mut tx: Transaction<'static, Postgres>| async move {
        let insert = sqlx::query("INSERT INTO shipments (order_id) VALUES ($1)").bind(&event.order);
        insert.execute(&mut *tx).await?;
        outbox.add(&mut tx, &ShipmentPlanned { order: event.order }).await?;
        Ok(tx) // commits both rows and the note that the message was handled, or nothing
    };
    Inbox.handle(&pool, &meta, effect).await?;
    told.wake(); // tell it now, not at the relay's next look
    Ok(())
}
