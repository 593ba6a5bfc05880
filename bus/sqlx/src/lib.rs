//! `campana-bus-sqlx`: effects that happen once, in the database that the author has already.
//!
//! A message of the bus can come twice, and a process can die between any two lines. Three helpers make that
//! harmless, inside the author's own transactions on PostgreSQL or SQLite:
//!
//! * [`Inbox`]: the effect of a message and the note that it happened commit together, so a repeat changes
//!   nothing.
//! * [`Outbox`] and [`Relay`]: a change and the event that tells it commit together; the relay publishes the event
//!   until the stream has acknowledged it.
//! * [`Ledger`]: for calls to the outside, which no transaction can take back: what is known about each call, who
//!   may make it, and when nobody can tell whether it was made.
//!
//! All of them work with [`sqlx::Postgres`], [`sqlx::Sqlite`] and [`sqlx::Any`]. [`migrate`] makes the tables;
//! [`schema`] is their SQL for authors who have migrations of their own. The guide is `docs/guide-effects.md`.
//!
//! A whole service with inbox and outbox is the example `shipping`:
//!
//! ```no_run
#![doc = include_str!("../examples/shipping.rs")]
//! ```
//!
//! A payment with the ledger is the example `payments`.
//!
//! Reads and writes: the author's database, tables `campana_*`; the relay also writes JetStream. Never: opens a
//! connection pool of its own, or keeps a transaction open while it waits for the network.

mod dialect;
mod errors;
pub mod inbox;
pub mod ledger;
pub mod outbox;
mod relay;
pub mod retention;
mod schema;
pub mod telemetry;
pub mod testing;

pub use dialect::{Dialect, Engine};
pub use errors::{EffectError, OUTAGE_PAUSE, Trouble, describe, failure, trouble};
pub use inbox::{Inbox, InboxError, Once};
pub use ledger::{Begin, Call, Fence, Ledger, LedgerError, SendError, Sent};
pub use outbox::{Outbox, OutboxError};
pub use relay::{Relay, RelayOptions};
pub use retention::{Horizons, keep_tidy};
pub use schema::{migrate, schema};
