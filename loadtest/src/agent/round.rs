//! One step of a run of several generators: everybody prepares, begins at one agreed instant, and
//! is waited for. The coordinator watches the platform meanwhile and does to it what the scenario
//! says. One agent that is lost ends the run: the rest would be another load than was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::fleet::{Fleet, SILENCE_MAX};
use super::part::Part;
use super::protocol::{Order, Progress, Report, StepPart};
use super::whole::{Share, Whole};
use crate::clock::now_ns;
use crate::engine::faults;
use crate::engine::live::{Row, Second};
use crate::engine::probe::sample_from;
use crate::engine::step::{RECONCILE_WITHIN, expected, nanoseconds};
use crate::engine::waves::WARM_UP_WAVES;
use crate::failure::Failure;
use crate::ledger::{Book, Merger};
use crate::model::{Kind, Step};
use crate::reconcile::{self, Reading};
use crate::sampler::Sampler;
use crate::scenario::{Fault, StepSpec, What};

/// Between the order to begin and the instant: the slowest way, four times, and time to wake.
const LEAD_NS: u64 = 30_000_000;
const LEAD_TRIPS: u64 = 4;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Over what a step may take by its own numbers.
const OVERTIME: Duration = Duration::from_secs(120);
const ENDING: &str = "ending";

/// What was gathered of a step.
struct Gathered {
    parts: BTreeMap<usize, StepPart>,
    sampler: Option<Sampler>,
    complaints: Vec<String>,
}

/// A step while it runs.
struct Round {
    /// Members with a share, by their place in it.
    takers: Vec<usize>,
    ready: BTreeSet<usize>,
    parts: BTreeMap<usize, StepPart>,
    progress: BTreeMap<usize, Progress>,
    merger: Merger,
    /// How often it was begun: once, or for every wave.
    begun: u32,
}

impl Round {
    /// Whether all that are still at it wait for an instant.
    fn is_ready(&self) -> bool {
        let waits = |member: &usize| self.ready.contains(member) || self.parts.contains_key(member);
        !self.ready.is_empty() && self.takers.iter().all(waits)
    }
}

impl Fleet {
    /// Runs a step; nothing if it was stopped before anything was measured.
    pub async fn step(&mut self, spec: &StepSpec) -> Result<Option<Step>, Failure> {
        self.live.begin(spec, expected(spec));
        self.set_clocks().await?;
        let clocks: Vec<_> = self.members.iter().map(|member| member.offset).collect();
        let before = self.counters.read().await;
        let number = self.steps;
        self.steps += 1;
        if let Some(recorder) = &mut self.recorder {
            recorder.open_step(number, &spec.name);
        }
        let takers = self.takers(spec);
        let mut round = Round {
            merger: Merger::new(number, spec.kind, &spec.channels, takers.len(), self.started_ns),
            takers,
            ready: BTreeSet::new(),
            parts: BTreeMap::new(),
            progress: BTreeMap::new(),
            begun: 0,
        };
        for index in round.takers.clone() {
            let order = Order::Step { spec: Box::new(spec.clone()), number: self.next_number };
            self.tell(index, &order).await?;
        }
        let (sampler, complaints) = self.gather(spec, &mut round).await?;
        self.set_clocks().await?;
        let (parts, merger) = (std::mem::take(&mut round.parts), round.merger);
        let gathered = Gathered { parts, sampler, complaints };
        self.join(spec, (merger, number), gathered, &clocks, &before).await
    }

    /// Members that have something to do in a step.
    fn takers(&self, spec: &StepSpec) -> Vec<usize> {
        let of = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let has = |index: &usize| {
            let index = u32::try_from(*index).unwrap_or(u32::MAX);
            spec.kind == Kind::Open || Part { index, of }.count(spec.size) > 0
        };
        (0..self.members.len()).filter(has).collect()
    }

