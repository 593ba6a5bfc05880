//! Redrive as a job: many dead letters, at a bounded rate, by whoever keeps the dead letters.
//! Reads and writes: the bucket `redrives`. Never: redrives here; that is [`worker`]'s work.
//!
//! A job is one value in a bucket. Whoever holds its lease works on it and writes its progress; a lease that is
//! not renewed ends, and another keeper goes on from the last progress. What was redriven since then is not
//! redriven twice, because each entry is claimed under the job's own id. So the lease keeps work from being
//! done twice for nothing, and the claims keep it from doing harm: clocks that disagree cost time, not messages.
//!
//! A job looks at the entries that were there when it started and at none that came later, so that it ends.
//! What it redrove and finds parked again counts as failed again; beyond [`RedriveRequest::stop_ratio`] of what
//! was redriven the job stops, because the cause is not repaired.

mod state;
mod worker;

use crate::clock;
use crate::connect::Bus;
use crate::ids::RedriveId;
use crate::topology::{DLQ, REDRIVES};
use crate::{subjects, telemetry};

use super::{DlqError, store};

pub use state::{Counts, Group, Job, RATE_MAX, RedriveRequest, State};
pub use worker::{WorkerOptions, run_here, run_worker, run_worker_with, work_here};

/// Jobs that may be open at the same time.
pub const OPEN_JOBS_MAX: usize = 100;
/// Jobs that a list shows at most; the bucket forgets a job after 30 days.
pub const LIST_MAX: usize = 1_000;
/// Tries of a change that others change at the same time.
const CONTENTION_MAX: usize = 16;

/// Starts a job: it waits until a keeper takes it.
///
/// # Errors
/// If the request makes no sense, too many jobs are open, or the bus does not answer.
pub async fn start(bus: &Bus, request: RedriveRequest) -> Result<RedriveId, DlqError> {
    request.check()?;
    let open = list(bus, LIST_MAX).await?.iter().filter(|job| !job.state.is_final()).count();
    if open >= OPEN_JOBS_MAX {
        return Err(DlqError::TooManyJobs(open));
    }
    let until = bus.position(DLQ).await?.last;
    let job = Job::new(RedriveId::fresh(), request, until, clock::now());
    store::put(bus, REDRIVES, &job.id.to_string(), &job, 0).await?;
    tracing::info!(
        redrive.job = %job.id, redrive.by = job.request.requested_by, redrive.rate = job.request.rate,
        redrive.dry_run = job.request.dry_run, "redrive job started"
    );
    Ok(job.id)
}

/// A job as it stands.
///
/// # Errors
/// If the bus does not answer.
pub async fn get(bus: &Bus, id: RedriveId) -> Result<Option<Job>, DlqError> {
    Ok(read(bus, id).await?.map(|found| found.value))
}

pub(super) async fn read(
    bus: &Bus,
    id: RedriveId,
) -> Result<Option<store::Versioned<Job>>, DlqError> {
    store::get(bus, REDRIVES, &id.to_string()).await
}

/// Jobs, newest first.
///
/// # Errors
/// If the bus does not answer.
pub async fn list(bus: &Bus, limit: usize) -> Result<Vec<Job>, DlqError> {
    let limit = limit.min(LIST_MAX);
    let (mut jobs, _) = changed_after(bus, 0).await?;
    jobs.sort_unstable_by_key(|job| std::cmp::Reverse(job.id));
    jobs.truncate(limit);
    Ok(jobs)
}

/// Jobs that were written after a revision, and the newest revision.
pub(super) async fn changed_after(bus: &Bus, after: u64) -> Result<(Vec<Job>, u64), DlqError> {
    let (mut jobs, mut after) = (Vec::new(), after);
    loop {
        let stream = store::stream(REDRIVES);
        let page = bus
            .fetch_after(&stream, &subjects::bucket_keys(REDRIVES), after, super::filter::PAGE)
            .await?;
        let Some(last) = page.messages.last() else {
            return Ok((jobs, after));
        };
        after = last.sequence;
        let more = page.pending > 0 && jobs.len() < LIST_MAX * 4;
        for message in page.messages.iter().filter(|message| !message.payload.is_empty()) {
            match store::decode(&message.payload) {
                Ok(job) => jobs.push(job),
                // Of another version: leave it to those who understand it.
                Err(error) => tracing::debug!("a redrive job cannot be read: {error}"),
            }
        }
        if !more {
            return Ok((jobs, after));
        }
    }
}

/// Asks a job to end. One that nobody works on has ended at once; otherwise the worker ends it after the
/// entries in hand. A job that has ended stays as it is.
///
/// # Errors
/// If there is no such job, or the bus does not answer.
pub async fn cancel(bus: &Bus, id: RedriveId) -> Result<Job, DlqError> {
    for _ in 0..CONTENTION_MAX {
        let found = read(bus, id).await?.ok_or(DlqError::NoJob(id))?;
        let mut job = found.value;
        if !job.cancel(clock::now()) {
            return Ok(job);
        }
        if store::put(bus, REDRIVES, &id.to_string(), &job, found.revision).await?.is_some() {
            if job.state.is_final() {
                telemetry::redrive_job_ended(job.state.as_str());
            }
            return Ok(job);
        }
    }
    Err(DlqError::Contended(id))
}
