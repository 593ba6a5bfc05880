//! The figures of a step while they grow and when it is judged. Pure; records, never decides
//! whether a figure may be used.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::StepBooks;
use super::blocks::Blocks;
use super::seconds::{Arrival, Seconds};
use super::settled::Fate;
use super::slot::{Cell, Seen, Slot};
use super::waves::{WavePart, Waves};
use crate::intake::Channel;
use crate::model::{self, Classes, Heat, Series};
use crate::stamps::{Stage, Stamps};

/// Causes and statuses that are told apart; others are counted together.
const CAUSES_MAX: usize = 40;
const OTHER: &str = "other";
/// The stamps and the client.
pub(super) const STAGES: usize = Stage::ALL.len() + 1;

/// Signs that the harness itself went wrong; with any of them the step is not to be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// A slot was sent twice.
    pub reused_slots: u64,
    /// An answer to nothing, or a second one.
    pub stray_answers: u64,
}

/// A channel's figures.
#[derive(Clone, Debug)]
pub struct Lane {
    pub channel: Channel,
    /// The measured deliveries, and those of the warm-up.
    pub classes: Classes,
    pub warm_up: Classes,
    /// From the intended send to the first receipt, and from the actual one; nanoseconds.
    pub intended: Histogram<u64>,
    pub actual: Histogram<u64>,
    pub(super) stages: [Option<Box<Histogram<u64>>>; STAGES],
}

impl Lane {
    /// Nothing yet.
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            channel,
            classes: Classes::default(),
            warm_up: Classes::default(),
            intended: model::histogram(),
            actual: model::histogram(),
            stages: std::array::from_fn(|_| None),
        }
    }
}

/// A step, judged if it came from [`super::Ledger::close_step`].
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Number of the step.
    pub number: u32,
    /// By channel, in the order of the step's books.
    pub lanes: Vec<Lane>,
    /// Measured requests, and those of the warm-up.
    pub requests: u64,
    pub warm_up_requests: u64,
    /// Measured answers other than 202, and requests without an answer, by cause.
    pub statuses: BTreeMap<u16, u64>,
    pub failures: BTreeMap<String, u64>,
    /// Received on a channel that the step has not, or between two steps.
    pub phantom_elsewhere: u64,
    /// First receipts that came by recovery after a reconnect.
    pub recovered: u64,
    /// Receivers that lost their connection, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Arrivals that were not sent because too many were in flight.
    pub skipped: u64,
    /// Latencies above what the histograms hold (ten minutes), counted as that.
    pub saturated: u64,
    pub faults: Faults,
    /// First and last intended send of what is measured, and the last receipt in time.
    pub first_intended_ns: Option<u64>,
    pub last_intended_ns: Option<u64>,
    pub last_receipt_ns: Option<u64>,
    pub series: Series,
    pub heat: Option<Heat>,
    pub waves: Vec<model::Wave>,
    /// Requests of one channel and one recipient each: what a delivery counts as.
    pub started_ns: u64,
    pub(super) accept: Option<(Histogram<u64>, Histogram<u64>)>,
    pub(super) lag: Option<Histogram<u64>>,
    pub(super) makespan: Option<Histogram<u64>>,
    pub(super) blocks: Blocks,
    /// Measured waves, if this is one of several generators.
    pub(super) wave_parts: Vec<WavePart>,
}

impl Book {
    /// The measured deliveries of all channels.
    pub fn totals(&self) -> Classes {
        let mut sum = Classes { phantom: self.phantom_elsewhere, ..Classes::default() };
        self.lanes.iter().for_each(|lane| sum.add(&lane.classes));
        sum
    }

    /// The measured deliveries of each channel.
    pub fn counts(&self) -> Vec<(Channel, Classes)> {
        self.lanes.iter().map(|lane| (lane.channel, lane.classes.clone())).collect()
    }

    /// A book of counts only, for a view of what others measure.
    pub fn of_counts(counts: &[(Channel, Classes)], requests: u64, elsewhere: u64) -> Self {
        let lane = |(channel, classes): &(Channel, Classes)| Lane {
            classes: classes.clone(),
            ..Lane::new(*channel)
        };
        let lanes = counts.iter().map(lane).collect();
        Self { lanes, requests, phantom_elsewhere: elsewhere, ..Self::default() }
    }

    /// The warm-up's deliveries of all channels.
    pub fn warm_up(&self) -> Classes {
        let mut sum = Classes::default();
        self.lanes.iter().for_each(|lane| sum.add(&lane.warm_up));
        sum
    }

    /// How much later than intended the measured requests were sent, nanoseconds.
    pub fn lag(&self) -> Option<&Histogram<u64>> {
        self.lag.as_ref()
    }

