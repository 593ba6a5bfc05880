//! The stacks that the platform is compared with, each driven by the same senders, receivers and ledger: the
//! platform itself, the floor, Django with Channels (tuned, and as documented), Socket.IO, a bare nats-server,
//! Centrifugo.
//! Reads: programs on `PATH`, `loadtest/peers`. Writes: temporary folders, results. Never: keeps a peer running
//! while another one is measured; rounds are interleaved, so that a slow minute of the machine meets all of them.
//! docs/peers.md says what each is, and what is not equal.

pub mod args;
pub mod child;
mod figures;
mod install;
mod postgres;
mod programs;
mod round;
mod run;
mod servers;
mod table;
pub mod turns;
pub mod wire;

use std::process::ExitCode;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::failure::{EXIT_FAILED, Failure};
use crate::target::Target;
use args::PeersArgs;
use child::Child;

/// The command: measures, prints, and fails if a peer that is there gave no figures in some round.
pub async fn command(arguments: PeersArgs, stop: CancellationToken) -> Result<ExitCode, Failure> {
    let json = arguments.json;
    let outcome = run::run(arguments, stop).await?;
    if json {
        crate::print_json(&outcome.report)?;
    } else {
        print!("{}", outcome.render());
        println!("  {}", outcome.dir.display());
    }
    Ok(if outcome.complete() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Kind {
    Platform,
    Floor,
    Django,
    DjangoDocumented,
    Socketio,
    Nats,
    Centrifugo,
}

impl Kind {
    /// As arguments and tables name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Floor => "floor",
            Self::Django => "django",
            Self::DjangoDocumented => "django_documented",
            Self::Socketio => "socketio",
            Self::Nats => "nats",
            Self::Centrifugo => "centrifugo",
        }
    }

    /// What "accepted" means there.
    pub const fn survives(self, durability: Durability) -> &'static str {
        match (self, durability) {
            (Self::Platform | Self::Floor, Durability::Power) => "loss of power",
            (Self::Platform | Self::Floor, Durability::Process) => "kill -9",
            // The row does; the push to the browser does not.
            (Self::Django, _) => "the push: nothing; its row: kill -9",
            (Self::DjangoDocumented, _) => "the push: nothing; its row: loss of power",
            (Self::Socketio | Self::Nats | Self::Centrifugo, _) => "nothing",
        }
    }
}

/// What an accepted notification survives, where a peer has the choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Durability {
    /// Loss of power: synced to disk before it is accepted.
    #[default]
    Power,
    /// The end of any process.
    Process,
}

impl Durability {
    const fn name(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Process => "process",
        }
    }
}

/// A peer that runs; its servers end with it.
pub struct Peer {
    pub kind: Kind,
    /// Addresses, requests, tokens, protocol, processes, durability: what the engine wants to know.
    pub target: Target,
    children: Vec<Child>,
    _folder: TempDir,
}

impl Peer {
    /// Stops its servers in the order of their dependence.
    pub async fn stop(self) {
        for child in self.children {
            child.stop().await;
        }
    }
}
