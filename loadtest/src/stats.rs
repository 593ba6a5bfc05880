//! Statistics: what figures of runs prove, and what they do not. Pure. Percentiles are never averaged:
//! histograms are merged, and uncertainty comes from resampling whole runs.

pub mod bootstrap;
pub mod bounds;
pub mod rank;
pub mod shift;
pub mod steady;
pub mod usl;

/// Three decimals: what a microsecond histogram can say in milliseconds.
pub fn round3(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
