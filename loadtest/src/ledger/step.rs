//! The open step: every event finds its slot here. Pure; the rules are in [`super`], the figures
//! in [`super::book`].

use std::collections::HashMap;

use super::book::{Book, Figures};
use super::order::Order;
use super::seconds::IntervalLog;
use super::settled::{Fate, Found, Settled};
use super::slot::{Answer, Cells, Receipt, Seen, Slot};
use super::{StepBooks, WarmUp};
use crate::intake::{Event, Outcome};

/// Receipts that wait for their request to be entered; more than that are phantoms.
const EARLY_MAX: usize = 100_000;
const NO_ANSWER: &str = "no answer when the step was closed";

pub(super) struct OpenStep {
    number: u32,
    books: StepBooks,
    open: HashMap<u64, Slot>,
    early: HashMap<u64, Vec<Receipt>>,
    early_count: usize,
    figures: Figures,
    requests: u64,
    unanswered: u64,
    unknown_open: u64,
    outstanding: u64,
}

impl OpenStep {
    pub fn new(number: u32, mut books: StepBooks, started_ns: u64) -> Self {
        books.fan_out = books.fan_out.max(1);
        Self {
            number,
            figures: Figures::new(number, &books, started_ns),
            books,
            open: HashMap::new(),
            early: HashMap::new(),
            early_count: 0,
            requests: 0,
            unanswered: 0,
            unknown_open: 0,
            outstanding: 0,
        }
    }

    pub fn requests(&self) -> u64 {
        self.requests
    }

    pub fn unanswered(&self) -> u64 {
        self.unanswered
    }

    pub fn outstanding(&self) -> u64 {
        self.outstanding
    }

    pub fn in_flight(&self) -> u64 {
        self.open.len() as u64 - self.unknown_open
    }

    pub fn book(&self) -> &Book {
        &self.figures.book
    }

    pub fn phantom_outside(&mut self, count: u64) {
        self.figures.book.phantom_elsewhere += count;
    }

    /// Keeps the latencies of each wave, so that those of several generators can be joined.
    pub fn keep_waves(&mut self) {
        self.figures.keep_waves();
    }

    pub fn take_intervals(&mut self, into: &mut Vec<IntervalLog>) {
        into.append(&mut self.figures.seconds.done);
    }

    /// Bytes held for open slots.
    #[cfg(test)]
    pub fn kept_bytes(&self) -> usize {
        self.open.values().map(Slot::bytes).sum::<usize>() + self.early_count * size_of::<Receipt>()
    }

    /// Enters an event; a receipt that nothing in this step explains comes back.
    pub fn enter(
        &mut self,
        event: Event,
        settled: &mut Settled,
        order: &mut Order,
    ) -> Option<Receipt> {
        match event {
            Event::Sent { slot, wave, recipient, intended_ns, sent_ns } => {
                self.figures.seconds.advance(sent_ns, self.in_flight());
                let fresh = self.fresh(wave, recipient, intended_ns, sent_ns);
                self.sent(slot, fresh, settled, order);
            }
            Event::Answered { slot, at_ns, outcome } => {
                self.figures.seconds.advance(at_ns, self.in_flight());
                self.answered(slot, at_ns, outcome, settled);
            }
            Event::Receipt {
                slot,
                channel,
                recipient,
                at_ns,
                offset,
                intact,
                recovered,
                stamps,
            } => {
                let receipt = Receipt {
                    slot,
                    channel,
                    recipient,
                    at_ns,
                    offset,
                    intact,
                    recovered,
                    stamps,
                    depth: None,
                };
                return self.receipt(receipt, settled, order);
            }
            Event::Stranger { channel, .. } => self.phantom(channel, false),
            Event::Dropped { reason, .. } => self.figures.dropped(&reason),
            Event::Skipped { intended_ns } => {
                self.figures.book.skipped += 1;
                self.figures.seconds.offered(intended_ns);
            }
        }
        None
    }

    fn fresh(&self, wave: u32, recipient: u32, intended_ns: u64, sent_ns: u64) -> Slot {
        let cells = self.books.channels.len() * self.books.fan_out as usize;
        let warm_up = match self.books.warm_up {
            WarmUp::Until(ns) => intended_ns < ns,
            WarmUp::Waves(count) => wave < count,
        };
        Slot {
            wave,
            recipient,
            intended_ns,
            sent_ns,
            answer: Answer::None,
            warm_up,
            missing: u32::try_from(cells).unwrap_or(u32::MAX),
            cells: Cells::new(cells),
        }
    }

