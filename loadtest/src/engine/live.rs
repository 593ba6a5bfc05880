//! What is known while a step runs: one row, again and again. The terminal is drawn from it, and
//! the metrics endpoint is fed in its rhythm. Reads the ledger; changes nothing in it.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::now_ns;
use crate::intake::Channel;
use crate::ledger::{Book, Ledger};
use crate::metrics::{Meter, Now};
use crate::model::{Classes, Distribution, GeneratorHealth, Kind, Latency, Load, Step};
use crate::sampler;
use crate::scenario::StepSpec;
use crate::verdict;

/// How often the row is renewed, and how often what costs more than a few additions.
const ROW_EVERY_NS: u64 = 200_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// With fewer requests than this the p99 of the lag is that of a single one.
const REQUESTS_MIN: u64 = 100;
/// The phase before figures are taken, and the one in which they are.
pub(super) const WARM_UP: &str = "warm-up";
pub(super) const LOAD: &str = "load";

/// The state of the run.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The step, by its name; empty between steps.
    pub step: String,
    /// Waves that have ended, or seconds of the step, and how many there will be.
    pub done: f64,
    pub expected: f64,
    /// Measured deliveries of the step so far.
    pub classes: Classes,
    /// Measured deliveries of the steps before it.
    pub earlier: Classes,
    /// Requests without an answer, or accepted and not fully arrived.
    pub in_flight: u64,
    /// What happens now: `warm-up`, `load`, `drain`, `settle`.
    pub phase: &'static str,
    /// The last whole second; nothing in the first.
    pub second: Option<Second>,
    /// Measured deliveries of the step so far by channel, its measured requests, and receipts on
    /// a channel that it has not.
    pub lanes: Vec<(Channel, Classes)>,
    pub requests: u64,
    pub elsewhere: u64,
}

/// What is only reckoned once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Arrivals of the schedule, requests sent and deliveries received, with the warm-up's.
    pub offered_per_s: f64,
    pub sent_per_s: f64,
    pub received_per_s: f64,
    /// Of the step so far, from the intended send, of its first channel; 0 before the first.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub lag_p99_ms: f64,
    pub generator_valid: bool,
}

/// Counts of the step at one moment.
#[derive(Clone, Copy, Default)]
struct Counted {
    at_ns: u64,
    offered: u64,
    sent: u64,
    received: u64,
}

/// The sender's side of the row.
#[derive(Default)]
pub struct Live {
    row: watch::Sender<Row>,
    /// The newest row of whichever sampler runs.
    pub sampled: watch::Sender<sampler::Row>,
    /// Set if somebody may scrape.
    pub meter: Option<Meter>,
    kind: Kind,
    rate_per_s: f64,
    earlier: Classes,
    row_ns: u64,
    counted: Counted,
}

impl Live {
    /// Sees every row from now on.
    pub fn subscribe(&self) -> watch::Receiver<Row> {
        self.row.subscribe()
    }

    /// A step begins; `expected` is waves or seconds.
    pub fn begin(&mut self, spec: &StepSpec, expected: f64) {
        (self.kind, self.rate_per_s) = (spec.kind, spec.rate_per_s);
        self.counted = Counted { at_ns: now_ns(), ..Counted::default() };
        let (step, earlier) = (spec.name.clone(), self.earlier.clone());
        self.row.send_replace(Row { step, expected, earlier, phase: WARM_UP, ..Row::default() });
    }

    /// Renews the row if it is old enough.
    pub fn update(&mut self, ledger: &Ledger, phase: &'static str, done: f64) {
        let now = now_ns();
        if now.saturating_sub(self.row_ns) < ROW_EVERY_NS {
            return;
        }
        self.row_ns = now;
        let second = self.second(ledger, phase, now);
        let (classes, in_flight) = (ledger.so_far(), ledger.in_flight());
        self.row.send_modify(|row| {
            if let Some(book) = ledger.book() {
                (row.lanes, row.requests, row.elsewhere) =
                    (book.counts(), book.requests, book.phantom_elsewhere);
            }
            row.phase = phase;
            row.done = done;
            row.classes = classes;
            row.in_flight = in_flight;
            row.second = second.or(row.second);
        });
    }

    /// The row of a step that other generators run, with a book of their counts.
    pub fn show(&mut self, told: Row, book: &Book) {
        let (second, in_flight, phase) = (told.second, told.in_flight, told.phase);
        self.row.send_modify(|row| {
            let (step, earlier) = (std::mem::take(&mut row.step), std::mem::take(&mut row.earlier));
            *row = Row { step, earlier, expected: row.expected, ..told };
        });
        if let (Some(meter), Some(second)) = (&mut self.meter, second) {
            let open = Now {
                kind: self.kind,
                target_rate: if phase == LOAD { self.rate_per_s } else { 0.0 },
                in_flight,
                generator_valid: second.generator_valid,
                sampled: &self.sampled.borrow(),
            };
            meter.show(book, &open);
        }
    }

