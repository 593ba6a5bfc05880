//! What an operator may choose about the edge.
//! Reads: configuration. Writes: nothing. Never: has a limit without a number.

use std::time::Duration;

use campana_bus::subjects::INBOX_NAMESPACE;
use campana_identity::{Rules, TokenPolicy};
use serde::{Deserialize, Serialize};

mod namespace;

pub use namespace::NamespaceOptions;

/// Options of the edge; every one has a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeOptions {
    /// Origins whose pages may connect, exactly as browsers send them; `*` allows all. A client that sends
    /// no origin is no browser and is allowed.
    pub allowed_origins: Vec<String>,
    /// Namespaces of channels. `inbox` exists always; listing it changes its options.
    pub namespaces: Vec<NamespaceOptions>,
    /// If set, connection tokens must name it in `aud`.
    pub token_audience: Option<String>,
    /// If set, connection tokens must come from it (`iss`).
    pub token_issuer: Option<String>,
    /// Whether a token without an end is refused.
    pub token_require_exp: bool,
    /// Furthest end of a token from now, in seconds.
    pub token_ttl_seconds_max: i64,
    /// How far clocks may disagree, in seconds, at most 60.
    pub token_skew_seconds: i64,
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
    /// Calls of one connection that may wait for their answers.
    pub rpc_calls_per_client_max: usize,
    /// Bytes of one answer to a call.
    pub rpc_answer_bytes_max: usize,
    /// Messages of one recovery page; a longer gap is sent in several.
    pub recovery_page_messages: usize,
    /// Messages of one history answer.
    pub history_messages_max: usize,
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
    /// Within what time all clients are sent away when the node stops.
    pub drain_window_ms: u64,
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
        let policy = TokenPolicy::default();
        Self {
            allowed_origins: Vec::new(),
            namespaces: Vec::new(),
            token_audience: policy.audience,
            token_issuer: policy.issuer,
            token_require_exp: policy.require_exp,
            token_ttl_seconds_max: policy.ttl_seconds_max,
            token_skew_seconds: policy.skew_seconds,
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
            rpc_calls_per_client_max: 8,
            rpc_answer_bytes_max: 256 * 1024,
            recovery_page_messages: 300,
            history_messages_max: 300,
            read_buffer_bytes: 4_096,
            write_buffer_bytes: 4_096,
            interest: Interest::Namespace,
            linger_ms: 5_000,
            check_interval_ms: 60_000,
            drain_window_ms: 10_000,
        }
    }
}

impl EdgeOptions {
    /// What tokens must say.
    #[must_use]
    pub fn token_policy(&self) -> TokenPolicy {
        TokenPolicy {
            audience: self.token_audience.clone(),
            issuer: self.token_issuer.clone(),
            require_exp: self.token_require_exp,
            ttl_seconds_max: self.token_ttl_seconds_max,
            skew_seconds: self.token_skew_seconds,
        }
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
        self.check_rpc()?;
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
