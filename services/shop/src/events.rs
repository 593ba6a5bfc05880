//! What the shop tells the bus.
//! Reads and writes: nothing. Never: carries a name or an address; whoever needs those asks the shop's own tables.

use campana_bus::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One product of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Which product.
    pub sku: String,
    /// How many.
    pub quantity: u32,
    /// What they cost together.
    pub cents: u64,
}

/// A customer placed an order. Everything on the shop's page begins with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.default.shop.order_placed.{order}", id = "order")]
pub struct OrderPlaced {
    /// Its number, and the key that consumers may order by.
    pub order: String,
    /// What was ordered.
    pub lines: Vec<Line>,
    /// What it costs.
    pub cents: u64,
    /// When, in microseconds since the Unix epoch.
    pub placed_at: i64,
}

impl OrderPlaced {
    /// Pieces of all lines.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.quantity)).sum()
    }
}

/// It is time for a report. The schedule tells it every night, a person at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.default.shop.report_due")]
pub struct ReportDue {
    /// About which day (`2026-11-22`); the one before the event if there is none.
    #[serde(default)]
    pub day: Option<String>,
}
