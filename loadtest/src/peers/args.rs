//! Options of `campana loadtest peers`.

use std::path::PathBuf;

use clap::Args;

use super::{Durability, Kind};

/// What to compare and how.
#[derive(Args, Debug)]
pub struct PeersArgs {
    /// Who takes part; one whose programs are missing becomes a line that says so
    #[arg(
        long,
        value_name = "PEER,PEER,…",
        value_delimiter = ',',
        value_enum,
        default_value = "platform,floor,django,django_documented,socketio,nats,centrifugo"
    )]
    pub only: Vec<Kind>,
    /// Interleaved rounds; each starts every peer afresh
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Scenario that every peer is put through: a file, or the name of one that is built in
    /// [default: single notifications, waves of 50 and 500, open load at 100, 1,000 and 5,000/s]
    #[arg(long, value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// What an accepted notification survives on the platform and the floor; the others have no choice
    #[arg(long, value_enum, default_value = "power")]
    pub durability: Durability,
    /// Folder with the peers' own files, in a checkout
    #[arg(long, value_name = "DIR", default_value = "loadtest/peers", env = "CAMPANA_PEERS_DIR")]
    pub peers_dir: PathBuf,
    /// Folder for peers.json and the run.json of every round [default: ./loadtest-results/peers-<utc time>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON instead of the table
    #[arg(long)]
    pub json: bool,
    /// Fail if a peer is missing, instead of a line that says so
    #[arg(long)]
    pub strict: bool,
}
