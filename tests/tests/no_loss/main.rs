//! No message is lost, wherever a worker, a server or a leader dies.
//! Reads: what workers wrote down, what the streams hold. Writes: temporary folders. Never: believes an
//! acknowledgement that it did not see on the wire.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and tells how often it repeated what"
)]

mod servers;
mod steps;
mod world;
