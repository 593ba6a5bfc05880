//! `cargo xtask contracts`: released schemas against the code.
//! Reads: what the debug build of `campana` says. Writes: `contracts/`, only for `release`.
//! Never: compares by itself; the rules are in `campana_bus::contract`, where services have them too.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{repo, shell};

/// `cargo xtask contracts check|release`; `check` if nothing is said.
pub fn command(args: &[String]) -> Result<()> {
    let verb = match args {
        [] => "check",
        [verb] if matches!(verb.as_str(), "check" | "release") => verb,
        _ => bail!("contracts takes `check` or `release`"),
    };
    let mut build = shell::cargo();
    build.args(["build", "--workspace", "--bins", "--locked"]);
    shell::run(&mut build)?;
    run(verb)
}

/// The step of `cargo xtask test`; the binary is there.
pub fn check() -> Result<()> {
    run("check")
}

fn run(verb: &str) -> Result<()> {
    let mut campana = Command::new(repo::debug_binary("campana"));
    campana.current_dir(repo::root()).args(["contracts", verb, "--dir", "contracts"]);
    shell::run(&mut campana)
}
