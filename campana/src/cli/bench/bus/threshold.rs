//! What must hold, as text: `consume>=0.85`.
//! Pure.

use std::fmt;
use std::str::FromStr;

/// What a threshold may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    Consume,
    Publish,
    LatencyUs,
    IdlePercent,
}

impl Metric {
    /// The name of its row.
    pub fn name(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Publish => "publish",
            Self::LatencyUs => "latency_us",
            Self::IdlePercent => "idle_percent",
        }
    }
}

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Threshold {
    pub metric: Metric,
    at_least: bool,
    value: f64,
}

impl Threshold {
    /// Whether a measured value is good enough.
    pub fn holds(&self, actual: f64) -> bool {
        if self.at_least { actual >= self.value } else { actual <= self.value }
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || {
            format!(
                "\"{text}\" is no threshold: consume, publish, latency_us or idle_percent, then <= or >=, then a number"
            )
        };
        let (name, at_least, value) = match (text.split_once(">="), text.split_once("<=")) {
            (Some((name, value)), None) => (name, true, value),
            (None, Some((name, value))) => (name, false, value),
            _ => return Err(bad()),
        };
        let metric = [Metric::Consume, Metric::Publish, Metric::LatencyUs, Metric::IdlePercent]
            .into_iter()
            .find(|metric| metric.name() == name.trim())
            .ok_or_else(bad)?;
        let value = value.trim().parse().ok().filter(|value: &f64| value.is_finite());
        Ok(Self { metric, at_least, value: value.ok_or_else(bad)? })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = if self.at_least { ">=" } else { "<=" };
        write!(f, "{}{operator}{}", self.metric.name(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_parsed_and_judged() {
        let threshold: Threshold = " consume >= 0.85 ".parse().unwrap();
        assert_eq!(threshold.to_string(), "consume>=0.85");
        assert!(threshold.holds(0.85) && !threshold.holds(0.84) && !threshold.holds(f64::NAN));
        let threshold: Threshold = "idle_percent<=0.2".parse().unwrap();
        assert!(threshold.holds(0.2) && !threshold.holds(0.21) && !threshold.holds(f64::NAN));
        for bad in
            ["", "consume", "consume>0.8", "speed>=1", "consume>=x", "consume>=NaN", "a<=1>=2"]
        {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
    }
}
