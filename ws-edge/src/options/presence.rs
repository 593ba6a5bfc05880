//! What an operator may choose about presence and receipts on a node; who is seen where stands in the namespace.
//! Reads: configuration. Writes: nothing. Never: switches anything on by default that costs a write per client.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Shortest and longest life of a lease, in milliseconds; the server counts whole seconds.
const LEASE_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;
/// Longest wait before somebody counts as offline, in milliseconds.
const DEBOUNCE_MS_MAX: u64 = 600_000;
/// Longest interval between two writes of a receipt, in milliseconds.
const INTERVAL_MS_MAX: u64 = 60_000;

/// Options of presence; every one has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PresenceOptions {
    /// How long a node that says nothing counts as alive. When a node was killed, its clients are gone after this
    /// time. Rounded up to whole seconds; a node renews it three times as often.
    pub lease_ms: u64,
    /// Whether services are told on the bus when a user comes online and goes offline.
    pub user_events: bool,
    /// How long a user, or the member of a channel, may be away before that is an event: a page that is loaded again is
    /// none.
    pub offline_after_ms: u64,
}

impl Default for PresenceOptions {
    fn default() -> Self {
        Self { lease_ms: 60_000, user_events: false, offline_after_ms: 8_000 }
    }
}

impl PresenceOptions {
    pub(crate) fn check(&self) -> Result<(), String> {
        if !LEASE_MS.contains(&self.lease_ms) {
            return Err(format!("presence.lease_ms is not in {LEASE_MS:?}"));
        }
        if self.offline_after_ms > DEBOUNCE_MS_MAX {
            return Err(format!("presence.offline_after_ms is above {DEBOUNCE_MS_MAX}"));
        }
        Ok(())
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    pub(crate) fn offline_after(&self) -> Duration {
        Duration::from_millis(self.offline_after_ms)
    }
}

/// Options of receipts; every one has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiptOptions {
    /// Whether clients may call `campana.ack` and `campana.receipts`.
    pub enabled: bool,
    /// Shortest time between two writes of one user's receipt in one channel; what comes between is written together.
    pub interval_ms: u64,
    /// Most users in the answer to `campana.receipts`.
    pub list_max: usize,
}

impl Default for ReceiptOptions {
    fn default() -> Self {
        Self { enabled: true, interval_ms: 1_000, list_max: 1_000 }
    }
}

impl ReceiptOptions {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.interval_ms > INTERVAL_MS_MAX {
            return Err(format!("receipts.interval_ms is above {INTERVAL_MS_MAX}"));
        }
        if self.list_max == 0 {
            return Err("receipts.list_max must be at least 1".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked() {
        assert_eq!(PresenceOptions::default().check(), Ok(()));
        for lease_ms in [0, 999, 3_600_001] {
            assert!(PresenceOptions { lease_ms, ..Default::default() }.check().is_err());
        }
        let patient = PresenceOptions { offline_after_ms: 600_001, ..Default::default() };
        assert!(patient.check().is_err());
        assert_eq!(ReceiptOptions::default().check(), Ok(()));
        assert!(ReceiptOptions { interval_ms: 60_001, ..Default::default() }.check().is_err());
        assert!(ReceiptOptions { list_max: 0, ..Default::default() }.check().is_err());
    }
}
