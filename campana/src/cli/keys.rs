//! `campana keys …` and `campana token …`.
//! Reads: the store and the signing secret. Writes: API keys, hashed. Never: shows a key twice.

use campana_bus::clock::{self, Micros};
use campana_bus::subjects::ChannelName;
use campana_identity::{ApiKey, ConnectionSpec, Role, Tenant};
use campana_notify::store::{KeyRow, Store};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::{Global, output};
use crate::compose;

/// What to do with connection tokens.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Mint a token that lets a user connect to the edge
    Mint {
        /// The user: the recipient's id
        #[arg(long)]
        user: String,
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Seconds until it expires
        #[arg(long, default_value_t = 3_600)]
        ttl_seconds: i64,
    },
}

/// What a key allows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KeyRole {
    /// Read notifications, recipients, templates
    Reader,
    /// Send, and mint connection tokens
    Sender,
    /// Everything
    Admin,
}

/// What to do with API keys.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Create a key; it is shown this once
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        /// What it allows
        #[arg(long, value_enum, default_value = "sender")]
        role: KeyRole,
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Seconds until it expires; never if absent
        #[arg(long)]
        ttl_seconds: Option<i64>,
    },
    /// List keys, without their secrets
    List {
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
    },
    /// Revoke a key; gateways stop taking it within six times `gateway.key_cache_seconds`
    Revoke {
        /// Its id, from `list`
        id: String,
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
    },
}

/// Makes a key and stores its hash.
pub async fn create(
    store: &Store,
    tenant: &str,
    name: &str,
    role: Role,
    expires_at: Option<Micros>,
) -> anyhow::Result<ApiKey> {
    let key = ApiKey::generate();
    store
        .insert_key(&KeyRow {
            id: key.id().to_owned(),
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            role: role.as_str().to_owned(),
            hash: key.hash().to_string(),
            created_at: clock::now(),
            expires_at,
            revoked_at: None,
        })
        .await?;
    Ok(key)
}

pub async fn run(global: &Global, command: KeysCommand) -> anyhow::Result<()> {
    let config = global.load()?;
    let store = compose::store(&config).await?;
    match command {
        KeysCommand::Create { name, role, tenant, ttl_seconds } => {
            Tenant::parse(&tenant)?;
            let role = match role {
                KeyRole::Reader => Role::Reader,
                KeyRole::Sender => Role::Sender,
                KeyRole::Admin => Role::Admin,
            };
            let expires_at = ttl_seconds.map(|seconds| clock::now().plus_seconds(seconds));
            let key = create(&store, &tenant, &name, role, expires_at).await?;
            if global.json {
                return output::json(
                    "key",
                    &json!({"id": key.id(), "api_key": key.expose(), "role": role.as_str(), "tenant": tenant}),
                );
            }
            output::text(&format!(
                "{}\nKeep it: only its hash is stored. Id {}, role {}.",
                key.expose(),
                key.id(),
                role.as_str()
            ))
        }
        KeysCommand::List { tenant } => list(global, &store, &tenant).await,
        KeysCommand::Revoke { id, tenant } => {
            anyhow::ensure!(
                store.revoke_key(&tenant, &id, clock::now()).await?,
                "there is no live key {id}"
            );
            output::text("revoked")
        }
    }
}

async fn list(global: &Global, store: &Store, tenant: &str) -> anyhow::Result<()> {
    let keys = store.list_keys(tenant).await?;
    let state = |key: &KeyRow| {
        if key.is_live(clock::now()) {
            "live"
        } else if key.revoked_at.is_some() {
            "revoked"
        } else {
            "expired"
        }
    };
    if global.json {
        let all: Vec<_> = keys
            .iter()
            .map(|key| {
                json!({"id": key.id, "name": key.name, "role": key.role, "state": state(key), "created_at": key.created_at.to_rfc3339(),
                    "expires_at": key.expires_at.map(Micros::to_rfc3339)})
            })
            .collect();
        return output::json("keys", &all);
    }
    let rows = keys
        .iter()
        .map(|key| {
            vec![
                key.id.clone(),
                key.name.clone(),
                key.role.clone(),
                state(key).to_owned(),
                key.created_at.to_rfc3339(),
            ]
        })
        .collect();
    output::table(
        &["ID", "NAME", "ROLE", "STATE", "CREATED"],
        rows,
        "no keys; `campana keys create --name …` makes one",
    )
}

pub async fn token(global: &Global, command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::Mint { user, tenant, ttl_seconds } = command;
    let config = global.load()?;
    let keys = compose::token_keys(&config)?;
    let now = clock::now().0 / 1_000_000;
    let policy = config.edge.token_policy();
    let spec = ConnectionSpec {
        audience: policy.audience,
        issuer: policy.issuer,
        ..ConnectionSpec::default()
    };
    let token =
        keys.mint_connection(&user, Tenant::parse(&tenant)?.as_str(), ttl_seconds, now, &spec)?;
    let channel = ChannelName::inbox(&user)?;
    if global.json {
        let expires_at = clock::now().plus_seconds(ttl_seconds).to_rfc3339();
        return output::json(
            "token",
            &json!({"token": token, "user": user, "tenant": tenant, "channel": channel.as_str(), "expires_at": expires_at}),
        );
    }
    output::text(&token)
}
