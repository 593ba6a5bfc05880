//! Temporary.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code)]
#[path = "it/http.rs"]
mod http;
#[path = "it/rfc6455.rs"]
mod rfc6455;
#[path = "it/streams.rs"]
mod streams;
#[path = "it/support.rs"]
mod support;
#[path = "it/uni.rs"]
mod uni;
