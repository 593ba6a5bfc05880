//! The SMTP receiver: accepts connections, bounded in number, until the soft stop.
//!
//! A small server of our own, because the ones on crates.io are synchronous or unmaintained; the
//! command grammar is smtp-proto's. `frame`, `command` and `session` are pure; `connection` is
//! the only part that touches a socket. Accepted messages go to the mailbox and nowhere else.

mod command;
mod connection;
mod frame;
mod reply;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use campana_bus::lifecycle::Lifecycle;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use session::Envelope;

use crate::state::Shared;

/// Pause after a failed accept (no file descriptor left): without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a refused client may take to read the refusal.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);

/// What all connections of the receiver share.
#[derive(Debug)]
struct Receiver {
    shared: Arc<Shared>,
    /// Kibibytes of messages that may be in transfer at once.
    budget: Arc<Semaphore>,
    lifecycle: Lifecycle,
}

/// Serves until the soft stop, then returns when the last connection has ended (or at the hard
/// stop).
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, lifecycle: Lifecycle) {
    let limits = &shared.options.smtp;
    let slots = Arc::new(Semaphore::new(limits.connections));
    let budget = Arc::new(Semaphore::new((limits.in_flight_bytes / 1024).max(1)));
    let receiver = Arc::new(Receiver { shared, budget, lifecycle: lifecycle.clone() });
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = lifecycle.soft.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "smtp accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // One small answer follows another: without nodelay each waits for a delayed ACK.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay could not be set");
        }
        let receiver = Arc::clone(&receiver);
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                connections.spawn(async move {
                    receiver.serve_one(stream).await;
                    drop(slot);
                });
            }
            Err(_) => {
                receiver.shared.stats.smtp_refused();
                refuse(stream).await;
            }
        }
    }
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = lifecycle.hard.cancelled() => {}
    }
}

impl Receiver {
    async fn serve_one(self: Arc<Self>, stream: TcpStream) {
        self.shared.stats.smtp_opened();
        let hard = self.lifecycle.hard.clone();
        tokio::select! {
            ended = connection::converse(stream, &self) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "smtp connection broke");
                }
            }
            () = hard.cancelled() => {}
        }
        self.shared.stats.smtp_closed();
    }
}

/// Tells a client that there is no room. The answer fits any socket buffer, so this does not
/// hold the accept loop up.
async fn refuse(mut stream: TcpStream) {
    let text = b"421 4.3.2 too many connections\r\n";
    let _ = tokio::time::timeout(REFUSAL_DEADLINE, stream.write_all(text)).await;
}
