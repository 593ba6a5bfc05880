//! Edges alone, as processes: as many as asked for, on one nats-server, with the same secret.
//! Reads: what each process prints when it is ready. Writes: a temporary folder. Never: leaves one behind.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::publish::Outgoing;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::testing::{NatsServer, free_port};
use campana_bus::{Bus, clock};
use campana_identity::{ConnectionSpec, DEFAULT_TENANT, TokenKeys};

use crate::api::http;
use crate::command::{self, Ended, campana};
use crate::platform::Home;
use crate::process::{Process, Signal};
use crate::wait::eventually;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(60);
const SECRET: &str = "a secret that every edge of this test shares";

/// One edge.
#[derive(Debug)]
pub struct Edge {
    /// Its process.
    pub process: Process,
    /// Where clients connect; the same in every life.
    pub address: SocketAddr,
    /// Where metrics are, as a URL; another one in every life.
    pub ops: String,
}

/// Several edges.
#[derive(Debug)]
pub struct Edges {
    home: Home,
    nats: NatsServer,
    /// A connection of a service.
    pub bus: Bus,
    /// The edges.
    pub nodes: Vec<Edge>,
}

impl Edges {
    /// Starts `count` edges, one after the other; `configuration` is TOML.
    ///
    /// # Errors
    /// If one of them does not become ready.
    pub async fn start(count: usize, configuration: &str) -> Result<Self> {
        let nats = NatsServer::start().map_err(anyhow::Error::msg)?;
        let bus = nats.bus_with_topology("test").await.map_err(anyhow::Error::msg)?;
        let home = Home::new()?;
        std::fs::write(home.path().join("campana.toml"), configuration)?;
        let mut all = Self { home, nats, bus, nodes: Vec::new() };
        for number in 0..count {
            let port = free_port().map_err(anyhow::Error::msg)?;
            let edge = all.run(number, port).await?;
            all.nodes.push(edge);
        }
        Ok(all)
    }

    async fn run(&self, number: usize, port: u16) -> Result<Edge> {
        let folder = self.home.path();
        let environment = self.environment();
        let arguments = [
            "run".to_owned(),
            "--role".to_owned(),
            "edge".to_owned(),
            "--data-dir".to_owned(),
            folder.join(format!("data-{number}")).display().to_string(),
            "--set".to_owned(),
            format!("listen.edge={port}"),
            "--set".to_owned(),
            "listen.ops=0".to_owned(),
        ];
        let name = format!("edge-{number}");
        let mut process = Process::start(&name, &campana()?, folder, |command| {
            command.args(arguments).envs(environment).current_dir(folder);
        })?;
        let ready = eventually(&name, READY_WITHIN, async || {
            if let Err(ended) = process.must_run() {
                return Ok(Some(Err(ended)));
            }
            let output = process.output();
            Ok(output
                .lines()
                .find_map(|line| line.strip_prefix("ready: ").map(|rest| Ok(rest.to_owned()))))
        })
        .await??;
        let find =
            |name: &str| ready.split(", ").find_map(|pair| pair.strip_prefix(name)).map(str::trim);
        let address = find("edge").context("an edge listens")?.parse()?;
        let ops = format!("http://{}", find("ops").context("a metrics listener")?);
        Ok(Edge { process, address, ops })
    }

    fn environment(&self) -> Vec<(String, String)> {
        vec![
            ("CAMPANA__NATS__URL".to_owned(), self.nats.url()),
            ("CAMPANA__AUTH__TOKEN_SECRET".to_owned(), SECRET.to_owned()),
        ]
    }

    /// Runs another command against the same NATS to its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn command(&self, arguments: &[&str]) -> Result<Ended> {
        command::run(self.home.path(), &self.environment(), arguments).await
    }

    /// `kill -9`.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number].process.kill();
    }

    /// Starts an edge again where it was.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn restart(&mut self, number: usize) -> Result<()> {
        self.nodes[number] = self.run(number, self.nodes[number].address.port()).await?;
        Ok(())
    }

    /// Waits for the clean end of an edge that was asked to stop.
    ///
    /// # Errors
    /// If it does not end, or not cleanly.
    pub async fn ended(&mut self, number: usize) -> Result<()> {
        let process = &mut self.nodes[number].process;
        let status = process.ended(STOPS_WITHIN).await?;
        ensure!(status.success(), "edge {number} ended with {status}: {}", process.log());
        Ok(())
    }

    /// Stops all edges and checks that each ended cleanly.
    ///
    /// # Errors
    /// If one does not.
    pub async fn stop(mut self) -> Result<()> {
        for edge in &self.nodes {
            edge.process.signal(Signal::TERM)?;
        }
        for number in 0..self.nodes.len() {
            self.ended(number).await?;
        }
        Ok(())
    }

    /// The WebSocket of an edge, or of a proxy in front.
    #[must_use]
    pub fn url(address: SocketAddr) -> String {
        format!("ws://{address}/connection/websocket")
    }

    /// A connection token.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn token(user: &str) -> Result<String> {
        let keys = TokenKeys::new(SECRET.as_bytes(), None)?;
        let now = clock::now().0 / 1_000_000;
        Ok(keys.mint_connection(user, DEFAULT_TENANT, 3_600, now, &ConnectionSpec::default())?)
    }

    /// What a page of the metrics listener says, and its status.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn ops(&self, number: usize, path: &str) -> Result<(u16, String)> {
        let answer = http()?.get(format!("{}{path}", self.nodes[number].ops)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// The value of a series, exactly as it is written, with its labels; 0 if there is none.
    ///
    /// # Errors
    /// If the listener does not answer.
    pub async fn metric(&self, number: usize, series: &str) -> Result<f64> {
        let (_, page) = self.ops(number, "/metrics").await?;
        let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(found.map_or(Ok(0.0), str::parse)?)
    }
}

/// Publishes JSON as a service does; `number` tells messages of a channel apart.
///
/// # Errors
/// If it is not stored.
pub async fn publish(bus: &Bus, channel: &str, body: &str, number: u64) -> Result<()> {
    let subject = subjects::channel(DEFAULT_TENANT, &ChannelName::parse(channel)?);
    let id = format!("{channel}-{number}");
    let message = Outgoing::new(subject, id, body.to_owned().into());
    bus.publish(message).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(())
}
