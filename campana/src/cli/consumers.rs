//! `campana consumers list|show|pause|resume`.
//! Reads: JetStream's consumers. Writes: their pause. Never: deletes one.

use std::time::Duration;

use campana_bus::clock::{self, Micros};
use campana_bus::consumers::{self, ConsumerState};
use clap::{Args, Subcommand};

use super::{Global, client, output};
use crate::errors::usage;

/// Which consumer is meant.
#[derive(Args, Clone)]
pub struct Which {
    /// Its durable name, from `list`
    consumer: String,
    /// Its stream; needed if several streams have a consumer of this name
    #[arg(long)]
    stream: Option<String>,
}

/// What to do with consumers.
#[derive(Subcommand)]
pub enum ConsumersCommand {
    /// List them: what waits, what is in hand, who is paused
    List {
        /// Only of this stream
        #[arg(long)]
        stream: Option<String>,
    },
    /// Show one
    Show(Which),
    /// Let one rest: messages stay in the stream until it is over
    #[command(
        after_help = "Examples:\n  campana consumers pause email --for 10m\n  campana consumers pause email --until 2030-01-01T06:00:00Z"
    )]
    Pause {
        #[command(flatten)]
        which: Which,
        /// For how long, for example 90s, 10m, 1h30m or 2d
        #[arg(long = "for", value_name = "TIME", value_parser = duration, required_unless_present = "until")]
        span: Option<Duration>,
        /// Until when, RFC 3339
        #[arg(long, value_name = "WHEN", value_parser = moment, conflicts_with = "span")]
        until: Option<Micros>,
    },
    /// Let a paused one go on at once
    Resume(Which),
}

pub async fn run(global: &Global, command: ConsumersCommand) -> anyhow::Result<()> {
    let (_, bus) = client::bus(global).await?;
    match command {
        ConsumersCommand::List { stream } => {
            list(global, &consumers::list(&bus, stream.as_deref()).await?)
        }
        ConsumersCommand::Show(which) => {
            let stream = which.stream(&bus).await?;
            one(global, &consumers::show(&bus, &stream, &which.consumer).await?)
        }
        ConsumersCommand::Pause { which, span, until } => {
            let stream = which.stream(&bus).await?;
            let end = until.unwrap_or_else(|| after(clock::now(), span.unwrap_or_default()));
            one(global, &consumers::pause(&bus, &stream, &which.consumer, end).await?)
        }
        ConsumersCommand::Resume(which) => {
            let stream = which.stream(&bus).await?;
            one(global, &consumers::resume(&bus, &stream, &which.consumer).await?)
        }
    }
}

impl Which {
    /// The stream that was named, or the only one with a consumer of this name.
    async fn stream(&self, bus: &campana_bus::Bus) -> anyhow::Result<String> {
        if let Some(stream) = &self.stream {
            return Ok(stream.clone());
        }
        let all = consumers::list(bus, None).await?;
        let streams: Vec<&str> = all
            .iter()
            .filter(|one| one.consumer == self.consumer)
            .map(|one| one.stream.as_str())
            .collect();
        match streams.as_slice() {
            [only] => Ok((*only).to_owned()),
            [] => anyhow::bail!(
                "there is no consumer {}; `campana consumers list` shows those that exist",
                self.consumer
            ),
            several => Err(usage(format!(
                "several streams have a consumer {}: say --stream {}",
                self.consumer,
                several.join(" or --stream ")
            ))),
        }
    }
}

fn after(now: Micros, span: Duration) -> Micros {
    Micros(now.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
}

fn list(global: &Global, states: &[ConsumerState]) -> anyhow::Result<()> {
    if global.json {
        return output::json("consumers", &states);
    }
    let rows = states
        .iter()
        .map(|one| {
            vec![
                one.stream.clone(),
                one.consumer.clone(),
                one.pending.to_string(),
                one.ack_pending.to_string(),
                one.redelivered.to_string(),
                one.waiting.to_string(),
                one.paused_until.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    output::table(
        &[
            "STREAM",
            "CONSUMER",
            "PENDING",
            "IN HAND",
            "REDELIVERED",
            "WAITING PULLS",
            "PAUSED UNTIL",
        ],
        rows,
        "no consumers",
    )
}

fn one(global: &Global, state: &ConsumerState) -> anyhow::Result<()> {
    if global.json {
        output::json("consumer", state)
    } else {
        output::text(&serde_json::to_string_pretty(state)?)
    }
}

pub(super) fn moment(text: &str) -> Result<Micros, String> {
    Micros::from_rfc3339(text).ok_or_else(|| "a time looks like 2030-01-01T06:00:00Z".to_owned())
}

/// `1h30m`, `10m`, `90s`, `2d`: numbers with units, the larger first.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a span of time looks like 90s, 10m, 1h30m or 2d".to_owned();
    let mut total = 0_u64;
    let mut unit_before = u64::MAX;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 60 * 60,
            b'd' => 24 * 60 * 60,
            _ => return Err(wrong()),
        };
        if unit >= unit_before {
            return Err(wrong());
        }
        unit_before = unit;
        total =
            number.checked_mul(unit).and_then(|more| total.checked_add(more)).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    if total == 0 { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5_400), ("2d", 172_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "0s",
            "10",
            "m",
            "10 m",
            "5x",
            "30m1h",
            "-5m",
            "1m1m",
            "99999999999999999999d",
            "9999999999999999999d",
            "5é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pause_ends_after_its_span() {
        assert_eq!(after(Micros(5), Duration::from_secs(1)), Micros(1_000_005));
        assert_eq!(after(Micros(5), Duration::MAX), Micros(i64::MAX));
    }
}
