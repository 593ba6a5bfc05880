//! How commands reach a platform: the configured NATS, or the one that runs from the data directory.
//! Reads: the configuration and `up.json`. Writes: nothing. Never: starts anything.

use std::path::PathBuf;

use campana_bus::{Bus, BusOptions};

use super::Global;
use crate::config::Config;
use crate::discovery::Discovery;
use crate::errors::cannot_connect;

/// A connection to the bus of the configured or running platform.
pub async fn bus(global: &Global) -> anyhow::Result<(Config, Bus)> {
    let config = global.load()?;
    let url =
        if config.nats.url.is_empty() { running(&config)?.nats } else { config.nats.url.clone() };
    let bus = connect(&config, &url, "campana-cli").await?;
    Ok((config, bus))
}

/// Connects with the configured credentials.
pub async fn connect(config: &Config, url: &str, name: &str) -> anyhow::Result<Bus> {
    let credentials = &config.nats.credentials_file;
    Bus::connect(BusOptions {
        url: url.to_owned(),
        name: name.to_owned(),
        durability: config.nats.durability,
        credentials_file: (!credentials.is_empty()).then(|| PathBuf::from(credentials)),
    })
    .await
    .map_err(|error| cannot_connect(error.to_string()))
}

/// The platform that runs from the data directory.
pub fn running(config: &Config) -> anyhow::Result<Discovery> {
    Discovery::read(&config.data_dir).map_err(|error| cannot_connect(format!("{error:#}")))
}
