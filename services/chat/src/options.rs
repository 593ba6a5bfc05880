//! What an operator chooses: flags, or the environment.
//! Reads: the command line, `CAMPANA_…`. Writes: nothing. Never: a secret in the output of `--help`.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The chat's options.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, env = "CAMPANA_CHAT_LISTEN", default_value = "127.0.0.1:8082")]
    pub listen: SocketAddr,
    /// The bus.
    #[arg(long, env = "CAMPANA_NATS_URL", default_value = "nats://127.0.0.1:4222")]
    pub nats_url: String,
    /// Copies of the bucket with attachments: 1, or 3 in a cluster.
    #[arg(long, env = "CAMPANA_CHAT_REPLICAS", default_value_t = 1)]
    pub replicas: usize,
    /// The notification gateway, for mentions of people who are away; needs --api-key.
    #[arg(long, env = "CAMPANA_API_URL", default_value = "")]
    pub api_url: String,
    /// The gateway as browsers reach it, for the bell; empty for --api-url.
    #[arg(long, env = "CAMPANA_PUBLIC_API_URL", default_value = "")]
    pub public_api_url: String,
    /// A key of the gateway with the role `sender`.
    #[arg(long, env = "CAMPANA_API_KEY", hide_env_values = true, default_value = "")]
    pub api_key: String,
    /// The edge's WebSocket address, as browsers reach it.
    #[arg(
        long,
        env = "CAMPANA_EDGE_URL",
        default_value = "ws://127.0.0.1:8000/connection/websocket"
    )]
    pub edge_url: String,
    /// The secret that the edge verifies tokens with (`auth.token_secret`), at least 32 bytes.
    #[arg(long, env = "CAMPANA_EDGE_SECRET", hide_env_values = true)]
    pub edge_secret: String,
    /// The edge's server API (`http://127.0.0.1:8000`): whoever is sent out stops hearing the room at once. Without
    /// it, when the token of the subscription ends.
    #[arg(long, env = "CAMPANA_EDGE_API_URL", default_value = "")]
    pub edge_api_url: String,
    /// The key of the edge's server API.
    #[arg(long, env = "CAMPANA_EDGE_API_KEY", hide_env_values = true, default_value = "")]
    pub edge_api_key: String,
    /// Milliseconds after which somebody whose last connection went is known to be away: longer than the edge's
    /// `presence.offline_after_ms`.
    #[arg(long, env = "CAMPANA_CHAT_AWAY_AFTER_MS", default_value_t = 12_000)]
    pub away_after_ms: u32,
    /// `sqlite://…` or `postgres://…`; empty for a file in the data directory.
    #[arg(long, env = "CAMPANA_CHAT_DATABASE_URL", hide_env_values = true, default_value = "")]
    pub database_url: String,
    /// Where the SQLite file lies.
    #[arg(long, env = "CAMPANA_CHAT_DATA_DIR", default_value = "chat-data")]
    pub data_dir: PathBuf,
    /// How people reach the page (`https://chat.example.com`): for links in notifications, and for cookies that only
    /// travel over TLS. Empty for the listening address.
    #[arg(long, env = "CAMPANA_CHAT_PUBLIC_URL", default_value = "")]
    pub public_url: String,
    /// Demo accounts and rooms, offered on the login page to everybody who can reach it.
    #[arg(long, env = "CAMPANA_CHAT_DEMO", default_value_t = false)]
    pub demo: bool,
    /// Whether people may make accounts by themselves.
    #[arg(long, env = "CAMPANA_CHAT_REGISTRATION", default_value_t = true, action = clap::ArgAction::Set)]
    pub registration: bool,
    /// Messages a second of one person in the long run.
    #[arg(long, env = "CAMPANA_CHAT_MESSAGES_PER_SECOND", default_value_t = 1.0)]
    pub messages_per_second: f64,
    /// Messages that one person may send at once.
    #[arg(long, env = "CAMPANA_CHAT_MESSAGES_BURST", default_value_t = 10)]
    pub messages_burst: u32,
}

impl Options {
    /// What is wrong with the options, in words.
    ///
    /// # Errors
    /// If they contradict each other or cannot work.
    pub fn check(&self) -> Result<(), String> {
        if self.edge_secret.len() < 32 {
            return Err(
                "--edge-secret needs at least 32 bytes: the edge's auth.token_secret".into()
            );
        }
        if !self.api_url.is_empty() && self.api_key.is_empty() {
            return Err("--api-url needs --api-key, a key with the role sender".into());
        }
        if !self.edge_api_url.is_empty() && self.edge_api_key.is_empty() {
            return Err("--edge-api-url needs --edge-api-key, the edge's api.key".into());
        }
        if !(self.messages_per_second > 0.0 && self.messages_per_second.is_finite()) {
            return Err("--messages-per-second must be above 0".into());
        }
        Ok(())
    }

    /// The gateway as browsers reach it; `None` if there is none.
    #[must_use]
    pub fn browsers_gateway(&self) -> Option<&str> {
        let all = [self.public_api_url.as_str(), self.api_url.as_str()];
        all.into_iter().map(|url| url.trim_end_matches('/')).find(|url| !url.is_empty())
    }

    /// The database that is meant.
    #[must_use]
    pub fn database(&self) -> String {
        if self.database_url.is_empty() {
            format!("sqlite:{}", self.data_dir.join("chat.db").display())
        } else {
            self.database_url.clone()
        }
    }
}