    fn sent(&mut self, number: u64, slot: Slot, settled: &mut Settled, order: &mut Order) {
        if self.open.contains_key(&number) || settled.knows(number) {
            self.figures.book.faults.reused_slots += 1;
            return;
        }
        if !slot.warm_up {
            settled.measured(number);
        }
        self.requests += 1;
        self.unanswered += 1;
        self.figures.sent(number, &slot, self.books.fan_out);
        self.open.insert(number, slot);
        for receipt in self.early.remove(&number).unwrap_or_default() {
            self.early_count -= 1;
            self.receipt(receipt, settled, order);
        }
    }

    fn answered(&mut self, number: u64, at_ns: u64, outcome: Outcome, settled: &mut Settled) {
        let fan_out = self.books.fan_out;
        let Some(slot) = self.open.get_mut(&number) else {
            self.figures.book.faults.stray_answers += 1;
            return;
        };
        if !matches!(slot.answer, Answer::None) {
            self.figures.book.faults.stray_answers += 1;
            return;
        }
        self.unanswered -= 1;
        match outcome {
            Outcome::Accepted { stamps } => {
                slot.answer = Answer::Accepted(stamps);
                self.figures.accepted(slot, at_ns, fan_out);
                self.outstanding += u64::from(slot.missing);
                for (index, cell) in slot.cells.all().iter().enumerate() {
                    if cell.seen != Seen::Not {
                        self.figures.fold(index / fan_out as usize, slot, cell);
                    }
                }
                if slot.missing == 0 {
                    self.settle(number, settled);
                }
            }
            Outcome::Refused { status } => {
                self.figures.refused(slot, status, at_ns, fan_out);
                for (index, cell) in slot.cells.all().iter().enumerate() {
                    let classes = self.figures.classes(index / fan_out as usize, slot.warm_up);
                    classes.phantom += u64::from(cell.receipts);
                }
                // Written as never received: whatever comes is a phantom as well.
                if let Some(slot) = self.open.remove(&number) {
                    let cells = slot.cells.all().iter().map(|_| Fate::Unseen);
                    settled.write(number, slot.recipient, cells);
                    self.figures.settled(&slot);
                }
            }
            Outcome::Unknown { reason } => {
                slot.answer = Answer::Unknown;
                self.unknown_open += 1;
                self.figures.unknown(slot, &reason, fan_out);
                unknown_received(&mut self.figures, slot, fan_out);
            }
        }
    }

    /// Enters a receipt; it comes back if neither an open nor a settled slot of this step
    /// explains it.
    fn receipt(
        &mut self,
        receipt: Receipt,
        settled: &mut Settled,
        order: &mut Order,
    ) -> Option<Receipt> {
        if !self.open.contains_key(&receipt.slot) {
            return self.echo(receipt, settled);
        }
        let fan_out = self.books.fan_out;
        let slot = self.open.get_mut(&receipt.slot)?;
        let lane = self.books.channels.iter().position(|channel| *channel == receipt.channel);
        let within = receipt.recipient.checked_sub(slot.recipient).filter(|at| *at < fan_out);
        let (Some(lane), Some(within)) = (lane, within) else {
            let warm_up = slot.warm_up;
            self.phantom(receipt.channel, warm_up);
            return None;
        };
        let index = lane * fan_out as usize + within as usize;
        let cell = &mut slot.cells.all_mut()[index];
        let before = cell.seen;
        cell.seen = before.then(receipt.intact);
        cell.receipts = cell.receipts.saturating_add(1);
        if before != Seen::Not {
            if before == Seen::Once && matches!(slot.answer, Answer::Accepted(_)) {
                let was = super::slot::Cell { seen: before, ..Default::default() };
                let was = super::slot::Cell { at_ns: slot.cells.all()[index].at_ns, ..was };
                let from = self.figures.fate(slot, &was);
                self.figures.spoil(lane, receipt.slot, slot.warm_up, from, receipt.intact);
            }
            return None;
        }
        cell.at_ns = receipt.at_ns;
        cell.recovered = receipt.recovered;
        cell.depth = receipt.depth.unwrap_or_else(|| {
            let enter = |offset| order.enter(receipt.channel, receipt.recipient, offset);
            receipt.offset.map_or(0, enter)
        });
        cell.stamps = receipt.stamps;
        slot.missing -= 1;
        match slot.answer {
            Answer::None => {}
            Answer::Unknown => self.figures.classes(lane, slot.warm_up).unknown_received += 1,
            Answer::Accepted(_) => {
                self.outstanding -= 1;
                self.figures.fold(lane, slot, &slot.cells.all()[index]);
                if slot.missing == 0 {
                    self.settle(receipt.slot, settled);
                }
            }
        }
        None
    }

