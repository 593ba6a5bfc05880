//! What the hub must know about a channel's namespace.
//! Reads: options. Writes: nothing. Never: decides who may do what.

use std::collections::HashMap;
use std::time::Duration;

use campana_bus::channels::DenseOptions;

use crate::options::{EdgeOptions, RecoveryMode};
use crate::publication::ChannelKey;

/// Channels of one namespace.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    /// Who comes back gets the latest publication instead of all.
    pub(super) cache: bool,
    /// Each channel has a stream of its own.
    pub(super) dense: Option<Dense>,
}

/// How streams of their own are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dense {
    pub(super) options: DenseOptions,
    /// Without a message or a subscriber for so long, the stream goes; zero for never.
    pub(super) idle: Duration,
}

/// The namespaces of a node, by name.
pub(super) fn kinds(options: &EdgeOptions) -> HashMap<String, Kind> {
    let all = options.all_namespaces().into_iter();
    let kinds = all.map(|one| {
        let dense = one.dense_offsets.then(|| Dense {
            options: DenseOptions {
                messages_max: i64::try_from(one.history_size.max(1)).unwrap_or(i64::MAX),
                age: Duration::from_secs(one.history_ttl_seconds),
                replicas: 1,
                streams_max: options.dense_channels_max,
            },
            idle: Duration::from_secs(one.dense_idle_seconds),
        });
        (one.name, Kind { cache: one.recovery_mode == RecoveryMode::Cache, dense })
    });
    kinds.collect()
}

/// The namespace of a channel.
pub(super) fn of<'a>(kinds: &'a HashMap<String, Kind>, key: &ChannelKey) -> Option<&'a Kind> {
    let name = key.name.namespace();
    kinds.get(name.strip_prefix('$').unwrap_or(name))
}
