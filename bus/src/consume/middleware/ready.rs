//! Layers that many consumers need.
//! Reads: deliveries and results. Writes: what an [`Observe`] function does. Never: changes a message.
//! Spans and metrics of messages need no layer: the library writes them for every message.

use std::fmt;
use std::time::Duration;

use super::{Delivery, Middleware, Next};
use crate::consume::{Failure, Meta};
use crate::{clock, headers};

/// A time-out for what is inside it: a message that takes longer is tried again. The consumer's
/// `handler_timeout` holds for the whole of the layers beside it, so a longer one here has no effect.
#[derive(Clone, Copy, Debug)]
pub struct Timeout(pub Duration);

impl Middleware for Timeout {
    async fn handle(&self, delivery: Delivery, next: Next<'_>) -> Result<(), Failure> {
        tokio::time::timeout(self.0, next.run(delivery)).await.unwrap_or_else(|_| {
            Err(Failure::retry(format!("not handled within {} ms", self.0.as_millis())))
        })
    }
}

/// Parks messages whose header is missing or refused by a check, before anybody decodes them. The value
/// never appears in the error.
///
/// Keeps out what is not signed with our key, for example:
///
/// ```
/// use campana_bus::consume::{Layers, RequireHeader};
///
/// # fn is_ours(signature: &str) -> bool { !signature.is_empty() }
/// let layers = Layers::new().and(RequireHeader::new("Shop-Signature", is_ours));
/// # assert_eq!(layers.len(), 1);
/// ```
pub struct RequireHeader {
    name: &'static str,
    check: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl RequireHeader {
    /// Demands that the header is there and that `check` accepts its first value.
    pub fn new(name: &'static str, check: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { name, check: Box::new(check) }
    }
}

impl Middleware for RequireHeader {
    async fn handle(&self, delivery: Delivery, next: Next<'_>) -> Result<(), Failure> {
        match headers::get(&delivery.meta.headers, self.name) {
            Some(value) if (self.check)(value) => next.run(delivery).await,
            found => {
                let what = if found.is_some() { "was refused" } else { "is missing" };
                Err(Failure::dead("header_refused", format!("the header {} {what}", self.name)))
            }
        }
    }
}

impl fmt::Debug for RequireHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireHeader").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Calls a function with the result of what is inside it and the time that took: for one's own metrics or
/// logs. A panic or the consumer's own time-out passes it by.
pub struct Observe<F>(pub F);

impl<F> Middleware for Observe<F>
where
    F: Fn(&Meta, &Result<(), Failure>, Duration) + Send + Sync + 'static,
{
    async fn handle(&self, delivery: Delivery, next: Next<'_>) -> Result<(), Failure> {
        let (started, meta) = (clock::monotonic(), delivery.meta.clone());
        let result = next.run(delivery).await;
        (self.0)(&meta, &result, started.elapsed());
        result
    }
}

impl<F> fmt::Debug for Observe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observe(..)")
    }
}
