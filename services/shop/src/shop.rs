//! What all parts of the shop share.
//! Reads and writes: through its parts. Never: holds state that a restart would miss.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::sync::Notify;

use crate::floor::Floor;
use crate::store::Store;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shop {
    /// The tables.
    pub store: Store,
    /// Tells pages of changes.
    pub floor: Floor,
    /// Where the shop is.
    pub time_zone: TimeZone,
    /// Asks the projection to begin anew.
    pub rebuild: Arc<Notify>,
}
