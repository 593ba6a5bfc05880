//! A private nats-server with its own WebSocket listener: core NATS without the platform.
//! Reads: `NATS_SERVER_BIN` or `PATH`, as the other benches. Writes: a temporary folder. Never: stores anything.

use std::net::SocketAddr;

use bytes::Bytes;
use campana_bus::testing::{find_nats_server, free_port};

use super::process::{Folder, Process};

/// The server and a publisher's connection to it.
pub struct Gateway {
    client: async_nats::Client,
    process: Process,
    address: SocketAddr,
    _folder: Folder,
}

impl Gateway {
    /// Starts the server; no TLS and no compression, as on the edge's side.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let program = find_nats_server().map_err(anyhow::Error::msg)?;
        let port = || free_port().map_err(anyhow::Error::msg);
        let (plain, ws) = (port()?, port()?);
        let config = format!(
            "host: 127.0.0.1\nport: {plain}\nmax_connections: 200000\n\
             websocket {{ host: 127.0.0.1, port: {ws}, no_tls: true, compression: false }}\n"
        );
        let path = folder.path().join("nats.conf");
        std::fs::write(&path, config)?;
        let arguments = ["--config".to_owned(), path.display().to_string()];
        let mut process = Process::start("nats-server", folder.path(), &program, &arguments)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ws));
        process.listening(address).await?;
        let client = async_nats::connect(format!("nats://127.0.0.1:{plain}")).await?;
        Ok(Self { client, process, address, _folder: folder })
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its WebSocket listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends all at once.
    pub async fn publish(
        &self,
        subject: &str,
        bodies: impl Iterator<Item = Bytes>,
    ) -> anyhow::Result<()> {
        for body in bodies {
            self.client.publish(subject.to_owned(), body).await?;
        }
        Ok(self.client.flush().await?)
    }
}
