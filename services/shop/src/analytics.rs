//! Topic, in batches: sales by the hour, counted for up to a hundred orders in one transaction.
//! Reads: `OrderPlaced`. Writes: tables `counted` and `sales_by_hour`. Never: counts an order twice.

use std::time::Duration;

use campana_bus::Bus;
use campana_bus::consume::{BatchOptions, ConsumeError, Failure, Meta};

use crate::TAKEN_OVER;
use crate::events::OrderPlaced;
use crate::shop::Shop;

/// A name that no other reader uses: it gets a copy of everything.
pub const DURABLE: &str = "shop-analytics";

/// Nobody waits for these numbers, so they may wait a moment for company.
const BATCHES: BatchOptions = BatchOptions { max: 100, wait: Duration::from_millis(200) };

/// Counts until `stop`.
///
/// # Errors
/// If the consumer cannot be created.
pub async fn run(bus: Bus, shop: Shop, stop: impl Future<Output = ()>) -> Result<(), ConsumeError> {
    let counter = bus.consumer::<OrderPlaced>(DURABLE).max_in_flight(200).ack_wait(TAKEN_OVER);
    counter.run_batch(move |orders| count(shop.clone(), orders), BATCHES, stop).await
}

async fn count(shop: Shop, orders: Vec<(OrderPlaced, Meta)>) -> Result<(), Failure> {
    shop.store.count(&orders).await?;
    shop.floor.changed();
    Ok(())
}
