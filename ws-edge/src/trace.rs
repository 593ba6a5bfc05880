//! Watching one connection or one user while the platform runs: every frame in and out, on demand.
//! Reads: what somebody asks over NATS. Writes: JSON lines to the inbox of who asks; a log line that says who.
//! Never: shows a token or another secret, or a payload that was not asked for; costs a connection anything while
//! nobody watches, but one relaxed load for each frame; goes on for ever.
//!
//! [`run`] is the side of who asks: the command line, or the listener for operators. `watch` is the node's side,
//! `show` turns frames into lines.

mod ask;
mod show;
mod watch;

pub use ask::{ANSWERS_WITHIN, TraceRequest, run};
pub(crate) use watch::{Tracer, Who, serve};
