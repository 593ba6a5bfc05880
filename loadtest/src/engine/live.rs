//! What is known while a step runs: one row, again and again. The bar on the terminal is drawn
//! from it; whoever else wants to watch (a live view, a metrics endpoint) subscribes as it does.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::ledger::Ledger;
use crate::model::Classes;
use crate::progress;
use crate::scenario::StepSpec;

/// How often the row is renewed.
const ROW_EVERY: Duration = Duration::from_millis(200);
/// The bar moves in tenths of a second or of a wave.
const TICKS: f64 = 10.0;

/// The state of the run.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The step, by its name; empty between steps.
    pub step: String,
    /// Waves that have ended, or seconds of the step, and how many there will be.
    pub done: f64,
    pub expected: f64,
    /// Deliveries so far.
    pub classes: Classes,
    /// Requests without an answer, or accepted and not fully arrived.
    pub in_flight: u64,
    /// What happens now: `warm-up`, `load`, `drain`, `settle`.
    pub phase: &'static str,
}

/// The sender's side of the row.
pub struct Live {
    row: watch::Sender<Row>,
    last: Instant,
}

impl Default for Live {
    fn default() -> Self {
        Self { row: watch::Sender::new(Row::default()), last: Instant::now() }
    }
}

impl Live {
    /// Sees every row from now on.
    pub fn subscribe(&self) -> watch::Receiver<Row> {
        self.row.subscribe()
    }

    /// A step begins; `expected` is waves or seconds.
    pub fn begin(&mut self, spec: &StepSpec, expected: f64) {
        self.row.send_replace(Row { step: spec.name.clone(), expected, ..Row::default() });
    }

    /// Renews the row if it is old enough.
    pub fn update(&mut self, ledger: &Ledger, phase: &'static str, done: f64) {
        if self.last.elapsed() < ROW_EVERY {
            return;
        }
        self.last = Instant::now();
        let (classes, in_flight) = (ledger.so_far(), ledger.in_flight());
        self.row.send_modify(|row| {
            row.phase = phase;
            row.done = done;
            row.classes = classes;
            row.in_flight = in_flight;
        });
    }

    /// The step has ended.
    pub fn end(&mut self) {
        self.row.send_replace(Row::default());
    }
}

/// Draws a bar for each step, on a terminal only; ends with the run.
pub async fn draw(mut rows: watch::Receiver<Row>) {
    let mut bar: Option<(String, indicatif::ProgressBar)> = None;
    while rows.changed().await.is_ok() {
        let row = rows.borrow_and_update().clone();
        if bar.as_ref().is_some_and(|(step, _)| *step != row.step)
            && let Some((_, old)) = bar.take()
        {
            old.finish_and_clear();
        }
        if row.step.is_empty() {
            continue;
        }
        let (_, bar) = bar.get_or_insert_with(|| {
            let length = (row.expected * TICKS) as u64;
            (row.step.clone(), progress::bar(&row.step, length))
        });
        bar.set_position((row.done * TICKS) as u64);
        let received = row.classes.delivered + row.classes.late;
        bar.set_message(format!(
            "{}: {received} of {} received, {} in flight",
            row.phase, row.classes.sent, row.in_flight
        ));
    }
}
