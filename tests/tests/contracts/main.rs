//! Contracts against the programs of others: the official AsyncAPI parser reads the document that `campana`
//! prints, the official CloudEvents SDK reads and writes the events that services exchange.
//! Reads: `CAMPANA_BIN`, `CAMPANA_VENV`, `tests/contracts/node_modules` (`cargo xtask tools` makes both).
//! Writes: temporary folders. Never: leaves a process behind.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod asyncapi;
mod cloudevents;
mod released;
