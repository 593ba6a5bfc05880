//! Integration tests of the bus against a real nats-server, one binary.

mod consuming;
mod dead_letters;
mod envelopes;
mod publishing;
mod topology;
