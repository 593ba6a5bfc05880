//! The receiving side: long-lived WebSocket connections, opened before the first step and never
//! restarted between steps. Each reader stamps the moment a frame has been read, reads the mark
//! in it and hands the receipt on; it judges nothing. A connection that is lost comes back with
//! its position, as a browser would; that it was lost, and what came by recovery, is told.

mod centrifuge;
mod connection;
pub mod nats;
mod protocol;
mod socketio;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::clock;
use crate::failure::Failure;
use crate::intake::Intake;
use connection::Receiver;

pub use protocol::Protocol;

const CONNECT_AT_ONCE: usize = 32;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const RETURN_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One connection to be opened.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Index of the recipient whose receipts this connection reads.
    pub recipient: u32,
    pub url: Url,
    pub token: String,
    /// The channel that the server must subscribe at connect, if it does so.
    pub expect: Option<String>,
    /// A channel to subscribe, shared by many receivers.
    pub shared: Option<SharedChannel>,
}

/// A channel that the client asks for.
#[derive(Clone, Debug)]
pub struct SharedChannel {
    pub name: String,
    pub token: Option<String>,
}

/// What receivers report beside receipts.
#[derive(Debug, Default)]
struct Counters {
    open: AtomicU32,
    lost: AtomicU32,
    returned: AtomicU32,
    unrecovered: AtomicU32,
}

/// What every connection needs.
struct Common {
    run: u32,
    boot: u32,
    intake: Arc<Intake>,
    counters: Counters,
    stop: CancellationToken,
}

/// An order to leave and come back, for every seat that it hits.
#[derive(Clone, Copy, Debug, Default)]
struct Leave {
    generation: u64,
    share: f64,
}

impl Leave {
    /// Spread evenly: of n seats exactly the share is hit, rounded down.
    fn hits(self, seat: usize) -> bool {
        let upto = |count: usize| (count as f64 * self.share + 1e-9).floor();
        upto(seat + 1) > upto(seat)
    }
}

/// What became of [`Receivers::drop_and_return`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Connections that were cut.
    pub dropped: u32,
    /// Of those, back within a minute.
    pub back: u32,
    /// Subscriptions that could not be recovered: what was missed there is lost to the client.
    pub unrecovered: u32,
    /// From the cut to the last one that was back.
    pub took_ns: u64,
}

/// All connections of a run.
pub struct Receivers {
    common: Arc<Common>,
    leave: watch::Sender<Leave>,
    seats: usize,
    tasks: TaskTracker,
}

impl Receivers {
    /// Opens every connection, paced, and returns when each is subscribed; `progress` is called
    /// for each. Receipts of marks of this `run` go to the intake.
    pub async fn open(
        protocol: Protocol,
        run: u32,
        seats: Vec<Seat>,
        intake: Arc<Intake>,
        progress: impl Fn(),
    ) -> Result<Self, Failure> {
        let common = Arc::new(Common {
            run,
            boot: clock::boot(),
            intake,
            counters: Counters::default(),
            stop: CancellationToken::new(),
        });
        let receivers = Self {
            common,
            leave: watch::Sender::new(Leave::default()),
            seats: seats.len(),
            tasks: TaskTracker::new(),
        };
        let (shared, leave) = (Arc::clone(&receivers.common), receivers.leave.subscribe());
        let opened = stream::iter(seats.into_iter().enumerate())
            .map(move |(index, seat)| {
                let (common, leave) = (Arc::clone(&shared), leave.clone());
                async move {
                    let mut receiver = Receiver::new(index, seat, protocol, common, leave);
                    let attempt = tokio::time::timeout(CONNECT_TIMEOUT, receiver.connect());
                    let socket = attempt
                        .await
                        .map_err(|_| Failure::connect(receiver.url(), "time-out"))?
                        .map_err(|error| Failure::connect(receiver.url(), error))?;
                    Ok::<_, Failure>((receiver, socket))
                }
            })
            .buffer_unordered(CONNECT_AT_ONCE);
        let mut opened = std::pin::pin!(opened);
        while let Some((receiver, socket)) = opened.try_next().await? {
            receivers.tasks.spawn(receiver.run(socket));
            progress();
        }
        Ok(receivers)
    }

    /// Connections that are open and subscribed now.
    #[cfg(test)]
    pub fn open_now(&self) -> u32 {
        self.common.counters.open.load(Ordering::Acquire)
    }

    /// How often a connection was lost although nothing was done to it; the reasons are in the
    /// intake.
    pub fn lost(&self) -> u32 {
        self.common.counters.lost.load(Ordering::Acquire)
    }

    /// How often the platform could not give back what a connection had missed.
    pub fn unrecovered(&self) -> u32 {
        self.common.counters.unrecovered.load(Ordering::Acquire)
    }

    /// Cuts a share (0 to 1) of the connections at one moment, without a farewell; each comes back
    /// at once with its position and recovers. Returns when all are back, or after a minute.
    pub async fn drop_and_return(&self, share: f64) -> Returned {
        let counters = &self.common.counters;
        let began = clock::now_ns();
        let generation = self.leave.borrow().generation + 1;
        let order = Leave { generation, share: share.clamp(0.0, 1.0) };
        let hit = (0..self.seats).filter(|seat| order.hits(*seat)).count();
        let dropped = u32::try_from(hit).unwrap_or(u32::MAX);
        let returned = counters.returned.load(Ordering::Acquire);
        let unrecovered = self.unrecovered();
        self.leave.send_replace(order);
        let back = || counters.returned.load(Ordering::Acquire).wrapping_sub(returned);
        let all = async {
            while back() < dropped && !self.common.stop.is_cancelled() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        // Whoever is not back by then is counted as missing.
        let _ = tokio::time::timeout(RETURN_TIMEOUT, all).await;
        Returned {
            dropped,
            back: back().min(dropped),
            unrecovered: self.unrecovered().saturating_sub(unrecovered),
            took_ns: clock::now_ns().saturating_sub(began),
        }
    }

    /// Closes every connection in an orderly way.
    pub async fn close(self) {
        self.common.stop.cancel();
        self.tasks.close();
        // A peer that does not answer the close holds nothing up: the process is about to end.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
    }
}

/// Receivers that are dropped take their tasks with them.
impl Drop for Receivers {
    fn drop(&mut self) {
        self.common.stop.cancel();
    }
}
