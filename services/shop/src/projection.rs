//! Stream: the list of best sellers, made of all stored orders from the first one on.
//! Reads: stored `OrderPlaced`, by position. Writes: tables `best_sellers` and `projections`.
//! Never: has a durable consumer: the position lies beside the result and changes with it in one transaction, so
//! every event counts once; never shows a list that is half rebuilt.

use std::collections::BTreeMap;
use std::pin::pin;

use campana_bus::Bus;
use campana_bus::fetch::{FetchError, StoredMessage};
use campana_bus::replay::{From, ReplayError};
use campana_bus::topology::EVENTS;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Notify;

use crate::events::OrderPlaced;
use crate::shop::Shop;
use crate::store::{Position, StoreError};

/// Events that are applied in one transaction, if as many are there.
const EVENTS_MAX: usize = 200;

/// What was sold of one product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sold {
    /// Orders that have it.
    pub orders: i64,
    /// Pieces.
    pub units: i64,
    /// What they cost.
    pub cents: i64,
}

/// Best sellers by product.
pub type Sales = BTreeMap<String, Sold>;

/// Why the projection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The stream broke off.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The stream does not say where it stands.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What one order adds; pure.
pub fn add(sales: &mut Sales, order: &OrderPlaced) {
    for line in &order.lines {
        let sold = sales.entry(line.sku.clone()).or_default();
        // Whoever may publish could have told anything: a sum stays a sum.
        sold.orders = sold.orders.saturating_add(1);
        sold.units = sold.units.saturating_add(line.quantity.into());
        sold.cents = sold.cents.saturating_add(i64::try_from(line.cents).unwrap_or(i64::MAX));
    }
}

/// Follows the stream until it breaks off; the caller comes back. `rebuild` asks for a new beginning.
///
/// # Errors
/// If the stream or the database does.
pub async fn follow(bus: &Bus, shop: &Shop, rebuild: &Notify) -> Result<(), ProjectionError> {
    let mut position = shop.store.position().await?;
    if position.epoch != bus.position(EVENTS).await?.epoch {
        // Another stream than last time: its sequences mean something else.
        position = build(bus, shop).await?;
    }
    let from = From::Sequence(position.sequence_u64() + 1);
    let events = bus.replay_events::<OrderPlaced>(from).follow();
    let mut batches = pin!(events.ready_chunks(EVENTS_MAX));
    loop {
        let batch = tokio::select! {
            batch = batches.next() => batch,
            () = rebuild.notified() => {
                build(bus, shop).await?;
                return Ok(());
            }
        };
        let Some(batch) = batch else { return Ok(()) };
        match apply(shop, &position, batch).await? {
            Some(further) => position = further,
            None => return Ok(()), // another process was quicker: begin where it stands
        }
        shop.floor.changed();
    }
}

type Replayed = Result<(OrderPlaced, StoredMessage), ReplayError>;

/// Adds a batch to the list, if the list still is where it was.
async fn apply(
    shop: &Shop,
    position: &Position,
    batch: Vec<Replayed>,
) -> Result<Option<Position>, ProjectionError> {
    let (mut sales, mut further) = (Sales::new(), position.clone());
    for event in batch {
        match event {
            Ok((order, message)) => {
                add(&mut sales, &order);
                further.events += 1;
                further.reach(message.sequence);
            }
            Err(ReplayError::Decode { sequence, reason }) => {
                tracing::warn!(message.sequence = sequence, "an order cannot be read: {reason}");
                further.reach(sequence);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let moved = shop.store.project(position, &further, &sales).await?;
    Ok(moved.then_some(further))
}

/// Reads everything that is stored, from the first order on, and puts the result in place of the old one.
async fn build(bus: &Bus, shop: &Shop) -> Result<Position, ProjectionError> {
    let epoch = bus.position(EVENTS).await?.epoch;
    let mut built = Position { epoch, ..Position::default() };
    let mut sales = Sales::new();
    let mut events = bus.replay_events::<OrderPlaced>(From::Start);
    loop {
        match events.try_next().await {
            Ok(Some((order, message))) => {
                add(&mut sales, &order);
                built.events += 1;
                built.reach(message.sequence);
            }
            Ok(None) => break,
            Err(ReplayError::Decode { sequence, .. }) => built.reach(sequence),
            Err(error) => return Err(error.into()),
        }
    }
    built.rebuilt_at = campana_bus::clock::now().0;
    shop.store.replace_projection(&built, &sales).await?;
    tracing::info!(events = built.events, "the list of best sellers was rebuilt");
    shop.floor.changed();
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Line;

    #[test]
    fn lines_of_one_product_add_up() {
        let order = |quantity: u32| OrderPlaced {
            order: "s-1".to_owned(),
            lines: vec![Line { sku: "a".to_owned(), quantity, cents: 100 }],
            cents: 100,
            placed_at: 0,
        };
        let mut sales = Sales::new();
        add(&mut sales, &order(1));
        add(&mut sales, &order(3));
        assert_eq!(sales["a"], Sold { orders: 2, units: 4, cents: 200 });
    }
}
