//! Working on redrive jobs.
//! Reads: the bucket `redrives`, the `DLQ` stream. Writes: as [`redrive`](super::super::redrive), and the
//! progress of jobs. Never: works without a lease, goes faster than a job allows, moves a job's cursor past an
//! entry whose end is not known.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::claims::Claimant;
use super::super::redrive::{self, Ended, Routes};
use super::super::{DlqError, filter, letter, store};
use super::state::{Job, RedriveRequest, State};
use super::{changed_after, read, start};
use crate::clock::{self, Micros};
use crate::connect::Bus;
use crate::fetch::StoredMessage;
use crate::ids::{NodeId, RedriveId};
use crate::lifecycle::Lifecycle;
use crate::topology::{DLQ, REDRIVES};
use crate::{headers, telemetry};

/// Jobs of one worker at the same time.
const JOBS_MAX: usize = 8;
/// Entries of one job that are redriven at the same time.
const CONCURRENCY: usize = 32;
/// Entries between two looks at cancellation and failures, at most.
const CHUNK_MAX: usize = 64;
/// Requests with which one look for failures reads new letters.
const REFAIL_REQUESTS_MAX: usize = 8;
/// Pause after the bus did not answer.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct WorkerOptions {
    /// How long a keeper may be silent before another one takes over.
    pub lease: Duration,
    /// How often open jobs are looked for.
    pub poll: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self { lease: Duration::from_secs(30), poll: Duration::from_secs(1) }
    }
}

/// Works on the open jobs until the soft stop.
pub async fn run_worker(bus: &Bus, lifecycle: Lifecycle) {
    run_worker_with(bus, WorkerOptions::default(), lifecycle).await;
}

/// The same with other options.
pub async fn run_worker_with(bus: &Bus, options: WorkerOptions, lifecycle: Lifecycle) {
    let owner = NodeId::fresh().to_string();
    let mut open: BTreeMap<RedriveId, Job> = BTreeMap::new();
    let mut cursor = Cursor::default();
    let mut at_work: JoinSet<RedriveId> = JoinSet::new();
    let mut busy = std::collections::BTreeSet::new();
    let mut tick = tokio::time::interval(options.poll);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = lifecycle.soft.cancelled() => break,
            Some(ended) = at_work.join_next() => {
                if let Ok(id) = ended { busy.remove(&id); }
                continue;
            }
            _ = tick.tick() => {}
        }
        if let Err(error) = cursor.follow(bus, &mut open).await {
            tracing::debug!("redrive jobs cannot be read: {error}");
            continue;
        }
        telemetry::redrive_jobs_open(open.len());
        let now = clock::now();
        let free: Vec<RedriveId> = open
            .values()
            .filter(|job| job.is_free_for(&owner, now) && !busy.contains(&job.id))
            .map(|job| job.id)
            .take(JOBS_MAX - at_work.len().min(JOBS_MAX))
            .collect();
        for id in free {
            busy.insert(id);
            let (bus, owner, lifecycle) = (bus.clone(), owner.clone(), lifecycle.clone());
            at_work.spawn(async move {
                if let Err(error) = work_on(&bus, id, &owner, options.lease, &lifecycle).await {
                    tracing::warn!(redrive.job = %id, "a redrive job was interrupted: {error}");
                }
                id
            });
        }
    }
    // Each sees the soft stop, writes its progress and gives its lease back.
    while at_work.join_next().await.is_some() {}
}

/// Follows the bucket: only what changed is read.
#[derive(Debug, Default)]
struct Cursor {
    after: u64,
    epoch: String,
}

impl Cursor {
    async fn follow(
        &mut self,
        bus: &Bus,
        open: &mut BTreeMap<RedriveId, Job>,
    ) -> Result<(), DlqError> {
        let now = bus.position(&store::stream(REDRIVES)).await?;
        if now.epoch != self.epoch {
            open.clear();
            *self = Self { after: 0, epoch: now.epoch };
        }
        if now.last <= self.after {
            return Ok(());
        }
        let (changed, after) = changed_after(bus, self.after).await?;
        self.after = after;
        for job in changed {
            if job.state.is_final() {
                open.remove(&job.id);
            } else {
                open.insert(job.id, job);
            }
        }
        Ok(())
    }
}

