//! What the end-to-end tests stand on: the real binary as a process, its HTTP and WebSocket sides, and the
//! servers that it needs.
//! Reads: `CAMPANA_BIN`, `NATS_SERVER_BIN`, `PG_BIN_DIR`. Writes: temporary folders.
//! Never: leaves a process behind, and never looks inside the platform: what is asserted is what a user,
//! a browser or an operator can see.

pub mod api;
pub mod browser;
pub mod centrifuge;
pub mod cluster;
pub mod command;
pub mod dashboards;
pub mod edges;
pub mod follower;
pub mod jwt;
pub mod ledger;
pub mod otlp;
pub mod platform;
pub mod process;
pub mod proxy;
pub mod random;
pub mod roles;
pub mod sandbox;
pub mod stepper;
pub mod stored;
pub mod wait;

pub use api::{Answer, Api};
pub use campana_bus_sqlx::testing::Postgres;
pub use centrifuge::{Client, Event};
pub use platform::{Home, Platform};
pub use process::Process;
pub use roles::Roles;
pub use sandbox::Sandbox;
pub use stored::stored;
pub use wait::eventually;
