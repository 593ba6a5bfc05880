//! Whether memory grows: a line through the medians of ten equal parts of a step, with a 95 %
//! interval for its slope. Medians of parts, because readings a second apart are not independent.
//! Pure.

use std::collections::BTreeMap;

use crate::model::{Growth, Interval, Step};
use crate::stats::bootstrap::median;

const PARTS: usize = 10;
/// Each part has a few readings, or its median is one of them.
const READINGS_MIN: usize = 5 * PARTS;
/// Student's t for 8 degrees of freedom, two-sided 95 %.
const T_95: f64 = 2.306;
/// Growth below this over the whole step is flat, whatever its sign: allocators breathe.
const FLAT_SHARE: f64 = 0.02;
const FLAT_BYTES: f64 = 1024.0 * 1024.0;
const HOUR_S: f64 = 3_600.0;
/// Whose growth is told but decides nothing. The generator is not the platform. nats-server remembers the ids of ten
/// minutes of messages, and its memory was seen to settle only after 25 minutes of an even load.
const NOT_JUDGED: [&str; 2] = ["generator", "nats-server"];

/// The growth of each process whose memory was read.
pub fn of(step: &Step) -> BTreeMap<String, Growth> {
    let columns = step.series.columns.iter();
    columns
        .filter_map(|(name, values)| {
            let process = name.strip_prefix("rss:")?;
            let measured =
                step.series.at_s.iter().zip(values).filter(|(at, _)| {
                    **at >= step.from_s && **at <= step.from_s + step.load.hold_s
                });
            let points: Vec<(f64, f64)> =
                measured.filter_map(|(at, value)| Some((*at, (*value)?))).collect();
            Some((process.to_owned(), growth(&points)?))
        })
        .collect()
}

fn growth(points: &[(f64, f64)]) -> Option<Growth> {
    if points.len() < READINGS_MIN {
        return None;
    }
    let parts: Vec<(f64, f64)> = (0..PARTS)
        .map(|part| {
            let own = &points[part * points.len() / PARTS..(part + 1) * points.len() / PARTS];
            let column = |pick: fn(&(f64, f64)) -> f64| own.iter().map(pick).collect::<Vec<_>>();
            (median(&column(|point| point.0)), median(&column(|point| point.1)))
        })
        .collect();
    let count = PARTS as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| parts.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = parts.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = parts.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    let rest: f64 = parts.iter().map(|point| (point.1 - y - slope * (point.0 - x)).powi(2)).sum();
    let reach = T_95 * (rest / (count - 2.0) / spread).sqrt();
    let span_s = points.last()?.0 - points.first()?.0;
    let bearable = FLAT_BYTES.max(y * FLAT_SHARE);
    let flat = match () {
        () if (slope + reach) * span_s <= bearable => Some(true),
        () if (slope - reach) * span_s > bearable => Some(false),
        () => None,
    };
    let hourly = |per_s: f64| (per_s * HOUR_S).round();
    Some(Growth {
        bytes_per_hour: hourly(slope),
        interval: Interval { low: hourly(slope - reach), high: hourly(slope + reach) },
        flat,
    })
}

/// Whether a process grew that should not.
pub fn grew(memory: &BTreeMap<String, Growth>) -> bool {
    memory.iter().any(|(name, growth)| is_judged(name) && growth.flat == Some(false))
}

fn is_judged(name: &str) -> bool {
    !NOT_JUDGED.iter().any(|other| name.starts_with(other))
}

/// One line for each process.
pub fn text(step: &Step) -> String {
    let mib = |bytes: f64| bytes / 1_048_576.0;
    let line = |(name, growth): (&String, &Growth)| {
        let verdict = match growth.flat {
            Some(true) => "flat",
            Some(false) if is_judged(name) => "GROWS",
            Some(false) => "grows (not judged)",
            None => "cannot tell: measure longer",
        };
        format!(
            "  memory of {name}: {:+.1} MiB an hour ({:+.1} to {:+.1}), {verdict}\n",
            mib(growth.bytes_per_hour),
            mib(growth.interval.low),
            mib(growth.interval.high),
        )
    };
    if step.memory.is_empty() {
        return "  memory: too short to tell (at least a minute)\n".to_owned();
    }
    step.memory.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..600).map(|second| (f64::from(second), value(f64::from(second)))).collect()
    }

    #[test]
    fn a_leak_and_a_breathing_allocator_are_told_apart() {
        let mib = 1_048_576.0;
        // 10 KiB a second on 100 MiB, with a ripple.
        let leak = growth(&points(|s| 100.0 * mib + s * 10_240.0 + (s % 7.0) * 9_000.0)).unwrap();
        assert_eq!(leak.flat, Some(false));
        assert!((leak.bytes_per_hour / (10_240.0 * 3_600.0) - 1.0).abs() < 0.02, "{leak:?}");
        assert!(
            leak.interval.low <= leak.bytes_per_hour && leak.bytes_per_hour <= leak.interval.high
        );
        let breath = growth(&points(|s| 100.0 * mib + (s / 9.0).sin() * 300_000.0)).unwrap();
        assert_eq!(breath.flat, Some(true));
        assert_eq!(growth(&points(|_| 1.0)[..40]), None);
    }

    #[test]
    fn what_keeps_messages_and_what_makes_them_is_not_judged() {
        let growing = growth(&points(|s| 5e7 + s * 1e5));
        let of = |name: &str| -> BTreeMap<_, _> {
            growing.map(|it| (name.to_owned(), it)).into_iter().collect()
        };
        for (name, expected) in [
            ("campana", true),
            ("campana edge", true),
            ("nats-server", false),
            ("generator 2", false),
        ] {
            assert_eq!(grew(&of(name)), expected, "{name}");
            let step = Step { memory: of(name), ..Step::default() };
            assert_eq!(text(&step).contains("GROWS"), expected, "{name}");
        }
    }

    #[test]
    fn only_the_measured_part_counts() {
        let mut step = Step { from_s: 100.0, ..Step::default() };
        step.load.hold_s = 400.0;
        step.series.at_s = (0..600).map(f64::from).collect();
        let column = (0..600).map(|s| Some(if s < 100 { 0.0 } else { 5e7 })).collect();
        step.series.columns.insert("rss:campana".to_owned(), column);
        step.memory = of(&step);
        assert_eq!(step.memory["campana"].flat, Some(true));
        assert!(text(&step).contains("memory of campana: +0.0 MiB"), "{}", text(&step));
    }
}
