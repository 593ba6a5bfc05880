//! A plain TCP load balancer: round robin over backends, and whoever does not take a connection is left out of
//! that one.
//! Reads and writes: sockets on the loopback interface. Never: looks at what it carries, or remembers a client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running load balancer; ends when dropped, with all that goes through it.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    carried: Arc<Vec<AtomicUsize>>,
    _end: DropGuard,
}

impl Proxy {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If the loopback interface has none.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one task of the proxy; it ends with the proxy, and all its connections with it"
    )]
    pub async fn start(backends: Vec<SocketAddr>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("a free port")?;
        let address = listener.local_addr()?;
        let carried: Arc<Vec<AtomicUsize>> =
            Arc::new(backends.iter().map(|_| AtomicUsize::new(0)).collect());
        let (end, counts) = (CancellationToken::new(), Arc::clone(&carried));
        let ended = end.clone();
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut turn = 0;
            loop {
                let client = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = ended.cancelled() => return,
                };
                while connections.try_join_next().is_some() {}
                let Ok((client, _)) = client else { continue };
                turn += 1;
                connections.spawn(carry(client, backends.clone(), turn, Arc::clone(&counts)));
            }
        });
        Ok(Self { address, carried, _end: end.drop_guard() })
    }

    /// How many connections each backend took.
    #[must_use]
    pub fn carried(&self) -> Vec<usize> {
        self.carried.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

/// Carries bytes both ways until one side ends; the first backend that answers gets the connection.
async fn carry(
    mut client: TcpStream,
    backends: Vec<SocketAddr>,
    turn: usize,
    counts: Arc<Vec<AtomicUsize>>,
) {
    for step in 0..backends.len() {
        let at = (turn + step) % backends.len();
        if let Ok(mut backend) = TcpStream::connect(backends[at]).await {
            counts[at].fetch_add(1, Ordering::Relaxed);
            let _ = (client.set_nodelay(true), backend.set_nodelay(true));
            let _ = tokio::io::copy_bidirectional(&mut client, &mut backend).await;
            return;
        }
    }
}
