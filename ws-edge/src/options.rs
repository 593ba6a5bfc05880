//! What an operator may choose about the edge.
//! Reads: configuration. Writes: nothing. Never: has a limit without a number.

use std::time::Duration;

use campana_bus::subjects::INBOX_NAMESPACE;
use campana_identity::{Rules, TokenOptions, TokenPolicy};
use serde::{Deserialize, Serialize};

mod api;
mod http;
mod limits;
mod namespace;
mod presence;
mod proxy;
mod tokens;

pub(crate) use api::check_secret;
pub use api::{ApiKeyOptions, ApiOptions, ControlOptions};
pub use http::HttpOptions;
pub use limits::LimitOptions;
pub use namespace::{NamespaceOptions, RecoveryMode};
pub use presence::{PresenceOptions, ReceiptOptions};
pub use proxy::{ProxyOptions, ProxyTarget};
pub use tokens::PersonalChannelOptions;

/// Options of the edge; every one has a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeOptions {
    /// Origins whose pages may connect, exactly as browsers send them, or `https://*.example.com` for all
    /// sub-domains; `*` allows all. A client that sends no origin is no browser and is allowed.
    pub allowed_origins: Vec<String>,
    /// Namespaces of channels. `inbox` exists always; listing it changes its options.
    pub namespaces: Vec<NamespaceOptions>,
    /// What tokens must say, and the public keys that they are checked with.
    pub tokens: TokenOptions,
    /// Name of a cookie whose value is the connection token when the connect command brings none; only for pages
    /// of origins that `allowed_origins` names. Empty for none.
    pub token_cookie: String,
    /// Whether the connection token may come in an `Authorization: Bearer` header instead.
    pub token_header: bool,
    /// Whether clients without any token are let in as nobody in particular.
    pub anonymous_connect: bool,
    /// Whether users are subscribed to their `inbox:#user` at connect.
    pub inbox_channel: bool,
    /// A further channel of each user that is subscribed at connect.
    pub personal_channel: PersonalChannelOptions,
    /// Services that decide who connects and who stays.
    pub proxy: ProxyOptions,
    /// The service that takes one-way messages (`send`) of clients; without one they close the connection (3508).
    pub send: ProxyTarget,
    /// Time between two pings to a client.
    pub ping_interval_ms: u64,
    /// How long a client may take to answer a ping.
    pub pong_timeout_ms: u64,
    /// How long a client may take to send its connect command.
    pub connect_timeout_ms: u64,
    /// How long an expired connection or subscription may stay to be refreshed.
    pub expiry_grace_ms: u64,
    /// How long one write to a client may take.
    pub write_timeout_ms: u64,
    /// Connections of this node.
    pub connections_max: usize,
    /// Channels of one connection.
    pub channels_per_client_max: usize,
    /// Bytes of one message from a client.
    pub message_bytes_max: usize,
    /// Bytes that may wait for one client before it is cut as too slow.
    pub queue_bytes_max: usize,
    /// Commands of one connection per second, in the long run.
    pub commands_per_second: u32,
    /// Commands that may come at once.
    pub commands_burst: u32,
    /// Operations of one connection that may wait for the bus.
    pub operations_max: usize,
    /// Methods that clients may call and the services that answer them.
    pub rpc: Vec<RpcOptions>,
    /// How presence is kept; which channels have any stands in their namespaces.
    pub presence: PresenceOptions,
    /// Whether clients may say up to where they have seen a channel.
    pub receipts: ReceiptOptions,
    /// Calls of one connection that may wait for their answers.
    pub rpc_calls_per_client_max: usize,
    /// Bytes of one answer to a call.
    pub rpc_answer_bytes_max: usize,
    /// Messages of one recovery page; a longer gap is sent in several.
    pub recovery_page_messages: usize,
    /// Messages of one history answer.
    pub history_messages_max: usize,
    /// Bytes kept of recent publications, for many clients that come back to the same channels at once.
    pub recovery_cache_bytes_max: usize,
    /// Whether this node notes which message of each channel was the last one before age takes it.
    pub history_notes: bool,
    /// Subscriptions of one connection that stand for many channels.
    pub wildcards_per_client_max: usize,
    /// Channels with a stream of their own that a tenant may have.
    pub dense_channels_max: usize,
    /// Read buffer of one connection.
    pub read_buffer_bytes: usize,
    /// Write buffer of one connection.
    pub write_buffer_bytes: usize,
    /// Which republished subjects this node asks NATS for.
    pub interest: Interest,
    /// How long a channel without subscribers stays known, for clients that reconnect at once.
    pub linger_ms: u64,
    /// How often a channel is compared with the stream although nothing looks wrong.
    pub check_interval_ms: u64,
    /// How long a node that stops still lets clients in, so that load balancers notice that it is not ready.
    pub drain_delay_ms: u64,
    /// Within what time all clients are sent away when the node stops.
    pub drain_window_ms: u64,
    /// How long a client that is sent away may wait for the end of what it asked for.
    pub drain_finish_ms: u64,
    /// Limits of the whole node.
    pub limits: LimitOptions,
    /// The HTTP API for backends.
    pub api: ApiOptions,
    /// How nodes speak to each other.
    pub control: ControlOptions,
    /// Limits of HTTP requests.
    pub http: HttpOptions,
}