    /// Whether every delivery is in exactly one class, and the harness saw no fault of its own.
    pub fn sound(&self) -> bool {
        self.faults == Faults::default()
            && self.lanes.iter().all(|lane| lane.classes.balanced() && lane.warm_up.balanced())
    }
}

/// The book of an open step, with what is only needed while it grows.
pub(super) struct Figures {
    pub book: Book,
    pub seconds: Seconds,
    waves: Option<Waves>,
    deadline_ns: u64,
}

impl Figures {
    pub fn new(number: u32, books: &StepBooks, started_ns: u64) -> Self {
        Self {
            book: Book {
                number,
                started_ns,
                lanes: books.channels.iter().map(|channel| Lane::new(*channel)).collect(),
                accept: Some((model::histogram(), model::histogram())),
                lag: Some(model::histogram()),
                ..Book::default()
            },
            seconds: Seconds::new(number, started_ns, &books.channels),
            waves: (books.kind == model::Kind::Wave).then(Waves::default),
            deadline_ns: books.deadline_ns,
        }
    }

    /// Keeps the latencies of each wave.
    pub fn keep_waves(&mut self) {
        if let Some(waves) = &mut self.waves {
            waves.keep = true;
        }
    }

    /// The classes of a channel, measured or of the warm-up.
    pub fn classes(&mut self, lane: usize, warm_up: bool) -> &mut Classes {
        let lane = &mut self.book.lanes[lane];
        if warm_up { &mut lane.warm_up } else { &mut lane.classes }
    }

    /// A request was sent.
    pub fn sent(&mut self, number: u64, slot: &Slot, fan_out: u32) {
        for lane in 0..self.book.lanes.len() {
            self.classes(lane, slot.warm_up).sent += u64::from(fan_out);
        }
        self.seconds.sent(slot.intended_ns, slot.sent_ns, !slot.warm_up);
        if let Some(waves) = &mut self.waves {
            let cells = slot.cells.all().len() as u64;
            waves.sent(slot.wave, number, slot.intended_ns, slot.warm_up, cells);
        }
        let book = &mut self.book;
        if slot.warm_up {
            book.warm_up_requests += 1;
            return;
        }
        book.requests += 1;
        book.first_intended_ns =
            Some(book.first_intended_ns.map_or(slot.intended_ns, |at| at.min(slot.intended_ns)));
        book.last_intended_ns = book.last_intended_ns.max(Some(slot.intended_ns));
        if let Some(lag) = &mut book.lag {
            lag.saturating_record(slot.sent_ns.saturating_sub(slot.intended_ns));
        }
    }

    /// A request was accepted.
    pub fn accepted(&mut self, slot: &Slot, at_ns: u64, fan_out: u32) {
        for lane in 0..self.book.lanes.len() {
            self.classes(lane, slot.warm_up).accepted += u64::from(fan_out);
        }
        if let Some((intended, actual)) = self.book.accept.as_mut().filter(|_| !slot.warm_up) {
            intended.saturating_record(at_ns.saturating_sub(slot.intended_ns));
            actual.saturating_record(at_ns.saturating_sub(slot.sent_ns));
        }
    }

    /// A request was refused.
    pub fn refused(&mut self, slot: &Slot, status: u16, at_ns: u64, fan_out: u32) {
        let shed = matches!(status, 429 | 503);
        for lane in 0..self.book.lanes.len() {
            let classes = self.classes(lane, slot.warm_up);
            *if shed { &mut classes.shed } else { &mut classes.rejected } += u64::from(fan_out);
        }
        if shed {
            self.seconds.shed(at_ns);
        }
        if !slot.warm_up {
            *self.book.statuses.entry(status).or_default() += 1;
        }
    }

    /// Nobody knows what became of a request.
    pub fn unknown(&mut self, slot: &Slot, reason: &str, fan_out: u32) {
        for lane in 0..self.book.lanes.len() {
            self.classes(lane, slot.warm_up).unknown += u64::from(fan_out);
        }
        if !slot.warm_up {
            count(&mut self.book.failures, reason);
        }
    }

    /// A receiver lost its connection.
    pub fn dropped(&mut self, reason: &str) {
        count(&mut self.book.dropped, reason);
    }

    /// The class of a delivery that was received, of an accepted request.
    pub fn fate(&self, slot: &Slot, cell: &Cell) -> Fate {
        match cell.seen {
            Seen::Not => Fate::Unseen,
            Seen::Once if cell.at_ns.saturating_sub(slot.intended_ns) <= self.deadline_ns => {
                Fate::Delivered
            }
            Seen::Once => Fate::Late,
            Seen::Again | Seen::Damaged => Fate::Spoilt,
        }
    }

