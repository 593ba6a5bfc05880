//! What the streams hold, to show that something left nothing behind.
//! Reads: JetStream. Writes: nothing.

use anyhow::Result;
use campana_bus::Bus;
use campana_bus::topology::{CHANNELS, DELIVERIES, DLQ, EVENTS, OUTCOMES, REQUESTS};

/// How many messages each stream has ever stored.
///
/// # Errors
/// If a stream does not answer.
pub async fn stored(bus: &Bus) -> Result<Vec<(&'static str, u64)>> {
    let mut all = Vec::new();
    for stream in [REQUESTS, DELIVERIES, OUTCOMES, CHANNELS, EVENTS, DLQ] {
        all.push((stream, bus.position(stream).await?.last));
    }
    Ok(all)
}
