//! What the page shows of the tables.
//! Reads: all of them. Writes: nothing. Never: gives out who ordered.

use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError};

/// Reports on the page.
const REPORTS: i64 = 7;
/// Packers on the page.
const PACKERS: i64 = 16;

/// A product and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Which one.
    pub sku: String,
    /// Its English name.
    pub name_en: String,
    /// Its Spanish name.
    pub name_es: String,
    /// Its price.
    pub cents: i64,
    /// Pieces in stock.
    pub stock: i64,
}

/// An order and who has dealt with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderState {
    /// Its number.
    pub order: String,
    /// When it was placed, in microseconds.
    pub placed_at: i64,
    /// Pieces.
    pub units: i64,
    /// What it costs.
    pub cents: i64,
    /// The queue: which packer had it.
    pub packed_by: Option<String>,
    /// The topic: products of which there were not enough; `None` while the inventory has not seen it.
    pub short: Option<i64>,
    /// The topic: whether a confirmation is on its way.
    pub confirmed: bool,
    /// The topic: whether analytics counted it.
    pub counted: bool,
}

/// Numbers over everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Orders placed.
    pub orders: i64,
    /// Orders packed, by packer.
    pub packers: Vec<(String, i64)>,
    /// Orders that the inventory saw.
    pub reserved: i64,
    /// Orders confirmed.
    pub confirmed: i64,
    /// Orders counted by analytics.
    pub counted: i64,
}

/// The projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProjectionState {
    /// The last message in it.
    pub sequence: i64,
    /// Events in it.
    pub events: i64,
    /// When it was last built from the beginning.
    pub rebuilt_at: i64,
    /// Products with the pieces sold, most first.
    pub best: Vec<(String, i64)>,
}

/// One nightly report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportRow {
    /// The day.
    pub day: String,
    /// Orders.
    pub orders: i64,
    /// Pieces.
    pub units: i64,
    /// What they cost.
    pub cents: i64,
    /// Orders of which something was not in stock.
    pub short: i64,
    /// When the report was made.
    pub made_at: i64,
}

impl Store {
    /// What can be bought.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn products(&self) -> Result<Vec<Product>, StoreError> {
        let rows =
            sqlx::query("SELECT sku, name_en, name_es, cents, stock FROM products ORDER BY sku")
                .fetch_all(&self.pool)
                .await?;
        let read = |row: AnyRow| -> Result<Product, sqlx::Error> {
            Ok(Product {
                sku: row.try_get("sku")?,
                name_en: row.try_get("name_en")?,
                name_es: row.try_get("name_es")?,
                cents: row.try_get("cents")?,
                stock: row.try_get("stock")?,
            })
        };
        Ok(rows.into_iter().map(read).collect::<Result<_, _>>()?)
    }

    /// The latest orders, newest first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn latest(&self, limit: i64) -> Result<Vec<OrderState>, StoreError> {
        let rows = sqlx::query(
            "SELECT o.id, o.placed_at, o.units, o.cents, p.worker, r.short, \
                    c.confirmed_at, n.counted_at \
             FROM orders o LEFT JOIN packed p ON p.order_id = o.id \
             LEFT JOIN reserved r ON r.order_id = o.id \
             LEFT JOIN confirmed c ON c.order_id = o.id \
             LEFT JOIN counted n ON n.order_id = o.id \
             ORDER BY o.placed_at DESC, o.id DESC LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let read = |row: AnyRow| -> Result<OrderState, sqlx::Error> {
            Ok(OrderState {
                order: row.try_get("id")?,
                placed_at: row.try_get("placed_at")?,
                units: row.try_get("units")?,
                cents: row.try_get("cents")?,
                packed_by: row.try_get("worker")?,
                short: row.try_get("short")?,
                confirmed: row.try_get::<Option<i64>, _>("confirmed_at")?.is_some(),
                counted: row.try_get::<Option<i64>, _>("counted_at")?.is_some(),
            })
        };
        Ok(rows.into_iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Numbers over all orders.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM orders) AS orders, (SELECT COUNT(*) FROM reserved) AS reserved, \
             (SELECT COUNT(*) FROM confirmed) AS confirmed, (SELECT COUNT(*) FROM counted) AS counted",
        )
        .fetch_one(&self.pool)
        .await?;
        let packers = sqlx::query_as(
            "SELECT worker, COUNT(*) AS packed FROM packed GROUP BY worker ORDER BY worker LIMIT $1",
        );
        Ok(Totals {
            orders: row.try_get("orders")?,
            reserved: row.try_get("reserved")?,
            confirmed: row.try_get("confirmed")?,
            counted: row.try_get("counted")?,
            packers: packers.bind(PACKERS).fetch_all(&self.pool).await?,
        })
    }

    /// The projection.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn projection(&self) -> Result<ProjectionState, StoreError> {
        let position = self.position().await?;
        let best =
            sqlx::query_as("SELECT sku, units FROM best_sellers ORDER BY units DESC, sku LIMIT 10");
        Ok(ProjectionState {
            sequence: position.sequence,
            events: position.events,
            rebuilt_at: position.rebuilt_at,
            best: best.fetch_all(&self.pool).await?,
        })
    }

    /// The latest reports, newest first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reports(&self) -> Result<Vec<ReportRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT day, orders, units, cents, short, made_at FROM reports ORDER BY day DESC LIMIT $1",
        )
        .bind(REPORTS)
        .fetch_all(&self.pool)
        .await?;
        let read = |row: AnyRow| -> Result<ReportRow, sqlx::Error> {
            Ok(ReportRow {
                day: row.try_get("day")?,
                orders: row.try_get("orders")?,
                units: row.try_get("units")?,
                cents: row.try_get("cents")?,
                short: row.try_get("short")?,
                made_at: row.try_get("made_at")?,
            })
        };
        Ok(rows.into_iter().map(read).collect::<Result<_, _>>()?)
    }
}
