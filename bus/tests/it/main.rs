//! Integration tests of the bus against a real nats-server, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and its runtime ends with it"
)]

mod consuming;
mod dead_letters;
mod envelopes;
mod events;
mod publishing;
mod topology;
