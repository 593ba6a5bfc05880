//! One step from warm-up to verdict: opens the books, lets the load run while events flow to the
//! ledger, drains, settles, closes the books, and asks the sampler and the platform's counters.

use std::sync::Arc;
use std::time::Duration;

use super::faults::{self, Tools};
use super::health;
use super::live::{LOAD, WARM_UP};
use super::probe::sample_from;
use super::pump::{Pump, Recovery};
use super::session::Session;
use super::waves::{self, Timing, WARM_UP_WAVES};
use crate::agent::lead;
use crate::clock::now_ns;
use crate::failure::Failure;
use crate::ledger::{Book, StepBooks, WarmUp};
use crate::load::closed::Desk;
use crate::load::gate::Gate;
use crate::load::goose::drive;
use crate::load::open::OpenLoad;
use crate::load::{Offered, closed, wave};
use crate::model::{Classes, Kind, Load, Step};
use crate::reconcile::move_dead;
use crate::sampler::Sampler;
use crate::scenario::{Fault, StepSpec, What};
use crate::sinks::Sinks;
use crate::verdict::{self, Facts};

/// Time for the pacing thread to start before the first arrival is due.
const LEAD_NS: u64 = 20_000_000;

/// The platform's own counts come behind the deliveries; when nothing comes for so long, nothing will.
pub const RECONCILE_WITHIN: Duration = Duration::from_secs(5);

/// A step as it was measured here, before others' counts are laid beside it.
pub struct Measured {
    pub step: Step,
    pub book: Book,
    /// Notifications that were meant to be sent in the measured part; 0 for closed load.
    pub intended: u64,
    /// Disturbances that could not be done.
    pub complaints: Vec<String>,
    /// Events that did not fit in memory, and requests that belong to no step.
    pub overflow: u64,
    pub outside: u64,
}

/// How the load went, beside what the ledger knows.
#[derive(Default)]
struct Went {
    offered: Offered,
    sampler: Option<Sampler>,
    recovery_s: Option<f64>,
    /// Disturbances that could not be done.
    complaints: Vec<String>,
}

pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Session {
    /// Runs a step; nothing if it was stopped before anything was measured.
    pub async fn step(&mut self, spec: &StepSpec) -> Result<Option<Step>, Failure> {
        let measured = self.measure(spec).await?;
        Ok((measured.book.requests > 0).then_some(measured.step))
    }

    /// Runs a step, and gives its books as well.
    pub async fn measure(&mut self, spec: &StepSpec) -> Result<Measured, Failure> {
        self.live.begin(spec, expected(spec));
        let before = self.counters.read().await;
        let went = match spec.kind {
            Kind::Wave => self.waves(spec).await,
            Kind::Closed => self.closed(spec).await,
            Kind::Open => self.open_load(spec).await,
        };
        let book = self.ledger.close_step();
        self.live.end(&book);
        self.write_logs(&book)?;
        let mut went = went?;
        let mut step = Step { name: spec.name.clone(), load: load_of(spec), ..Step::default() };
        book.fill(&mut step);
        if went.offered.intended > 0 {
            let ratio = book.requests as f64 / went.offered.intended as f64;
            step.generator.achieved_ratio = (ratio * 1e6).round() / 1e6;
        } else {
            step.generator.achieved_ratio = 1.0;
        }
        step.recovery_s = went.recovery_s;
        if let Some(sampler) = went.sampler.take() {
            sampler.stop().await.fill(&mut step);
        }
        step.reconciliation = self.counters.reconcile(&before, &book, RECONCILE_WITHIN).await;
        if spec.faults.iter().any(|fault| matches!(fault.what, What::NoisyTenant { .. })) {
            // The neighbour's notifications are in the platform's counters, and not in the ledger.
            step.reconciliation.checks.retain(|check| check.of_run);
        }
        if let Some(sinks) = &self.sinks {
            sinks.tell(&mut step.reconciliation);
        }
        move_dead(&mut step);
        health::fill(&mut step);
        let (overflow, outside) = self.judge(&book, &went, &mut step);
        if book.requests > 0 {
            self.live.judged(&step);
            self.numbers.push(book.number);
        }
        let (intended, complaints) = (went.offered.intended, went.complaints);
        Ok(Measured { step, book, intended, complaints, overflow, outside })
    }

    fn judge(&mut self, book: &Book, went: &Went, step: &mut Step) -> (u64, u64) {
        let warm_up = complaint(&book.warm_up());
        // What the sandbox forgot before it was read is as lost as what did not fit in memory.
        let overflow_now = self.intake.overflow() + self.sinks.as_ref().map_or(0, Sinks::lost);
        let outside_now = self.ledger.outside();
        let (overflow, outside) =
            (overflow_now - self.overflow_told, outside_now - self.outside_told);
        let judge = if self.led.is_some() { verdict::of_generator } else { verdict::judge };
        step.verdict = judge(&Facts {
            step,
            planned: (step.load.kind != Kind::Closed).then_some(went.offered.intended),
            sound: book.sound(),
            overflow,
            outside,
            null_target: self.null_target.as_ref(),
            warm_up: warm_up.as_deref(),
            complaints: &went.complaints,
            interrupted: self.stop.is_cancelled(),
            judge_timing: self.judge_timing,
        });
        (self.overflow_told, self.outside_told) = (overflow_now, outside_now);
        (overflow, outside)
    }

    fn open_books(&mut self, spec: &StepSpec, warm_up: WarmUp) -> Result<(), Failure> {
        let number = self.ledger.open_step(StepBooks {
            kind: spec.kind,
            channels: spec.channels.clone(),
            fan_out: spec.fan_out,
            deadline_ns: nanoseconds(self.scenario.deadline),
            warm_up,
        });
        if let Some(recorder) = &mut self.recorder {
            recorder.open_step(number, &spec.name);
        }
        Ok(())
    }

    fn pump(&mut self) -> Pump<'_> {
        Pump {
            intake: &self.intake,
            ledger: &mut self.ledger,
            recorder: self.recorder.as_mut(),
            live: &mut self.live,
            desk: None,
            buffer: Vec::new(),
            recovery: None,
            led: self.led.clone(),
        }
    }

    /// When the load begins: soon, or when whoever leads says so; nothing if it was stopped.
    async fn begins(&self) -> Option<u64> {
        match &self.led {
            Some(lead) => lead.instant(&self.stop).await,
            None => Some(now_ns().saturating_add(LEAD_NS)),
        }
    }

    fn write_logs(&mut self, book: &Book) -> Result<(), Failure> {
        let intervals = self.ledger.take_intervals();
        if let Some(lead) = &self.led {
            lead.seconds(intervals);
        } else if let Some(recorder) = &mut self.recorder {
            recorder.write(&intervals)?;
            recorder.close_step(book.number, book.saturated)?;
        }
        Ok(())
    }

    async fn waves(&mut self, spec: &StepSpec) -> Result<Went, Failure> {
        self.open_books(spec, WarmUp::Waves(WARM_UP_WAVES))?;
        let gate = Arc::new(Gate::new());
        let users = Arc::clone(&self.users);
        let size = self.sending.part.count(spec.size);
        let action = wave::action(users, Arc::clone(&gate), size, spec.fan_out, &spec.channels);
        let (driver, stop) = (self.driver, self.stop.clone());
        let (sending, host) = (Arc::clone(&self.sending), self.target.gateway.to_string());
        let timing = Timing { led: self.led.clone(), watched: self.watched(), stop };
        let mut pump = self.pump();
        let conduct = waves::conduct(&mut pump, &gate, &sending, spec, timing);
        let over = || gate.over();
        let (offered, sampler) = drive(driver, size, &host, action, conduct, over).await?;
        Ok(Went { offered, sampler, ..Went::default() })
    }

    async fn closed(&mut self, spec: &StepSpec) -> Result<Went, Failure> {
        let Some(begins_ns) = self.begins().await else { return Ok(Went::default()) };
        if self.led.is_some() {
            lead::until(begins_ns, &self.stop).await;
        }
        let from_ns = begins_ns.saturating_add(nanoseconds(spec.warm_up));
        let to_ns = from_ns.saturating_add(nanoseconds(spec.hold));
        self.open_books(spec, WarmUp::Until(from_ns))?;
        let desk = Arc::new(Desk::new(spec.drain));
        let users = Arc::clone(&self.users);
        let size = self.sending.part.count(spec.size);
        let action = closed::action(users, Arc::clone(&desk), size, spec.fan_out, &spec.channels);
        let (driver, stop) = (self.driver, self.stop.clone());
        let host = self.target.gateway.to_string();
        let mut sampling = Box::pin(sample_from(from_ns, self.watched()));
        let mut faults = Box::pin(faults::run(self.own_faults(spec), from_ns, self.tools()));
        let mut pump = self.pump();
        pump.desk = Some(Arc::clone(&desk));
        pump.recovery = recovery(spec, from_ns);
        let conduct = async {
            let (mut complaints, mut sampler) = (None, None);
            while (now_ns() < to_ns || complaints.is_none()) && !stop.is_cancelled() {
                let (phase, done) = phase(spec, from_ns);
                tokio::select! {
                    told = &mut faults, if complaints.is_none() => complaints = Some(told),
                    begun = &mut sampling, if sampler.is_none() => sampler = Some(begun),
                    () = pump.turn(phase, done) => {}
                }
            }
            (complaints.unwrap_or_default(), sampler)
        };
        let (complaints, sampler) =
            drive(driver, size, &host, action, conduct, || desk.over()).await?;
        pump.desk = None;
        finish(&mut pump, spec).await;
        let recovery_s = pump.recovery.and_then(|recovery| recovery.seconds());
        let offered = Offered { from_ns, to_ns: now_ns().min(to_ns), ..Offered::default() };
        Ok(Went { offered, sampler, recovery_s, complaints })
    }

    async fn open_load(&mut self, spec: &StepSpec) -> Result<Went, Failure> {
        let load = OpenLoad {
            rate_per_s: spec.rate_per_s,
            arrivals: spec.arrivals,
            seed: self.scenario.seed,
            warm_up: spec.warm_up,
            hold: spec.hold,
            recipients: self.scenario.recipients,
            fan_out: spec.fan_out,
            channels: spec.channels.clone(),
            in_flight_max: self.in_flight_max,
        };
        let sending = Arc::clone(&self.sending);
        let pool = load.prepare(&sending).await?;
        let Some(start_ns) = self.begins().await else {
            pool.close().await;
            return Ok(Went::default());
        };
        let from_ns = load.measured_from(start_ns);
        self.open_books(spec, WarmUp::Until(from_ns))?;
        let (tools, own_faults) = (self.tools(), self.own_faults(spec));
        let mut sampling = Box::pin(sample_from(from_ns, self.watched()));
        let mut pump = self.pump();
        pump.recovery = recovery(spec, from_ns);
        let mut running = Box::pin(load.run(sending, Arc::clone(&pool), start_ns));
        let mut faults = Box::pin(faults::run(own_faults, from_ns, tools));
        let (mut offered, mut complaints, mut sampler) = (None, None, None);
        while offered.is_none() || complaints.is_none() {
            let (phase, done) = phase(spec, from_ns);
            tokio::select! {
                ended = &mut running, if offered.is_none() => offered = Some(ended?),
                told = &mut faults, if complaints.is_none() => complaints = Some(told),
                begun = &mut sampling, if sampler.is_none() => sampler = Some(begun),
                () = pump.turn(phase, done) => {}
            }
        }
        let done = (spec.warm_up + spec.hold).as_secs_f64();
        pump.drain(spec.drain, done).await;
        pool.close().await;
        finish(&mut pump, spec).await;
        Ok(Went {
            offered: offered.unwrap_or_default(),
            sampler,
            recovery_s: pump.recovery.and_then(|recovery| recovery.seconds()),
            complaints: complaints.unwrap_or_default(),
        })
    }

    /// What this generator does itself. One that is led cuts its own receivers; everything else
    /// is done once, by whoever leads.
    fn own_faults(&self, spec: &StepSpec) -> Vec<Fault> {
        let own =
            |fault: &&Fault| self.led.is_none() || matches!(fault.what, What::Reconnect { .. });
        spec.faults.iter().filter(own).cloned().collect()
    }

    fn tools(&self) -> Tools {
        Tools {
            target: self.target.clone(),
            receivers: Some(Arc::clone(&self.receivers)),
            neighbour_key: self.neighbour_key.clone(),
            run: self.run,
            seed: self.scenario.seed,
            stop: self.stop.clone(),
        }
    }
}

