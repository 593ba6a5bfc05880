//! Topic: the stock hears of every order, whatever packers, mail and analytics do.
//! Reads: `OrderPlaced`. Writes: `products.stock`, table `reserved`. Never: takes goods twice, or below zero.

use campana_bus::Bus;
use campana_bus::consume::{ConsumeError, Failure, Meta};

use crate::TAKEN_OVER;
use crate::events::OrderPlaced;
use crate::shop::Shop;

/// A name that no other reader uses: it gets a copy of everything.
pub const DURABLE: &str = "shop-inventory";

/// Keeps the stock until `stop`.
///
/// # Errors
/// If the consumer cannot be created.
pub async fn run(bus: Bus, shop: Shop, stop: impl Future<Output = ()>) -> Result<(), ConsumeError> {
    let stock = bus.consumer::<OrderPlaced>(DURABLE).max_in_flight(4).ack_wait(TAKEN_OVER);
    stock.run(move |order, meta| reserve(shop.clone(), order, meta), stop).await
}

async fn reserve(shop: Shop, order: OrderPlaced, meta: Meta) -> Result<(), Failure> {
    shop.store.reserve(&meta, &order).await?;
    shop.floor.changed();
    Ok(())
}
