//! What a job is and how it changes: pure.
//! Reads: its arguments. Writes: nothing. Never: reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::DlqError;
use super::super::filter::Filter;
use super::super::letter::DeadLetter;
use crate::clock::Micros;
use crate::ids::RedriveId;

/// Most messages per second.
pub const RATE_MAX: u32 = 5_000;
/// Letters shown by a dry run.
const SAMPLE_MAX: usize = 10;
/// Groups of consumer and class that a job counts apart.
const GROUPS_MAX: usize = 100;
/// Longest text of a filter field or a name, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// What a job shall do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RedriveRequest {
    /// Which letters.
    pub filter: Filter,
    /// Messages per second at most, 1 to [`RATE_MAX`].
    pub rate: u32,
    /// Entries at most; `None` for all that were there at the start.
    pub limit: Option<u64>,
    /// Only count, and show a sample.
    pub dry_run: bool,
    /// Part of the redriven messages that may be parked again before the job stops, 0 to 1.
    pub stop_ratio: f64,
    /// Redriven messages before that is looked at.
    pub stop_after: u64,
    /// Who asked, for logs and lists: a key's id or a host's user, never a secret.
    pub requested_by: String,
}

impl Default for RedriveRequest {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            rate: 100,
            limit: None,
            dry_run: false,
            stop_ratio: 0.5,
            stop_after: 20,
            requested_by: String::new(),
        }
    }
}

impl RedriveRequest {
    /// Checks the numbers and the lengths.
    ///
    /// # Errors
    /// Names the first field that makes no sense.
    pub fn check(&self) -> Result<(), DlqError> {
        let invalid = |field, reason: String| Err(DlqError::Invalid { field, reason });
        if !(1..=RATE_MAX).contains(&self.rate) {
            return invalid("rate", format!("must be 1 to {RATE_MAX} messages per second"));
        }
        if !(0.0..=1.0).contains(&self.stop_ratio) {
            return invalid("stop_ratio", "must be 0 to 1".to_owned());
        }
        if self.limit == Some(0) {
            return invalid("limit", "must be at least 1".to_owned());
        }
        let filter = &self.filter;
        let texts = [
            ("stream", filter.stream.as_ref()),
            ("consumer", filter.consumer.as_ref()),
            ("class", filter.class.as_ref()),
            ("reason", filter.reason.as_ref()),
            ("error", filter.error_contains.as_ref()),
            ("tenant", filter.tenant.as_ref()),
            ("requested_by", Some(&self.requested_by)),
        ];
        for (field, text) in texts {
            if text.is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
                return invalid(field, format!("has at most {TEXT_BYTES_MAX} bytes"));
            }
        }
        Ok(())
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody works on it yet.
    Pending,
    /// A keeper works on it, or will again when the lease of one that died is over.
    Running,
    /// Every entry was looked at.
    Done,
    /// An operator ended it.
    Canceled,
    /// Too much of it was parked again.
    Stopped,
    /// It could not go on.
    Failed,
}

impl State {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The name in answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Canceled => "canceled",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// What a job did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Entries that the filter means.
    pub matched: u64,
    /// Given back to their consumers.
    pub redriven: u64,
    /// Left to the job or operator who had claimed them.
    pub claimed_by_others: u64,
    /// Refused by their stream; they stay parked.
    pub failed: u64,
    /// Redriven by this job and parked again while it ran.
    pub refailed: u64,
}

/// How many of one kind a job found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The stream.
    pub stream: String,
    /// The consumer.
    pub consumer: String,
    /// The class.
    pub class: String,
    /// How many.
    pub count: u64,
}

/// Who works on a job, and until when without a sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    pub owner: String,
    pub until: Micros,
}

