//! An agent at work for one coordinator: opens the session, runs steps, and tells. A task reads
//! (and answers questions about the clock at once), a task writes; the load is in between. When
//! the coordinator is gone, the load ends.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::lead::{INSTANT_MAX, Lead, REPORTS_MAX, Word};
use super::line::{Input, Output};
use super::protocol::{Code, OpenOrder, Order, Progress, Refusal, Report, StepPart};
use crate::clock::now_ns;
use crate::engine::live::Row;
use crate::engine::step::Measured;
use crate::engine::{Session, SessionPlan};
use crate::failure::Failure;
use crate::ledger::{Second, Times};
use crate::load::goose::Driver;
use crate::load::post::Stamping;
use crate::model::{Series, Step};
use crate::scenario::{Scenario, StepSpec};
use crate::target::Target;

/// Orders that wait; the coordinator gives one and waits for its report.
const ORDERS_MAX: usize = 16;
/// How often a silent agent says that it is there.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// How often the step so far is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// How long a step may take to end after the coordinator has gone, where others may follow.
pub const END_WITHIN: Duration = Duration::from_secs(60);
/// The agent's process in what its sampler saw.
const OWN: &str = "generator";

/// How it ended: the coordinator closed the run, or why it did not.
pub type Ended = Result<(), Refusal>;

/// The lines of an agreed connection.
pub struct Desk {
    orders: mpsc::Receiver<Order>,
    words: mpsc::Sender<Word>,
    /// Cancelled when the coordinator is gone.
    gone: CancellationToken,
    why: mpsc::Receiver<Refusal>,
    tasks: JoinSet<()>,
    patience: Duration,
}

/// Works until the coordinator closes the run or is gone, or `stop` says so. A step that runs when
/// the coordinator goes is given `patience` to end.
pub async fn work(
    input: Input,
    output: Output,
    patience: Duration,
    stop: &CancellationToken,
) -> Ended {
    let mut desk = Desk::open(input, output, patience);
    let ended = tokio::select! {
        ended = desk.run(stop) => ended,
        () = stop.cancelled() => Err(Refusal::new(Code::Gone, "the agent was stopped")),
    };
    if let Err(refusal) = &ended {
        // Whoever is gone cannot be told.
        let _ = desk.words.try_send(Word::Report(Box::new(Report::Failed(refusal.clone()))));
    }
    desk.close().await;
    ended
}

impl Desk {
    fn open(mut input: Input, mut output: Output, patience: Duration) -> Self {
        let (give, orders) = mpsc::channel(ORDERS_MAX);
        let (words, mut told) = mpsc::channel::<Word>(REPORTS_MAX);
        let (complain, why) = mpsc::channel(1);
        let gone = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (answers, left) = (words.downgrade(), gone.clone());
        tasks.spawn(async move {
            let refusal = loop {
                match input.read::<Order>().await.and_then(|order| order.check().map(|()| order)) {
                    Ok(Order::Ping { id }) => {
                        let pong = Report::Pong { id, now_ns: now_ns() };
                        let Some(words) = answers.upgrade() else { return };
                        if words.send(Word::Report(Box::new(pong))).await.is_err() {
                            return;
                        }
                    }
                    Ok(order) => {
                        if give.send(order).await.is_err() {
                            return;
                        }
                    }
                    Err(refusal) => break refusal,
                }
            };
            let _ = complain.try_send(refusal);
            left.cancel();
        });
        let left = gone.clone();
        tasks.spawn(async move {
            loop {
                let word = tokio::time::timeout(ALIVE_EVERY, told.recv()).await;
                let report = match word {
                    Err(_) => Report::Alive,
                    Ok(None) => return,
                    Ok(Some(Word::Report(report))) => *report,
                    Ok(Some(Word::Seconds(logs))) => {
                        Report::Seconds(logs.iter().map(Second::of).collect())
                    }
                };
                if output.write(&report).await.is_err() {
                    left.cancel();
                    return;
                }
            }
        });
        Self { orders, words, gone, why, tasks, patience }
    }

