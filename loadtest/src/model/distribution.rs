//! How times are kept: a few percentiles to read, and the whole histogram to draw, merge and compare.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Smallest and largest time that a histogram tells apart: 1 µs and ten minutes.
const LOWEST_NS: u64 = 1_000;
const HIGHEST_NS: u64 = 600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// A range in which a figure probably lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// A distribution of times: milliseconds to read, and the histogram (nanoseconds, HdrHistogram V2,
/// deflated, base64) from which they came.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    /// 95 % intervals of p50 and p99 over waves or blocks of a second, if there were enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_interval: Option<Interval>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_interval: Option<Interval>,
    /// Empty if nothing was recorded.
    #[serde(default)]
    pub hdr: String,
}

/// From the intended send, and beside it from the actual one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    pub intended: Distribution,
    pub actual: Distribution,
}

/// An empty histogram of nanoseconds, as all parts of the harness use it.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS)
        .expect("bounds are constants that hdrhistogram accepts")
}

impl Distribution {
    /// Summarises a histogram; all zero when nothing was recorded.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| ms(histogram.value_at_quantile(quantile) as f64);
        Self {
            count: histogram.len(),
            mean_ms: ms(histogram.mean()),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(histogram.max() as f64),
            p50_interval: None,
            p99_interval: None,
            hdr: encode(histogram),
        }
    }

    /// The whole histogram; empty if none was kept or it cannot be read.
    pub fn histogram(&self) -> Histogram<u64> {
        let bytes = STANDARD.decode(&self.hdr).unwrap_or_default();
        if !is_ours(&bytes) {
            return histogram();
        }
        Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap_or_else(|_| histogram())
    }
}

/// Whether the header asks for no more than our own histograms do: the reader takes memory for what it says before
/// it reads on. V2, deflated: cookie and length, then a zlib stream with cookie, length, offset, digits, lowest and
/// highest value, all big-endian (HdrHistogram, `EncodableHistogram`).
fn is_ours(bytes: &[u8]) -> bool {
    let mut head = [0_u8; 32];
    let Some(stream) = bytes.get(8..) else { return false };
    if flate2::read::ZlibDecoder::new(stream).read_exact(&mut head).is_err() {
        return false;
    }
    let digits = u32::from_be_bytes([head[12], head[13], head[14], head[15]]);
    let mut highest = [0_u8; 8];
    highest.copy_from_slice(&head[24..32]);
    digits <= u32::from(SIGNIFICANT_DIGITS) && u64::from_be_bytes(highest) <= HIGHEST_NS
}

fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail; should it, the summary is still whole.
    match V2DeflateSerializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => STANDARD.encode(bytes),
        Err(_) => String::new(),
    }
}

fn ms(ns: f64) -> f64 {
    (ns / 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_keeps_its_whole_histogram() {
        let mut times = histogram();
        for value in 1..=1_000_u64 {
            times.record(value * 1_000_000).unwrap();
        }
        let kept = Distribution::of(&times);
        assert_eq!(kept.count, 1_000);
        assert!((kept.p99_ms - 990.0).abs() < 1.0, "{}", kept.p99_ms);
        let json = serde_json::to_string(&kept).unwrap();
        let read: Distribution = serde_json::from_str(&json).unwrap();
        assert_eq!(read.histogram(), times);
        assert!(Distribution::default().histogram().is_empty());
    }

    #[test]
    fn a_histogram_that_asks_for_much_memory_is_not_read() {
        let mut wide = Histogram::<u64>::new_with_bounds(1, u64::MAX / 2, 5).unwrap();
        wide.record(7).unwrap();
        let hostile = Distribution { hdr: encode(&wide), ..Distribution::default() };
        assert!(hostile.histogram().is_empty());
        let cut = Distribution { hdr: hostile.hdr[..12].to_owned(), ..hostile };
        assert!(cut.histogram().is_empty());
    }
}
