//! `cargo xtask up` and `loadtest`: build in release mode and become the program.
//! Reads: the arguments. Writes: `target/release`. Never: stays in between, so that ctrl-C and
//! exit codes are the program's own.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{repo, shell, tools};

/// Starts the whole platform.
pub fn up(args: &[String]) -> Result<()> {
    let nats_server = tools::nats::ensure()?;
    build_release()?;
    let mut command = Command::new(repo::release_binary("campana"));
    command.arg("up").arg("--nats-server").arg(nats_server).args(args);
    become_program(command)
}

/// Runs the load harness against a platform that is already up.
pub fn loadtest(args: &[String]) -> Result<()> {
    build_release()?;
    let mut command = Command::new(repo::release_binary("campana-loadtest"));
    command.args(args);
    become_program(command)
}

/// All binaries at once: the same build serves `up` and `loadtest`.
pub fn build_release() -> Result<()> {
    eprintln!("building in release mode (minutes the first time, seconds after)");
    let mut build = shell::cargo();
    build.args(["build", "--release", "--workspace", "--bins", "--locked"]);
    shell::run(&mut build)
        .context("the build failed, nothing was started; the compiler's message is above")
}

fn become_program(mut command: Command) -> Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    // Returns only if the program could not be started.
    Err(command.exec()).with_context(|| format!("cannot start {program}"))
}
