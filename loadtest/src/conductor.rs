//! Runs the waves of one step: wait until every user is at the gate, release, watch the ledger
//! until all has arrived or the drain is over, leave a quiet gap, repeat. It owns the ledger and
//! takes the process samples; it sends nothing itself.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Origin;
use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::procs::{self, Process, Usage};
use crate::receivers::Inbox;
use crate::senders::Crew;

/// How often arrivals are taken to the ledger while a wave is in flight.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// The wave before the measured ones: it opens connections and fills caches.
pub const WARM_UP_WAVES: u32 = 1;

/// What a step needs.
pub struct Conductor<'a> {
    pub origin: Origin,
    pub crew: &'a Crew,
    pub inbox: &'a Inbox,
    pub gate: &'a Gate,
    pub processes: &'a [Process],
    pub settle: Duration,
    pub drain: Duration,
    pub stop: &'a CancellationToken,
}

impl Conductor<'_> {
    /// Runs the warm-up and `repeat` measured waves of `n`; returns how many were measured,
    /// fewer than asked if ctrl-C came.
    pub async fn run(
        &self,
        ledger: &mut Ledger,
        n: u32,
        repeat: u32,
        mut progress: impl FnMut(u32),
    ) -> (u32, Usage) {
        let users = n as usize;
        let mut usage = Usage::default();
        let mut measured = 0;
        let (mut step_start, mut steal_start) = (procs::Sample::default(), (0, 0));
        for wave in 0..WARM_UP_WAVES + repeat {
            tokio::select! {
                () = self.gate.call(wave, users) => {}
                () = self.stop.cancelled() => break,
            }
            if wave == WARM_UP_WAVES {
                step_start = procs::sample(self.processes, self.origin.ns());
                steal_start = procs::steal_ticks();
            }
            let before = procs::sample(self.processes, self.origin.ns());
            let already = ledger.sent_count();
            self.gate.release(wave, self.origin);
            self.watch_wave(ledger, already + users).await;
            if wave >= WARM_UP_WAVES {
                usage.add_wave(&before, &procs::sample(self.processes, self.origin.ns()));
                measured += 1;
            }
            progress(wave);
            self.rest().await;
            if self.stop.is_cancelled() {
                break;
            }
        }
        self.take(ledger);
        usage.step_cpu_ns =
            procs::difference(&step_start, &procs::sample(self.processes, self.origin.ns()));
        usage.steal_percent = procs::steal_percent(steal_start, procs::steal_ticks());
        usage.rss_bytes = procs::resident(self.processes);
        (measured, usage)
    }

    /// Returns when every request of the wave is answered and every accepted notification has
    /// arrived, or when nothing more is to be expected. Requests end by their own time-out.
    async fn watch_wave(&self, ledger: &mut Ledger, sent_after: usize) {
        let mut all_answered_ns = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.take(ledger);
            if ledger.sent_count() < sent_after {
                continue;
            }
            let now = self.origin.ns();
            let since = *all_answered_ns.get_or_insert(now);
            let drained = Duration::from_nanos(now.saturating_sub(since)) >= self.drain;
            if ledger.outstanding() == 0 || drained {
                return;
            }
        }
    }

    /// The gap in which late repeats of a receipt would show.
    async fn rest(&self) {
        tokio::select! {
            () = tokio::time::sleep(self.settle) => {}
            () = self.stop.cancelled() => {}
        }
    }

    fn take(&self, ledger: &mut Ledger) {
        for sent in self.crew.take() {
            ledger.record_sent(sent);
        }
        for receipt in self.inbox.take() {
            ledger.record_receipt(receipt);
        }
    }
}
