//! From the written file to a checked scenario: every number has its bounds, every key belongs to
//! its kind of step, and every refusal names file, line and what is allowed. Pure.

mod step;

use std::fmt::Display;
use std::time::Duration;

use sha2::{Digest, Sha256};
use toml::Spanned;

use super::raw::{RawScenario, RawSlo};
use super::{
    DEADLINE_DEFAULT, IN_FLIGHT_DEFAULT, PAYLOAD_BYTES_DEFAULT, RECIPIENTS_MAX, Scenario, StepSpec,
    TIMEOUT_DEFAULT,
};
use crate::intake::Channel;
use crate::model::Slo;
use crate::thresholds::Threshold;

const TEXT_BYTES_MAX: usize = 256 * 1024;
const NAME_CHARS_MAX: usize = 60;
const ABOUT_CHARS_MAX: usize = 300;
const STEPS_MAX: usize = 200;
const THRESHOLDS_MAX: usize = 50;
/// A mark of its own needs this much.
const PAYLOAD_BYTES_MIN: i64 = 64;
const PAYLOAD_BYTES_MAX: i64 = 60_000;
const RECIPIENTS_DEFAULT: u32 = 200;

/// Why a file is refused, and where.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct Refused {
    file: String,
    line: usize,
    message: String,
}

/// The file that is being checked, for messages.
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    /// A refusal at a byte of the file.
    pub fn refuse(&self, at: usize, message: impl Display) -> Refused {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Refused { file: self.file.to_owned(), line, message: message.to_string() }
    }

    /// A number within its bounds, or the default.
    pub fn within<T: PartialOrd + Display + Copy>(
        &self,
        name: &str,
        value: Option<&Spanned<T>>,
        default: T,
        (low, high): (T, T),
    ) -> Result<T, Refused> {
        let Some(value) = value else { return Ok(default) };
        self.one_within(name, *value.get_ref(), value.span().start, (low, high))
    }

    /// The same for a number whose place is known from elsewhere.
    pub fn one_within<T: PartialOrd + Display + Copy>(
        &self,
        name: &str,
        value: T,
        at: usize,
        (low, high): (T, T),
    ) -> Result<T, Refused> {
        // A NaN is in no range.
        if value >= low && value <= high {
            return Ok(value);
        }
        Err(self.refuse(at, format!("{name} is {value}; allowed is {low} to {high}")))
    }

    /// Seconds as a duration.
    pub fn seconds(
        &self,
        name: &str,
        value: Option<&Spanned<f64>>,
        default: f64,
        bounds: (f64, f64),
    ) -> Result<Duration, Refused> {
        self.within(name, value, default, bounds).map(Duration::from_secs_f64)
    }

    /// A whole number that fits 32 bits.
    pub fn count(
        &self,
        name: &str,
        value: Option<&Spanned<i64>>,
        default: u32,
        bounds: (i64, i64),
    ) -> Result<u32, Refused> {
        let number = self.within(name, value, i64::from(default), bounds)?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// A channel by its name.
    pub fn channel(&self, name: &str, at: usize) -> Result<Channel, Refused> {
        Channel::parse(name).ok_or_else(|| {
            let all = Channel::ALL.map(Channel::name).join(", ");
            self.refuse(at, format!("there is no channel {name:?}; allowed are {all}"))
        })
    }

    /// At least one channel, none twice.
    pub fn channels(&self, value: &Spanned<Vec<String>>) -> Result<Vec<Channel>, Refused> {
        let at = value.span().start;
        let named = value.get_ref().iter().map(|name| self.channel(name, at));
        let mut channels = named.collect::<Result<Vec<_>, _>>()?;
        channels.sort_unstable();
        channels.dedup();
        if channels.is_empty() || channels.len() != value.get_ref().len() {
            return Err(self.refuse(at, "channels must name at least one channel, and none twice"));
        }
        Ok(channels)
    }
}

