//! Who fans out: the edge, nats-server's own WebSocket gateway, Socket.IO with its Redis adapter.
//! Reads and writes: the servers it starts. Never: lets two of them work at the same time.

use std::net::SocketAddr;

use bytes::Bytes;
use campana_bus::{Durability, subjects};
use futures::future::try_join_all;

use super::dialect::{Dialect, Hello};
use super::gateway::Gateway;
use super::report::EDGE;
use super::rig::{self, Edge, Rig};
use super::socketio::SocketIo;
use super::wire;
use crate::cli::Global;

/// nats-server's column.
pub const GATEWAY: &str = "nats-server ws";
/// Socket.IO's column.
pub const SOCKET_IO: &str = "socket.io";

/// A system under measurement, running.
pub enum Side {
    /// Stored in JetStream, republished, fanned out by the edge.
    Edge(Box<Rig>, Edge),
    /// Core NATS to nats-server's WebSocket clients.
    Gateway(Gateway),
    /// Redis to one Node.js process.
    SocketIo(SocketIo),
}

impl Side {
    /// Starts a fresh one with room for so many connections.
    pub async fn start(
        global: &Global,
        name: &'static str,
        connections: usize,
        durability: Durability,
    ) -> anyhow::Result<Self> {
        Ok(match name {
            GATEWAY => Self::Gateway(Gateway::start().await?),
            SOCKET_IO => Self::SocketIo(SocketIo::start().await?),
            _ => {
                let rig = Box::new(Rig::start(global, durability).await?);
                let edge = rig.edge(EDGE, 0, Rig::options(connections)).await?;
                Self::Edge(rig, edge)
            }
        })
    }

    /// The process that clients are connected to.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Edge(_, edge) => edge.process.pid(),
            Self::Gateway(gateway) => gateway.pid(),
            Self::SocketIo(server) => server.pid(),
        }
    }

    /// The process that publishes go to, if it is another one.
    pub fn broker_pid(&self) -> Option<u32> {
        match self {
            Self::Edge(rig, _) => Some(rig.nats.pid()),
            Self::Gateway(_) => None,
            Self::SocketIo(server) => Some(server.broker_pid()),
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Edge(_, edge) => edge.address,
            Self::Gateway(gateway) => gateway.address(),
            Self::SocketIo(server) => server.address(),
        }
    }

    /// What they speak.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Edge(..) => Dialect::Centrifuge,
            Self::Gateway(_) => Dialect::Nats,
            Self::SocketIo(_) => Dialect::SocketIo,
        }
    }

    /// What the client with this number says, who wants this channel.
    pub fn hello(&self, number: usize, channel: &str) -> anyhow::Result<Hello> {
        let plain = |channel| Hello { channel, ..Hello::default() };
        Ok(match self {
            Self::Edge(rig, _) => rig.hello(number, &rig::channel(channel)?)?,
            Self::Gateway(_) => plain(subject(channel)),
            Self::SocketIo(_) => plain(channel.to_owned()),
        })
    }

    /// Publishes these messages at once and waits until they are accepted: on the edge's side, stored.
    pub async fn publish(
        &self,
        channel: &str,
        numbers: std::ops::Range<u64>,
        bytes: usize,
    ) -> anyhow::Result<()> {
        let bodies = numbers.map(|number| Bytes::from(wire::body(number, bytes)));
        match self {
            Self::Edge(rig, _) => {
                let subject = rig::subject(&rig::channel(channel)?);
                let mut accepted = Vec::new();
                for body in bodies {
                    accepted.push(rig.jetstream.publish(subject.clone(), body).await?);
                }
                let accepted = accepted.into_iter().map(std::future::IntoFuture::into_future);
                try_join_all(accepted).await?;
            }
            Self::Gateway(gateway) => gateway.publish(&subject(channel), bodies).await?,
            Self::SocketIo(server) => server.publish(channel, bodies).await?,
        }
        Ok(())
    }
}

/// The gateway's clients subscribe to plain subjects.
fn subject(channel: &str) -> String {
    subjects::app_event("bench", "bench", channel)
}