/// Starts a job and works on it here; another keeper may be faster. Returns the job when it has ended.
///
/// # Errors
/// As [`start`], or if the job's state cannot be read.
pub async fn run_here(bus: &Bus, request: RedriveRequest) -> Result<Job, DlqError> {
    let id = start(bus, request).await?;
    work_here(bus, id).await
}

/// Works on a job here whenever nobody else does, until it has ended.
///
/// # Errors
/// If there is no such job, or the bus does not answer.
pub async fn work_here(bus: &Bus, id: RedriveId) -> Result<Job, DlqError> {
    let owner = NodeId::fresh().to_string();
    let options = WorkerOptions::default();
    loop {
        work_on(bus, id, &owner, options.lease, &Lifecycle::new()).await?;
        let job = read(bus, id).await?.ok_or(DlqError::NoJob(id))?.value;
        if job.state.is_final() {
            return Ok(job);
        }
        tokio::time::sleep(options.poll).await;
    }
}

/// A job under our lease.
struct Held<'a> {
    bus: &'a Bus,
    job: Job,
    revision: u64,
    owner: &'a str,
    lease: Duration,
    routes: Routes,
    /// When the next entry may go.
    next: Instant,
}

/// Takes the lease if it is free and works until the job has ended, the lease is lost or the soft stop.
async fn work_on(
    bus: &Bus,
    id: RedriveId,
    owner: &str,
    lease: Duration,
    lifecycle: &Lifecycle,
) -> Result<(), DlqError> {
    let Some(found) = read(bus, id).await? else {
        return Ok(());
    };
    if !found.value.is_free_for(owner, clock::now()) {
        return Ok(());
    }
    let mut held = Held {
        bus,
        job: found.value,
        revision: found.revision,
        owner,
        lease,
        routes: Routes::default(),
        next: Instant::now(),
    };
    while held.save().await? {
        if held.job.cancel_requested {
            held.job.end(State::Canceled, None, clock::now());
        } else if lifecycle.soft.is_cancelled() {
            held.job.lease = None;
            held.write().await?;
            return Ok(());
        } else {
            let step = tokio::select! {
                biased;
                step = held.step() => step,
                () = lifecycle.hard.cancelled() => return Ok(()),
            };
            if let Err(error) = step {
                // Nothing is lost: the cursor has not moved past what is not known.
                held.job.message = Some(format!("waiting: {error}"));
                tokio::time::sleep(TROUBLE_PAUSE.min(lease / 4)).await;
            }
        }
        if held.job.state.is_final() {
            return held.finish().await;
        }
    }
    Ok(())
}

