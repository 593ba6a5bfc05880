//! What a node says about itself.
//! Reads: the registry, what the system says of this process. Writes: nothing.
//! Never: names channels of another tenant.

use std::time::Duration;

use campana_bus::subjects;

use super::wire::{Answer, NodeInfo, ProcessInfo};
use crate::api::glob::Glob;
use crate::registry::Registry;

/// Channels in one part of an answer, and in all of a node's.
const CHANNELS_PER_PART: usize = 1_000;
const CHANNELS_MAX: usize = 100_000;

/// What people call this node: as configured, or by its host and port.
pub(super) fn name(configured: &str, port: u16) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{port}", host.trim())
}

pub(super) fn info(registry: &Registry, uid: String, name: String, uptime: Duration) -> NodeInfo {
    let (channels, subscriptions) = registry.channel_counts();
    NodeInfo {
        uid,
        name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        num_clients: registry.clients() as u64,
        num_users: registry.users() as u64,
        num_subs: subscriptions as u64,
        num_channels: channels as u64,
        uptime: uptime.as_secs(),
        process: resident().map(|rss| ProcessInfo { rss }),
    }
}

/// Channels of a tenant with subscribers here, in at least one part.
pub(super) fn channels(registry: &Registry, tenant: &str, pattern: &str) -> Vec<Answer> {
    let Some(glob) = Glob::parse(pattern) else {
        return vec![Answer::Channels(Vec::new())];
    };
    let found = registry.channels(|key, count| {
        let name = key.name.as_str();
        let own = subjects::tenant_of(&key.subject).is_some_and(|of| of == tenant);
        (own && glob.matches(name)).then(|| (name.to_owned(), count as u64))
    });
    if found.len() > CHANNELS_MAX {
        return vec![Answer::TooMany];
    }
    let mut parts: Vec<Answer> =
        found.chunks(CHANNELS_PER_PART).map(|part| Answer::Channels(part.to_vec())).collect();
    if parts.is_empty() {
        parts.push(Answer::Channels(Vec::new()));
    }
    parts
}

/// Resident memory of this process in bytes, where the system says it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}
