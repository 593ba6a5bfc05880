//! The delivery ledger: what was sent, what was answered, what arrived, by slot and channel. It
//! is the evidence behind "received exactly once". Pure, owned by one task, in bounded memory: a
//! slot whose fate is known is folded into counts and histograms and leaves two bits for each of
//! its deliveries, so that a repeat or a straggler is still recognised, also in later steps.
//!
//! Rules: the first thing that goes wrong with a delivery decides its class (a repeat makes it
//! `duplicate`, other content `corrupt`, and neither becomes the other); a receipt counts from
//! the moment it was read, whether its answer came before or after; nothing is judged lost before
//! the step is closed.

mod after;
mod blocks;
mod book;
mod fill;
mod merge;
#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod naive;
mod order;
mod part;
mod seconds;
mod settled;
mod slot;
mod step;
#[cfg(test)]
mod tests;
mod waves;

use crate::agent::part::Part;
use crate::intake::{Channel, Event};
use crate::model::Kind;

pub use after::Afterwards;
pub use book::Book;
pub use merge::{Merger, Second};
pub use part::{BookPart, Times};
pub use seconds::{IntervalLog, join};

use after::{After, Echo};
use order::Order;
use settled::Settled;
use step::OpenStep;

/// How a step is to be judged.
#[derive(Clone, Debug)]
pub struct StepBooks {
    /// Waves are kept one by one for [`Kind::Wave`] only.
    pub kind: Kind,
    /// Channels of every notification, the one whose latency is drawn first; not empty.
    pub channels: Vec<Channel>,
    /// Recipients of every notification: 1, or the size of a fan-out.
    pub fan_out: u32,
    /// A delivery that takes longer from its intended send is late.
    pub deadline_ns: u64,
    pub warm_up: WarmUp,
}

/// What is sent, received and checked, but kept out of every figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmUp {
    /// Everything intended before this moment.
    Until(u64),
    /// Every wave with a smaller number.
    Waves(u32),
}

/// The ledger of a run; at most one step is open at a time.
pub struct Ledger {
    started_ns: u64,
    step: Option<OpenStep>,
    settled: Settled,
    order: Order,
    after: After,
    /// Receipts between two steps that nothing explains; the next step answers for them.
    loose_phantoms: u64,
    steps: u32,
    intervals: Vec<IntervalLog>,
    /// Whose sends are entered here; receipts of others' slots are not ours to explain.
    sender: Part,
}

impl Ledger {
    /// An empty ledger; seconds count from `started_ns`, the run's beginning.
    pub fn new(started_ns: u64) -> Self {
        Self {
            started_ns,
            step: None,
            settled: Settled::default(),
            order: Order::default(),
            after: After::default(),
            loose_phantoms: 0,
            steps: 0,
            intervals: Vec::new(),
            sender: Part::WHOLE,
        }
    }

    /// The ledger of one of several generators. What another one's recipients get is entered
    /// there; only what came in one of our sockets is told here, because nobody else saw it.
    pub fn of_part(self, sender: Part) -> Self {
        Self { sender, ..self }
    }

    /// Begins a step and returns its number, which [`Self::afterwards`] uses. A step that is
    /// still open is closed first.
    pub fn open_step(&mut self, books: StepBooks) -> u32 {
        if self.step.is_some() {
            self.close_step();
        }
        let number = self.steps;
        self.steps += 1;
        // Channels of two steps may count their offsets differently.
        self.order.clear();
        self.settled.begin(number, &books.channels, books.fan_out);
        let mut step = OpenStep::new(number, books, self.started_ns);
        if self.sender != Part::WHOLE {
            step.keep_waves();
        }
        step.phantom_outside(std::mem::take(&mut self.loose_phantoms));
        self.step = Some(step);
        number
    }

    /// Enters what happened, in the order of the intake.
    pub fn enter(&mut self, event: Event) {
        if let Event::Receipt { slot, channel, .. } = &event
            && !self.sender.sent(*slot)
        {
            let channel = *channel;
            return self.others_slot(channel);
        }
        let Some(step) = self.step.as_mut() else {
            self.enter_between(&event);
            return;
        };
        if let Some(receipt) = step.enter(event, &mut self.settled, &mut self.order)
            && !self.after.receipt(receipt.echo(), &mut self.settled)
        {
            step.hold(receipt, &mut self.order);
        }
        step.take_intervals(&mut self.intervals);
    }

    /// Another generator's notification. The sandbox shows every generator all receipts, and the
    /// sender counts this one; a socket of ours should never have got it.
    fn others_slot(&mut self, channel: Channel) {
        match self.step.as_mut() {
            _ if channel != Channel::InApp => {}
            Some(step) => step.phantom(channel, false),
            None => self.loose_phantoms += 1,
        }
    }

    fn enter_between(&mut self, event: &Event) {
        match event {
            Event::Receipt { slot, channel, recipient, intact, .. } => {
                let echo =
                    Echo { slot: *slot, channel: *channel, recipient: *recipient, intact: *intact };
                if !self.after.receipt(echo, &mut self.settled) {
                    self.loose_phantoms += 1;
                }
            }
            Event::Stranger { .. } => self.loose_phantoms += 1,
            Event::Sent { .. } | Event::Answered { .. } => self.after.outside += 1,
            Event::Dropped { .. } | Event::Skipped { .. } => {}
        }
    }

    /// Requests of the open step so far.
    pub fn requests(&self) -> u64 {
        self.step.as_ref().map_or(0, OpenStep::requests)
    }

    /// Requests that have no answer yet.
    pub fn unanswered(&self) -> u64 {
        self.step.as_ref().map_or(0, OpenStep::unanswered)
    }

    /// Deliveries of accepted requests that nobody has received yet.
    pub fn outstanding(&self) -> u64 {
        self.step.as_ref().map_or(0, OpenStep::outstanding)
    }

    /// Requests that have no answer, or were accepted and have not fully arrived.
    pub fn in_flight(&self) -> u64 {
        self.step.as_ref().map_or(0, OpenStep::in_flight)
    }

    /// Histograms of the seconds that are over since the last call; of all when the step has
    /// been closed. To be written by [`crate::recorder::Recorder`].
    pub fn take_intervals(&mut self) -> Vec<IntervalLog> {
        std::mem::take(&mut self.intervals)
    }

    /// The books of the open step so far, not judged: nothing is lost yet.
    pub fn book(&self) -> Option<&Book> {
        self.step.as_ref().map(OpenStep::book)
    }

    /// The step so far, for a live view: counts only.
    pub fn so_far(&self) -> crate::model::Classes {
        self.book().map(Book::totals).unwrap_or_default()
    }

    /// Judges the step: what was accepted and has not arrived is lost. Call it after the drain.
    pub fn close_step(&mut self) -> Book {
        let Some(step) = self.step.take() else { return Book::default() };
        let (book, intervals) = step.close(&mut self.settled);
        self.intervals.extend(intervals);
        book
    }

    /// What arrived for steps that had been judged, by the number of the step.
    pub fn afterwards(&self, number: u32) -> Afterwards {
        self.after.of(number)
    }

    /// Events that belong to no step: requests made or answered outside of one.
    pub fn outside(&self) -> u64 {
        self.after.outside
    }

    /// Bytes held for slots, open or settled; an estimate from sizes.
    #[cfg(test)]
    pub fn kept_bytes(&self) -> usize {
        self.settled.bytes()
            + self.order.bytes()
            + self.step.as_ref().map_or(0, OpenStep::kept_bytes)
    }
}
