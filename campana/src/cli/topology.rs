//! `campana topology show|diff|apply`.
//! Reads: JetStream. Writes: streams and buckets, on `apply`. Never: deletes.

use std::time::Duration;

use campana_bus::topology::{self, Topology, TopologyOptions};
use clap::Subcommand;

use super::{Global, client, output};
use crate::config::Config;

/// What to do with the streams and buckets.
#[derive(Subcommand)]
pub enum TopologyCommand {
    /// Print the streams and buckets that the platform needs
    Show,
    /// Compare them with the server; exit code 1 if something differs
    Diff,
    /// Create what is missing and update what differs
    Apply,
}

/// The topology of this configuration.
pub fn wanted(config: &Config) -> Topology {
    topology::platform(TopologyOptions {
        replicas: config.nats.replicas,
        channel_history: config.nats.channel_history_messages,
        channel_age: Duration::from_secs(config.nats.channel_age_seconds),
        channel_meta_age: Duration::from_secs(config.nats.channel_meta_age_seconds),
        dlq_messages: config.nats.dlq_messages,
        dlq_bytes: config.nats.dlq_bytes,
    })
}

pub async fn run(global: &Global, command: TopologyCommand) -> anyhow::Result<()> {
    match command {
        TopologyCommand::Show => show(global, &wanted(&global.load()?)),
        TopologyCommand::Diff => {
            let (config, bus) = client::bus(global).await?;
            let differences = topology::diff(&bus, &wanted(&config)).await?;
            if global.json {
                output::json("differences", &differences)?;
            } else {
                let rows = differences
                    .iter()
                    .map(|one| {
                        vec![
                            one.object.clone(),
                            one.field.clone(),
                            one.wanted.clone(),
                            one.found.clone(),
                        ]
                    })
                    .collect();
                output::table(&["OBJECT", "FIELD", "WANTED", "FOUND"], rows, "no differences")?;
            }
            anyhow::ensure!(
                differences.is_empty(),
                "{} differences; `campana topology apply` mends them",
                differences.len()
            );
            Ok(())
        }
        TopologyCommand::Apply => {
            let (config, bus) = client::bus(global).await?;
            topology::apply(&bus, &wanted(&config)).await?;
            output::text("applied")
        }
    }
}

fn show(global: &Global, topology: &Topology) -> anyhow::Result<()> {
    if global.json {
        return output::json("topology", topology);
    }
    let seconds = |seconds: u64| {
        if seconds == 0 { "for ever".to_owned() } else { format!("{seconds} s") }
    };
    let mut rows: Vec<Vec<String>> = topology
        .streams
        .iter()
        .map(|one| {
            vec![
                one.name.to_owned(),
                one.retention.to_owned(),
                one.subjects.join(" "),
                seconds(one.max_age_seconds),
                one.replicas.to_string(),
                one.purpose.to_owned(),
            ]
        })
        .collect();
    rows.extend(topology.buckets.iter().map(|one| {
        vec![
            one.name.to_owned(),
            "bucket".to_owned(),
            String::new(),
            seconds(one.max_age_seconds),
            one.replicas.to_string(),
            one.purpose.to_owned(),
        ]
    }));
    output::table(&["NAME", "RETENTION", "SUBJECTS", "KEPT", "REPLICAS", "PURPOSE"], rows, "")
}
