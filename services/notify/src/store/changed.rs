//! The news that something in the store changed, so that caches in other processes forget it.
//! Reads: nothing. Writes: one message on the `app.` subjects (stream `EVENTS`). Never: carries the new
//! value or an address; who needs it reads the store. Best effort: every cache also has a time to live.

use bytes::Bytes;
use campana_bus::Bus;
use campana_bus::subjects;
use serde::{Deserialize, Serialize};

const SERVICE: &str = "notify";
const EVENT: &str = "store-changed";

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Changed {
    /// A recipient was written or deleted.
    Recipient {
        /// Whose.
        tenant: String,
        /// Which.
        id: String,
    },
    /// A template was written or deleted.
    Template {
        /// Whose.
        tenant: String,
        /// Which.
        key: String,
    },
}

impl Changed {
    /// Every change of every tenant: subscribe to this with a plain subscription.
    #[must_use]
    pub fn filter() -> String {
        subjects::app_event_filter(SERVICE, EVENT)
    }

    /// Decodes a message of [`Changed::filter`]; `None` for anything else.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    fn tenant(&self) -> &str {
        match self {
            Self::Recipient { tenant, .. } | Self::Template { tenant, .. } => tenant,
        }
    }

    /// Tells everyone who listens. A failure is only logged: caches expire by themselves.
    pub async fn announce(&self, bus: &Bus) {
        let payload = match serde_json::to_vec(self) {
            Ok(payload) => Bytes::from(payload),
            Err(error) => {
                tracing::error!(%error, "a change of the store cannot be encoded");
                return;
            }
        };
        let subject = subjects::app_event(self.tenant(), SERVICE, EVENT);
        if let Err(error) = bus.client().publish(subject, payload).await {
            tracing::warn!(%error, "a change of the store was not announced; caches catch up by themselves");
        }
    }
}
