//! `campana config check|show|doc`.
//! Reads: the configuration. Writes: nothing. Never: shows a secret.

use clap::Subcommand;

use super::{Global, output};
use crate::config::{self, DEFAULT_FILE};

/// What to do with the configuration.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Read everything and say whether a platform could start with it
    Check,
    /// Print every option in force, and where it came from; secrets are redacted
    Show,
    /// Print the default file: every option, documented
    Doc,
}

pub fn run(global: &Global, command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check => {
            config::load(&global.sources()?)?;
            output::text("the configuration is valid")
        }
        ConfigCommand::Show => {
            let (_, figment) = config::load(&global.sources()?)?;
            let all = config::explain(&figment);
            if global.json {
                return output::json("options", &all);
            }
            let rows = all
                .into_iter()
                .map(|one| vec![one.key, one.value.to_string(), one.origin])
                .collect();
            output::table(&["OPTION", "VALUE", "FROM"], rows, "")
        }
        ConfigCommand::Doc => output::text(DEFAULT_FILE.trim_end()),
    }
}