/// A redrive job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: RedriveId,
    /// What it shall do.
    pub request: RedriveRequest,
    /// Where it stands.
    pub state: State,
    /// When it was asked for.
    pub created_at: Micros,
    /// When a keeper took it first.
    pub started_at: Option<Micros>,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// What it did so far.
    pub counts: Counts,
    /// What a dry run found, by consumer and class; at most 100 groups.
    pub groups: Vec<Group>,
    /// The first letters that a dry run found.
    pub sample: Vec<DeadLetter>,
    /// Why it ended, or what it is waiting for.
    pub message: Option<String>,
    /// Whether an operator wants it to end.
    pub cancel_requested: bool,
    /// Everything up to here was looked at.
    pub(super) cursor: u64,
    /// Where looking began.
    pub(super) from: u64,
    /// The last entry when the job started.
    pub(super) until: u64,
    /// Parked entries were looked at for failures up to here.
    pub(super) refail_cursor: u64,
    pub(super) lease: Option<Lease>,
}

impl Job {
    pub(super) fn new(id: RedriveId, request: RedriveRequest, until: u64, now: Micros) -> Self {
        Self {
            id,
            cursor: request.filter.start(0),
            from: request.filter.start(0),
            request,
            state: State::Pending,
            created_at: now,
            started_at: None,
            ended_at: None,
            counts: Counts::default(),
            groups: Vec::new(),
            sample: Vec::new(),
            message: None,
            cancel_requested: false,
            until,
            refail_cursor: until,
            lease: None,
        }
    }

    /// Part of the entries that were looked at, 0 to 1.
    #[must_use]
    pub fn progress(&self) -> f64 {
        if matches!(self.state, State::Done) {
            return 1.0;
        }
        let whole = self.until.saturating_sub(self.from);
        let done = self.cursor.saturating_sub(self.from).min(whole);
        if whole == 0 { 0.0 } else { done as f64 / whole as f64 }
    }

    /// How much longer it will take if it goes on like this; `None` if that cannot be said.
    #[must_use]
    pub fn remaining(&self, now: Micros) -> Option<Duration> {
        let started = self.started_at.filter(|_| !self.state.is_final())?;
        let (passed, progress) = (now.since(started).max(0), self.progress());
        (progress > 0.0)
            .then(|| Duration::from_secs_f64(passed as f64 / 1e6 * (1.0 - progress) / progress))
    }

    /// Whether a keeper may take it at `now`: it is open, and nobody else has shown to be alive since.
    pub(super) fn is_free_for(&self, owner: &str, now: Micros) -> bool {
        let free =
            self.lease.as_ref().is_none_or(|lease| lease.owner == owner || lease.until <= now);
        !self.state.is_final() && free
    }

    pub(super) fn take(&mut self, owner: &str, until: Micros, now: Micros) {
        self.state = State::Running;
        self.started_at.get_or_insert(now);
        self.lease = Some(Lease { owner: owner.to_owned(), until });
    }

    pub(super) fn end(&mut self, state: State, why: Option<String>, now: Micros) {
        self.state = state;
        self.ended_at = Some(now);
        self.lease = None;
        self.message = why;
    }

    /// Notes that the job shall end; true if that changed something.
    pub(super) fn cancel(&mut self, now: Micros) -> bool {
        if self.state.is_final() || (self.cancel_requested && self.lease.is_some()) {
            return false;
        }
        self.cancel_requested = true;
        if self.lease.as_ref().is_none_or(|lease| lease.until <= now) {
            self.end(State::Canceled, None, now);
        }
        true
    }

    /// Whether too much was parked again.
    pub(super) fn is_failing_again(&self) -> bool {
        let Counts { redriven, refailed, .. } = self.counts;
        redriven >= self.request.stop_after.max(1)
            && refailed as f64 > self.request.stop_ratio * redriven as f64
    }

    /// Whether as many entries were looked at as were asked for.
    pub(super) fn is_limit_reached(&self) -> bool {
        self.request.limit.is_some_and(|limit| self.counts.matched >= limit)
    }

