//! `campana asyncapi`, `campana contracts check|release`: what the services in this binary say and hear.
//! Reads: the services' catalogues, the folder of released schemas. Writes: standard output; that folder, for
//! `release`. Never: connects to anything.

use std::path::PathBuf;

use campana_bus::contract::{self, ContractEntry};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Global, output};

/// What to do with released schemas.
#[derive(Subcommand)]
pub enum ContractsCommand {
    /// Compare every message with the schema that was released last, and decode the samples of all versions
    Check(Folder),
    /// Record new messages, new versions and new optional fields; refuses what breaks readers
    Release(Folder),
}

/// Where the released schemas are.
#[derive(Args)]
pub struct Folder {
    /// Folder with SERVICE/NAME.vN.json
    #[arg(long, value_name = "DIR", default_value = "contracts")]
    dir: PathBuf,
}

/// The catalogues of all services.
fn catalogue() -> Vec<ContractEntry> {
    let mut entries = campana_notify::contracts::contracts();
    entries.extend(campana_ws_edge::contracts::contracts());
    entries
}

/// Prints the AsyncAPI document.
pub fn print() -> anyhow::Result<()> {
    let document = contract::asyncapi("Campana", env!("CARGO_PKG_VERSION"), &catalogue());
    output::text(&format!("{document:#}"))
}

/// Runs the command.
pub fn run(global: &Global, command: &ContractsCommand) -> anyhow::Result<()> {
    let entries = catalogue();
    match command {
        ContractsCommand::Check(folder) => {
            let report = contract::check(&folder.dir, &entries)?;
            let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            if global.json {
                let clean = findings.is_empty();
                output::json("contracts", &json!({"clean": clean, "findings": findings}))?;
            } else if findings.is_empty() {
                output::text(&format!("{} contracts break no reader", entries.len()))?;
            } else {
                output::text(&findings.join("\n"))?;
            }
            anyhow::ensure!(
                findings.is_empty(),
                "{} findings in {}; where it says \"record it\": cargo xtask contracts release",
                findings.len(),
                folder.dir.display()
            );
            Ok(())
        }
        ContractsCommand::Release(folder) => {
            let written = contract::record(&folder.dir, &entries)?;
            let lines: Vec<String> =
                written.iter().map(|path| format!("wrote {}", path.display())).collect();
            let text = lines.join("\n");
            if global.json {
                return output::json("written", &written);
            }
            output::text(if lines.is_empty() { "nothing new" } else { &text })
        }
    }
}
