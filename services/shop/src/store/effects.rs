//! What handlers do to the tables, each once however often its message comes.
//! Reads and writes: `packed`, `products`, `reserved`, `counted`, `sales_by_hour`, `confirmed`, `reports`, inbox and
//! ledger. Never: an effect without the note that its message was handled, in the same transaction.

use campana_bus::clock;
use campana_bus::consume::{Failure, Meta};
use campana_bus_sqlx::{Call, Fence, Inbox, Ledger, Once, SendError, Sent};

use super::orders::number_of;
use super::{Store, StoreError};
use crate::events::OrderPlaced;
use crate::report::Day;

const HOUR: i64 = 3_600_000_000;

impl Store {
    /// Notes who packed an order.
    ///
    /// # Errors
    /// What becomes of the message.
    pub async fn pack(&self, meta: &Meta, order: &str, worker: &str) -> Result<(), Failure> {
        let effect = |mut tx: sqlx::Transaction<'static, sqlx::Any>| async move {
            sqlx::query("INSERT INTO packed (order_id, worker, packed_at) VALUES ($1, $2, $3)")
                .bind(order)
                .bind(worker)
                .bind(clock::now().0)
                .execute(&mut *tx)
                .await?;
            Ok(tx)
        };
        Inbox.handle(&self.pool, meta, effect).await
    }

    /// Takes an order's goods out of the stock; counts the products of which there are not enough.
    ///
    /// # Errors
    /// What becomes of the message.
    pub async fn reserve(&self, meta: &Meta, order: &OrderPlaced) -> Result<(), Failure> {
        // In one sequence for everybody, so that two orders never wait for each other.
        let mut lines: Vec<_> = order.lines.iter().collect();
        lines.sort_by(|a, b| a.sku.cmp(&b.sku));
        let effect = |mut tx: sqlx::Transaction<'static, sqlx::Any>| async move {
            let mut short = 0_i64;
            for line in lines {
                let taken = sqlx::query(
                    "UPDATE products SET stock = stock - $1 WHERE sku = $2 AND stock >= $1",
                )
                .bind(i64::from(line.quantity))
                .bind(&line.sku)
                .execute(&mut *tx)
                .await?;
                short += i64::from(taken.rows_affected() == 0);
            }
            sqlx::query("INSERT INTO reserved (order_id, short, reserved_at) VALUES ($1, $2, $3)")
                .bind(&order.order)
                .bind(short)
                .bind(clock::now().0)
                .execute(&mut *tx)
                .await?;
            Ok(tx)
        };
        Inbox.handle(&self.pool, meta, effect).await
    }

    /// Counts many orders in one transaction, each once.
    ///
    /// # Errors
    /// What becomes of the messages.
    pub async fn count(&self, orders: &[(OrderPlaced, Meta)]) -> Result<(), Failure> {
        let mut tx = self.pool.begin().await.map_err(StoreError::from)?;
        for (order, meta) in orders {
            if Inbox.once(&mut tx, meta).await? == Once::Seen {
                continue;
            }
            count_one(&mut tx, order).await.map_err(StoreError::from)?;
        }
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Makes a call to the outside unless it was made before.
    ///
    /// # Errors
    /// What becomes of the message.
    pub async fn once<S, A>(
        &self,
        key: &str,
        meta: &Meta,
        send: impl FnOnce(Fence) -> S,
        ask: impl FnOnce(Fence) -> A,
    ) -> Result<Vec<u8>, Failure>
    where
        S: Future<Output = Result<Vec<u8>, SendError>>,
        A: Future<Output = Sent>,
    {
        let call = Call::new(key, meta);
        Ledger::new("shop-notifications").call(&self.pool, call, send, ask).await
    }

    /// Notes which notification confirmed an order.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn confirmed(&self, order: &str, notification: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO confirmed (order_id, notification, confirmed_at) VALUES ($1, $2, $3) \
             ON CONFLICT (order_id) DO NOTHING",
        )
        .bind(order)
        .bind(notification)
        .bind(clock::now().0)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Writes the report of a day; a later one of the same day replaces it.
    ///
    /// # Errors
    /// What becomes of the message.
    pub async fn report(&self, meta: &Meta, day: &Day) -> Result<(), Failure> {
        let effect = |mut tx: sqlx::Transaction<'static, sqlx::Any>| async move {
            sqlx::query(
                "INSERT INTO reports (day, orders, units, cents, short, made_at) \
                 SELECT $1, COUNT(*), CAST(COALESCE(SUM(o.units), 0) AS BIGINT), \
                        CAST(COALESCE(SUM(o.cents), 0) AS BIGINT), \
                        CAST(COALESCE(SUM(CASE WHEN r.short > 0 THEN 1 ELSE 0 END), 0) AS BIGINT), $4 \
                 FROM orders o LEFT JOIN reserved r ON r.order_id = o.id \
                 WHERE o.placed_at >= $2 AND o.placed_at < $3 \
                 ON CONFLICT (day) DO UPDATE SET orders = excluded.orders, units = excluded.units, \
                        cents = excluded.cents, short = excluded.short, made_at = excluded.made_at",
            )
            .bind(&day.name)
            .bind(day.from)
            .bind(day.until)
            .bind(clock::now().0)
            .execute(&mut *tx)
            .await?;
            Ok(tx)
        };
        Inbox.handle(&self.pool, meta, effect).await
    }
}

async fn count_one(
    tx: &mut sqlx::Transaction<'_, sqlx::Any>,
    order: &OrderPlaced,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO counted (order_id, counted_at) VALUES ($1, $2)")
        .bind(&order.order)
        .bind(clock::now().0)
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "INSERT INTO sales_by_hour (hour, orders, units, cents) VALUES ($1, 1, $2, $3) \
         ON CONFLICT (hour) DO UPDATE SET orders = sales_by_hour.orders + 1, \
         units = sales_by_hour.units + excluded.units, cents = sales_by_hour.cents + excluded.cents",
    )
    .bind(order.placed_at.div_euclid(HOUR).saturating_mul(HOUR))
    .bind(number_of(order.units()))
    .bind(number_of(order.cents))
    .execute(&mut **tx)
    .await?;
    Ok(())
}
