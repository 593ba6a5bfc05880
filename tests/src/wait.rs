//! Waiting for something to become true, with a deadline.
//! Reads: the monotonic clock. Writes: nothing. Never: waits longer than needed, and never hides why it
//! gave up.

use std::time::Duration;

use anyhow::{Result, anyhow};
use campana_bus::clock;

const PAUSE: Duration = Duration::from_millis(15);

/// Asks until the answer is `Some`. An error is no end: a server may be just starting.
///
/// # Errors
/// When the deadline is over; names what was waited for and the last error.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = clock::monotonic();
    let mut last = "the answer was no".to_owned();
    while started.elapsed() < within {
        match ask().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(anyhow!("{what}: not within {within:?}; last: {last}"))
}
