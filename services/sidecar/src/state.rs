//! What the handlers of requests share.
//! Reads and writes: nothing by itself. Never: holds a message; those are in the stream or with the app.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use campana_bus::Bus;
use campana_bus::kv::Kv;
use campana_bus::lifecycle::Lifecycle;
use tokio::sync::{Mutex, Semaphore};

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
    /// Buckets that are open, by the name that the app uses.
    pub buckets: Mutex<HashMap<String, Kv>>,
}

impl Sidecar {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Sidecar {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