    async fn gather(
        &mut self,
        spec: &StepSpec,
        round: &mut Round,
    ) -> Result<(Option<Sampler>, Vec<String>), Failure> {
        let (stop, began_ns) = (self.stop.clone(), now_ns());
        let mut stopping = false;
        let mut sampling: Option<Pin<Box<dyn Future<Output = Sampler> + Send>>> = None;
        let mut faults: Option<Pin<Box<dyn Future<Output = Vec<String>> + Send>>> = None;
        let (mut sampler, mut complaints) = (None, Vec::new());
        while round.parts.len() < round.takers.len() {
            if round.is_ready() && !stopping {
                let first = round.begun == 0;
                if spec.kind == Kind::Wave && round.begun == WARM_UP_WAVES {
                    sampler = Some(Sampler::start(self.watched()).await);
                }
                let at_ns = self.begin_round(round).await?;
                if first && spec.kind != Kind::Wave {
                    let from_ns = at_ns.saturating_add(nanoseconds(spec.warm_up));
                    sampling = Some(Box::pin(sample_from(from_ns, self.watched())));
                    faults = Some(Box::pin(faults::run(others(spec), from_ns, self.tools())));
                }
            }
            tokio::select! {
                heard = self.inbox.recv() => self.take(heard, round)?,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    for index in round.takers.clone() {
                        self.tell(index, &Order::Stop).await?;
                    }
                }
                begun = some(&mut sampling), if sampling.is_some() => {
                    (sampler, sampling) = (Some(begun), None);
                }
                told = some(&mut faults), if faults.is_some() => {
                    (complaints, faults) = (told, None);
                }
                () = tokio::time::sleep(LOOK_EVERY) => self.look(spec, began_ns)?,
            }
        }
        if let Some(faults) = faults {
            complaints = faults.await;
        }
        Ok((sampler, complaints))
    }

    /// Agrees on an instant for everybody that waits.
    async fn begin_round(&mut self, round: &mut Round) -> Result<u64, Failure> {
        let trip_ns = self.members.iter().map(|member| member.offset.trip_ns).max().unwrap_or(0);
        let lead_ns = trip_ns.saturating_mul(LEAD_TRIPS).saturating_add(LEAD_NS);
        let at_ns = now_ns().saturating_add(lead_ns);
        for index in std::mem::take(&mut round.ready) {
            let at_ns = self.members[index].offset.theirs(at_ns);
            self.tell(index, &Order::Go { at_ns }).await?;
        }
        round.begun += 1;
        Ok(at_ns)
    }

    fn look(&mut self, spec: &StepSpec, began_ns: u64) -> Result<(), Failure> {
        self.listen()?;
        let once = spec.drain + spec.settle + self.scenario.timeout;
        let times = if spec.kind == Kind::Wave { spec.repeat + WARM_UP_WAVES } else { 1 };
        // Waiting for the platform to come back may take a minute of its own.
        let most = spec.warm_up + spec.hold + once * times + SILENCE_MAX * 2 + OVERTIME;
        if Duration::from_nanos(now_ns().saturating_sub(began_ns)) > most {
            return Err(Failure::Failed(format!(
                "the agents did not end the step {} in {} s",
                spec.name,
                most.as_secs()
            )));
        }
        Ok(())
    }

    /// Takes what an agent said in a step.
    fn take(
        &mut self,
        heard: Option<super::member::Heard>,
        round: &mut Round,
    ) -> Result<(), Failure> {
        let (member, report) = self.understand(heard)?;
        let Some(place) = round.takers.iter().position(|taker| *taker == member) else {
            return Ok(());
        };
        let bad = |why: String| Failure::Failed(format!("generator-{}: {why}", member + 1));
        match report {
            Report::Ready => {
                round.ready.insert(member);
            }
            Report::Progress(progress) => {
                round.progress.insert(member, *progress);
                let (row, book) = told(&round.progress);
                self.live.show(row, &book);
            }
            Report::Seconds(seconds) => {
                round.merger.seconds(place, seconds).map_err(bad)?;
                let done = round.merger.take_intervals();
                if let Some(recorder) = &mut self.recorder {
                    recorder.write(&done)?;
                }
            }
            Report::Step(part) => {
                round.ready.remove(&member);
                round.merger.add(&part.book).map_err(bad)?;
                round.parts.insert(member, *part);
            }
            Report::Pong { .. }
            | Report::Opened { .. }
            | Report::Closed { .. }
            | Report::Alive
            | Report::Failed(_) => {}
        }
        Ok(())
    }

    /// Joins what all have told, and judges it.
    async fn join(
        &mut self,
        spec: &StepSpec,
        (merger, number): (Merger, u32),
        gathered: Gathered,
        clocks: &[super::offset::Offset],
        before: &Reading,
    ) -> Result<Option<Step>, Failure> {
        let Gathered { parts, sampler, complaints } = gathered;
        let (book, seconds) =
            merger.close().map_err(|why| Failure::failed("the agents' figures", why))?;
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&seconds)?;
            recorder.close_step(number, book.saturated)?;
        }
        self.live.end(&book);
        self.next_number =
            parts.values().map(|part| part.next_number).max().unwrap_or(0).max(self.next_number);
        let numbers: Vec<(usize, u32)> =
            parts.iter().map(|(member, part)| (*member, part.book.number)).collect();
        let shares: Vec<Share> = parts
            .into_iter()
            .map(|(member, part)| {
                let now = &self.members[member];
                let clock = clocks.get(member).copied().unwrap_or_default();
                let error_ns = clock.error_until(now.offset);
                Share { name: now.name.clone(), part, error_ns }
            })
            .collect();
        let samples = match sampler {
            Some(sampler) => Some(sampler.stop().await),
            None => None,
        };
        let mut whole = Whole { spec, book: &book, shares: &shares, samples, complaints };
        let mut step = whole.step();
        let mut found = self.counters.reconcile(before, &book, RECONCILE_WITHIN).await;
        if spec.faults.iter().any(|fault| matches!(fault.what, What::NoisyTenant { .. })) {
            // The neighbour's notifications are in the platform's counters, and not in the ledger.
            found.checks.retain(|check| check.of_run);
        }
        found.counters.append(&mut step.reconciliation.counters);
        step.reconciliation = found;
        reconcile::move_dead(&mut step);
        whole.judge(
            &mut step,
            self.null_target.as_ref(),
            self.stop.is_cancelled(),
            self.judge_timing,
        );
        if book.requests == 0 {
            return Ok(None);
        }
        self.live.judged(&step);
        self.numbers.push(numbers);
        Ok(Some(step))
    }
}

