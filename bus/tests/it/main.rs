//! Integration tests of the bus against a real nats-server, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and its runtime ends with it"
)]

mod backstop;
mod consuming;
mod consuming_pause;
mod contracts;
mod dead_letters;
mod dead_letters_jobs;
mod dead_letters_trouble;
mod envelopes;
mod events;
mod eventually;
mod kv;
mod lanes;
mod lanes_trouble;
mod middleware;
mod on_dead;
mod parking;
mod partitions;
mod proxy;
mod publishing;
mod pulling;
mod reconcile;
mod replay;
mod resilience;
mod scheduling;
mod services;
mod settling;
mod staging;
mod test_bus;
mod topology;
