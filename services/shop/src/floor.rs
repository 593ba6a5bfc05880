//! What the page shows, pushed whenever it changes.
//! Reads: the store, the state of the consumers. Writes: one channel of the edge. Never: says who ordered; pushes
//! more than ten times a second, however much happens.
//!
//! The channel carries the whole picture and not the changes, so that a page which missed ten pushes is right again
//! with the eleventh.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use campana_bus::ids::MessageId;
use campana_bus::publish::Outgoing;
use campana_bus::schedule::PAGE_MAX;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::topology::EVENTS;
use campana_bus::{Bus, clock, consumers};
use serde::Serialize;
use tokio::sync::{Mutex, Notify};

use crate::shop::Shop;
use crate::store::{OrderState, Product, ProjectionState, ReportRow, StoreError, Totals};
use crate::{analytics, inventory, mail, packing, report};

/// The channel that pages follow; its namespace is `shop`.
pub const CHANNEL: &str = "shop:floor";
/// Shortest time between two pushes.
const PAUSE: Duration = Duration::from_millis(100);
/// Pages of schedules that are looked through for the report's.
const SCHEDULE_PAGES_MAX: usize = 20;
/// Orders on the page.
const ORDERS: i64 = 12;
const SERVICES: [&str; 5] =
    [packing::DURABLE, inventory::DURABLE, mail::DURABLE, analytics::DURABLE, report::DURABLE];

/// Says that something changed, and keeps the latest picture; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Floor(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    changed: Notify,
    /// The latest picture, and when the work on it began.
    latest: Mutex<Option<(Instant, Picture)>>,
}

impl Floor {
    /// Something changed that the page shows.
    pub fn changed(&self) {
        self.0.changed.notify_one();
    }
}

/// Everything on the page.
#[derive(Clone, Debug, Serialize)]
pub struct Picture {
    /// When it was taken: of two pictures the newer one counts.
    pub at: i64,
    /// What can be bought.
    pub products: Vec<Product>,
    /// The latest orders and what became of each.
    pub orders: Vec<OrderState>,
    /// Numbers over all orders.
    pub totals: Totals,
    /// The durable consumers, with what waits for each. Empty while the bus does not answer.
    pub readers: Vec<Reader>,
    /// The projection.
    pub projection: ProjectionState,
    /// The latest reports.
    pub reports: Vec<ReportRow>,
    /// When the next one is due, in microseconds.
    pub report_due_at: Option<i64>,
}

/// A durable consumer.
#[derive(Clone, Debug, Serialize)]
pub struct Reader {
    /// Its name.
    pub name: String,
    /// Messages that wait for it or are in hand.
    pub waiting: u64,
    /// Those of them that a handler has, or that wait for another attempt.
    pub in_hand: u64,
    /// Whether it rests.
    pub paused: bool,
}

/// A picture that was begun after this call. Whoever asks while one is taken shares the next one, so however many ask,
/// the bus and the database are asked once at a time.
///
/// # Errors
/// If the database does not answer; a bus that does not is left out.
pub async fn picture(bus: &Bus, shop: &Shop) -> Result<Picture, StoreError> {
    let asked_at = clock::monotonic();
    let mut latest = shop.floor.0.latest.lock().await;
    if let Some((began_at, picture)) = &*latest
        && *began_at >= asked_at
    {
        return Ok(picture.clone());
    }
    let began_at = clock::monotonic();
    let picture = take(bus, shop).await?;
    *latest = Some((began_at, picture.clone()));
    Ok(picture)
}

async fn take(bus: &Bus, shop: &Shop) -> Result<Picture, StoreError> {
    let readers = consumers::list(bus, Some(EVENTS)).await.unwrap_or_default();
    let readers = readers.into_iter().filter(|one| SERVICES.contains(&one.consumer.as_str()));
    let readers = readers.map(|one| {
        let in_hand = u64::try_from(one.ack_pending).unwrap_or(0);
        let (waiting, paused) = (one.pending + in_hand, one.paused_until.is_some());
        Reader { name: one.consumer, waiting, in_hand, paused }
    });
    Ok(Picture {
        at: clock::now().0,
        products: shop.store.products().await?,
        orders: shop.store.latest(ORDERS).await?,
        totals: shop.store.totals().await?,
        readers: readers.collect(),
        projection: shop.store.projection().await?,
        reports: shop.store.reports().await?,
        report_due_at: nightly(bus).await,
    })
}

/// When the nightly report is due next. The stream holds the schedules of other services as well.
async fn nightly(bus: &Bus) -> Option<i64> {
    let mut after = 0;
    for _ in 0..SCHEDULE_PAGES_MAX {
        let page = bus.schedules(EVENTS, after, PAGE_MAX).await.ok()?;
        if let Some(found) = page.iter().find(|one| one.key == report::SCHEDULE) {
            return found.next_at.map(|at| at.0);
        }
        after = page.last()?.sequence;
    }
    None
}

/// Pushes pictures until it is dropped. A push that fails is made up for by the next one.
pub async fn push(bus: Bus, shop: Shop) {
    let Ok(name) = ChannelName::parse(CHANNEL) else { return };
    let subject = subjects::channel("default", &name);
    loop {
        shop.floor.0.changed.notified().await;
        match picture(&bus, &shop).await {
            Ok(picture) => {
                let body = serde_json::to_vec(&picture).map(Bytes::from).unwrap_or_default();
                let message = Outgoing::new(&*subject, MessageId::fresh().to_string(), body);
                if let Err(error) = bus.publish(message).await {
                    tracing::warn!(%error, "the page was not told of a change");
                }
            }
            Err(error) => tracing::warn!(%error, "there is no picture of the shop"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
