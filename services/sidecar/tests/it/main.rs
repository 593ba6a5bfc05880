//! The sidecar with a real nats-server and real apps in Python and JavaScript that know nothing but HTTP.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod drain;
mod guide;
mod harness;
mod mind;
mod node;
mod outage;
mod python;
