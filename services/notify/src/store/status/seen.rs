//! In-app messages that were seen: a line in the timeline of their notification, nothing else.
//! Reads: nothing. Writes: table `outcomes`. Never: says twice that a message was seen.

use campana_bus::clock::Micros;
use campana_bus::ids::{DeliveryId, MessageId, NotificationId};
use sqlx::AssertSqlSafe;

use crate::store::{Store, StoreError, statements};

/// A message that its recipient has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenMessage {
    /// The message.
    pub delivery_id: DeliveryId,
    /// The notification it belongs to.
    pub notification_id: NotificationId,
}

impl Store {
    /// Records that messages were seen; those that were before stay as they are.
    ///
    /// # Errors
    /// If the database does not answer; all of it may be repeated.
    pub async fn apply_seen(
        &self,
        tenant: &str,
        messages: &[SeenMessage],
        at: Micros,
    ) -> Result<(), StoreError> {
        for chunk in statements(messages) {
            let sql = format!(
                "INSERT INTO outcomes (tenant, id, notification_id, delivery_id, at, event) VALUES {} \
                 ON CONFLICT (tenant, id) DO NOTHING",
                self.engine.values(chunk.len(), 6)
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for message in chunk {
                let delivery = message.delivery_id.to_string();
                query = query
                    .bind(tenant)
                    .bind(MessageId::derived(&["seen", &delivery]).to_string())
                    .bind(message.notification_id.to_string())
                    .bind(delivery)
                    .bind(at.0)
                    .bind("seen");
            }
            query.execute(&self.writes).await?;
        }
        Ok(())
    }
}
