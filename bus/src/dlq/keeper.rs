//! The keeper: the workers that look after dead letters, together.
//! Reads and writes: as [`super::backstop`], [`super::reconcile`] and [`super::jobs`]. Never: is needed for a
//! consumer of this library to park what it gives up. Several keepers share the work and do no harm.

use std::time::Duration;

use super::jobs::{self, WorkerOptions};
use super::reconcile::{self, ReconcileOptions};
use super::{backstop, stats};
use crate::connect::Bus;
use crate::consume::ConsumeError;
use crate::lifecycle::Lifecycle;
use crate::telemetry;

/// How the keeper works.
#[derive(Clone, Copy, Debug)]
pub struct KeeperOptions {
    /// The reconciler.
    pub reconcile: ReconcileOptions,
    /// The worker of redrive jobs.
    pub worker: WorkerOptions,
    /// How often the gauges of dead letters are looked at.
    pub stats_every: Duration,
}

impl Default for KeeperOptions {
    fn default() -> Self {
        Self {
            reconcile: ReconcileOptions::default(),
            worker: WorkerOptions::default(),
            stats_every: Duration::from_secs(5),
        }
    }
}

/// Runs all of them until the soft stop.
///
/// # Errors
/// If the consumer of advisories cannot be created; the rest is stopped then.
pub async fn run(
    bus: &Bus,
    options: KeeperOptions,
    lifecycle: Lifecycle,
) -> Result<(), ConsumeError> {
    telemetry::start_keeper();
    let mine = lifecycle.child();
    let others = async {
        tokio::join!(
            reconcile::run(bus, options.reconcile, mine.clone()),
            jobs::run_worker_with(bus, options.worker, mine.clone()),
            stats::run(bus, options.stats_every, mine.clone()),
        );
    };
    let backstop = async {
        let ended = backstop::run(bus, mine.clone()).await;
        mine.soft.cancel();
        ended
    };
    let ((), ended) = tokio::join!(others, backstop);
    ended
}
