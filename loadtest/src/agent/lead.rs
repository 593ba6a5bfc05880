//! What a session has of whoever leads it: its share of the load, the agreed instants, and the way
//! for what it tells while a step runs. Decides nothing about the load itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::part::Part;
use super::protocol::Report;
use crate::clock::now_ns;
use crate::ledger::IntervalLog;

/// Reports that wait to be written; the coordinator reads them as they come.
pub const REPORTS_MAX: usize = 1_024;
/// An instant further away than this was reckoned with another clock.
pub const INSTANT_MAX: Duration = Duration::from_secs(60);
const NAP: Duration = Duration::from_millis(20);

/// Something to tell.
pub enum Word {
    Report(Box<Report>),
    /// Packed by whoever writes it, outside of the ledger's task.
    Seconds(Vec<IntervalLog>),
}

/// The session's end.
pub struct Lead {
    pub part: Part,
    /// In every mark of the run's notifications.
    pub run: u32,
    /// The run's beginning by this machine's clock.
    pub started_ns: u64,
    words: mpsc::Sender<Word>,
    instants: Mutex<mpsc::Receiver<u64>>,
    overrun: AtomicBool,
}

impl Lead {
    /// With the way for words, and the end on which [`Self::instant`] waits.
    pub fn new(
        part: Part,
        run: u32,
        started_ns: u64,
        words: mpsc::Sender<Word>,
    ) -> (Arc<Self>, mpsc::Sender<u64>) {
        let (tell, instants) = mpsc::channel(1);
        let (instants, overrun) = (Mutex::new(instants), AtomicBool::new(false));
        (Arc::new(Self { part, run, started_ns, words, instants, overrun }), tell)
    }

    /// Says that everything is ready, and returns the instant that all generators begin at;
    /// nothing if the run was stopped.
    pub async fn instant(&self, stop: &CancellationToken) -> Option<u64> {
        let mut instants = self.instants.lock().await;
        self.words.send(Word::Report(Box::new(Report::Ready))).await.ok()?;
        tokio::select! {
            at_ns = instants.recv() => at_ns,
            () = stop.cancelled() => None,
        }
    }

    /// Hands seconds on. The ledger's task never waits: if nobody reads, that is told at the end.
    pub fn seconds(&self, logs: Vec<IntervalLog>) {
        if !logs.is_empty() && self.words.try_send(Word::Seconds(logs)).is_err() {
            self.overrun.store(true, Ordering::Release);
        }
    }

    /// Whether seconds are missing from what was told.
    pub fn overrun(&self) -> bool {
        self.overrun.load(Ordering::Acquire)
    }
}

/// Waits for an instant more exactly than the runtime's timer does, which counts milliseconds.
pub async fn until(at_ns: u64, stop: &CancellationToken) {
    let stop = stop.clone();
    let wait = move || {
        while !stop.is_cancelled() {
            let left = Duration::from_nanos(at_ns.saturating_sub(now_ns()));
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(NAP));
        }
    };
    // A runtime that ends meanwhile needs no instant any more.
    let _ = tokio::task::spawn_blocking(wait).await;
}