/// Which republished subjects a node subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interest {
    /// One subscription per channel with subscribers here: a node gets only what its clients want. For
    /// many nodes.
    Channel,
    /// One subscription per tenant and namespace with subscribers here: a node gets all of the namespace,
    /// but needs several KiB less per channel and no round to NATS when a client comes. For few nodes.
    Namespace,
}

impl Default for EdgeOptions {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            namespaces: Vec::new(),
            tokens: TokenOptions::default(),
            token_cookie: String::new(),
            token_header: false,
            anonymous_connect: false,
            inbox_channel: true,
            personal_channel: PersonalChannelOptions::default(),
            proxy: ProxyOptions::default(),
            send: ProxyTarget::default(),
            ping_interval_ms: 25_000,
            pong_timeout_ms: 10_000,
            connect_timeout_ms: 10_000,
            expiry_grace_ms: 25_000,
            write_timeout_ms: 10_000,
            connections_max: 50_000,
            channels_per_client_max: 128,
            message_bytes_max: 64 * 1024,
            queue_bytes_max: 1024 * 1024,
            commands_per_second: 50,
            commands_burst: 300,
            operations_max: 256,
            rpc: Vec::new(),
            presence: PresenceOptions::default(),
            receipts: ReceiptOptions::default(),
            rpc_calls_per_client_max: 8,
            rpc_answer_bytes_max: 256 * 1024,
            recovery_page_messages: 300,
            history_messages_max: 300,
            recovery_cache_bytes_max: 64 * 1024 * 1024,
            history_notes: true,
            wildcards_per_client_max: 8,
            dense_channels_max: 1_000,
            read_buffer_bytes: 1_024,
            write_buffer_bytes: 4_096,
            interest: Interest::Namespace,
            linger_ms: 5_000,
            check_interval_ms: 60_000,
            drain_delay_ms: 0,
            drain_window_ms: 10_000,
            drain_finish_ms: 5_000,
            limits: LimitOptions::default(),
            api: ApiOptions::default(),
            control: ControlOptions::default(),
            http: HttpOptions::default(),
        }
    }
}

impl EdgeOptions {
    /// What tokens must say.
    #[must_use]
    pub fn token_policy(&self) -> TokenPolicy {
        self.tokens.claim_rules().policy
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// Names the option and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.pong_timeout_ms >= self.ping_interval_ms {
            return Err("pong_timeout_ms must be shorter than ping_interval_ms".to_owned());
        }
        let positive = [
            ("connections_max", self.connections_max),
            ("channels_per_client_max", self.channels_per_client_max),
            ("message_bytes_max", self.message_bytes_max),
            ("queue_bytes_max", self.queue_bytes_max),
            ("operations_max", self.operations_max),
            ("rpc_calls_per_client_max", self.rpc_calls_per_client_max),
            ("rpc_answer_bytes_max", self.rpc_answer_bytes_max),
            ("recovery_page_messages", self.recovery_page_messages),
            ("commands_burst", self.commands_burst as usize),
            ("commands_per_second", self.commands_per_second as usize),
            ("read_buffer_bytes", self.read_buffer_bytes),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        self.limits.check(self.queue_bytes_max)?;
        self.api.check()?;
        self.control.check()?;
        self.check_tokens()?;
        self.check_proxies()?;
        self.check_rpc()?;
        self.namespaces.iter().try_for_each(NamespaceOptions::check_history)?;
        self.presence.check()?;
        self.receipts.check()?;
        self.all_namespaces().iter().try_for_each(NamespaceOptions::check_presence)?;
        self.http.check()?;
        self.permissions().check()
    }

