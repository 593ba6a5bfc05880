//! A private nats-server and edges of this very binary, each a process of its own.
//! Reads: the options given with `--set`. Writes: a temporary folder and the private server. Never: touches a
//! running platform.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use async_nats::jetstream;
use campana_bus::ids::NodeId;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::testing::NatsServer;
use campana_bus::topology::{TopologyOptions, apply, platform};
use campana_bus::{Durability, clock};
use campana_identity::{ConnectionSpec, Tenant, TokenKeys};
use campana_ws_edge::{Allow, EdgeOptions, NamespaceOptions};
use serde::Serialize;

use super::dialect::Hello;
use super::process::{Folder, Process};
use crate::cli::Global;

/// The namespace of all channels here.
const NAMESPACE: &str = "bench";
/// Longer than any run.
const TOKEN_SECONDS: i64 = 12 * 3_600;

/// What edges connect to.
pub struct Rig {
    /// The server.
    pub nats: NatsServer,
    /// A publisher's connection to it.
    pub jetstream: jetstream::Context,
    durability: Durability,
    keys: TokenKeys,
    secret: String,
    folder: Folder,
    sets: Vec<String>,
}

/// An edge.
#[derive(Debug)]
pub struct Edge {
    /// Its process.
    pub process: Process,
    /// Where clients connect.
    pub address: SocketAddr,
}

/// The child's configuration file.
#[derive(Serialize)]
struct File<'a> {
    data_dir: &'a Path,
    log: Log,
    nats: Nats,
    auth: Auth<'a>,
    listen: Listen,
    edge: toml::Table,
}

#[derive(Serialize)]
struct Log {
    level: &'static str,
}

#[derive(Serialize)]
struct Nats {
    url: String,
    durability: &'static str,
}

#[derive(Serialize)]
struct Auth<'a> {
    token_secret: &'a str,
}

#[derive(Serialize)]
struct Listen {
    edge: u16,
    ops: u16,
}

impl Rig {
    /// A server with the platform's streams.
    pub async fn start(global: &Global, durability: Durability) -> anyhow::Result<Self> {
        let nats = NatsServer::start_with(durability).map_err(anyhow::Error::msg)?;
        let bus = nats.bus("bench").await.map_err(anyhow::Error::msg)?;
        apply(&bus, &platform(TopologyOptions::default())).await?;
        // Guards nothing but this run.
        let secret = format!("{}-{}", NodeId::fresh(), NodeId::fresh());
        Ok(Self {
            jetstream: jetstream::new(async_nats::connect(nats.url()).await?),
            nats,
            durability,
            keys: TokenKeys::new(secret.as_bytes(), None)?,
            secret,
            folder: Folder::new()?,
            sets: global.set.clone(),
        })
    }

    /// The defaults, with room for so many connections, which may all come at once, and channels that everybody
    /// may subscribe to.
    pub fn options(connections: usize) -> EdgeOptions {
        let mut defaults = EdgeOptions::default();
        defaults.limits.accepts_per_second = 0;
        EdgeOptions {
            namespaces: vec![NamespaceOptions {
                name: NAMESPACE.to_owned(),
                subscribe: vec![Allow::Authenticated],
                ..NamespaceOptions::default()
            }],
            connections_max: defaults.connections_max.max(connections + 16),
            // Each connection has the channel of the measurement and no other.
            inbox_channel: false,
            ..defaults
        }
    }

    /// Starts an edge; port 0 for any free one.
    pub async fn edge(&self, name: &str, port: u16, edge: EdgeOptions) -> anyhow::Result<Edge> {
        let file = File {
            data_dir: self.folder.path(),
            log: Log { level: "warn" },
            nats: Nats { url: self.nats.url(), durability: self.durability.as_str() },
            auth: Auth { token_secret: &self.secret },
            listen: Listen { edge: port, ops: 0 },
            edge: differences(&edge)?,
        };
        let path = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, toml::to_string(&file).context("the edge's configuration")?)?;
        let mut arguments = ["run", "--role", "edge", "--config"].map(str::to_owned).to_vec();
        arguments.push(path.display().to_string());
        for set in &self.sets {
            arguments.extend(["--set".to_owned(), set.clone()]);
        }
        let own = std::env::current_exe().context("this program's own file is not known")?;
        let mut process = Process::start(name, self.folder.path(), &own, &arguments)?;
        let ready = process.line("ready: ").await?;
        let address = ready.split(", ").find_map(|part| part.strip_prefix("edge "));
        let address = address.with_context(|| format!("no edge in \"{ready}\""))?.parse()?;
        Ok(Edge { process, address })
    }

    /// What a client says that wants one channel. Each connection here is another user's.
    pub fn hello(&self, number: usize, channel: &ChannelName) -> anyhow::Result<Hello> {
        let token = self.token(&format!("user{number}"))?;
        Ok(Hello { token, channel: channel.as_str().to_owned(), since: None })
    }

    fn token(&self, user: &str) -> anyhow::Result<String> {
        let policy = EdgeOptions::default().token_policy();
        let spec = ConnectionSpec {
            audience: policy.audience,
            issuer: policy.issuer,
            ..ConnectionSpec::default()
        };
        let now = clock::now().0.div_euclid(1_000_000);
        Ok(self.keys.mint_connection(
            user,
            Tenant::default().as_str(),
            TOKEN_SECONDS,
            now,
            &spec,
        )?)
    }
}

/// The options that are not as by default.
fn differences(edge: &EdgeOptions) -> anyhow::Result<toml::Table> {
    let mut all = toml::Table::try_from(edge)?;
    remove_same(&mut all, &toml::Table::try_from(EdgeOptions::default())?);
    Ok(all)
}

fn remove_same(all: &mut toml::Table, same: &toml::Table) {
    all.retain(|key, value| match (value, same.get(key)) {
        (toml::Value::Table(inner), Some(toml::Value::Table(same))) => {
            remove_same(inner, same);
            !inner.is_empty()
        }
        (value, same) => same != Some(value),
    });
}

/// A channel of the benchmarks.
pub fn channel(name: impl std::fmt::Display) -> anyhow::Result<ChannelName> {
    Ok(ChannelName::parse(&format!("{NAMESPACE}:{name}"))?)
}

/// Where its messages are stored.
pub fn subject(channel: &ChannelName) -> String {
    subjects::channel(Tenant::default().as_str(), channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_told_only_what_is_not_default() {
        assert!(differences(&EdgeOptions::default()).unwrap().is_empty());
        let told = differences(&Rig::options(100_000)).unwrap();
        let names: Vec<&str> = told.keys().map(String::as_str).collect();
        assert_eq!(names, ["connections_max", "inbox_channel", "limits", "namespaces"]);
        let limits = told["limits"].as_table().unwrap();
        assert_eq!((limits.len(), limits["accepts_per_second"].as_integer()), (1, Some(0)));
    }
}
