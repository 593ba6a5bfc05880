//! `campana schedule list|add|cancel`.
//! Reads: schedules. Writes: them. Never: shows a message's body: it may be somebody's.

use std::time::Duration;

use bytes::Bytes;
use campana_bus::clock::Micros;
use campana_bus::ids::MessageId;
use campana_bus::publish::Outgoing;
use campana_bus::schedule::When;
use campana_bus::topology::EVENTS;
use clap::{ArgGroup, Args, Subcommand};

use super::consumers::{duration, moment};
use super::{Global, client, output};
use crate::errors::usage;

/// What to do with schedules.
#[derive(Subcommand)]
pub enum ScheduleCommand {
    /// List what waits, in the order in which it was stored
    List {
        /// In which stream
        #[arg(long, default_value = EVENTS)]
        stream: String,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Only those with a higher sequence: goes on behind an earlier list
        #[arg(long, default_value_t = 0)]
        after_sequence: u64,
    },
    /// Have a message published later, once or again and again; replaces the schedule of the same key
    #[command(
        after_help = "Examples:\n  campana schedule add report --subject app.default.shop.report_due --data '{}' --cron '30 9 * * mon-fri' --time-zone Europe/Berlin\n  campana schedule add cart-7 --subject app.default.shop.cart_abandoned --data '{\"cart\":7}' --after 1h"
    )]
    Add(AddArgs),
    /// Remove one; exit code 1 if it was not (or no longer) waiting
    Cancel {
        /// Its key, from `list`
        key: String,
        /// In which stream
        #[arg(long, default_value = EVENTS)]
        stream: String,
    },
}

/// A schedule to set.
#[derive(Args)]
#[command(group = ArgGroup::new("when").required(true).args(["at", "after", "every", "cron"]))]
pub struct AddArgs {
    /// Names the schedule in its stream
    key: String,
    /// In which stream
    #[arg(long, default_value = EVENTS)]
    stream: String,
    /// Where to publish; a subject of the same stream
    #[arg(long)]
    subject: String,
    /// The body
    #[arg(long)]
    data: String,
    /// The message's id, if it has one of its own
    #[arg(long)]
    id: Option<String>,
    /// Once at this time, RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    at: Option<Micros>,
    /// Once after this time, for example 90s, 10m, 1h30m or 2d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    after: Option<Duration>,
    /// Again and again, this far apart
    #[arg(long, value_name = "TIME", value_parser = duration)]
    every: Option<Duration>,
    /// Again and again by a cron expression of five or six fields (with seconds)
    #[arg(long, value_name = "EXPRESSION")]
    cron: Option<String>,
    /// Time zone of the cron expression, for example Europe/Berlin; UTC if not given
    #[arg(long, requires = "cron")]
    time_zone: Option<String>,
}

impl AddArgs {
    fn when(&self) -> anyhow::Result<When> {
        let cron = |expression: &String| When::Cron {
            expression: expression.clone(),
            time_zone: self.time_zone.clone(),
        };
        self.at
            .map(When::At)
            .or_else(|| self.after.map(When::After))
            .or_else(|| self.every.map(When::Every))
            .or_else(|| self.cron.as_ref().map(cron))
            .ok_or_else(|| usage("say when: --at, --after, --every or --cron"))
    }
}

pub async fn run(global: &Global, command: ScheduleCommand) -> anyhow::Result<()> {
    let (_, bus) = client::bus(global).await?;
    match command {
        ScheduleCommand::List { stream, limit, after_sequence } => {
            let listed = bus.schedules(&stream, after_sequence, limit).await?;
            if global.json {
                return output::json("schedules", &listed);
            }
            let time = |at: Option<Micros>| at.map_or_else(|| "?".to_owned(), Micros::to_rfc3339);
            let rows = listed
                .into_iter()
                .map(|one| {
                    vec![
                        one.sequence.to_string(),
                        one.key,
                        time(one.next_at),
                        one.when,
                        one.target,
                        one.bytes.to_string(),
                    ]
                })
                .collect();
            let header = ["SEQUENCE", "KEY", "NEXT", "WHEN", "SUBJECT", "BYTES"];
            output::table(&header, rows, "nothing is scheduled")
        }
        ScheduleCommand::Add(arguments) => {
            let when = arguments.when()?;
            let id = arguments.id.unwrap_or_else(|| MessageId::fresh().to_string());
            let message = Outgoing::new(arguments.subject, id, Bytes::from(arguments.data));
            let stored = bus.schedule(&arguments.stream, &arguments.key, &when, message).await?;
            output::text(&format!("scheduled, sequence {}", stored.sequence))
        }
        ScheduleCommand::Cancel { key, stream } => {
            anyhow::ensure!(
                bus.unschedule(&stream, &key).await?,
                "no schedule \"{key}\" was waiting in {stream}; `campana schedule list` shows what is"
            );
            output::text("cancelled")
        }
    }
}