    /// Counts a letter that a dry run found.
    pub(super) fn found(&mut self, letter: DeadLetter) {
        self.counts.matched += 1;
        let is_full = self.groups.len() >= GROUPS_MAX;
        let same = |group: &&mut Group| {
            group.stream == letter.stream
                && group.consumer == letter.consumer
                && group.class == letter.class
        };
        match self.groups.iter_mut().find(same) {
            Some(group) => group.count += 1,
            None if !is_full => self.groups.push(Group {
                stream: letter.stream.clone(),
                consumer: letter.consumer.clone(),
                class: letter.class.clone(),
                count: 1,
            }),
            None => {}
        }
        if self.sample.len() < SAMPLE_MAX {
            self.sample.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(redriven: u64, refailed: u64) -> Job {
        let mut job = Job::new(RedriveId::fresh(), RedriveRequest::default(), 100, Micros(0));
        job.counts = Counts { redriven, refailed, ..Counts::default() };
        job
    }

    #[test]
    fn a_job_stops_only_past_both_bounds() {
        assert!(!job(19, 19).is_failing_again());
        assert!(!job(20, 10).is_failing_again());
        assert!(job(20, 11).is_failing_again());
        let mut strict = job(20, 1);
        strict.request.stop_ratio = 0.0;
        assert!(strict.is_failing_again());
    }

    #[test]
    fn a_lease_is_its_owner_s_until_it_is_over() {
        let mut one = job(0, 0);
        assert!(one.is_free_for("a", Micros(0)));
        one.take("a", Micros(100), Micros(5));
        assert!(one.is_free_for("a", Micros(50)) && !one.is_free_for("b", Micros(99)));
        assert!(one.is_free_for("b", Micros(100)));
        one.end(State::Done, None, Micros(7));
        assert!(!one.is_free_for("a", Micros(200)));
    }

    #[test]
    fn canceling_ends_at_once_what_nobody_works_on() {
        let mut idle = job(0, 0);
        assert!(idle.cancel(Micros(1)) && idle.state == State::Canceled);
        assert!(!idle.cancel(Micros(2)), "it has ended");
        let mut busy = job(0, 0);
        busy.take("a", Micros(100), Micros(0));
        assert!(busy.cancel(Micros(1)) && busy.state == State::Running && busy.cancel_requested);
        assert!(!busy.cancel(Micros(2)), "it was told before");
        let mut orphan = job(0, 0);
        orphan.take("a", Micros(100), Micros(0));
        assert!(orphan.cancel(Micros(100)) && orphan.state == State::Canceled);
    }

    #[test]
    fn the_rest_is_estimated_from_what_is_done() {
        let mut half = job(0, 0);
        half.take("a", Micros(100), Micros(0));
        half.cursor = 50;
        assert_eq!(half.remaining(Micros(10_000_000)), Some(Duration::from_secs(10)));
        half.cursor = 0;
        assert_eq!(half.remaining(Micros(10_000_000)), None);
    }

    #[test]
    fn requests_are_checked() {
        let wrong = |request: RedriveRequest| match request.check() {
            Err(DlqError::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        let good = RedriveRequest::default;
        assert!(good().check().is_ok());
        assert_eq!(wrong(RedriveRequest { rate: 0, ..good() }), "rate");
        assert_eq!(wrong(RedriveRequest { rate: 5_001, ..good() }), "rate");
        assert_eq!(wrong(RedriveRequest { stop_ratio: f64::NAN, ..good() }), "stop_ratio");
        assert_eq!(wrong(RedriveRequest { stop_ratio: 1.1, ..good() }), "stop_ratio");
        assert_eq!(wrong(RedriveRequest { limit: Some(0), ..good() }), "limit");
        let long = Filter { error_contains: Some("x".repeat(600)), ..Filter::default() };
        assert_eq!(wrong(RedriveRequest { filter: long, ..good() }), "error");
    }
}
