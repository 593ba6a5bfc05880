//! Testing a service against the real thing: a private nats-server that starts in a fraction of a second.
//! Reads: `NATS_SERVER_BIN`, `.tools/nats-server/nats-server` above the working directory, `PATH`.
//! Writes: a folder of its own under the system's temporary folder. Never: outlives its owner, never
//! pretends: what a test sees is what a server stored.
//!
//! [`TestBus`] runs a service as its `main` would, injects messages, waits until its consumers have settled
//! all of them, and tells what became of each:
//!
//! ```
#![doc = include_str!("../examples/testing_a_service.rs")]
//! ```

mod server;
mod settlement;
mod test_bus;

pub use server::{NatsServer, find_nats_server, free_port};
pub use settlement::{Settled, Settlement};
pub use test_bus::{RunningService, TestBus, TestError};
