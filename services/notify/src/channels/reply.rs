//! What a provider made of a message, in the terms that the worker decides by.
//! Reads: nothing. Writes: nothing. Never: holds an address or a text; `detail` is redacted before it is kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::classify::Signal;
use crate::contracts::DeliveryStatus;

/// The provider took the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// `sent` if only acceptance is known, `delivered` if the receiver itself said yes.
    pub status: DeliveryStatus,
    /// The provider's own id of the message.
    pub provider_message_id: Option<String>,
    /// The provider's answer.
    pub detail: Option<String>,
}

/// The provider did not take the message, or did not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to look up in the tables.
    pub signal: Signal,
    /// The provider's answer.
    pub detail: String,
    /// When the provider wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal without a wish for the next time.
    pub(crate) fn new(signal: Signal, detail: impl Into<String>) -> Self {
        Self { signal, detail: detail.into(), retry_after: None }
    }
}

/// A place among the requests to a provider, free again when it is dropped.
pub type Place = OwnedSemaphorePermit;

/// Waits for one of these places.
pub(super) async fn place(places: &Arc<Semaphore>) -> Result<Place, Refusal> {
    Arc::clone(places).acquire_owned().await.map_err(|_| {
        Refusal::new(Signal::NotReady("stopping"), "the channel takes no more requests")
    })
}
