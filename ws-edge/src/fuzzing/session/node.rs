//! The node whose session is played with: anybody may do anything, in channels of every kind, with low limits.
//! Reads: nothing. Writes: nothing. Never: needs a token, which no stranger could sign.

use std::sync::{Arc, OnceLock};

use campana_bus::subjects::ChannelName;
use campana_identity::{Allow, TokenKeys};

use crate::options::{EdgeOptions, NamespaceOptions, ProxyTarget, RpcOptions};
use crate::publication::ChannelKey;
use crate::rules::Rules;

/// Channels of the scripts, by number.
pub(super) const CHANNELS: [&str; 6] = ["room:a", "room:b", "tick:x", "raw:r", "who:🔔", "asked:q"];
pub(super) const OPERATIONS_MAX: usize = 8;
pub(super) const CALLS_MAX: usize = 3;
pub(super) const CHANNELS_MAX: usize = 5;

fn options(services: bool) -> EdgeOptions {
    let target = || ProxyTarget {
        service: "decider".to_owned(),
        endpoint: "decide".to_owned(),
        ..ProxyTarget::default()
    };
    let all = vec![Allow::Anonymous];
    let namespace = |name: &str| NamespaceOptions {
        name: name.to_owned(),
        subscribe: all.clone(),
        publish: all.clone(),
        history: all.clone(),
        presence: all.clone(),
        ..NamespaceOptions::default()
    };
    let rpc = RpcOptions {
        method: "m".to_owned(),
        service: "s".to_owned(),
        endpoint: "e".to_owned(),
        timeout_ms: 1_000,
    };
    let mut options = EdgeOptions {
        anonymous_connect: true,
        namespaces: vec![
            NamespaceOptions { track_presence: true, join_leave: true, ..namespace("room") },
            NamespaceOptions { delta: true, wildcard: true, ..namespace("tick") },
            NamespaceOptions { binary: true, history_size: 0, ..namespace("raw") },
            NamespaceOptions { delta: true, dense_offsets: true, ..namespace("who") },
            NamespaceOptions {
                subscribe_proxy: target(),
                publish_proxy: target(),
                sub_refresh_proxy: target(),
                ..namespace("asked")
            },
            NamespaceOptions { subscribe: vec![Allow::Token], ..namespace("vip") },
        ],
        rpc: vec![rpc],
        operations_max: OPERATIONS_MAX,
        rpc_calls_per_client_max: CALLS_MAX,
        channels_per_client_max: CHANNELS_MAX,
        queue_bytes_max: 4_096,
        rpc_answer_bytes_max: 200,
        ..EdgeOptions::default()
    };
    if services {
        (options.proxy.connect, options.proxy.refresh) = (target(), target());
    }
    options
}

pub(super) fn rules(services: bool) -> Arc<Rules> {
    static RULES: [OnceLock<Arc<Rules>>; 2] = [OnceLock::new(), OnceLock::new()];
    let made = RULES[usize::from(services)].get_or_init(|| {
        let keys = TokenKeys::new(&[7; 32], None).expect("32 bytes are long enough for HS256");
        let options = options(services);
        assert_eq!(options.check(), Ok(()));
        Arc::new(Rules::new(options, keys.key_set().clone()))
    });
    Arc::clone(made)
}

pub(super) fn key(rules: &Rules, channel: u8) -> Arc<ChannelKey> {
    let name = CHANNELS[usize::from(channel) % CHANNELS.len()];
    let name = ChannelName::parse(name).expect("the names above are good");
    rules.key("default", name)
}