    /// A receipt of a slot that this step has settled.
    fn echo(&mut self, receipt: Receipt, settled: &mut Settled) -> Option<Receipt> {
        match settled.find(receipt.slot, receipt.channel, receipt.recipient) {
            Found::Here(place, fate) if place.step == self.number => {
                let warm_up = settled.is_warm_up(place);
                match fate {
                    // Only what was refused is settled without a receipt while the step is open.
                    Fate::Unseen => self.phantom(receipt.channel, warm_up),
                    Fate::Spoilt => {}
                    Fate::Delivered | Fate::Late => {
                        let lane =
                            self.books.channels.iter().position(|one| *one == receipt.channel);
                        if let Some(lane) = lane {
                            self.figures.spoil(lane, receipt.slot, warm_up, fate, receipt.intact);
                        }
                        settled.set(place, Fate::Spoilt);
                    }
                }
                None
            }
            Found::Elsewhere { step } if step == self.number => {
                self.phantom(receipt.channel, false);
                None
            }
            Found::Here(..) | Found::Elsewhere { .. } | Found::Unknown => Some(receipt),
        }
    }

    /// A receipt that no step explains waits for its request, if there is room.
    pub fn hold(&mut self, mut receipt: Receipt, order: &mut Order) {
        if self.early_count >= EARLY_MAX {
            self.phantom(receipt.channel, false);
            return;
        }
        let enter = |offset| order.enter(receipt.channel, receipt.recipient, offset);
        receipt.depth = receipt.offset.map(enter);
        self.early_count += 1;
        self.early.entry(receipt.slot).or_default().push(receipt);
    }

    pub fn phantom(&mut self, channel: crate::intake::Channel, warm_up: bool) {
        match self.books.channels.iter().position(|known| *known == channel) {
            Some(lane) => self.figures.classes(lane, warm_up).phantom += 1,
            None => self.figures.book.phantom_elsewhere += 1,
        }
    }

    fn settle(&mut self, number: u64, settled: &mut Settled) {
        let Some(slot) = self.open.remove(&number) else { return };
        let fates = slot.cells.all().iter().map(|cell| self.figures.fate(&slot, cell));
        settled.write(number, slot.recipient, fates);
        self.figures.settled(&slot);
    }

    /// Judges what is still open.
    pub fn close(mut self, settled: &mut Settled) -> (Book, Vec<IntervalLog>) {
        let fan_out = self.books.fan_out;
        for receipt in std::mem::take(&mut self.early).into_values().flatten() {
            self.phantom(receipt.channel, false);
        }
        for (number, slot) in std::mem::take(&mut self.open) {
            if matches!(slot.answer, Answer::None) {
                self.figures.unknown(&slot, NO_ANSWER, fan_out);
                unknown_received(&mut self.figures, &slot, fan_out);
            }
            let accepted = matches!(slot.answer, Answer::Accepted(_));
            for (index, cell) in slot.cells.all().iter().enumerate() {
                if accepted && cell.seen == Seen::Not {
                    self.figures.classes(index / fan_out as usize, slot.warm_up).lost += 1;
                }
            }
            let fate = |cell| match self.figures.fate(&slot, cell) {
                fate if accepted || fate == Fate::Unseen => fate,
                _ => Fate::Spoilt,
            };
            settled.write(number, slot.recipient, slot.cells.all().iter().map(fate));
            self.figures.settled(&slot);
        }
        self.figures.close()
    }
}

fn unknown_received(figures: &mut Figures, slot: &Slot, fan_out: u32) {
    for (index, cell) in slot.cells.all().iter().enumerate() {
        if cell.seen != Seen::Not {
            figures.classes(index / fan_out as usize, slot.warm_up).unknown_received += 1;
        }
    }
}
