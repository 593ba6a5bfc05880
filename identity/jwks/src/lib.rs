//! The keys that tokens are checked with at this moment: those of the configuration, and those that JWKS documents
//! (RFC 7517) bring. Everything that lets people in by token uses it: the edge for connections, the gateway for marks.
//! Reads: documents that the operator named, over HTTP. Writes: metrics. Never: decides what a token may do.

mod fetch;
mod live;
pub mod metrics;

pub use fetch::{Fetcher, start};
pub use live::LiveKeys;
