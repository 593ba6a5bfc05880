//! The projection's result and its place in the stream, which change together.
//! Reads and writes: `best_sellers`, `projections`. Never: moves on from a place where somebody else has been.

use sqlx::Row as _;

use super::{Store, StoreError};
use crate::projection::{Sales, Sold};

/// Up to where the projection goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Which incarnation of the stream.
    pub epoch: String,
    /// The last message that is in it; 0 for none.
    pub sequence: i64,
    /// How many events are in it.
    pub events: i64,
    /// When it was last built from the beginning, in microseconds; 0 for never.
    pub rebuilt_at: i64,
}

impl Position {
    /// The sequence as the stream counts it.
    #[must_use]
    pub fn sequence_u64(&self) -> u64 {
        u64::try_from(self.sequence).unwrap_or(0)
    }

    /// Goes forward to a message.
    pub fn reach(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(i64::try_from(sequence).unwrap_or(i64::MAX));
    }
}

impl Store {
    /// Where the projection stands.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn position(&self) -> Result<Position, StoreError> {
        let row = sqlx::query(
            "SELECT epoch, sequence, events, rebuilt_at FROM projections WHERE name = 'best_sellers'",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Position {
            epoch: row.try_get("epoch")?,
            sequence: row.try_get("sequence")?,
            events: row.try_get("events")?,
            rebuilt_at: row.try_get("rebuilt_at")?,
        })
    }

    /// Adds sales and moves from one place to the next. False, and nothing changed, if it was not there.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn project(
        &self,
        from: &Position,
        to: &Position,
        sales: &Sales,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let moved = sqlx::query(
            "UPDATE projections SET sequence = $1, events = $2 \
             WHERE name = 'best_sellers' AND epoch = $3 AND sequence = $4",
        )
        .bind(to.sequence)
        .bind(to.events)
        .bind(&from.epoch)
        .bind(from.sequence)
        .execute(&mut *tx)
        .await?;
        if moved.rows_affected() == 0 {
            return Ok(false);
        }
        for (sku, sold) in sales {
            add(&mut tx, sku, *sold).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Puts a list that was built from the beginning in place of the old one.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replace_projection(
        &self,
        position: &Position,
        sales: &Sales,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "UPDATE projections SET epoch = $1, sequence = $2, events = $3, rebuilt_at = $4 \
             WHERE name = 'best_sellers'",
        )
        .bind(&position.epoch)
        .bind(position.sequence)
        .bind(position.events)
        .bind(position.rebuilt_at)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM best_sellers").execute(&mut *tx).await?;
        for (sku, sold) in sales {
            add(&mut tx, sku, *sold).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

async fn add(
    tx: &mut sqlx::Transaction<'_, sqlx::Any>,
    sku: &str,
    sold: Sold,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO best_sellers (sku, orders, units, cents) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (sku) DO UPDATE SET orders = best_sellers.orders + excluded.orders, \
         units = best_sellers.units + excluded.units, cents = best_sellers.cents + excluded.cents",
    )
    .bind(sku)
    .bind(sold.orders)
    .bind(sold.units)
    .bind(sold.cents)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
