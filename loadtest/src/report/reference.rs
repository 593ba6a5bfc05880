//! What the paper that Campana replaces reported. Shown in grey beside the measurement, never
//! joined to it and never divided by it: hardware, workload, and where its latency begins and
//! ends are not stated, so no ratio would mean anything.

/// Lowest and highest reported latency.
pub const LATENCY_MS: (f64, f64) = (200.0, 214.0);
/// Reported CPU at the smallest and at the largest load; whose CPU is not stated.
pub const CPU_PERCENT: (f64, f64) = (20.0, 50.0);
/// The largest reported load.
pub const WAVE_MAX: f64 = 500.0;

pub const LATENCY_TEXT: &str = "reported: 200–214 ms up to 500 (other hardware, other definition)";
