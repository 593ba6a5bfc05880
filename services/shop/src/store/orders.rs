//! Orders: placed together with their event.
//! Reads and writes: `orders`, `order_lines`, `products`, the outbox. Never: an order without its event, an event
//! without its order.

use campana_bus::clock::Micros;
use sqlx::Row as _;

use super::{Store, StoreError};
use crate::events::{Line, OrderPlaced};

/// Who ordered. It stays in the shop's tables: events carry the order's number only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    /// As the customer wrote it.
    pub name: String,
    /// Where the confirmation goes.
    pub email: String,
    /// `en` or `es`.
    pub locale: String,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is in the tables, and its event on the way.
    New(OrderPlaced),
    /// It was placed before: a repeat of the same request.
    Before,
    /// Another order has this number; nothing changed.
    Taken,
    /// There is no such product.
    UnknownProduct(String),
}

impl Store {
    /// Places an order and tells of it, in one transaction. The same number again changes nothing.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn place(
        &self,
        number: &str,
        customer: &Customer,
        wanted: &[(String, u32)],
        at: Micros,
    ) -> Result<Placed, StoreError> {
        let mut lines = Vec::with_capacity(wanted.len());
        for (sku, quantity) in wanted {
            let Some(price) = self.price(sku).await? else {
                return Ok(Placed::UnknownProduct(sku.clone()));
            };
            let cents =
                u64::try_from(price).ok().and_then(|one| one.checked_mul((*quantity).into()));
            let cents = cents.ok_or_else(|| StoreError::Price(sku.clone()))?;
            lines.push(Line { sku: sku.clone(), quantity: *quantity, cents });
        }
        let cents = lines.iter().map(|line| line.cents).sum();
        let event = OrderPlaced { order: number.to_owned(), lines, cents, placed_at: at.0 };
        let mut tx = self.pool.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO orders (id, customer, email, locale, units, cents, placed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
        )
        .bind(number)
        .bind(&customer.name)
        .bind(&customer.email)
        .bind(&customer.locale)
        .bind(number_of(event.units()))
        .bind(number_of(cents))
        .bind(at.0)
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 0 {
            tx.rollback().await?;
            let same = self.is_order(number, customer, wanted).await?;
            return Ok(if same { Placed::Before } else { Placed::Taken });
        }
        for line in &event.lines {
            sqlx::query(
                "INSERT INTO order_lines (order_id, sku, quantity, cents) VALUES ($1, $2, $3, $4)",
            )
            .bind(number)
            .bind(&line.sku)
            .bind(i64::from(line.quantity))
            .bind(number_of(line.cents))
            .execute(&mut *tx)
            .await?;
        }
        self.outbox.add(&mut tx, &event).await?;
        self.outbox.commit(tx).await?;
        Ok(Placed::New(event))
    }

    /// Whether the stored order is what is wanted. Prices may have changed since, so they do not count.
    async fn is_order(
        &self,
        number: &str,
        customer: &Customer,
        wanted: &[(String, u32)],
    ) -> Result<bool, StoreError> {
        let stored = self.customer(number).await?;
        let same = stored.is_some_and(|one| {
            (one.name, one.email) == (customer.name.clone(), customer.email.clone())
        });
        let query = "SELECT sku, quantity FROM order_lines WHERE order_id = $1 ORDER BY sku";
        let lines: Vec<(String, i64)> =
            sqlx::query_as(query).bind(number).fetch_all(&self.pool).await?;
        let mut wanted: Vec<_> =
            wanted.iter().map(|(sku, quantity)| (sku.clone(), i64::from(*quantity))).collect();
        wanted.sort_unstable();
        Ok(same && lines == wanted)
    }

    async fn price(&self, sku: &str) -> Result<Option<i64>, StoreError> {
        let query = sqlx::query_scalar("SELECT cents FROM products WHERE sku = $1");
        Ok(query.bind(sku).fetch_optional(&self.pool).await?)
    }

    /// Who placed an order.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn customer(&self, number: &str) -> Result<Option<Customer>, StoreError> {
        let query = sqlx::query("SELECT customer, email, locale FROM orders WHERE id = $1");
        let row = query.bind(number).fetch_optional(&self.pool).await?;
        let read = |row: sqlx::any::AnyRow| -> Result<Customer, sqlx::Error> {
            Ok(Customer {
                name: row.try_get("customer")?,
                email: row.try_get("email")?,
                locale: row.try_get("locale")?,
            })
        };
        Ok(row.map(read).transpose()?)
    }

    /// Fills the shelves again.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn restock(&self, pieces: i64) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE products SET stock = $1 WHERE stock < $1");
        update.bind(pieces).execute(&self.pool).await?;
        Ok(())
    }
}

/// Amounts of an order are bounded far below.
pub(super) fn number_of(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
