//! `campana dlq list|show|redrive|edit|jobs|cancel|discard`.
//! Reads: dead letters and redrive jobs. Writes: them and retry subjects. Never: discards without being told so
//! twice.

mod redrive;

use std::path::PathBuf;

use base64::Engine;
use campana_bus::clock::{self, Micros};
use campana_bus::dlq::{self, Filter};
use campana_bus::fetch::StoredMessage;
use campana_bus::headers;
use campana_bus::publish::decode_parts;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Global, client, output};
use crate::errors::usage;

/// Letters that `list` and `discard` mean if nobody says how many.
const LIMIT_DEFAULT: usize = 100;

/// Which dead letters are meant.
#[derive(Args, Clone)]
pub struct FilterArgs {
    /// Only this dead letter
    id: Option<u64>,
    /// Only from this stream
    #[arg(long)]
    stream: Option<String>,
    /// Only from this consumer
    #[arg(long)]
    consumer: Option<String>,
    /// Only of this class: permanent, max_deliver, poison, expired, stranded
    #[arg(long)]
    class: Option<String>,
    /// Only with this reason
    #[arg(long)]
    reason: Option<String>,
    /// Only if the error contains this; `*` stands for any text
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Only of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Only parked since: a time (RFC 3339), or how long ago (30s, 15m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Micros>,
    /// Only parked before: a time (RFC 3339), or how long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Micros>,
    /// At most this many, oldest first; list and discard take 100 if it is not given
    #[arg(long)]
    limit: Option<usize>,
}

/// What to do with dead letters.
#[derive(Subcommand)]
pub enum DlqCommand {
    /// List them, oldest first
    List(FilterArgs),
    /// Show one with headers and body
    Show {
        /// Its id, from `list`
        id: u64,
    },
    /// Give them back to the consumer that gave them up, with fresh attempts
    Redrive(redrive::RedriveArgs),
    /// Give one back with another body
    Edit {
        /// Its id, from `list`
        id: u64,
        /// A file with the new body; `-` for standard input
        #[arg(long, value_name = "FILE")]
        body: PathBuf,
        /// Why, for whoever looks at the message later
        #[arg(long, default_value = "")]
        note: String,
    },
    /// List redrive jobs, newest first
    Jobs {
        /// Only this one
        id: Option<campana_bus::ids::RedriveId>,
        /// At most this many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// End a redrive job; what it has not redriven stays parked
    Cancel {
        /// Its id, from `jobs`
        id: campana_bus::ids::RedriveId,
    },
    /// Remove them for good
    Discard {
        #[command(flatten)]
        filter: FilterArgs,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Really remove them
        #[arg(long)]
        yes: bool,
    },
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        Filter {
            stream: self.stream.clone(),
            consumer: self.consumer.clone(),
            class: self.class.clone(),
            reason: self.reason.clone(),
            error_contains: self.error.clone(),
            from: self.since,
            to: self.until,
            id: self.id,
            tenant: self.tenant.clone(),
        }
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT_DEFAULT)
    }
}

/// A time, or how long ago.
fn moment(text: &str) -> Result<Micros, String> {
    before(text, clock::now())
        .or_else(|| Micros::from_rfc3339(text))
        .ok_or_else(|| "a time as of RFC 3339, or how long ago: 30s, 15m, 2h, 7d".to_owned())
}

fn before(text: &str, now: Micros) -> Option<Micros> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
    Some(now.plus_seconds(-i64::from(count) * seconds))
}

pub async fn run(global: &Global, command: DlqCommand) -> anyhow::Result<()> {
    match command {
        DlqCommand::List(arguments)
        | DlqCommand::Discard { filter: arguments, dry_run: true, .. } => {
            list(global, &arguments).await
        }
        DlqCommand::Show { id } => show(global, id).await,
        DlqCommand::Redrive(arguments) => Box::pin(redrive::run(global, &arguments)).await,
        DlqCommand::Edit { id, body, note } => redrive::edit(global, id, &body, note).await,
        DlqCommand::Jobs { id, limit } => redrive::jobs(global, id, limit).await,
        DlqCommand::Cancel { id } => redrive::cancel(global, id).await,
        DlqCommand::Discard { filter, yes, .. } => {
            if !yes {
                return Err(usage(
                    "discarding cannot be undone: say --yes; --dry-run shows what would be removed",
                ));
            }
            let (_, bus) = client::bus(global).await?;
            let done = dlq::discard(&bus, &filter.filter(), filter.limit()).await?;
            counted(global, "discarded", done as u64)
        }
    }
}

fn counted(global: &Global, what: &str, done: u64) -> anyhow::Result<()> {
    if global.json { output::json(what, &done) } else { output::text(&format!("{what}: {done}")) }
}

async fn list(global: &Global, arguments: &FilterArgs) -> anyhow::Result<()> {
    let (_, bus) = client::bus(global).await?;
    let letters = dlq::list(&bus, &arguments.filter(), arguments.limit()).await?;
    if global.json {
        return output::json("dead_letters", &letters);
    }
    let rows = letters
        .into_iter()
        .map(|one| {
            vec![
                one.id.to_string(),
                one.dead_at,
                one.stream,
                one.consumer,
                one.reason,
                one.attempts.to_string(),
                one.error,
            ]
        })
        .collect();
    output::table(
        &["ID", "PARKED", "STREAM", "CONSUMER", "REASON", "ATTEMPTS", "ERROR"],
        rows,
        "no dead letters",
    )
}

async fn show(global: &Global, id: u64) -> anyhow::Result<()> {
    let (_, bus) = client::bus(global).await?;
    let (letter, stored) = dlq::show(&bus, id).await?;
    let headers: serde_json::Map<String, serde_json::Value> = stored
        .headers
        .iter()
        .map(|(name, values)| {
            (
                name.to_string(),
                values.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", ").into(),
            )
        })
        .collect();
    let body = readable(&stored);
    let whole = json!({"letter": letter, "headers": headers, "body": body});
    if global.json {
        output::json("dead_letter", &whole)
    } else {
        output::text(&serde_json::to_string_pretty(&whole)?)
    }
}

/// The body as people read it: JSON if it is JSON, the parts of an envelope, text, or base64.
fn readable(stored: &StoredMessage) -> Value {
    if let Ok(value) = serde_json::from_slice::<Value>(&stored.payload) {
        return json!({"json": value});
    }
    let is_envelope = headers::get(&stored.headers, headers::ENVELOPE_PARTS).is_some();
    if let Some(parts) = decode_parts(&stored.payload).filter(|_| is_envelope) {
        let json = |body: &[u8]| {
            let text = || Value::String(String::from_utf8_lossy(body).into_owned());
            serde_json::from_slice(body).unwrap_or_else(|_| text())
        };
        let parts: Vec<Value> =
            parts.iter().map(|part| json!({"id": part.id, "json": json(&part.body)})).collect();
        return json!({"parts": parts});
    }
    match std::str::from_utf8(&stored.payload) {
        Ok(text) => json!({"text": text}),
        Err(_) => {
            json!({"base64": base64::engine::general_purpose::STANDARD.encode(&stored.payload)})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = Micros(10_000_000_000);
        assert_eq!(before("30s", now), Some(Micros(9_970_000_000)));
        assert_eq!(before("2h", now), Some(Micros(2_800_000_000)));
        assert_eq!(before("x2h", now), None);
        assert_eq!(before("-2h", now), None);
        assert_eq!(before("", now), None);
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(Micros(1_000_000)));
        assert!(moment("tomorrow").is_err());
    }
}
