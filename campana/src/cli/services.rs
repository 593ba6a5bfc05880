//! `campana services list`.
//! Reads: what running services say about themselves. Writes: nothing. Never: calls an endpoint.

use std::time::Duration;

use campana_bus::service::ServiceInstance;
use clap::Subcommand;

use super::{Global, client, output};

/// What to know about services.
#[derive(Subcommand)]
pub enum ServicesCommand {
    /// List the endpoints of all running instances, with what became of their requests
    List {
        /// Only of this service
        name: Option<String>,
        /// Milliseconds to wait for answers
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
        wait: u64,
    },
}

pub async fn run(global: &Global, command: ServicesCommand) -> anyhow::Result<()> {
    let ServicesCommand::List { name, wait } = command;
    let (_, bus) = client::bus(global).await?;
    let found = bus.services(name.as_deref(), Duration::from_millis(wait)).await?;
    if global.json {
        return output::json("services", &found);
    }
    let rows = found.iter().flat_map(rows).collect();
    let header = [
        "SERVICE",
        "VERSION",
        "INSTANCE",
        "ENDPOINT",
        "REQUESTS",
        "ERRORS",
        "LAST ERROR",
        "MEAN MS",
    ];
    output::table(&header, rows, "no service answered")
}

fn rows(instance: &ServiceInstance) -> Vec<Vec<String>> {
    instance
        .endpoints
        .iter()
        .map(|endpoint| {
            vec![
                instance.name.clone(),
                instance.version.clone(),
                instance.id.clone(),
                endpoint.name.clone(),
                endpoint.requests.to_string(),
                endpoint.errors.to_string(),
                endpoint.last_error.clone(),
                format!("{:.2}", endpoint.average.as_secs_f64() * 1e3),
            ]
        })
        .collect()
}