    /// Folds a delivery of an accepted request in, once, when both are known.
    pub fn fold(&mut self, lane: usize, slot: &Slot, cell: &Cell) {
        let fate = self.fate(slot, cell);
        let classes = self.classes(lane, slot.warm_up);
        match (fate, cell.seen) {
            (Fate::Delivered, _) => classes.delivered += 1,
            (Fate::Late, _) => classes.late += 1,
            (_, Seen::Damaged) => classes.corrupt += 1,
            _ => classes.duplicate += 1,
        }
        classes.reordered += u64::from(cell.depth > 0);
        classes.reorder_depth_max = classes.reorder_depth_max.max(u64::from(cell.depth));
        let intended_ns = cell.at_ns.saturating_sub(slot.intended_ns);
        let in_time = fate == Fate::Delivered;
        if let Some(waves) = &mut self.waves {
            let latency = (lane == 0).then_some(intended_ns);
            waves.received(slot.wave, cell.at_ns, latency, in_time);
        }
        if slot.warm_up {
            return;
        }
        let actual_ns = cell.at_ns.saturating_sub(slot.sent_ns);
        self.seconds.received(&Arrival {
            lane,
            at_ns: cell.at_ns,
            intended_ns,
            actual_ns,
            in_time,
        });
        let book = &mut self.book;
        book.saturated += u64::from(intended_ns > book.lanes[lane].intended.high());
        book.recovered += u64::from(cell.recovered);
        if in_time {
            book.last_receipt_ns = book.last_receipt_ns.max(Some(cell.at_ns));
        }
        let lane = &mut book.lanes[lane];
        lane.intended.saturating_record(intended_ns);
        lane.actual.saturating_record(actual_ns);
        stages(lane, slot, cell);
    }

    /// A delivery that was folded in as `from` turned out to be received again, or damaged.
    pub fn spoil(&mut self, lane: usize, slot: u64, warm_up: bool, from: Fate, intact: bool) {
        let classes = self.classes(lane, warm_up);
        match from {
            Fate::Delivered => classes.delivered -= 1,
            Fate::Late => classes.late -= 1,
            Fate::Unseen | Fate::Spoilt => return,
        }
        *if intact { &mut classes.duplicate } else { &mut classes.corrupt } += 1;
        if let Some(waves) = self.waves.as_mut().filter(|_| from == Fate::Delivered) {
            waves.spoilt(slot);
        }
    }

    /// The fate of a whole request is known.
    pub fn settled(&mut self, slot: &Slot) {
        if let Some(waves) = &mut self.waves {
            waves.settled(slot.wave);
        }
    }

    /// Ends the step; what was lost has been counted.
    pub fn close(self) -> (Book, Vec<super::IntervalLog>) {
        let mut book = self.book;
        let (series, heat, intervals, blocks) = self.seconds.close();
        (book.series, book.heat, book.blocks) = (series, heat, blocks);
        if let Some(mut waves) = self.waves {
            if waves.keep {
                book.wave_parts = waves.parts();
            }
            let (list, makespan, blocks) = waves.close();
            (book.waves, book.makespan, book.blocks) = (list, Some(makespan), blocks);
        }
        (book, intervals)
    }
}

fn stages(lane: &mut Lane, slot: &Slot, cell: &Cell) {
    let answer = match &slot.answer {
        super::slot::Answer::Accepted(stamps) => stamps.as_deref(),
        _ => None,
    };
    let stamps: Stamps = match (cell.stamps.as_deref(), answer) {
        (Some(receipt), Some(answer)) => receipt.or(answer),
        (Some(only), None) | (None, Some(only)) => *only,
        (None, None) => return,
    };
    let at = |stage| stamps.get(stage);
    let way = Stage::ALL.into_iter().map(at).chain([Some(cell.at_ns)]).enumerate();
    let mut before = slot.sent_ns;
    for (index, at_ns) in way {
        let Some(at_ns) = at_ns else { continue };
        lane.stages[index]
            .get_or_insert_with(|| Box::new(model::histogram()))
            .saturating_record(at_ns.saturating_sub(before));
        // Two stages of different processes may overlap: the sum stays the whole.
        before = before.max(at_ns);
    }
}

fn count(counts: &mut BTreeMap<String, u64>, cause: &str) {
    let known = counts.contains_key(cause) || counts.len() < CAUSES_MAX;
    let cause = if known { cause } else { OTHER };
    *counts.entry(cause.to_owned()).or_default() += 1;
}
