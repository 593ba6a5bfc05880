//! What the handlers of requests share.
//! Reads and writes: nothing by itself. Never: holds a message; those are in the stream or with the app.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use campana_bus::Bus;
use campana_bus::kv::Kv;
use campana_bus::lifecycle::Lifecycle;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::in_hand::InHand;
use crate::manager;
use crate::options::Options;

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub(crate) struct Sidecar(Arc<Parts>);

pub(crate) struct Parts {
    pub options: Options,
    pub bus: Bus,
    pub app: App,
    pub in_hand: InHand,
    pub manager: manager::Handle,
    pub lifecycle: Lifecycle,
    /// One for each request at work.
    pub permits: Semaphore,
    /// Buckets that are open, by the name that the app uses; never locked while anybody waits.
    pub buckets: Mutex<HashMap<String, Kv>>,
    /// Held by whoever creates a bucket, so that their number stays within the limit.
    pub creating: tokio::sync::Mutex<()>,
}

impl Sidecar {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// A bucket that is open.
    pub fn open_bucket(&self, name: &str) -> Option<Kv> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Keeps a bucket open while there is room.
    pub fn keep_bucket(&self, name: &str, bucket: &Kv) {
        let mut open = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() < self.options.limits.buckets_max {
            open.insert(name.to_owned(), bucket.clone());
        }
    }

    /// Whether as many buckets are open as may be.
    pub fn buckets_full(&self) -> bool {
        let open = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        open.len() >= self.options.limits.buckets_max
    }
}

impl Deref for Sidecar {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
