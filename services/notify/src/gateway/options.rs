//! Every limit of the gateway, as a number that configuration can change.
//! Reads and writes: nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Options of the gateway role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayOptions {
    /// Open connections; more wait in the listen queue of the operating system.
    pub connections_max: usize,
    /// Milliseconds for a request's head to arrive; an idle connection is closed after the same time.
    pub header_timeout_ms: u64,
    /// Milliseconds for a request's body to arrive.
    pub body_timeout_ms: u64,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Bytes of a batch's body.
    pub batch_bytes_max: usize,
    /// Notifications in one batch.
    pub batch_items_max: usize,
    /// Recipients of one notification.
    pub recipients_max: usize,
    /// Seconds a notification may be scheduled ahead.
    pub delay_seconds_max: u64,
    /// Requests a second of one API key, in the long run. A batch counts each notification.
    pub rate_per_second: u32,
    /// Requests that one API key may make at once.
    pub rate_burst: u32,
    /// Messages waiting for the dispatcher above which new notifications are refused.
    pub backlog_messages_max: u64,
    /// Bytes waiting for the dispatcher above which new notifications are refused.
    pub backlog_bytes_max: u64,
    /// Milliseconds between two looks at the backlog; five times that while nobody sends and nothing waits.
    pub backlog_poll_ms: u64,
    /// Seconds an API key is trusted before the store is asked again.
    pub key_cache_seconds: u64,
    /// Seconds a recipient or template is known to exist before the store is asked again.
    pub lookup_cache_seconds: u64,
    /// Milliseconds the store may take on the way of an accepted request.
    pub store_timeout_ms: u64,
    /// Entries of each cache.
    pub cache_entries_max: usize,
    /// Milliseconds a status request waits for a notification that the recorder has not seen yet.
    pub status_wait_ms: u64,
    /// Status requests that may wait so at the same time.
    pub status_waiters_max: usize,
    /// Seconds after which an idempotency key that is still in flight is taken over.
    pub idempotency_takeover_seconds: u64,
    /// Seconds a connection token lives if the request does not say.
    pub token_ttl_seconds: u64,
    /// Seconds a connection token lives at most.
    pub token_ttl_seconds_max: u64,
    /// Origins whose pages may call the API; empty for none but the gateway's own, `*` for all.
    pub cors_origins: Vec<String>,
    /// Answer and pass on stage stamps, if a sender asks for them with `Campana-Stamps: 1`. They tell the host's
    /// monotonic clock and nothing else, and only the holder of a sender's key can ask.
    pub stamps: bool,
    /// The tenant whose admins see the dead letters of all tenants over HTTP; empty for none: each sees its own.
    pub operator_tenant: String,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            header_timeout_ms: 30_000,
            body_timeout_ms: 10_000,
            body_bytes_max: 256 * 1024,
            batch_bytes_max: 4 * 1024 * 1024,
            batch_items_max: 1_000,
            recipients_max: 100,
            delay_seconds_max: 30 * 24 * 60 * 60,
            rate_per_second: 20_000,
            rate_burst: 40_000,
            backlog_messages_max: 200_000,
            backlog_bytes_max: 1024 * 1024 * 1024,
            backlog_poll_ms: 1_000,
            key_cache_seconds: 10,
            lookup_cache_seconds: 30,
            store_timeout_ms: 1_000,
            cache_entries_max: 100_000,
            status_wait_ms: 2_000,
            status_waiters_max: 256,
            idempotency_takeover_seconds: 20,
            token_ttl_seconds: 3_600,
            token_ttl_seconds_max: 24 * 60 * 60,
            cors_origins: Vec::new(),
            stamps: true,
            operator_tenant: String::new(),
        }
    }
}

impl GatewayOptions {
    /// Time for a request's head.
    #[must_use]
    pub const fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// Time for a request's body.
    #[must_use]
    pub const fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// Time for the store on the way of an accepted request.
    #[must_use]
    pub const fn store_timeout(&self) -> Duration {
        Duration::from_millis(self.store_timeout_ms)
    }
}
