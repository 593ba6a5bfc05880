//! A judged book on its way to whoever joins the books of several generators: counts as they are,
//! histograms whole (HdrHistogram V2), moments as nanoseconds since the run began. Pure. What is
//! read back is checked: it may come from another machine.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::book::{Book, Faults, Lane, STAGES};
use super::waves::WavePart;
use crate::intake::Channel;
use crate::model::{self, Classes, Distribution, Heat, Series};

/// A histogram that the harness writes has some kilobytes.
const HDR_BYTES_MAX: usize = 1 << 20;
const MANY_WAVES: usize = 20_000;
/// Two days; no run is longer.
const SECONDS_MAX: f64 = 200_000.0;

/// A histogram of nanoseconds: V2, deflated, base64, with its count as a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    pub count: u64,
    pub hdr: String,
}

impl Times {
    /// Packs a histogram.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let Distribution { count, hdr, .. } = Distribution::of(histogram);
        Self { count, hdr }
    }

    /// Unpacks it; an error if it is not what was packed.
    pub fn histogram(&self) -> Result<Histogram<u64>, String> {
        if self.hdr.len() > HDR_BYTES_MAX {
            return Err(format!("a histogram of {} bytes", self.hdr.len()));
        }
        let packed = Distribution { hdr: self.hdr.clone(), ..Distribution::default() };
        let histogram = packed.histogram();
        if histogram.len() != self.count {
            return Err(format!("a histogram of {} has {}", self.count, histogram.len()));
        }
        Ok(histogram)
    }

    /// Adds it to another.
    pub fn add_to(&self, sum: &mut Histogram<u64>) -> Result<(), String> {
        if self.count == 0 {
            return Ok(());
        }
        add(sum, &self.histogram()?)
    }
}

/// Adds a histogram that may come from elsewhere.
pub(super) fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) -> Result<(), String> {
    sum.add(other).map_err(|error| format!("a histogram that does not fit: {error}"))
}

/// A channel's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanePart {
    pub channel: Channel,
    pub classes: Classes,
    pub warm_up: Classes,
    pub intended: Times,
    pub actual: Times,
    /// In the order of the way; nothing where no stamp was.
    pub stages: Vec<Option<Times>>,
}

/// A step's books.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookPart {
    /// The ledger's number of the step.
    pub number: u32,
    pub lanes: Vec<LanePart>,
    pub requests: u64,
    pub warm_up_requests: u64,
    pub statuses: BTreeMap<u16, u64>,
    pub failures: BTreeMap<String, u64>,
    pub phantom_elsewhere: u64,
    pub recovered: u64,
    pub dropped: BTreeMap<String, u64>,
    pub skipped: u64,
    pub saturated: u64,
    pub faults: Faults,
    /// Since the run began.
    pub first_intended_ns: Option<u64>,
    pub last_intended_ns: Option<u64>,
    pub last_receipt_ns: Option<u64>,
    pub accept: Times,
    pub accept_actual: Times,
    pub lag: Times,
    pub waves: Vec<WavePart>,
    pub series: Series,
    pub heat: Option<Heat>,
}

impl Book {
    /// Packs the book. Makespan and blocks stay behind: they follow from the waves and seconds of
    /// all generators together.
    pub fn part(&self) -> BookPart {
        let since = |at: Option<u64>| at.map(|ns| ns.saturating_sub(self.started_ns));
        let (accept, accept_actual) = self
            .accept
            .as_ref()
            .map(|(intended, actual)| (Times::of(intended), Times::of(actual)))
            .unwrap_or_default();
        BookPart {
            number: self.number,
            lanes: self.lanes.iter().map(Lane::part).collect(),
            requests: self.requests,
            warm_up_requests: self.warm_up_requests,
            statuses: self.statuses.clone(),
            failures: self.failures.clone(),
            phantom_elsewhere: self.phantom_elsewhere,
            recovered: self.recovered,
            dropped: self.dropped.clone(),
            skipped: self.skipped,
            saturated: self.saturated,
            faults: self.faults,
            first_intended_ns: since(self.first_intended_ns),
            last_intended_ns: since(self.last_intended_ns),
            last_receipt_ns: since(self.last_receipt_ns),
            accept,
            accept_actual,
            lag: self.lag.as_ref().map(Times::of).unwrap_or_default(),
            waves: self.wave_parts.clone(),
            series: self.series.clone(),
            heat: self.heat.clone(),
        }
    }
}

impl Lane {
    fn part(&self) -> LanePart {
        LanePart {
            channel: self.channel,
            classes: self.classes.clone(),
            warm_up: self.warm_up.clone(),
            intended: Times::of(&self.intended),
            actual: Times::of(&self.actual),
            stages: self.stages.iter().map(|stage| stage.as_deref().map(Times::of)).collect(),
        }
    }

    /// Adds what another generator counted on the same channel.
    pub(super) fn add(&mut self, other: &LanePart) -> Result<(), String> {
        self.classes.add(&other.classes);
        self.warm_up.add(&other.warm_up);
        other.intended.add_to(&mut self.intended)?;
        other.actual.add_to(&mut self.actual)?;
        for (stage, times) in self.stages.iter_mut().zip(&other.stages) {
            if let Some(times) = times {
                times.add_to(stage.get_or_insert_with(|| Box::new(model::histogram())))?;
            }
        }
        Ok(())
    }
}

impl BookPart {
    /// Whether its parts can be what they are called; counts are checked by the identity, and
    /// histograms when they are unpacked.
    pub fn check(&self) -> Result<(), String> {
        if self.lanes.len() > Channel::ALL.len() || self.waves.len() > MANY_WAVES {
            return Err("more channels or waves than there can be".to_owned());
        }
        for (index, lane) in self.lanes.iter().enumerate() {
            if self.lanes[..index].iter().any(|other| other.channel == lane.channel) {
                return Err(format!("the channel {} twice", lane.channel.name()));
            }
            if lane.stages.len() > STAGES {
                return Err(format!("{} stages", lane.stages.len()));
            }
        }
        let heat = self.heat.iter().flat_map(|heat| &heat.at_s);
        if self.series.at_s.iter().chain(heat).any(|at| !(0.0..=SECONDS_MAX).contains(at)) {
            return Err("a second that is none of the run's".to_owned());
        }
        let rows = self.series.at_s.len();
        if self.series.columns.values().any(|column| column.len() != rows) {
            return Err("a column that is not as long as its seconds".to_owned());
        }
        if let Some(heat) = &self.heat
            && (heat.counts.len() != heat.at_s.len()
                || heat.counts.iter().any(|rows| rows.len() != heat.bounds_ms.len() + 1))
        {
            return Err("a heat map whose rows and columns differ in number".to_owned());
        }
        Ok(())
    }
}
