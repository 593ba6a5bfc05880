//! Code around handlers: a list of layers that every delivery passes on its way in.
//! Reads and writes: what a layer's author does. Never: decides about settlement, which always follows from
//! the result that comes out at the outer end.
//!
//! Layers see deliveries before they are decoded, outermost first; decoding is part of the innermost step.
//! A layer may answer itself (`Ok` or a [`Failure`]), change the payload or the metadata for what is inside
//! it, look at the result on the way out, or replace it. It runs under the consumer's handler time-out, and
//! a panic in it counts as a panic of the handler. What it changes is seen by the handler only: copies,
//! retries and dead letters carry the message as it is stored.
//!
//! Where they run: around each message ([`super::run`], [`super::run_raw`]), around each message of a batch
//! ([`super::run_batches`]; a message that a layer answers leaves the batch, the others are handled
//! together), and around each part of an envelope ([`super::run_envelopes`]).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::{Failure, Meta};

mod many;
mod ready;

pub(super) use many::Outcome;
pub use ready::{Observe, RequireHeader, Timeout};

/// A message as layers see it: not decoded yet.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its body.
    pub payload: Bytes,
    /// What is known about it.
    pub meta: Meta,
}

/// Code that runs around a handler.
///
/// ```
/// use campana_bus::consume::{Delivery, Failure, Middleware, Next};
///
/// /// Lets only our own tenant's messages through; the others are somebody else's to handle.
/// struct OnlyTenant(&'static str);
///
/// impl Middleware for OnlyTenant {
///     async fn handle(&self, delivery: Delivery, next: Next<'_>) -> Result<(), Failure> {
///         match delivery.meta.subject.split('.').nth(1) {
///             Some(tenant) if tenant == self.0 => next.run(delivery).await,
///             _ => Ok(()), // acknowledged without the handler
///         }
///     }
/// }
/// # let _ = campana_bus::consume::Layers::new().and(OnlyTenant("default"));
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Does its part and, unless it answers itself, calls [`Next::run`].
    fn handle(
        &self,
        delivery: Delivery,
        next: Next<'_>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

impl<M: Middleware> Middleware for Arc<M> {
    fn handle(
        &self,
        delivery: Delivery,
        next: Next<'_>,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        (**self).handle(delivery, next)
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// [`Middleware`] in a form of which a list can be made.
trait Layer: Send + Sync {
    fn call<'a>(&'a self, delivery: Delivery, next: Next<'a>) -> Answer<'a>;
}

impl<M: Middleware> Layer for M {
    fn call<'a>(&'a self, delivery: Delivery, next: Next<'a>) -> Answer<'a> {
        Box::pin(self.handle(delivery, next))
    }
}

/// The rest of the way to the handler. It can be gone once: repeating a message is the business of retries,
/// which count attempts and wait.
pub struct Next<'a> {
    rest: &'a [Arc<dyn Layer>],
    innermost: &'a (dyn Fn(Delivery) -> Answer<'a> + Send + Sync),
}

impl Next<'_> {
    /// Goes on to the next layer, or to the handler if there is none.
    ///
    /// # Errors
    /// What the handler, or a layer nearer to it, answered.
    pub async fn run(self, delivery: Delivery) -> Result<(), Failure> {
        match self.rest.split_first() {
            Some((layer, rest)) => {
                layer.call(delivery, Next { rest, innermost: self.innermost }).await
            }
            None => (self.innermost)(delivery).await,
        }
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("layers_left", &self.rest.len()).finish_non_exhaustive()
    }
}

/// The layers of a consumer, outermost first.
#[derive(Clone, Default)]
pub struct Layers(Vec<Arc<dyn Layer>>);

impl Layers {
    /// No layers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more layer, inside those that are there.
    #[must_use]
    pub fn and(mut self, layer: impl Middleware) -> Self {
        self.0.push(Arc::new(layer));
        self
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs the layers around `work`. Without layers nothing is boxed.
    pub(super) async fn around<R>(
        &self,
        delivery: Delivery,
        work: impl Fn(Delivery) -> R + Send + Sync,
    ) -> Result<(), Failure>
    where
        R: Future<Output = Result<(), Failure>> + Send,
    {
        if self.0.is_empty() {
            return work(delivery).await;
        }
        let innermost = move |delivery: Delivery| -> Answer<'_> { Box::pin(work(delivery)) };
        Next { rest: &self.0, innermost: &innermost }.run(delivery).await
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({})", self.0.len())
    }
}