    /// Writes what is left, and ends.
    async fn close(self) {
        let Self { words, mut tasks, orders, .. } = self;
        drop((words, orders));
        // The reader ends with the connection, which the writer's end closes.
        let _ = tokio::time::timeout(ALIVE_EVERY, tasks.join_next()).await;
        tasks.abort_all();
    }

    async fn tell(&self, report: Report) -> Ended {
        let told = self.words.send(Word::Report(Box::new(report))).await;
        told.map_err(|_| Refusal::new(Code::Gone, "nobody reads"))
    }

    async fn order(&mut self) -> Result<Order, Refusal> {
        match self.orders.recv().await {
            Some(order) => Ok(order),
            None => Err(self
                .why
                .recv()
                .await
                .unwrap_or_else(|| Refusal::new(Code::Gone, "the coordinator is gone"))),
        }
    }

    async fn run(&mut self, stop: &CancellationToken) -> Ended {
        let open = match self.order().await? {
            Order::Open(open) => open,
            _ => return Err(unexpected("to open a run")),
        };
        let stop = stop.child_token();
        let (lead, instants) = Lead::new(open.part, open.run, open.started_ns, self.words.clone());
        let gone = self.gone.clone();
        let opening = Box::pin(session(&open, lead.clone(), stop.clone()));
        let mut session = tokio::select! {
            opened = opening => opened.map_err(|failure| Refusal::new(Code::Failed, failure))?,
            () = gone.cancelled() => return Err(self.order().await.err().unwrap_or_else(left)),
        };
        self.tell(Report::Opened { receivers: open.part.count(open.recipients) }).await?;
        loop {
            match self.order().await? {
                Order::Step { spec, number } => {
                    session.go_on_from(number);
                    let part = self.step(&mut session, &spec, &lead, &instants, &stop).await?;
                    self.tell(Report::Step(Box::new(part))).await?;
                }
                Order::Close => {
                    let afterwards = session.afterwards();
                    self.tell(Report::Closed { afterwards }).await?;
                    session.close().await;
                    return Ok(());
                }
                // The step that it was for has just ended.
                Order::Stop | Order::Go { .. } => {}
                Order::Open(_) | Order::Ping { .. } => return Err(unexpected("a step")),
            }
        }
    }

    /// Runs a step, while orders are followed and progress is told.
    async fn step(
        &mut self,
        session: &mut Session,
        spec: &StepSpec,
        lead: &Lead,
        instants: &mpsc::Sender<u64>,
        stop: &CancellationToken,
    ) -> Result<StepPart, Refusal> {
        let rows = session.live.subscribe();
        let mut told = tokio::time::interval(PROGRESS_EVERY);
        let mut ended = None;
        let measured = {
            let mut running = Box::pin(session.measure(spec));
            loop {
                tokio::select! {
                    measured = &mut running => break measured,
                    order = self.orders.recv(), if ended.is_none() => match order {
                        Some(Order::Go { at_ns }) => go(at_ns, instants)?,
                        Some(Order::Stop) => stop.cancel(),
                        Some(_) => return Err(unexpected("an instant")),
                        None => {
                            // Nobody will read the rest; the load must not go on.
                            stop.cancel();
                            ended = Some(Box::pin(tokio::time::sleep(self.patience)));
                        }
                    },
                    () = async { if let Some(ended) = &mut ended { ended.await } },
                        if ended.is_some() => {
                        return Err(Refusal::new(Code::TimedOut, "the step did not end"));
                    }
                    _ = told.tick() => {
                        let progress = progress(&rows.borrow());
                        // A full queue has enough to tell.
                        let report = Report::Progress(Box::new(progress));
                        let _ = self.words.try_send(Word::Report(Box::new(report)));
                    }
                }
            }
        };
        if ended.is_some() {
            return Err(self.order().await.err().unwrap_or_else(left));
        }
        let measured = measured.map_err(|failure| Refusal::new(Code::Failed, failure))?;
        Ok(part(measured, session.next_number(), lead.overrun()))
    }
}