    /// Who may do what where.
    pub(crate) fn permissions(&self) -> Rules {
        Rules { namespaces: self.all_namespaces().iter().map(NamespaceOptions::rules).collect() }
    }

    fn check_rpc(&self) -> Result<(), String> {
        let mut methods: Vec<&str> = self.rpc.iter().map(|one| one.method.as_str()).collect();
        methods.sort_unstable();
        if methods.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a method of rpc is listed twice".to_owned());
        }
        for RpcOptions { method, service, endpoint, timeout_ms } in &self.rpc {
            if self.receipts.enabled && method.starts_with(crate::session::BUILT_IN_PREFIX) {
                return Err(format!(
                    "rpc {method:?}: the edge answers methods of this name itself"
                ));
            }
            if method.is_empty() || service.is_empty() || endpoint.is_empty() {
                return Err(format!("rpc {method:?} needs a method, a service and an endpoint"));
            }
            if !(1..=RPC_TIMEOUT_MS_MAX).contains(timeout_ms) {
                return Err(format!(
                    "rpc {method:?}: timeout_ms is not in 1..={RPC_TIMEOUT_MS_MAX}"
                ));
            }
        }
        Ok(())
    }

    /// All namespaces, `inbox` among them.
    #[must_use]
    pub fn all_namespaces(&self) -> Vec<NamespaceOptions> {
        let mut all = self.namespaces.clone();
        if !all.iter().any(|one| one.name == INBOX_NAMESPACE) {
            all.push(NamespaceOptions::inbox());
        }
        all
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }
}

/// Longest time-out of a call, in milliseconds.
const RPC_TIMEOUT_MS_MAX: u64 = 60_000;

/// A method that every connected client may call; the service decides by the caller's identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RpcOptions {
    /// What clients call it.
    pub method: String,
    /// The service on the bus.
    pub service: String,
    /// Its endpoint.
    pub endpoint: String,
    /// How long the service may take, up to a minute.
    pub timeout_ms: u64,
}

impl Default for RpcOptions {
    fn default() -> Self {
        let empty = String::new;
        Self { method: empty(), service: empty(), endpoint: empty(), timeout_ms: 5_000 }
    }
}

#[cfg(test)]
mod tests {
    use campana_identity::Allow;

    use super::*;

    #[test]
    fn the_inbox_is_always_there_and_its_owner_s() {
        let all = EdgeOptions::default().all_namespaces();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].subscribe, [Allow::OwnUser]);
        assert!(all[0].publish.is_empty());
    }

    #[test]
    fn contradictions_are_named() {
        let ok = EdgeOptions::default();
        assert_eq!(ok.check(), Ok(()));
        assert!(EdgeOptions { pong_timeout_ms: 25_000, ..ok.clone() }.check().is_err());
        assert!(EdgeOptions { queue_bytes_max: 0, ..ok.clone() }.check().is_err());
        let twice = vec![NamespaceOptions::inbox(), NamespaceOptions::inbox()];
        assert!(EdgeOptions { namespaces: twice, ..ok.clone() }.check().is_err());
        let method = |method: &str, timeout_ms| RpcOptions {
            method: method.to_owned(),
            service: "s".to_owned(),
            endpoint: "e".to_owned(),
            timeout_ms,
        };
        let rpc = |rpc| EdgeOptions { rpc, ..ok.clone() }.check().is_ok();
        assert!(rpc(vec![method("a", 1), method("b", 60_000)]));
        assert!(!rpc(vec![method("a", 1), method("a", 1)]));
        assert!(!rpc(vec![method("a", 0)]) && !rpc(vec![method("", 1)]));
        assert!(!rpc(vec![method("a", 60_001)]));
        assert!(serde_json::from_str::<EdgeOptions>(r#"{"pings":1}"#).is_err());
        assert!(serde_json::from_str::<EdgeOptions>(r#"{"interest":"channel"}"#).is_ok());
    }
}
