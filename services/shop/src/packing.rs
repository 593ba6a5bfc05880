//! Queue: of all packers, in however many processes, one gets each order.
//! Reads: `OrderPlaced`. Writes: table `packed`. Never: packs an order twice, also when a message comes again.

use campana_bus::Bus;
use campana_bus::consume::{ConsumeError, Failure, Meta};

use crate::TAKEN_OVER;
use crate::events::OrderPlaced;
use crate::shop::Shop;

/// All packers use this one name, so they share the work.
pub const DURABLE: &str = "shop-packing";

/// One packer, until `stop`.
///
/// # Errors
/// If the consumer cannot be created.
pub async fn run(
    bus: Bus,
    shop: Shop,
    worker: String,
    stop: impl Future<Output = ()>,
) -> Result<(), ConsumeError> {
    let packer = bus.consumer::<OrderPlaced>(DURABLE).max_in_flight(1).ack_wait(TAKEN_OVER);
    packer.run(move |order, meta| pack(shop.clone(), worker.clone(), order, meta), stop).await
}

async fn pack(shop: Shop, worker: String, order: OrderPlaced, meta: Meta) -> Result<(), Failure> {
    shop.store.pack(&meta, &order.order, &worker).await?;
    shop.floor.changed();
    Ok(())
}
