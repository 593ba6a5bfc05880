//! The clinic on a real nats-server, SQLite files and a real PostgreSQL; only the notification platform is a recorder,
//! because the one that is there is tested with the clinic in `tests/tests/clinic`.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and its runtime ends with it"
)]

mod booking;
mod crash;
mod pages;
mod reminding;
mod telling;
mod world;
