//! `campana-bus`: the library every Campana service is written with.
//!
//! Typed messages over NATS JetStream: publishing that waits for the stream's acknowledgement and shares
//! its cost ([`publish`]), durable consumers with retries, heartbeats and crash-safe dead letters
//! ([`consume`], [`dlq`]), reading stored messages ([`fetch`]), the streams as data ([`topology`]) and an
//! orderly stop ([`lifecycle`]).
//!
//! A whole service is the example `audit_log`:
//!
//! ```no_run
#![doc = include_str!("../examples/audit_log.rs")]
//! ```
//!
//! Reads and writes: NATS. Never: SQL, HTTP, SMTP.

mod call;
pub mod channels;
pub mod clock;
mod connect;
pub mod consume;
pub mod consumers;
pub mod contract;
pub mod dlq;
mod event;
pub mod fetch;
pub mod headers;
pub mod history;
pub mod ids;
pub mod kv;
pub mod lifecycle;
pub mod observe;
pub mod partitions;
pub mod publish;
pub mod replay;
mod replies;
pub mod schedule;
pub mod service;
pub mod staging;
pub mod stamps;
pub mod subjects;
pub mod telemetry;
pub mod testing;
pub mod topology;
pub mod trace;

pub use async_nats::HeaderMap;
pub use call::CallError;
pub use campana_bus_derive::Event;
pub use connect::{Bus, BusOptions, ConnectError, Durability};
pub use event::{Consumer, EmitError, Event, outgoing, stop_on_signal};
pub use replies::RequestError;
