//! Two canaries: something that asks for a 1 ms timer again and again, and notes how much later it
//! was woken; one is a task of the harness's runtime, one a bare thread. If they are late, so is
//! the load. Tokio's timers count whole milliseconds, so up to one is its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::model;

const NAP: Duration = Duration::from_millis(1);
const NAP_NS: u64 = 1_000_000;

/// Overshoots of this second, and of the seconds before it.
pub(super) struct Gauge(Mutex<(Histogram<u64>, Histogram<u64>)>);

impl Default for Gauge {
    fn default() -> Self {
        Self(Mutex::new((model::histogram(), model::histogram())))
    }
}

impl Gauge {
    fn record(&self, began_ns: u64) {
        let slept = clock::now_ns().saturating_sub(began_ns);
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        both.0.saturating_record(slept.saturating_sub(NAP_NS));
    }

    /// The p99 of what came since the last call.
    pub fn take_p99_ms(&self) -> Option<f64> {
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (recent, whole) = &mut *both;
        if recent.is_empty() {
            return None;
        }
        let p99 = recent.value_at_quantile(0.99) as f64 / 1e6;
        // Both have the same bounds, so adding cannot fail.
        let _ = whole.add(&*recent);
        recent.reset();
        Some((p99 * 1e3).round() / 1e3)
    }

    /// Everything.
    pub fn whole(&self) -> Histogram<u64> {
        self.take_p99_ms();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// The bare thread; the task lives in the sampler's set.
pub(super) struct Canary(Option<JoinHandle<()>>);

impl Canary {
    pub fn start(
        gauges: &[Arc<Gauge>; 2],
        stop: &CancellationToken,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> Self {
        let (gauge, stopped) = (Arc::clone(&gauges[0]), stop.clone());
        tasks.spawn(async move {
            while !stopped.is_cancelled() {
                let began = clock::now_ns();
                tokio::time::sleep(NAP).await;
                gauge.record(began);
            }
        });
        let (gauge, stopped) = (Arc::clone(&gauges[1]), stop.clone());
        let thread = std::thread::Builder::new().name("canary".to_owned()).spawn(move || {
            while !stopped.is_cancelled() {
                let began = clock::now_ns();
                std::thread::sleep(NAP);
                gauge.record(began);
            }
        });
        // Without the thread its figure is missing, which is told as such.
        Self(thread.ok())
    }

    /// Waits for the thread, which ends within its nap.
    pub fn join(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}
