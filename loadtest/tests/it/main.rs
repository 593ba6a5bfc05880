//! The harness's own trial: it is run as a program against a small fake platform with faults of
//! known size, and must read exactly those. A harness that has not been shown to see a fault is
//! no evidence that there was none.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod compare;
mod distributed;
mod fake;
mod faults;
mod kinds;
mod metrics;
mod program;
mod schema;
mod selftest;
mod sweep;
