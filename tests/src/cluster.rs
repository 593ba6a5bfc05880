//! Three nats-servers on this machine that form one JetStream cluster.
//! Reads: `NATS_SERVER_BIN` and the places of `find_nats_server`. Writes: a temporary folder.
//! Never: outlives its owner.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use campana_bus::testing::{find_nats_server, free_port};
use campana_bus::topology::{self, TopologyOptions};
use campana_bus::{Bus, BusOptions, Durability};

use crate::process::Process;
use crate::wait::eventually;

const NODES: usize = 3;
/// Electing a leader of the cluster and of each stream, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Option<Process>>,
    ports: Vec<u16>,
    monitors: Vec<u16>,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts the nodes and waits until streams with three copies can be made.
    ///
    /// # Errors
    /// If they do not come up.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut ports = Vec::new();
        let mut routes = Vec::new();
        let mut monitors = Vec::new();
        for _ in 0..NODES {
            monitors.push(free_port().map_err(|error| anyhow!(error))?);
            ports.push(free_port().map_err(|error| anyhow!(error))?);
            routes.push(free_port().map_err(|error| anyhow!(error))?);
        }
        let all: Vec<String> =
            routes.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        for (node, route) in routes.iter().enumerate() {
            let store = folder.path().join(format!("js-{node}"));
            let config = format!(
                "server_name: n{node}\nlisten: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\n\
                 jetstream {{ store_dir: {store:?}, max_mem: 64MB, max_file: 2GB, sync_interval: always }}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{route}\", no_advertise: true, routes: [{}] }}\n",
                ports[node],
                monitors[node],
                all.join(", "),
            );
            std::fs::write(folder.path().join(format!("n{node}.conf")), config)?;
        }
        let mut cluster = Self { nodes: Vec::new(), ports, monitors, folder };
        for node in 0..NODES {
            cluster.nodes.push(Some(cluster.spawn(node)?));
        }
        let replicated = TopologyOptions { replicas: NODES, ..TopologyOptions::default() };
        eventually("a cluster with its streams", READY_WITHIN, async || {
            let bus = cluster.bus("cluster-test").await?;
            topology::apply(&bus, &topology::platform(replicated)).await?;
            Ok(Some(()))
        })
        .await?;
        Ok(cluster)
    }

    fn spawn(&self, node: usize) -> Result<Process> {
        let program = find_nats_server().map_err(|error| anyhow!(error))?;
        let folder: &Path = self.folder.path();
        Process::start(&format!("n{node}"), &program, folder, |command| {
            command.arg("--config").arg(folder.join(format!("n{node}.conf")));
        })
    }

    /// Where all nodes listen.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<String> =
            self.ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        urls.join(",")
    }

    /// The monitoring port of each node.
    #[must_use]
    pub fn monitors(&self) -> Vec<String> {
        self.monitors.iter().map(|port| format!("http://127.0.0.1:{port}")).collect()
    }

    /// A connection to whichever node answers.
    ///
    /// # Errors
    /// If none does.
    pub async fn bus(&self, name: &str) -> Result<Bus> {
        Ok(Bus::connect(BusOptions {
            url: self.url(),
            name: name.to_owned(),
            durability: Durability::Power,
            credentials_file: None,
        })
        .await?)
    }

    /// Which node leads a stream now.
    ///
    /// # Errors
    /// If none does.
    pub async fn leader(&self, bus: &Bus, stream: &str) -> Result<usize> {
        let info = bus.jetstream().get_stream(stream).await?.cached_info().clone();
        let name = info.cluster.and_then(|cluster| cluster.leader).context("no leader now")?;
        let node: usize = name.trim_start_matches('n').parse()?;
        ensure!(node < NODES, "an unknown leader {name}");
        Ok(node)
    }

    /// `kill -9` of one node.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    /// Starts a killed node again on the same ports and data.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn restart(&mut self, node: usize) -> Result<()> {
        self.nodes[node] = Some(self.spawn(node)?);
        Ok(())
    }

    /// Waits until a stream has all its copies, none of them behind: only then is another kill survivable.
    ///
    /// # Errors
    /// If that takes too long.
    pub async fn whole(&self, bus: &Bus, stream: &str) -> Result<()> {
        eventually("all copies to be current", READY_WITHIN, async || {
            let info = bus.jetstream().get_stream(stream).await?.cached_info().clone();
            let replicas = info.cluster.context("no cluster")?.replicas;
            let current = replicas.iter().filter(|peer| peer.current && !peer.offline).count();
            Ok((current == NODES - 1).then_some(()))
        })
        .await
    }
}
