//! The waves of a step one by one. A wave that is over is summed up before the next one begins,
//! so that memory does not grow with their number. Pure.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
use super::part::Times;
use crate::model;

/// Latencies kept of one wave; the first ones count if it has more.
const VALUES_MAX: usize = 1 << 20;

struct Wave {
    number: u32,
    first_slot: u64,
    warm_up: bool,
    release_ns: u64,
    last_ns: Option<u64>,
    open: u64,
    /// Microseconds from the intended send, first channel only.
    values: Vec<u32>,
    summary: model::Wave,
    summed: bool,
    /// Its latencies, if they are to be joined with those of other generators.
    kept: Times,
}

/// A measured wave as one of several generators saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WavePart {
    pub number: u32,
    pub sent: u64,
    pub delivered: u64,
    /// From the release to the last receipt.
    pub makespan_ns: Option<u64>,
    /// From the release, first channel only.
    pub times: Times,
}

/// All waves, by number.
#[derive(Default)]
pub(super) struct Waves {
    list: Vec<Wave>,
    /// Whether latencies are kept after a wave is summed up.
    pub keep: bool,
    pub blocks: Blocks,
}

impl Waves {
    /// A request of a wave.
    pub fn sent(&mut self, number: u32, slot: u64, intended_ns: u64, warm_up: bool, cells: u64) {
        if self.list.last().is_none_or(|last| last.number < number) {
            self.sum_up(false);
            self.list.push(Wave {
                number,
                first_slot: slot,
                warm_up,
                release_ns: intended_ns,
                last_ns: None,
                open: 0,
                values: Vec::new(),
                summary: model::Wave::default(),
                summed: false,
                kept: Times::default(),
            });
        }
        if let Some(wave) = self.numbered(number) {
            wave.open += 1;
            wave.first_slot = wave.first_slot.min(slot);
            wave.release_ns = wave.release_ns.min(intended_ns);
            wave.summary.sent += cells;
        }
    }

    /// A first receipt of an accepted request.
    pub fn received(&mut self, number: u32, at_ns: u64, latency_ns: Option<u64>, in_time: bool) {
        if let Some(wave) = self.numbered(number) {
            wave.last_ns = wave.last_ns.max(Some(at_ns));
            wave.summary.delivered += u64::from(in_time);
            if let Some(ns) = latency_ns.filter(|_| wave.values.len() < VALUES_MAX) {
                wave.values.push(u32::try_from(ns / 1_000).unwrap_or(u32::MAX));
            }
        }
    }

    /// A request's fate is known.
    pub fn settled(&mut self, number: u32) {
        if let Some(wave) = self.numbered(number) {
            wave.open = wave.open.saturating_sub(1);
        }
    }

    /// A delivery of this slot turned out not to have been delivered once and whole.
    pub fn spoilt(&mut self, slot: u64) {
        let after = self.list.partition_point(|wave| wave.first_slot <= slot);
        if let Some(wave) = after.checked_sub(1).and_then(|index| self.list.get_mut(index)) {
            wave.summary.delivered = wave.summary.delivered.saturating_sub(1);
        }
    }

    fn numbered(&mut self, number: u32) -> Option<&mut Wave> {
        let index = self.list.binary_search_by_key(&number, |wave| wave.number).ok()?;
        self.list.get_mut(index)
    }

    fn sum_up(&mut self, all: bool) {
        for wave in self.list.iter_mut().filter(|wave| !wave.summed && (all || wave.open == 0)) {
            let mut values = std::mem::take(&mut wave.values);
            values.sort_unstable();
            let at = |quantile: f64| {
                let rank = (quantile * values.len() as f64).ceil().max(1.0) as usize - 1;
                values.get(rank).map_or(0.0, |us| f64::from(*us) / 1e3)
            };
            wave.summary.p50_ms = at(0.5);
            wave.summary.p99_ms = at(0.99);
            wave.summary.max_ms = at(1.0);
            wave.summed = true;
            if self.keep && !wave.warm_up {
                let mut all = model::histogram();
                values.iter().for_each(|us| all.saturating_record(u64::from(*us) * 1_000));
                wave.kept = Times::of(&all);
            }
            if !wave.warm_up {
                self.blocks.push(values.iter().map(|us| (u64::from(*us), 1)));
            }
        }
    }

    /// The measured waves, and how long each took from its release to its last receipt.
    pub fn close(mut self) -> (Vec<model::Wave>, Histogram<u64>, Blocks) {
        self.sum_up(true);
        let mut makespan = model::histogram();
        let measured: Vec<&Wave> = self.list.iter().filter(|wave| !wave.warm_up).collect();
        for wave in &measured {
            if let Some(last) = wave.last_ns {
                makespan.saturating_record(last.saturating_sub(wave.release_ns));
            }
        }
        (measured.iter().map(|wave| wave.summary).collect(), makespan, self.blocks)
    }

    /// The measured waves one by one, for whoever joins them with those of other generators.
    pub fn parts(&mut self) -> Vec<WavePart> {
        self.sum_up(true);
        let measured = self.list.iter_mut().filter(|wave| !wave.warm_up);
        let part = |wave: &mut Wave| WavePart {
            number: wave.number,
            sent: wave.summary.sent,
            delivered: wave.summary.delivered,
            makespan_ns: wave.last_ns.map(|last| last.saturating_sub(wave.release_ns)),
            times: std::mem::take(&mut wave.kept),
        };
        measured.map(part).collect()
    }
}