    /// The last second, if one is over and somebody looks.
    fn second(&mut self, ledger: &Ledger, phase: &str, now: u64) -> Option<Second> {
        let since = now.saturating_sub(self.counted.at_ns);
        let watched = self.meter.is_some() || self.row.receiver_count() > 0;
        if since < SECOND_NS || !watched {
            return None;
        }
        let book = ledger.book()?;
        let counted = count(ledger, book, now);
        let before = std::mem::replace(&mut self.counted, counted);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / (since as f64 / 1e9);
        let step = so_far(book, self.kind);
        let main = step.latency.values().next().cloned().unwrap_or_default().intended;
        let second = Second {
            offered_per_s: rate(counted.offered, before.offered),
            sent_per_s: rate(counted.sent, before.sent),
            received_per_s: rate(counted.received, before.received),
            p50_ms: main.p50_ms,
            p99_ms: main.p99_ms,
            lag_p99_ms: step.generator.lag.p99_ms,
            generator_valid: book.requests < REQUESTS_MIN || verdict::keeps_schedule(&step),
        };
        if let Some(meter) = &mut self.meter {
            let open = Now {
                kind: self.kind,
                target_rate: if phase == LOAD { self.rate_per_s } else { 0.0 },
                in_flight: ledger.in_flight(),
                generator_valid: second.generator_valid,
                sampled: &self.sampled.borrow(),
            };
            meter.show(book, &open);
        }
        Some(second)
    }

    /// The step has ended.
    pub fn end(&mut self, book: &Book) {
        if let Some(meter) = &mut self.meter {
            meter.close(book, self.kind);
        }
        self.row.send_replace(Row::default());
    }

    /// A step as run.json will have it.
    pub fn judged(&mut self, step: &Step) {
        self.earlier.add(&step.classes);
        if let Some(meter) = &mut self.meter {
            meter.judged(step, verdict::keeps_schedule(step));
        }
    }

    /// All steps, with what arrived for them after they had been judged.
    pub fn told(&mut self, steps: &[Step]) {
        if let Some(meter) = &mut self.meter {
            meter.told(steps);
        }
    }
}

fn count(ledger: &Ledger, book: &Book, at_ns: u64) -> Counted {
    let (measured, warm_up) = (book.totals(), book.warm_up());
    let received = |classes: &Classes| classes.delivered + classes.late;
    Counted {
        at_ns,
        offered: ledger.requests() + book.skipped,
        sent: ledger.requests(),
        received: received(&measured) + received(&warm_up),
    }
}

/// As much of a step as the rules about the generator need.
fn so_far(book: &Book, kind: Kind) -> Step {
    let summary = |all: &hdrhistogram::Histogram<u64>| {
        let at = |quantile| all.value_at_quantile(quantile) as f64 / 1e6;
        let count = all.len();
        if count == 0 {
            return Distribution::default();
        }
        Distribution { count, p50_ms: at(0.5), p99_ms: at(0.99), ..Distribution::default() }
    };
    let asked = book.requests + book.skipped;
    let first = book.lanes.first().map(|lane| {
        let intended = summary(&lane.intended);
        (lane.channel.name().to_owned(), Latency { intended, ..Latency::default() })
    });
    Step {
        load: Load { kind, ..Load::default() },
        latency: first.into_iter().collect(),
        generator: GeneratorHealth {
            lag: book.lag().map(summary).unwrap_or_default(),
            achieved_ratio: if asked == 0 { 1.0 } else { book.requests as f64 / asked as f64 },
            ..GeneratorHealth::default()
        },
        ..Step::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Event;
    use crate::ledger::{StepBooks, WarmUp};

    const MS: u64 = 1_000_000;

    fn ledger(lag_ns: u64) -> Ledger {
        let mut ledger = Ledger::new(0);
        ledger.open_step(StepBooks {
            kind: Kind::Open,
            channels: vec![Channel::InApp],
            fan_out: 1,
            deadline_ns: 1_000 * MS,
            warm_up: WarmUp::Until(0),
        });
        for slot in 0..200 {
            let (intended_ns, sent_ns) = (slot * MS, slot * MS + lag_ns);
            ledger.enter(Event::Sent { slot, wave: 0, recipient: 0, intended_ns, sent_ns });
            let outcome = crate::intake::Outcome::Accepted { stamps: None };
            ledger.enter(Event::Answered { slot, at_ns: sent_ns, outcome });
            ledger.enter(Event::Receipt {
                slot,
                channel: Channel::InApp,
                recipient: 0,
                at_ns: intended_ns + 20 * MS,
                offset: None,
                intact: true,
                recovered: false,
                stamps: None,
            });
        }
        ledger
    }

    /// The first row of a second, however late the machine is.
    fn second(ledger: &Ledger) -> Second {
        let mut live = Live { kind: Kind::Open, ..Live::default() };
        let rows = live.subscribe();
        live.update(ledger, LOAD, 1.0);
        rows.borrow().second.unwrap()
    }

    #[test]
    fn a_second_tells_rates_percentiles_and_whether_they_are_void() {
        let kept = second(&ledger(MS / 2));
        assert!(kept.generator_valid && kept.sent_per_s > 0.0, "{kept:?}");
        assert!((kept.p50_ms - 20.0).abs() < 0.1 && (kept.lag_p99_ms - 0.5).abs() < 0.01);
        assert!(!second(&ledger(5 * MS)).generator_valid);
        let mut skipping = ledger(0);
        (0..10).for_each(|slot| skipping.enter(Event::Skipped { intended_ns: slot * MS }));
        let skipped = second(&skipping);
        assert!(!skipped.generator_valid && skipped.offered_per_s > skipped.sent_per_s);
    }
}