impl Held<'_> {
    /// Renews the lease and writes the progress; false if the job is not ours any more.
    async fn save(&mut self) -> Result<bool, DlqError> {
        let now = clock::now();
        let micros = i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX / 2);
        self.job.take(self.owner, Micros(now.0.saturating_add(micros)), now);
        self.write().await
    }

    /// Writes the job; a cancellation that came meanwhile is taken over.
    async fn write(&mut self) -> Result<bool, DlqError> {
        loop {
            let key = self.job.id.to_string();
            let stored = store::put(self.bus, REDRIVES, &key, &self.job, self.revision).await?;
            if let Some(revision) = stored {
                self.revision = revision;
                return Ok(true);
            }
            let Some(found) = read(self.bus, self.job.id).await? else {
                return Ok(false);
            };
            if !found.value.is_free_for(self.owner, clock::now()) {
                tracing::info!(redrive.job = %self.job.id, "another keeper has taken the redrive job over");
                return Ok(false);
            }
            self.revision = found.revision;
            self.job.cancel_requested |= found.value.cancel_requested;
        }
    }

    async fn finish(&mut self) -> Result<(), DlqError> {
        if self.write().await? {
            telemetry::redrive_job_ended(self.job.state.as_str());
            tracing::info!(
                redrive.job = %self.job.id, redrive.state = self.job.state.as_str(),
                redrive.redriven = self.job.counts.redriven, redrive.refailed = self.job.counts.refailed,
                "redrive job ended"
            );
        }
        Ok(())
    }

    /// The next few entries.
    async fn step(&mut self) -> Result<(), DlqError> {
        let job = &self.job;
        let left =
            job.request.limit.map_or(u64::MAX, |limit| limit - job.counts.matched.min(limit));
        // About a tenth of a second's work, so that a cancellation and failures are seen soon.
        let chunk = match job.request.dry_run {
            true => filter::PAGE,
            false => (job.request.rate as usize / 10).clamp(1, CHUNK_MAX),
        };
        let chunk = chunk.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut found = filter::scan(self.bus, &job.request.filter, job.cursor, chunk).await?;
        found.messages.retain(|message| message.sequence <= job.until);
        let at_end = found.at_end || found.after >= job.until;
        if job.request.dry_run {
            found.messages.iter().for_each(|message| self.job.found(letter::view(message)));
        } else {
            self.redrive(found.messages).await?;
            self.count_refailed().await?;
        }
        self.job.cursor = found.after.min(self.job.until);
        self.job.message = None;
        if self.job.is_failing_again() {
            let why = format!(
                "{} of {} redriven messages were parked again: repair the cause first",
                self.job.counts.refailed, self.job.counts.redriven
            );
            self.job.end(State::Stopped, Some(why), clock::now());
        } else if at_end || self.job.is_limit_reached() {
            self.job.end(State::Done, None, clock::now());
        }
        Ok(())
    }

    /// Redrives entries at the job's rate. An entry whose end is not known makes the whole step be repeated:
    /// those that are done are gone from the stream by then.
    async fn redrive(&mut self, entries: Vec<StoredMessage>) -> Result<(), DlqError> {
        let claimant = Claimant::Job(self.job.id);
        let gap = Duration::from_secs(1) / self.job.request.rate;
        let mut slot = self.next.max(Instant::now());
        let due: Vec<(Instant, StoredMessage)> = entries
            .into_iter()
            .map(|entry| {
                let at = slot;
                slot += gap;
                (at, entry)
            })
            .collect();
        self.next = slot;
        let (bus, routes, claimant) = (self.bus, &self.routes, &claimant);
        let ends: Vec<Result<Ended, DlqError>> = futures::stream::iter(due)
            .map(|(at, entry)| async move {
                tokio::time::sleep_until(at).await;
                redrive::redrive(bus, &entry, claimant, routes, None).await
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let counts = &mut self.job.counts;
        counts.redriven += ends.iter().filter(|end| **end == Ok(Ended::Redriven)).count() as u64;
        if let Some(error) = ends.iter().find_map(|end| end.as_ref().err()) {
            // The redriven ones will not be found again, so they are counted here.
            counts.matched += ends.iter().filter(|end| **end == Ok(Ended::Redriven)).count() as u64;
            return Err(error.clone());
        }
        counts.matched += ends.len() as u64;
        for end in ends.into_iter().flatten() {
            match end {
                Ended::Redriven => {}
                Ended::Claimed(_) => counts.claimed_by_others += 1,
                Ended::Failed(why) => {
                    counts.failed += 1;
                    tracing::warn!(redrive.job = %self.job.id, "a dead letter was refused: {why}");
                }
            }
        }
        Ok(())
    }

    /// Looks at the letters that were parked since the last look for those that this job gave back.
    async fn count_refailed(&mut self) -> Result<(), DlqError> {
        let id = self.job.id.to_string();
        for _ in 0..REFAIL_REQUESTS_MAX {
            let subject = self.job.request.filter.subject();
            let after = self.job.refail_cursor;
            let page = self.bus.fetch_after(DLQ, &subject, after, filter::PAGE).await?;
            let ours = |message: &&StoredMessage| {
                headers::get(&message.headers, headers::REDRIVE_JOB) == Some(id.as_str())
                    && headers::get_number::<u32>(&message.headers, headers::REDRIVE_COUNT)
                        .is_some_and(|count| count >= 1)
            };
            self.job.counts.refailed += page.messages.iter().filter(ours).count() as u64;
            if let Some(last) = page.messages.last() {
                self.job.refail_cursor = last.sequence;
            }
            if page.pending == 0 {
                break;
            }
        }
        Ok(())
    }
}
