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
use super::waves::{self, WARM_UP_WAVES};
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
use crate::scenario::{StepSpec, What};
use crate::sinks::Sinks;
use crate::verdict::{self, Facts};

/// Time for the pacing thread to start before the first arrival is due.
const LEAD_NS: u64 = 20_000_000;

/// The platform's own counts come behind the deliveries by less than this.
const RECONCILE_WITHIN: Duration = Duration::from_secs(5);

/// How the load went, beside what the ledger knows.
#[derive(Default)]
struct Went {
    offered: Offered,
    sampler: Option<Sampler>,
    recovery_s: Option<f64>,
    /// Disturbances that could not be done.
    complaints: Vec<String>,
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Session {
    /// Runs a step; nothing if it was stopped before anything was measured.
    pub async fn step(&mut self, spec: &StepSpec) -> Result<Option<Step>, Failure> {
        let expected = match spec.kind {
            Kind::Wave => f64::from(spec.repeat + WARM_UP_WAVES),
            Kind::Closed | Kind::Open => (spec.warm_up + spec.hold).as_secs_f64(),
        };
        self.live.begin(spec, expected);
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
            step.reconciliation.checks.clear();
        }
        if let Some(sinks) = &self.sinks {
            sinks.tell(&mut step.reconciliation);
        }
        move_dead(&mut step);
        health::fill(&mut step);
        self.judge(&book, &went, &mut step);
        if book.requests == 0 {
            return Ok(None);
        }
        self.live.judged(&step);
        self.numbers.push(book.number);
        Ok(Some(step))
    }

    fn judge(&mut self, book: &Book, went: &Went, step: &mut Step) {
        let warm_up = complaint(&book.warm_up());
        // What the sandbox forgot before it was read is as lost as what did not fit in memory.
        let overflow = self.intake.overflow() + self.sinks.as_ref().map_or(0, Sinks::lost);
        let outside = self.ledger.outside();
        step.verdict = verdict::judge(&Facts {
            step,
            planned: (step.load.kind != Kind::Closed).then_some(went.offered.intended),
            sound: book.sound(),
            overflow: overflow - self.overflow_told,
            outside: outside - self.outside_told,
            null_target: self.null_target.as_ref(),
            warm_up: warm_up.as_deref(),
            complaints: &went.complaints,
            interrupted: self.stop.is_cancelled(),
            judge_timing: self.judge_timing,
        });
        (self.overflow_told, self.outside_told) = (overflow, outside);
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
        }
    }

    fn write_logs(&mut self, book: &Book) -> Result<(), Failure> {
        let intervals = self.ledger.take_intervals();
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&intervals)?;
            recorder.close_step(book.number, book.saturated)?;
        }
        Ok(())
    }

    async fn waves(&mut self, spec: &StepSpec) -> Result<Went, Failure> {
        self.open_books(spec, WarmUp::Waves(WARM_UP_WAVES))?;
        let gate = Arc::new(Gate::new());
        let users = Arc::clone(&self.users);
        let action =
            wave::action(users, Arc::clone(&gate), spec.size, spec.fan_out, &spec.channels);
        let (driver, stop) = (self.driver, self.stop.clone());
        let (sending, host) = (Arc::clone(&self.sending), self.target.gateway.to_string());
        let watched = self.watched();
        let mut pump = self.pump();
        let conduct = waves::conduct(&mut pump, &gate, &sending, spec, watched, &stop);
        let over = || gate.over();
        let (offered, sampler) = drive(driver, spec.size, &host, action, conduct, over).await?;
        Ok(Went { offered, sampler, ..Went::default() })
    }

    async fn closed(&mut self, spec: &StepSpec) -> Result<Went, Failure> {
        let from_ns = now_ns().saturating_add(nanoseconds(spec.warm_up)).saturating_add(LEAD_NS);
        let to_ns = from_ns.saturating_add(nanoseconds(spec.hold));
        self.open_books(spec, WarmUp::Until(from_ns))?;
        let desk = Arc::new(Desk::new(spec.drain));
        let users = Arc::clone(&self.users);
        let action =
            closed::action(users, Arc::clone(&desk), spec.size, spec.fan_out, &spec.channels);
        let (driver, stop) = (self.driver, self.stop.clone());
        let host = self.target.gateway.to_string();
        let mut sampling = Box::pin(sample_from(from_ns, self.watched()));
        let mut faults = Box::pin(faults::run(spec.faults.clone(), from_ns, self.tools()));
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
            drive(driver, spec.size, &host, action, conduct, || desk.over()).await?;
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
        let start_ns = now_ns().saturating_add(LEAD_NS);
        let from_ns = load.measured_from(start_ns);
        self.open_books(spec, WarmUp::Until(from_ns))?;
        let tools = self.tools();
        let mut sampling = Box::pin(sample_from(from_ns, self.watched()));
        let mut pump = self.pump();
        pump.recovery = recovery(spec, from_ns);
        let mut running = Box::pin(load.run(sending, Arc::clone(&pool), start_ns));
        let mut faults = Box::pin(faults::run(spec.faults.clone(), from_ns, tools));
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

    fn tools(&self) -> Tools {
        Tools {
            target: self.target.clone(),
            receivers: Arc::clone(&self.receivers),
            neighbour_key: self.neighbour_key.clone(),
            run: self.run,
            seed: self.scenario.seed,
            stop: self.stop.clone(),
        }
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

fn load_of(spec: &StepSpec) -> Load {
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
fn complaint(warm_up: &Classes) -> Option<String> {
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
