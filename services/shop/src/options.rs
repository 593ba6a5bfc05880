//! What the shop is told at its start.
//! Reads: the command line and the environment. Writes: nothing. Never: keeps a secret where a log could show it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use secrecy::SecretString;

/// An example shop on the bus: one event as a queue, as a topic and as a stream.
#[derive(Clone, Debug, Parser)]
#[command(name = "campana-shop", version)]
pub struct Options {
    /// Where the page is served.
    #[arg(long, env = "CAMPANA_SHOP_LISTEN", default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,
    /// Where the bus is.
    #[arg(long, env = "CAMPANA_NATS_URL", default_value = "nats://127.0.0.1:4222")]
    pub nats_url: String,
    /// Credentials for it, a `.creds` file.
    #[arg(long, env = "NATS_CREDS")]
    pub nats_creds: Option<PathBuf>,
    /// The notification gateway. Without it nobody writes e-mails.
    #[arg(long, env = "CAMPANA_API_URL", requires = "api_key")]
    pub api_url: Option<String>,
    /// A key for it with the role `sender`.
    #[arg(long, env = "CAMPANA_API_KEY", hide_env_values = true)]
    pub api_key: Option<SecretString>,
    /// Where browsers reach the edge (`ws://…/connection/websocket`). Without it the page asks every few seconds.
    #[arg(long, env = "CAMPANA_EDGE_URL", requires = "edge_secret")]
    pub edge_url: Option<String>,
    /// The secret that the edge verifies tokens with (HS256, at least 32 bytes).
    #[arg(long, env = "CAMPANA_EDGE_SECRET", hide_env_values = true)]
    pub edge_secret: Option<SecretString>,
    /// `sqlite:…` or `postgres://…`; a file in the data directory if not set.
    #[arg(long, env = "CAMPANA_SHOP_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,
    /// Where the SQLite file lies.
    #[arg(long, env = "CAMPANA_DATA_DIR", default_value = "campana-data")]
    pub data_dir: PathBuf,
    /// What this process does; several processes may share the work.
    #[arg(long, env = "CAMPANA_SHOP_ROLES", value_delimiter = ',', value_enum,
          default_values_t = Role::ALL)]
    pub roles: Vec<Role>,
    /// Workers of the packing queue in this process.
    #[arg(long, env = "CAMPANA_SHOP_PACKERS", default_value_t = 2,
          value_parser = clap::value_parser!(u8).range(1..=16))]
    pub packers: u8,
    /// What the packers of this process are called.
    #[arg(long, env = "CAMPANA_SHOP_PACKER_NAME", default_value = "packer")]
    pub packer_name: String,
    /// When the nightly report is due, as a cron expression.
    #[arg(long, env = "CAMPANA_SHOP_REPORT_AT", default_value = "0 3 * * *")]
    pub report_at: String,
    /// The shop's time zone, a name of the IANA database.
    #[arg(long, env = "CAMPANA_SHOP_TIME_ZONE", default_value = "UTC")]
    pub time_zone: String,
    /// Lets visitors try what is otherwise an operator's: pause the queue, rebuild, report at once, restock.
    #[arg(long, env = "CAMPANA_DEMO")]
    pub demo: bool,
}

/// A part of the shop that can run in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Takes orders and shows the page; publishes what the outbox holds.
    Web,
    /// Queue: packs orders.
    Packing,
    /// Topic: takes goods out of the stock.
    Inventory,
    /// Topic: confirms orders by e-mail.
    Mail,
    /// Topic: counts sales by the hour.
    Analytics,
    /// Stream: keeps the list of best sellers.
    Projection,
    /// Deferred: writes the nightly report.
    Report,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::Web,
        Self::Packing,
        Self::Inventory,
        Self::Mail,
        Self::Analytics,
        Self::Projection,
        Self::Report,
    ];
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
