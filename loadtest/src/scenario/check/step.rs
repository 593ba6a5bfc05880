//! One written step: which keys belong to its kind, their bounds, and its disturbances. Pure.

use std::time::Duration;

use toml::Spanned;

use super::{Refused, Source};
use crate::intake::Channel;
use crate::model::Kind;
use crate::scenario::raw::{RawFault, RawStep, RawWhat};
use crate::scenario::{Fault, StepSpec, What};

const SIZE: (i64, i64) = (1, 50_000);
const RATE: (f64, f64) = (0.1, 200_000.0);
const REPEAT: (i64, i64) = (1, 10_000);
const WARM_UP_S: (f64, f64) = (0.0, 3_600.0);
const HOLD_S: (f64, f64) = (0.2, 172_800.0);
const DRAIN_S: (f64, f64) = (0.1, 600.0);
const SETTLE_S: (f64, f64) = (0.0, 60.0);
const FAN_OUT: (i64, i64) = (1, 1_000);
const FAULTS_MAX: usize = 20;
const DELAY_MS: (i64, i64) = (1, 60_000);
const NAME_CHARS_MAX: usize = 40;

/// The step, or one for each number of its list.
pub fn steps(
    source: &Source<'_>,
    written: &Spanned<RawStep>,
    channels: &[Channel],
) -> Result<Vec<StepSpec>, Refused> {
    let raw = written.get_ref();
    only_own_keys(source, raw)?;
    let at = written.span().start;
    let loads: Vec<(u32, f64)> = if raw.kind == Kind::Open {
        let rates = raw.rate_per_s.as_ref();
        let rates = rates.ok_or_else(|| source.refuse(at, "an open step needs rate_per_s"))?;
        let place = rates.span().start;
        let checked =
            rates.get_ref().all().into_iter().map(|rate| {
                source.one_within("rate_per_s", rate, place, RATE).map(|rate| (0, rate))
            });
        checked.collect::<Result<_, _>>()?
    } else {
        let sizes = raw.size.as_ref();
        let sizes = sizes
            .ok_or_else(|| source.refuse(at, format!("a {} step needs size", raw.kind.text())))?;
        let place = sizes.span().start;
        let checked = sizes.get_ref().all().into_iter().map(|size| {
            let size = source.one_within("size", size, place, SIZE)?;
            Ok((u32::try_from(size).unwrap_or(u32::MAX), 0.0))
        });
        checked.collect::<Result<_, _>>()?
    };
    let common = common(source, raw, channels)?;
    loads.into_iter().map(|(size, rate)| named(source, raw, &common, size, rate)).collect()
}

fn named(
    source: &Source<'_>,
    raw: &RawStep,
    common: &StepSpec,
    size: u32,
    rate_per_s: f64,
) -> Result<StepSpec, Refused> {
    let load = match raw.kind {
        Kind::Open => format!("open {rate_per_s}/s"),
        kind => format!("{} {size}", kind.text()),
    };
    let many = raw.size.as_ref().is_some_and(|sizes| sizes.get_ref().all().len() > 1)
        || raw.rate_per_s.as_ref().is_some_and(|rates| rates.get_ref().all().len() > 1);
    let name = match &raw.name {
        None => load,
        Some(name) => {
            let text = name.get_ref().trim();
            let fine = !text.is_empty()
                && text.chars().count() <= NAME_CHARS_MAX
                && !text.chars().any(|c| c.is_control() || c == '@');
            if !fine {
                let message = format!("name must have 1 to {NAME_CHARS_MAX} characters, no @");
                return Err(source.refuse(name.span().start, message));
            }
            if many { format!("{text}, {load}") } else { text.to_owned() }
        }
    };
    Ok(StepSpec { name, size, rate_per_s, ..common.clone() })
}

/// Everything but size, rate and name.
fn common(source: &Source<'_>, raw: &RawStep, channels: &[Channel]) -> Result<StepSpec, Refused> {
    let timed = raw.kind != Kind::Wave;
    let hold =
        source.seconds("hold_s", raw.hold_s.as_ref(), if timed { 30.0 } else { 0.2 }, HOLD_S)?;
    let hold = if timed { hold } else { Duration::ZERO };
    let warm_up = source.seconds(
        "warm_up_s",
        raw.warm_up_s.as_ref(),
        if timed { 3.0 } else { 0.0 },
        WARM_UP_S,
    )?;
    let settle = if timed { 1.0 } else { 0.2 };
    let repeat = source.count("repeat", raw.repeat.as_ref(), 5, REPEAT)?;
    Ok(StepSpec {
        name: String::new(),
        kind: raw.kind,
        size: 0,
        rate_per_s: 0.0,
        arrivals: raw.arrivals.as_ref().map(|one| *one.get_ref()).unwrap_or_default(),
        repeat: if timed { 0 } else { repeat },
        warm_up,
        hold,
        drain: source.seconds("drain_s", raw.drain_s.as_ref(), 10.0, DRAIN_S)?,
        settle: source.seconds("settle_s", raw.settle_s.as_ref(), settle, SETTLE_S)?,
        fan_out: source.count("fan_out", raw.fan_out.as_ref(), 1, FAN_OUT)?,
        channels: match &raw.channels {
            Some(own) => source.channels(own)?,
            None => channels.to_vec(),
        },
        faults: faults(source, raw, hold)?,
    })
}