/// Waves or seconds, for the bar.
pub fn expected(spec: &StepSpec) -> f64 {
    match spec.kind {
        Kind::Wave => f64::from(spec.repeat + WARM_UP_WAVES),
        Kind::Closed | Kind::Open => (spec.warm_up + spec.hold).as_secs_f64(),
    }
}

/// Drains and leaves the quiet time in which late repeats would show.
async fn finish(pump: &mut Pump<'_>, spec: &StepSpec) {
    let done = (spec.warm_up + spec.hold).as_secs_f64();
    pump.drain(spec.drain, done).await;
    pump.settle(spec.settle, done).await;
}

fn recovery(spec: &StepSpec, from_ns: u64) -> Option<Recovery> {
    let first = spec.faults.iter().map(|fault| fault.at).min()?;
    let last = spec.faults.iter().map(crate::scenario::Fault::ends).max()?;
    Some(Recovery::new(from_ns + nanoseconds(first), from_ns + nanoseconds(last)))
}

/// What happens now, and the seconds of the step so far.
fn phase(spec: &StepSpec, from_ns: u64) -> (&'static str, f64) {
    let now = now_ns();
    let began_ns = from_ns.saturating_sub(nanoseconds(spec.warm_up));
    let done = now.saturating_sub(began_ns) as f64 / 1e9;
    (if now < from_ns { WARM_UP } else { LOAD }, done)
}

