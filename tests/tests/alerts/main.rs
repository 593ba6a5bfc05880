//! What operators measure: the endpoint, the collector of NATS, and alerts that fire for real.
//! Reads: `/metrics` of real processes, the rules in `dashboards/`, a real Prometheus. Writes: temporary folders.
//! Never: reaches into the platform's code for its answers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod cluster;
mod collector;
mod endpoint;
mod keeper;
mod provoked;
mod rules;
mod scrape;
