//! t
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#[path = "it/browser.rs"]
mod browser;
