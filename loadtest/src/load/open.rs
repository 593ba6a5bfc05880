//! Open load: arrivals by the schedule, whatever the platform does. A thread of its own sleeps
//! from one batch of arrivals to the next, because the runtime's timer knows milliseconds only
//! and a busy runtime is late. An arrival that finds too many requests without an answer is
//! skipped and counted, never sent later.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::pool::{Pool, Ticket};
use super::post::Scratch;
use super::{Aim, ONE_WAVE, Offered, Sending};
use crate::clock::now_ns;
use crate::failure::Failure;
use crate::intake::{Channel, Event};
use crate::scenario::Arrivals;
use crate::schedule::{Intended, Schedule, Share, Whom};

/// Arrivals nearer than this to one another are sent in one batch: at 10,000/s it is one or two,
/// and the thread does not spend its core on going to sleep.
const BATCH_NS: u64 = 50_000;
/// The thread looks this often whether it shall stop.
const NAP_NS: u64 = 20_000_000;
/// Connections that are opened before the first arrival: what 50 ms of arrivals need.
const WARM_S: f64 = 0.05;
const WARM_MIN: f64 = 4.0;
const WARM_MAX: f64 = 512.0;

/// One step of open load.
#[derive(Clone)]
pub struct OpenLoad {
    pub rate_per_s: f64,
    pub arrivals: Arrivals,
    pub seed: u64,
    pub warm_up: Duration,
    pub hold: Duration,
    /// Recipients of the run.
    pub recipients: u32,
    pub fan_out: u32,
    pub channels: Vec<Channel>,
    pub in_flight_max: usize,
}

impl OpenLoad {
    /// Opens the connections that the first arrivals need.
    pub async fn prepare(&self, sending: &Arc<Sending>) -> Result<Arc<Pool>, Failure> {
        let pool = Pool::new(Arc::clone(sending), self.in_flight_max, Handle::current());
        let own_rate = self.rate_per_s / f64::from(sending.part.of);
        let warm = (own_rate * WARM_S).clamp(WARM_MIN, WARM_MAX);
        let opened = pool.warm(warm as usize).await;
        opened.map_err(|error| Failure::connect(&sending.authority, error))?;
        Ok(pool)
    }

    /// Offers the load from `start_ns` on and returns when the last arrival was sent or skipped;
    /// the pool still waits for answers then.
    pub async fn run(
        self,
        sending: Arc<Sending>,
        pool: Arc<Pool>,
        start_ns: u64,
    ) -> Result<Offered, Failure> {
        tokio::task::spawn_blocking(move || self.pace(&sending, &pool, start_ns))
            .await
            .map_err(|error| Failure::failed("the thread that paces arrivals", error))
    }

    /// When the measured part begins.
    pub fn measured_from(&self, start_ns: u64) -> u64 {
        start_ns.saturating_add(nanoseconds(self.warm_up))
    }

    fn pace(&self, sending: &Sending, pool: &Arc<Pool>, start_ns: u64) -> Offered {
        let from_ns = self.measured_from(start_ns);
        let end_ns = from_ns.saturating_add(nanoseconds(self.hold));
        let mut offered = Offered { from_ns, to_ns: end_ns, ..Offered::default() };
        let mut scratch = Scratch::default();
        let schedule = Schedule::new(self.arrivals, self.rate_per_s, self.seed);
        let Self { seed, recipients, fan_out, .. } = *self;
        let (whom, first) = (Whom { seed, recipients, fan_out }, sending.next_number());
        let lasts_ns = end_ns.saturating_sub(start_ns);
        let mut share = Share::new(schedule, sending.part, whom, first, lasts_ns);
        for arrival in share.by_ref() {
            let intended_ns = start_ns.saturating_add(arrival.at_ns);
            if !sleep_until(intended_ns, sending) {
                break;
            }
            let measured = intended_ns >= from_ns;
            let sent = self.send(sending, pool, (arrival, intended_ns), measured, &mut scratch);
            offered.intended += u64::from(measured);
            offered.dropped += u64::from(measured && !sent);
        }
        sending.go_on_from(share.next_number());
        if sending.stop.is_cancelled() {
            offered.to_ns = now_ns().clamp(from_ns, end_ns);
        } else {
            // The measured part ends by the clock and not with its last arrival.
            sleep_until(end_ns, sending);
        }
        offered
    }

    fn send(
        &self,
        sending: &Sending,
        pool: &Arc<Pool>,
        (arrival, intended_ns): (Intended, u64),
        measured: bool,
        scratch: &mut Scratch,
    ) -> bool {
        let slot = sending.part.slot(arrival.number);
        let recipient = arrival.recipient;
        let aim = Aim { recipient, fan_out: self.fan_out, channels: &self.channels };
        sending.poster.write(slot, &aim, scratch);
        let ticket = Ticket { slot, wave: ONE_WAVE, recipient, intended_ns };
        let sent = pool.dispatch(ticket, &scratch.bytes);
        if !sent && measured {
            sending.intake.push(Event::Skipped { intended_ns });
        }
        sent
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps until a moment; false if it shall stop. A moment in the past costs nothing, and one
/// that is near enough is taken into the batch at hand.
fn sleep_until(at_ns: u64, sending: &Sending) -> bool {
    loop {
        let left = at_ns.saturating_sub(now_ns());
        if left == 0 {
            return !sending.stop.is_cancelled();
        }
        if sending.stop.is_cancelled() {
            return false;
        }
        std::thread::sleep(Duration::from_nanos(left.clamp(BATCH_NS, NAP_NS)));
    }
}