/// A key of another kind would be read and do nothing: worse than an error.
fn only_own_keys(source: &Source<'_>, raw: &RawStep) -> Result<(), Refused> {
    let place = |span: Option<std::ops::Range<usize>>| span.map(|span| span.start);
    let open = raw.kind == Kind::Open;
    let wave = raw.kind == Kind::Wave;
    let foreign = [
        ("size", open, place(raw.size.as_ref().map(Spanned::span))),
        ("rate_per_s", !open, place(raw.rate_per_s.as_ref().map(Spanned::span))),
        ("arrivals", !open, place(raw.arrivals.as_ref().map(Spanned::span))),
        ("repeat", !wave, place(raw.repeat.as_ref().map(Spanned::span))),
        ("hold_s", wave, place(raw.hold_s.as_ref().map(Spanned::span))),
        ("warm_up_s", wave, place(raw.warm_up_s.as_ref().map(Spanned::span))),
    ];
    for (name, misplaced, at) in foreign {
        if let (true, Some(at)) = (misplaced, at) {
            let own = match raw.kind {
                Kind::Wave => "size, repeat",
                Kind::Closed => "size, warm_up_s, hold_s",
                Kind::Open => "rate_per_s, arrivals, warm_up_s, hold_s",
            };
            let kind = raw.kind.text();
            return Err(
                source.refuse(at, format!("{name} does not belong to a {kind} step; {own} do"))
            );
        }
    }
    Ok(())
}

fn faults(source: &Source<'_>, raw: &RawStep, hold: Duration) -> Result<Vec<Fault>, Refused> {
    if let Some(first) = raw.faults.first()
        && (raw.kind == Kind::Wave || raw.faults.len() > FAULTS_MAX)
    {
        let message = format!("faults: at most {FAULTS_MAX}, in closed and open steps only");
        return Err(source.refuse(first.span().start, message));
    }
    let mut faults = Vec::new();
    for written in &raw.faults {
        faults.push(fault(source, written, hold)?);
    }
    faults.sort_by_key(|fault| fault.at);
    Ok(faults)
}

fn fault(
    source: &Source<'_>,
    written: &Spanned<RawFault>,
    hold: Duration,
) -> Result<Fault, Refused> {
    let raw = written.get_ref();
    let at = written.span().start;
    let needs = |key: &str| source.refuse(at, format!("{:?} needs {key}", raw.what));
    let end = hold.as_secs_f64();
    let begins = source.within("at_s", Some(&raw.at_s), 0.0, (0.0, end))?;
    only_keys_of(source, raw)?;
    let lasts = || {
        let given = raw.lasts_s.as_ref().ok_or_else(|| needs("lasts_s"))?;
        source.seconds("lasts_s", Some(given), 0.0, (0.05, end - begins))
    };
    let process = || {
        let given = raw.process.as_ref().ok_or_else(|| needs("process"))?;
        Ok((given.get_ref().name().to_owned(), given.span().start))
    };
    let what = match raw.what {
        RawWhat::Reconnect => {
            let share = raw.share.as_ref().ok_or_else(|| needs("share"))?;
            What::Reconnect { share: source.within("share", Some(share), 0.0, (0.001, 1.0))? }
        }
        RawWhat::SlowProvider => {
            let channel = raw.channel.as_ref().ok_or_else(|| needs("channel"))?;
            let at = channel.span().start;
            let channel = source.channel(channel.get_ref(), at)?;
            if channel == Channel::InApp {
                return Err(source.refuse(at, "in_app has no provider; the other channels have"));
            }
            let delay = raw.delay_ms.as_ref().ok_or_else(|| needs("delay_ms"))?;
            let ms = source.within("delay_ms", Some(delay), 0, DELAY_MS)?;
            let delay = Duration::from_millis(ms.unsigned_abs());
            What::SlowProvider { channel, delay, lasts: lasts()? }
        }
        RawWhat::NoisyTenant => {
            let rate = raw.rate_per_s.as_ref().ok_or_else(|| needs("rate_per_s"))?;
            let rate_per_s = source.within("rate_per_s", Some(rate), 0.0, RATE)?;
            What::NoisyTenant { rate_per_s, lasts: lasts()? }
        }
        RawWhat::Restart => {
            let (process, place) = process()?;
            if process != "nats-server" {
                let why = "only nats-server is started again by `campana up`; pause takes campana";
                return Err(source.refuse(place, why));
            }
            What::Restart { process }
        }
        RawWhat::Pause => What::Pause { process: process()?.0, lasts: lasts()? },
    };
    Ok(Fault { at: Duration::from_secs_f64(begins), what })
}

fn only_keys_of(source: &Source<'_>, raw: &RawFault) -> Result<(), Refused> {
    let own: &[&str] = match raw.what {
        RawWhat::Reconnect => &["share"],
        RawWhat::SlowProvider => &["channel", "delay_ms", "lasts_s"],
        RawWhat::NoisyTenant => &["rate_per_s", "lasts_s"],
        RawWhat::Restart => &["process"],
        RawWhat::Pause => &["process", "lasts_s"],
    };
    let given = [
        ("share", raw.share.as_ref().map(Spanned::span)),
        ("channel", raw.channel.as_ref().map(Spanned::span)),
        ("delay_ms", raw.delay_ms.as_ref().map(Spanned::span)),
        ("lasts_s", raw.lasts_s.as_ref().map(Spanned::span)),
        ("rate_per_s", raw.rate_per_s.as_ref().map(Spanned::span)),
        ("process", raw.process.as_ref().map(Spanned::span)),
    ];
    for (name, span) in given {
        if let Some(span) = span
            && !own.contains(&name)
        {
            let message = format!("{name} does not belong to this fault; {} do", own.join(", "));
            return Err(source.refuse(span.start, message));
        }
    }
    Ok(())
}
