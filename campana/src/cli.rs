//! The command line: what can be typed, and which file runs it.
//! Reads: arguments. Writes: nothing. Never: does the work of a command here.

mod asyncapi;
mod bench;
pub mod client;
mod config;
mod consumers;
mod dlq;
mod edge;
pub mod keys;
mod loadtest;
mod notify;
mod output;
mod run;
mod schedules;
mod services;
mod sidecar;
pub mod topology;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Config, Sources};
use crate::errors::usage;

/// Notifications and real-time messages on NATS JetStream.
#[derive(Parser)]
#[command(name = "campana", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  campana up\n  campana notify send --to alice --title 'Hello'\n  campana dlq list --json\n  campana loadtest sweep\n\nExit codes: 0 ok, 1 failed, 2 usage, 4 bad configuration, 5 cannot connect, 10 a threshold was missed."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Args, Clone)]
pub struct Global {
    /// Configuration file (TOML); `campana.toml` in this folder if it exists
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one option, for example --set log.level=debug (repeatable)
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where embedded data lies
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Start the whole platform with an embedded nats-server and a SQLite file
    Up(run::UpArgs),
    /// Run chosen roles against an existing NATS and database
    Run(run::RunArgs),
    /// Bring the database schema up to date
    Migrate,
    /// Show, compare or apply the streams and buckets
    #[command(subcommand)]
    Topology(topology::TopologyCommand),
    /// List, show, redrive or discard dead letters
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// List, show, pause or resume consumers
    #[command(subcommand)]
    Consumers(consumers::ConsumersCommand),
    /// List, add or cancel messages that are published later
    #[command(subcommand)]
    Schedule(schedules::ScheduleCommand),
    /// List the services that answer requests
    #[command(subcommand)]
    Services(services::ServicesCommand),
    /// Send, show or watch notifications
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Watch what running edges say to a user
    #[command(subcommand)]
    Edge(edge::EdgeCommand),
    /// Mint connection tokens for the edge
    #[command(subcommand)]
    Token(keys::TokenCommand),
    /// Create, list or revoke API keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Check, show or document the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print the OpenAPI document of the HTTP API
    Openapi,
    /// Print the AsyncAPI document of the messages of every service
    Asyncapi,
    /// Compare the messages of every service with what was released
    #[command(subcommand)]
    Contracts(asyncapi::ContractsCommand),
    /// The bus for a program in any language, over HTTP on this machine
    Sidecar(sidecar::SidecarArgs),
    /// Measure parts of the platform against a design beside them
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Measure the running platform: waves of concurrent notifications
    #[command(disable_help_flag = true)]
    Loadtest {
        /// See `campana loadtest --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Become a program that is tied to the life of the platform
    #[command(hide = true)]
    Guard {
        /// The platform's process
        #[arg(long)]
        parent: u32,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

impl Global {
    fn sources(&self) -> anyhow::Result<Sources> {
        let mut overrides = Vec::new();
        for pair in &self.set {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| usage(format!("--set takes KEY=VALUE, not \"{pair}\"")))?;
            overrides.push((key.to_owned(), value.to_owned()));
        }
        if let Some(folder) = &self.data_dir {
            overrides.push(("data_dir".to_owned(), folder.display().to_string()));
        }
        Ok(Sources { file: self.config.clone(), overrides })
    }

    /// The configuration in force.
    pub fn load(&self) -> anyhow::Result<Config> {
        Ok(crate::config::load(&self.sources()?)?.0)
    }
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let global = self.global;
        match self.command {
            Command::Up(arguments) => run::up(&global, &arguments),
            Command::Run(arguments) => run::run(&global, &arguments),
            Command::Migrate => run::migrate(&global),
            Command::Topology(command) => block_on(topology::run(&global, command)),
            Command::Dlq(command) => block_on(dlq::run(&global, command)),
            Command::Consumers(command) => block_on(consumers::run(&global, command)),
            Command::Schedule(command) => block_on(schedules::run(&global, command)),
            Command::Services(command) => block_on(services::run(&global, command)),
            Command::Notify(command) => block_on(notify::run(&global, command)),
            Command::Edge(command) => block_on(edge::run(&global, command)),
            Command::Token(command) => block_on(keys::token(&global, command)),
            Command::Keys(command) => block_on(keys::run(&global, command)),
            Command::Config(command) => config::run(&global, &command),
            Command::Openapi => output::text(campana_notify::gateway::openapi().trim_end()),
            Command::Asyncapi => asyncapi::print(),
            Command::Contracts(command) => asyncapi::run(&global, &command),
            Command::Sidecar(arguments) => sidecar::run(&global, &arguments),
            Command::Bench(command) => block_on(bench::run(&global, command)),
            Command::Loadtest { arguments } => loadtest::run(&global, &arguments),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "campana", &mut script);
                output::text(String::from_utf8_lossy(&script).trim_end())
            }
            Command::Guard { parent, program } => {
                let (program, arguments) =
                    program.split_first().ok_or_else(|| usage("no program given"))?;
                crate::supervise::run_guard(parent, program, arguments)
            }
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(work)
}
