//! The relay: publishes what the outbox holds, and removes it when the stream has acknowledged it.
//! Reads and writes: the outbox, JetStream. Never: removes a row before the acknowledgement, lets a row that
//! cannot be published hold up rows of other keys, keeps a transaction open while it waits for NATS.
//!
//! Any number of relays may run. A relay takes a *lane* (one of [`LANES`](crate::outbox::LANES), by the hash of
//! the ordering key) under a lease, so a key is published by one relay at a time; within a batch the rows of a key
//! go out one after the other, each after the acknowledgement of the one before. A relay that is killed leaves its
//! lanes to the others when the lease ends. What it may have published is published again under the same message
//! id, with the header `Campana-Repeat`.

mod plan;
mod table;

use std::time::Duration;

use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::StoredAt;
use campana_bus::{Bus, clock};
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use sqlx::Pool;

use crate::dialect::Dialect;
use crate::errors::{Trouble, describe, trouble};
use crate::outbox::Outbox;
use crate::telemetry;
use plan::{Pending, Verdict};
use table::{Claim, Table};

/// Bytes of bodies in one batch, beyond its first row.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Publishes of one lane that wait for their acknowledgement at the same time.
const IN_FLIGHT_PER_LANE: usize = 64;
/// How often depth and age are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// Longest pause after errors of the database.
const TROUBLE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The shortest lease: below it, a slow answer would be enough to lose a lane.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// How a relay behaves; the defaults suit most services.
#[derive(Clone, Copy, Debug)]
pub struct RelayOptions {
    /// Rows of one lane that are read and published together, 1 to 1,000 (128).
    pub batch: usize,
    /// Lanes at work at once, 1 to 16 (4); each uses one connection of the pool now and then.
    pub lanes: usize,
    /// How long a lane is kept, at least 1 s (10 s). Half of it is the time for a batch, the other half the
    /// time for the last acknowledgement; a relay that is killed holds up its lanes for this long.
    pub lease: Duration,
    /// How often an idle relay looks at the table, 10 ms to 1 h (250 ms): the delay of events that another
    /// process commits. Those of this process wake it.
    pub poll: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            batch: 128,
            lanes: 4,
            lease: Duration::from_secs(10),
            poll: Duration::from_millis(250),
        }
    }
}

impl RelayOptions {
    fn bounded(self) -> Self {
        Self {
            batch: self.batch.clamp(1, 1_000),
            lanes: self.lanes.clamp(1, 16),
            lease: self.lease.clamp(LEASE_MIN, Duration::from_secs(3_600)),
            poll: self.poll.clamp(Duration::from_millis(10), Duration::from_secs(3_600)),
        }
    }
}

/// Publishes what an outbox holds.
#[derive(Clone, Debug)]
pub struct Relay {
    outbox: Outbox,
    options: RelayOptions,
}

impl Relay {
    /// A relay that the commits of this outbox wake.
    #[must_use]
    pub fn new(outbox: &Outbox, options: RelayOptions) -> Self {
        Self { outbox: outbox.clone(), options: options.bounded() }
    }

    /// Runs until the soft stop; returns when the batch in hand is settled and the lanes are free. Outages of
    /// NATS and of the database are waited for.
    ///
    /// # Errors
    /// If the first look at the tables fails although the database answers, as it does when they are missing.
    pub async fn run<DB: Dialect>(
        self,
        pool: Pool<DB>,
        bus: Bus,
        lifecycle: Lifecycle,
    ) -> Result<(), sqlx::Error> {
        let mut running = None;
        let mut errors = 0_u32;
        let mut measured = None;
        while !lifecycle.soft.is_cancelled() {
            let worked = match &running {
                None => match Running::start(&self, &pool, &bus, &lifecycle).await {
                    Err(error) if trouble(&error) == Trouble::Statement => return Err(error),
                    Err(error) => Err(error),
                    Ok(started) => {
                        running = Some(started);
                        Ok(true)
                    }
                },
                Some(running) => running.turn(&mut measured).await,
            };
            let pause = match worked {
                Ok(true) => {
                    errors = 0;
                    continue;
                }
                Ok(false) => {
                    errors = 0;
                    self.options.poll
                }
                Err(error) => {
                    errors = errors.saturating_add(1);
                    telemetry::outbox_failed("database");
                    tracing::warn!("the relay of the outbox will try again: {}", describe(&error));
                    plan::pause(i64::from(errors)).min(TROUBLE_PAUSE_MAX)
                }
            };
            tokio::select! {
                () = lifecycle.soft.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.outbox.woken(), if errors == 0 => {}
            }
        }
        Ok(())
    }
}

/// A relay that has seen its tables.
struct Running<DB: Dialect> {
    table: Table<DB>,
    bus: Bus,
    lifecycle: Lifecycle,
    options: RelayOptions,
}

impl<DB: Dialect> Running<DB> {
    async fn start(
        relay: &Relay,
        pool: &Pool<DB>,
        bus: &Bus,
        lifecycle: &Lifecycle,
    ) -> Result<Self, sqlx::Error> {
        let table = Table::open(pool.clone()).await?;
        table.depth().await?;
        Ok(Self { table, bus: bus.clone(), lifecycle: lifecycle.clone(), options: relay.options })
    }