/// What the coordinator does itself: agents cut their own receivers.
fn others(spec: &StepSpec) -> Vec<Fault> {
    let others = |fault: &&Fault| !matches!(fault.what, What::Reconnect { .. });
    spec.faults.iter().filter(others).cloned().collect()
}

/// Waits for what is there; asked for only if it is.
async fn some<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// The row of all generators: counts are summed; percentiles are the worst one's, because there
/// are no histograms in a row.
fn told(progress: &BTreeMap<usize, Progress>) -> (Row, Book) {
    let mut row = Row { done: f64::INFINITY, ..Row::default() };
    for one in progress.values() {
        row.done = row.done.min(one.done);
        row.in_flight += one.in_flight;
        row.requests += one.requests;
        row.elsewhere += one.elsewhere;
        row.phase = phase(&one.phase);
        for (channel, classes) in &one.lanes {
            row.classes.add(classes);
            match row.lanes.iter_mut().find(|(known, _)| known == channel) {
                Some((_, sum)) => sum.add(classes),
                None => row.lanes.push((*channel, classes.clone())),
            }
        }
        if let Some(second) = one.second {
            let sum =
                row.second.get_or_insert(Second { generator_valid: true, ..Second::default() });
            sum.offered_per_s += second.offered_per_s;
            sum.sent_per_s += second.sent_per_s;
            sum.received_per_s += second.received_per_s;
            sum.p50_ms = sum.p50_ms.max(second.p50_ms);
            sum.p99_ms = sum.p99_ms.max(second.p99_ms);
            sum.lag_p99_ms = sum.lag_p99_ms.max(second.lag_p99_ms);
            sum.generator_valid &= second.generator_valid;
        }
    }
    row.classes.phantom += row.elsewhere;
    if !row.done.is_finite() {
        row.done = 0.0;
    }
    let book = Book::of_counts(&row.lanes, row.requests, row.elsewhere);
    (row, book)
}

/// One of the words that are drawn.
fn phase(told: &str) -> &'static str {
    ["warm-up", "load", "drain", "settle"].into_iter().find(|one| *one == told).unwrap_or(ENDING)
}
