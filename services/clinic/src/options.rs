//! What the clinic is told when it starts: flags, or environment variables of the same meaning.
//! Reads: the command line, the environment. Writes: nothing. Never: shows a secret.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use secrecy::SecretString;
use url::Url;

/// A clinic's appointments, on the bus.
#[derive(Clone, Debug, Parser)]
#[command(name = "campana-clinic", version)]
pub struct Options {
    /// Where the pages are served; port 0 takes any free one.
    #[arg(long, env = "CAMPANA_CLINIC_LISTEN", default_value = "127.0.0.1:8091")]
    pub listen: SocketAddr,
    /// How browsers call it, if that is not the listening address; `https` makes the session's cookie `Secure`.
    #[arg(long, env = "CAMPANA_CLINIC_PUBLIC_URL")]
    pub public_url: Option<Url>,
    /// The bus.
    #[arg(long, env = "CAMPANA_NATS_URL", default_value = "nats://127.0.0.1:4222")]
    pub nats_url: String,
    /// A .creds file for the bus.
    #[arg(long, env = "CAMPANA_NATS_CREDS")]
    pub nats_creds: Option<PathBuf>,
    /// The gateway of the notification platform.
    #[arg(long, env = "CAMPANA_API_URL", default_value = "http://127.0.0.1:8080")]
    pub api_url: Url,
    /// A key of it with the role `admin`, which recipients need.
    #[arg(long, env = "CAMPANA_API_KEY", hide_env_values = true)]
    pub api_key: SecretString,
    /// Where browsers connect for live updates.
    #[arg(
        long,
        env = "CAMPANA_EDGE_URL",
        default_value = "ws://127.0.0.1:8000/connection/websocket"
    )]
    pub edge_url: Url,
    /// `sqlite:…` or `postgres://…`; a SQLite file in the data directory if not given.
    #[arg(long, env = "CAMPANA_CLINIC_DATABASE_URL")]
    pub database_url: Option<String>,
    /// Where the SQLite file lies.
    #[arg(long, env = "CAMPANA_CLINIC_DATA_DIR", default_value = "campana-clinic-data")]
    pub data_dir: PathBuf,
    /// A TOML file with clinics and dentists, see README.md.
    #[arg(long, env = "CAMPANA_CLINIC_SETUP")]
    pub setup: Option<PathBuf>,
    /// Makes clinics and people to try it with, whom everybody who reaches the page can sign in as.
    #[arg(long, env = "CAMPANA_CLINIC_DEMO")]
    pub demo: bool,
    /// Reads a password from standard input, prints its hash for the setup file, and ends.
    #[arg(long)]
    pub hash_password: bool,
}

impl Options {
    /// The database: the one that is named, or a file in the data directory.
    #[must_use]
    pub fn database(&self) -> String {
        match &self.database_url {
            Some(url) => url.clone(),
            None => format!("sqlite://{}", self.data_dir.join("clinic.db").display()),
        }
    }
}
