//! Every listener of the process, bound before anything starts.
//! Reads: the configuration. Writes: nothing. Never: hides which option names a busy port.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::{Config, Role};
use crate::errors::bad_config;

/// Bound sockets by what they are for.
pub struct Listeners {
    /// Metrics and health.
    pub ops: Option<TcpListener>,
    /// Roles that listen.
    pub roles: BTreeMap<Role, TcpListener>,
    /// The sandbox's SMTP receiver.
    pub smtp: Option<TcpListener>,
    ops_address: SocketAddr,
    addresses: BTreeMap<Role, SocketAddr>,
    smtp_address: Option<SocketAddr>,
}

/// Connections that may wait to be accepted; the kernel takes no more than its `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Binds a socket, or says which option to change.
pub fn bind_std(host: &str, port: u16, key: &str) -> anyhow::Result<std::net::TcpListener> {
    std::net::TcpListener::bind((host, port)).map_err(|error| {
        let why = if error.kind() == std::io::ErrorKind::AddrInUse {
            "is in use".to_owned()
        } else {
            format!("cannot be used: {error}")
        };
        bad_config(format!(
            "port {port} on {host} {why}; free it, or set {key}, or use --port-offset"
        ))
    })
}

fn bind(config: &Config, port: u16, key: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = bind_std(&config.listen.host, config.port(port), key)?;
    // The standard library asks for 128: when thousands of clients come back at once, the kernel drops the others'
    // first packets, and they try again only after one, three, seven seconds.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Listeners {
    /// Binds what these roles need.
    pub fn bind(config: &Config, roles: &[Role]) -> anyhow::Result<Self> {
        let (ops, ops_address) = bind(config, config.listen.ops, "listen.ops")?;
        let mut all = Self {
            ops: Some(ops),
            roles: BTreeMap::new(),
            smtp: None,
            ops_address,
            addresses: BTreeMap::new(),
            smtp_address: None,
        };
        let ports = [
            (Role::Gateway, config.listen.gateway, "listen.gateway"),
            (Role::Edge, config.listen.edge, "listen.edge"),
            (Role::Sandbox, config.listen.sandbox_web, "listen.sandbox_web"),
        ];
        for (role, port, key) in ports {
            if roles.contains(&role) {
                let (listener, address) = bind(config, port, key)?;
                all.roles.insert(role, listener);
                all.addresses.insert(role, address);
            }
        }
        if roles.contains(&Role::Sandbox) {
            let (listener, address) =
                bind(config, config.listen.sandbox_smtp, "listen.sandbox_smtp")?;
            all.smtp = Some(listener);
            all.smtp_address = Some(address);
        }
        Ok(all)
    }

    /// `http://host:port` of a role here; empty if it does not listen.
    pub fn http(&self, role: Role) -> String {
        self.addresses
            .get(&role)
            .map_or_else(String::new, |address| format!("http://{}", reachable(*address)))
    }

    /// Where callers and providers reach the gateway.
    pub fn gateway_url(&self, config: &Config) -> String {
        match config.public.gateway_url.trim_end_matches('/') {
            "" if self.addresses.contains_key(&Role::Gateway) => self.http(Role::Gateway),
            "" => config.channels.public_url.clone(),
            configured => configured.to_owned(),
        }
    }

    /// Where browsers connect.
    pub fn edge_ws_url(&self, config: &Config) -> String {
        if !config.public.edge_ws_url.is_empty() {
            return config.public.edge_ws_url.clone();
        }
        match self.addresses.get(&Role::Edge) {
            Some(address) => format!("ws://{}/connection/websocket", reachable(*address)),
            None => {
                format!("ws://127.0.0.1:{}/connection/websocket", config.port(config.listen.edge))
            }
        }
    }

    /// Metrics and health.
    pub fn ops_url(&self) -> String {
        format!("http://{}", reachable(self.ops_address))
    }

    /// The sandbox's SMTP receiver; empty if it does not listen.
    pub fn smtp_address(&self) -> String {
        self.smtp_address.map_or_else(String::new, |address| reachable(address).to_string())
    }

    /// The sandbox's SMTP receiver.
    pub fn smtp_socket(&self) -> Option<SocketAddr> {
        self.smtp_address.map(reachable)
    }

    /// Role and address of every listener, on one line.
    pub fn addresses(&self) -> String {
        let mut all: Vec<String> = self
            .addresses
            .iter()
            .map(|(role, address)| format!("{} {address}", role.as_str()))
            .collect();
        all.extend(self.smtp_address.map(|address| format!("sandbox-smtp {address}")));
        all.push(format!("ops {}", self.ops_address));
        all.join(", ")
    }
}

/// An address that a client on this machine can use even if the listener takes any.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], address.port()))
    } else {
        address
    }
}
