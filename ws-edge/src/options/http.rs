//! What an operator may choose about HTTP requests, before they are connections of clients.
//! Reads: configuration. Writes: nothing. Never: has a limit without a number.

use serde::{Deserialize, Serialize};

/// Limits of HTTP requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpOptions {
    /// Connections without a session: those whose request is still coming, and those that wait for another
    /// one. More wait in the listen queue of the operating system.
    pub requests_max: usize,
    /// How long a request's head may take to arrive; an idle connection is closed after the same time.
    pub header_timeout_ms: u64,
    /// How long a request's body may take to arrive.
    pub body_timeout_ms: u64,
    /// How long another node may take to accept commands of a client that is connected there.
    pub emulation_timeout_ms: u64,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            requests_max: 4_096,
            header_timeout_ms: 30_000,
            body_timeout_ms: 10_000,
            emulation_timeout_ms: 5_000,
        }
    }
}

impl HttpOptions {
    pub(super) fn check(&self) -> Result<(), String> {
        let positive = [
            ("requests_max", u64::try_from(self.requests_max).unwrap_or(u64::MAX)),
            ("header_timeout_ms", self.header_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
            ("emulation_timeout_ms", self.emulation_timeout_ms),
        ];
        match positive.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("http.{name} must be at least 1")),
            None => Ok(()),
        }
    }
}
