//! What a step looked like over time.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Columns of one value a second. All have the length of `at_s`; a value that could not be read
/// is null, never zero.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Seconds since the run began.
    pub at_s: Vec<f64>,
    /// `offered`, `sent`, `delivered`, `shed` (per second), `in_flight`, `p50_ms`, `p99_ms`,
    /// `p50_actual_ms`, `p99_actual_ms`, `lag_p99_ms`, `canary_p99_ms`, `steal_percent`,
    /// `cpu:<process>` (cores), `rss:<process>` (bytes), `pending:<consumer>`,
    /// `ack_pending:<consumer>` (messages).
    pub columns: BTreeMap<String, Vec<Option<f64>>>,
}

/// Receipts by second and latency.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Heat {
    /// Upper edges of the rows in milliseconds, growing.
    pub bounds_ms: Vec<f64>,
    /// First second of each column, since the run began.
    pub at_s: Vec<f64>,
    /// For each column, how many receipts in each row; one more than `bounds_ms` for the rest.
    pub counts: Vec<Vec<u32>>,
}