/// Reads and checks.
pub fn scenario(file: &str, text: &str) -> Result<Scenario, Refused> {
    let source = Source { file, text };
    if text.len() > TEXT_BYTES_MAX {
        return Err(source.refuse(0, format!("the file is larger than {TEXT_BYTES_MAX} bytes")));
    }
    let raw: RawScenario = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        source.refuse(at, error.message())
    })?;
    let channels = match &raw.channels {
        Some(channels) => source.channels(channels)?,
        None => vec![Channel::InApp],
    };
    let steps = steps(&source, &raw, &channels)?;
    let needed = steps.iter().map(StepSpec::recipients_needed).max().unwrap_or(1);
    let default = if raw.recipients.is_none() { needed.max(RECIPIENTS_DEFAULT) } else { needed };
    let recipients = source.count(
        "recipients",
        raw.recipients.as_ref(),
        default,
        (i64::from(needed), i64::from(RECIPIENTS_MAX)),
    )?;
    let seed = source.within("seed", raw.seed.as_ref(), 1, (0, i64::MAX))?;
    Ok(Scenario {
        name: words(&source, "name", &raw.name, NAME_CHARS_MAX)?,
        about: words(&source, "about", &raw.about, ABOUT_CHARS_MAX)?,
        sha256: sha256(text),
        seed: seed.unsigned_abs(),
        recipients,
        payload_bytes: source.count(
            "payload_bytes",
            raw.payload_bytes.as_ref(),
            PAYLOAD_BYTES_DEFAULT,
            (PAYLOAD_BYTES_MIN, PAYLOAD_BYTES_MAX),
        )?,
        slo: raw.slo.as_ref().map(|slo| check_slo(&source, slo)).transpose()?,
        thresholds: thresholds(&source, &raw.thresholds, &steps)?,
        timeout: source.seconds(
            "timeout_s",
            raw.timeout_s.as_ref(),
            TIMEOUT_DEFAULT.as_secs_f64(),
            (0.1, 120.0),
        )?,
        deadline: source.seconds(
            "deadline_s",
            raw.deadline_s.as_ref(),
            DEADLINE_DEFAULT.as_secs_f64(),
            (0.001, 600.0),
        )?,
        in_flight_max: source.count(
            "in_flight_max",
            raw.in_flight_max.as_ref(),
            IN_FLIGHT_DEFAULT,
            (1, 20_000),
        )?,
        idempotency_keys: raw.idempotency_keys,
        judge_timing: raw.judge_timing.unwrap_or(true),
        steps,
    })
}

fn steps(
    source: &Source<'_>,
    raw: &RawScenario,
    channels: &[Channel],
) -> Result<Vec<StepSpec>, Refused> {
    let mut steps: Vec<StepSpec> = Vec::new();
    for written in raw.steps.get_ref() {
        steps.extend(step::steps(source, written, channels)?);
    }
    if steps.is_empty() || steps.len() > STEPS_MAX {
        let at = raw.steps.span().start;
        return Err(
            source.refuse(at, format!("{} steps; allowed is 1 to {STEPS_MAX}", steps.len()))
        );
    }
    number_repeated_names(&mut steps);
    Ok(steps)
}

/// Thresholds and tables find a step by its name, so the second `wave 500` is `wave 500 (2)`.
pub(super) fn number_repeated_names(steps: &mut [StepSpec]) {
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for step in steps {
        let times = seen.entry(step.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            step.name = format!("{} ({times})", step.name);
        }
    }
}

fn check_slo(source: &Source<'_>, raw: &RawSlo) -> Result<Slo, Refused> {
    Ok(Slo {
        p99_ms: source.within("slo.p99_ms", Some(&raw.p99_ms), 0.0, (0.01, 600_000.0))?,
        shed_ratio_max: source.within(
            "slo.shed_ratio_max",
            raw.shed_ratio_max.as_ref(),
            0.0,
            (0.0, 1.0),
        )?,
    })
}

fn thresholds(
    source: &Source<'_>,
    raw: &[Spanned<String>],
    steps: &[StepSpec],
) -> Result<Vec<Threshold>, Refused> {
    if let Some(first) = raw.get(THRESHOLDS_MAX) {
        let at = first.span().start;
        return Err(source.refuse(at, format!("more than {THRESHOLDS_MAX} thresholds")));
    }
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    let read = |text: &Spanned<String>| {
        let refuse = |why: String| {
            source.refuse(text.span().start, format!("threshold {:?}: {why}", text.get_ref()))
        };
        let threshold: Threshold =
            text.get_ref().parse().map_err(|error| refuse(format!("{error}")))?;
        threshold.check(&names).map_err(refuse)?;
        Ok(threshold)
    };
    raw.iter().map(read).collect()
}

fn words(
    source: &Source<'_>,
    name: &str,
    value: &Spanned<String>,
    chars_max: usize,
) -> Result<String, Refused> {
    let text = value.get_ref().trim();
    if text.is_empty() || text.chars().count() > chars_max || text.chars().any(char::is_control) {
        let message = format!("{name} must be one line of 1 to {chars_max} characters");
        return Err(source.refuse(value.span().start, message));
    }
    Ok(text.to_owned())
}

/// Hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