    /// One look at the table; true if there was something to do, so that more may be waiting.
    async fn turn(&self, measured: &mut Option<std::time::Instant>) -> Result<bool, sqlx::Error> {
        if measured.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            let depth = self.table.depth().await?;
            let age = depth.oldest.map_or(0, |oldest| clock::now().since(oldest).max(0));
            telemetry::outbox_depth(depth.pending, age as f64 / 1e6, depth.set_aside);
            *measured = Some(clock::monotonic());
        }
        if !self.bus.is_connected() {
            telemetry::outbox_failed("disconnected");
            return Ok(false);
        }
        if !self.table.has_due(clock::now()).await? {
            return Ok(false);
        }
        let claims = self.table.claim(clock::now(), self.options.lease, self.options.lanes).await?;
        let lanes = join_all(claims.into_iter().map(|claim| self.lane(claim))).await;
        let mut published = 0;
        for lane in lanes {
            published += lane?;
        }
        Ok(published > 0)
    }

    /// Publishes one batch of a lane and lets it go; how many rows left the table.
    async fn lane(&self, claim: Claim) -> Result<usize, sqlx::Error> {
        let done = self.batch(claim).await;
        // Without this the lane waits for the end of its lease, no worse.
        let released = self.table.release(claim, clock::now()).await;
        let done = done?;
        released?;
        Ok(done)
    }

    async fn batch(&self, claim: Claim) -> Result<usize, sqlx::Error> {
        let started = clock::monotonic();
        let rows =
            self.table.batch(claim, clock::now(), self.options.batch, BATCH_BYTES_MAX).await?;
        let Some(last) = rows.iter().map(|row| row.id).max() else {
            return Ok(0);
        };
        if !self.table.note_tried(claim, last, clock::now()).await? {
            return Ok(0);
        }
        let budget = self.options.lease / 2;
        let go_on = || started.elapsed() < budget && !self.lifecycle.soft.is_cancelled();
        let settled: Vec<(Pending, Verdict)> = stream::iter(plan::chains(rows))
            .map(|chain| self.chain(chain, &go_on))
            .buffer_unordered(IN_FLIGHT_PER_LANE)
            .concat()
            .await;
        self.settle(settled).await
    }

    /// Publishes the rows of one key in order, up to the first that fails for now.
    async fn chain(
        &self,
        chain: Vec<Pending>,
        go_on: &impl Fn() -> bool,
    ) -> Vec<(Pending, Verdict)> {
        let mut settled = Vec::with_capacity(chain.len());
        for row in chain {
            if !go_on() {
                break;
            }
            let verdict = self.publish(&row).await;
            let stop = matches!(verdict, Verdict::Later { .. });
            settled.push((row, verdict));
            if stop {
                break;
            }
        }
        settled
    }

    async fn publish(&self, row: &Pending) -> Verdict {
        let Some(message) = &row.message else {
            let reason = "the headers of the row cannot be read".to_owned();
            return Verdict::Never { class: "unreadable", reason };
        };
        let publish = self.bus.publish(message.clone());
        let answer: Result<StoredAt, _> =
            match tokio::time::timeout(self.options.lease / 2, publish).await {
                Ok(answer) => answer,
                Err(_) => {
                    let reason = "no acknowledgement within half the lease".to_owned();
                    return Verdict::Later { reason };
                }
            };
        plan::verdict(answer)
    }

    /// Writes down what became of the rows; how many left the queue.
    async fn settle(&self, settled: Vec<(Pending, Verdict)>) -> Result<usize, sqlx::Error> {
        let mut gone = Vec::with_capacity(settled.len());
        let mut aside = 0;
        let mut rest = Vec::new();
        for (row, verdict) in settled {
            match verdict {
                Verdict::Published { duplicate } => {
                    telemetry::outbox_published(match (duplicate, row.repeat) {
                        (false, _) => "stored",
                        (true, true) => "duplicate",
                        (true, false) => unexpected(row.id),
                    });
                    gone.push(row.id);
                }
                other => rest.push((row, other)),
            }
        }
        // First what must not be published again, then the rest.
        self.table.remove(&gone).await?;
        for (row, verdict) in rest {
            let now = clock::now();
            match verdict {
                Verdict::Published { .. } => {}
                Verdict::Later { reason } => {
                    telemetry::outbox_failed("unavailable");
                    let failures = row.failures.saturating_add(1);
                    let pause = i64::try_from(plan::pause(failures).as_micros()).unwrap_or(0);
                    let due = clock::Micros(now.0.saturating_add(pause));
                    self.table.put_off(row.id, failures, due, &reason).await?;
                }
                Verdict::Never { class, reason } => {
                    telemetry::outbox_failed(class);
                    tracing::error!(
                        outbox.id = row.id,
                        "a message of the outbox was refused for good and set aside: {reason}"
                    );
                    self.table.set_aside(row.id, now, &reason).await?;
                    aside += 1;
                }
            }
        }
        Ok(gone.len() + aside)
    }
}

/// The event was told before by other means, or two events share an id and one of them is not told.
fn unexpected(id: i64) -> &'static str {
    tracing::warn!(
        outbox.id = id,
        "the stream had this message id before the outbox published it: if another event has the same id, this one \
         is lost; give events ids that no other event of the stream has"
    );
    "unexpected_duplicate"
}