fn unexpected(wanted: &str) -> Refusal {
    Refusal::new(Code::Unexpected, format!("{wanted} was to be ordered now"))
}

fn left() -> Refusal {
    Refusal::new(Code::Gone, "the coordinator is gone")
}

fn go(at_ns: u64, instants: &mpsc::Sender<u64>) -> Result<(), Refusal> {
    let ahead = Duration::from_nanos(at_ns.saturating_sub(now_ns()));
    if ahead > INSTANT_MAX {
        let message = format!("an instant {} s from now", ahead.as_secs());
        return Err(Refusal::new(Code::Limit, message));
    }
    instants.try_send(at_ns).map_err(|_| unexpected("no instant"))
}

/// Opens the session of this share of the run.
async fn session(
    open: &OpenOrder,
    lead: std::sync::Arc<Lead>,
    stop: CancellationToken,
) -> Result<Session, Failure> {
    let mut target = Target::campana(open.target.gateway.clone(), open.target.api_key.clone())?;
    target.ws_url.clone_from(&open.target.ws_url);
    target.sandbox.clone_from(&open.target.sandbox);
    let scenario = Scenario {
        payload_bytes: open.payload_bytes,
        timeout: open.timeout,
        in_flight_max: open.in_flight_max,
        idempotency_keys: open.idempotency_keys,
        deadline: open.deadline,
        judge_timing: open.judge_timing,
        ..Scenario::of_steps("part", open.seed, open.recipients, open.steps.clone())
    };
    let plan = SessionPlan {
        scenario: &scenario,
        driver: if open.tasks { Driver::Tasks } else { Driver::Goose },
        stamping: match open.stamps_every {
            0 => Stamping::Off,
            every => Stamping::Every(every),
        },
        neighbour_key: None,
        logs: None,
        judge_timing: open.judge_timing,
        quiet: true,
        stop,
        led: Some(lead),
    };
    Session::open(plan, target).await
}

fn progress(row: &Row) -> Progress {
    Progress {
        phase: row.phase.to_owned(),
        done: row.done,
        in_flight: row.in_flight,
        requests: row.requests,
        elsewhere: row.elsewhere,
        lanes: row.lanes.clone(),
        second: row.second,
    }
}

fn part(measured: Measured, next_number: u64, overrun: bool) -> StepPart {
    let Measured { step, book, intended, complaints, overflow, outside } = measured;
    let own = |values: &std::collections::BTreeMap<String, f64>| {
        values.get(OWN).copied().filter(|value| value.is_finite()).unwrap_or(0.0)
    };
    StepPart {
        book: book.part(),
        intended,
        complaints,
        overflow,
        outside,
        overrun,
        recovery_s: step.recovery_s,
        next_number,
        canary: Times {
            count: step.generator.canary.count,
            hdr: step.generator.canary.hdr.clone(),
        },
        steal_percent: step.generator.steal_percent.clamp(0.0, 100.0),
        pressure_percent: step.generator.pressure_percent.map(|share| share.clamp(0.0, 100.0)),
        cpu_s: own(&step.cpu_s_per_1000) * step.classes.sent as f64 / 1e3,
        cpu_percent_of_core: own(&step.cpu_percent_of_core),
        rss_bytes: step.rss_bytes.get(OWN).copied().unwrap_or(0),
        sampled: sampled(&step),
        counters: step.reconciliation.counters.clone(),
        verdict: step.verdict,
    }
}

/// The columns that the sampler made.
fn sampled(step: &Step) -> Series {
    let ours = |name: &str| {
        ["cpu:", "rss:", "canary_", "steal_", "pressure_"].iter().any(|it| name.starts_with(it))
    };
    let columns = step.series.columns.iter().filter(|(name, _)| ours(name));
    Series {
        at_s: step.series.at_s.clone(),
        columns: columns.map(|(name, values)| (name.clone(), values.clone())).collect(),
    }
}
