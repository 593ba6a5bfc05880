//! End-to-end tests over the real binary, one test program.
//! Reads: what a user, a browser or an operator can see. Writes: temporary folders. Never: reaches into the
//! platform's code for its answers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bad_callers;
mod bad_input;
mod bad_sockets;
mod bench_edge;
mod browser;
mod edge_failover;
mod edge_metrics;
mod edge_trace;
mod faults;
mod hostile_names;
mod poison;
mod redrives;
mod refusals;
mod restarts;
mod spine;
mod stamps;
mod tracing;
mod up;