/// As run.json tells it.
pub fn load_of(spec: &StepSpec) -> Load {
    Load {
        kind: spec.kind,
        size: spec.size,
        rate_per_s: spec.rate_per_s,
        arrivals: if spec.kind == Kind::Open {
            spec.arrivals.name().to_owned()
        } else {
            String::new()
        },
        repeat: spec.repeat,
        warm_up_s: spec.warm_up.as_secs_f64(),
        hold_s: spec.hold.as_secs_f64(),
        drain_s: spec.drain.as_secs_f64(),
        fan_out: spec.fan_out,
        channels: spec.channels.iter().map(|channel| channel.name().to_owned()).collect(),
        faults: spec.faults.iter().map(crate::scenario::Fault::text).collect(),
    }
}

/// What was wrong with the warm-up, if anything was.
pub fn complaint(warm_up: &Classes) -> Option<String> {
    let wrong = [
        (warm_up.lost, "lost"),
        (warm_up.duplicate, "duplicate"),
        (warm_up.corrupt, "corrupt"),
        (warm_up.shed, "shed"),
        (warm_up.rejected, "rejected"),
        (warm_up.unknown, "unknown"),
    ];
    let told: Vec<String> = wrong
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!told.is_empty()).then(|| format!("{} of {}", told.join(", "), warm_up.sent))
}
