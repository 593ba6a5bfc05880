//! Many receivers: opened together, counted each in a task of its own, gone when they are dropped.
//! Reads: sockets. Writes: the board. Never: lets a receiver outlive its measurement.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::board::Board;
use super::client::Client;
use super::dialect::{Dialect, Hello};

/// Connections that are opened at the same time, below the backlog of a listener.
const OPEN_AT_ONCE: usize = 64;

/// What a measurement connects to, and what it counts.
#[derive(Clone)]
pub struct Target {
    /// The server.
    pub server: SocketAddr,
    /// What it speaks.
    pub dialect: Dialect,
    /// Bytes of a message.
    pub bytes: usize,
    /// Whether each receiver gets all messages, from 0 on, in order.
    pub ordered: bool,
}

/// Receivers that count.
#[derive(Default)]
pub struct Receivers {
    tasks: JoinSet<()>,
}

impl Receivers {
    /// Opens one receiver for each greeting, some at a time.
    pub async fn open(
        target: &Target,
        hellos: impl ExactSizeIterator<Item = Hello>,
        board: &Arc<Board>,
        bar: &ProgressBar,
    ) -> anyhow::Result<Self> {
        let mut all = Self::default();
        let mut opened = std::pin::pin!(
            futures::stream::iter(hellos.enumerate())
                .map(|(number, hello)| async move {
                    let client =
                        Client::open(target.server, number, target.dialect, &hello, None).await;
                    let client = client.with_context(|| format!("connection {number}"))?;
                    anyhow::Ok((number, client))
                })
                .buffer_unordered(OPEN_AT_ONCE)
        );
        while let Some((number, client)) = opened.try_next().await? {
            all.add(target, number, client, board);
            bar.inc(1);
        }
        Ok(all)
    }

    /// Counts what this client gets from now on.
    pub fn add(&mut self, target: &Target, number: usize, client: Client, board: &Arc<Board>) {
        self.tasks.spawn(client.count(number, target.bytes, target.ordered, Arc::clone(board)));
    }

    /// Closes all of them and waits until their sockets are gone.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}
