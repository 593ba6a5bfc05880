//! What order a consumer keeps, and by which key.
//! Reads: deliveries. Writes: nothing. Never: keeps a key longer than the messages that have it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::middleware::Delivery;
use crate::headers;

/// What order a consumer keeps. docs/adr/0017-order-by-key.md says what each promises when things go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// None: messages are handled as permits become free, and a retry lets later messages pass.
    #[default]
    None,
    /// Messages of one key one after the other in stream order, different keys at the same time; within
    /// this process, while it lives. Messages without a key are not ordered.
    ByKey {
        /// Handlers at work at the same time. A message that waits for its turn, or between two attempts,
        /// holds none of these, but one of [`super::ConsumerSpec::max_in_flight`].
        lanes: usize,
    },
    /// One message after the other in stream order, over all processes that run the same consumer. It is
    /// what the consumers of partitioned streams are made of ([`crate::partitions`]).
    Strict,
}

type Find = dyn Fn(&Delivery) -> Option<String> + Send + Sync;

/// How a message's key is found when it is not in the header `Campana-Key`.
#[derive(Clone)]
pub struct KeyOf(Arc<Find>);

impl KeyOf {
    /// Finds keys with a function. It runs in the pull loop, so it must be quick and must not block; if it
    /// panics, the attempt counts as failed.
    pub fn new(function: impl Fn(&Delivery) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    /// The key; an error if the function panicked.
    pub(super) fn find(&self, delivery: &Delivery) -> Result<Option<String>, ()> {
        catch_unwind(AssertUnwindSafe(|| (self.0)(delivery))).map_err(|_| ())
    }
}

impl fmt::Debug for KeyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyOf(..)")
    }
}

/// The key in the header `Campana-Key`; an empty one is none.
pub(super) fn header_key(delivery: &Delivery) -> Option<String> {
    headers::get(&delivery.meta.headers, headers::KEY)
        .filter(|key| !key.is_empty())
        .map(str::to_owned)
}
