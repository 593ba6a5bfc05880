//! The edge over real sockets and a real nats-server.
//! Reads: what clients get. Writes: frames of good and bad clients, messages of services.
//! Never: uses a fixed port, leaves a server behind, or sleeps for time to pass.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may fail like tests; the linter only knows test functions"
)]

mod api;
mod auth;
mod bad_clients;
mod calls;
mod delivery;
mod draining;
mod ends;
mod history;
mod http;
mod limits;
mod presence;
mod protobuf;
mod receipts;
mod rfc6455;
mod slow;
mod streams;
mod support;
mod uni;
