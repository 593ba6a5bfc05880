//! `cargo xtask up` and `loadtest`: build in release mode and become the program.
//! Reads: the arguments. Writes: `target/release`. Never: stays in between, so that ctrl-C and
//! exit codes are the program's own.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{repo, shell, tools};

/// Leaves the applications out; everything else is an option of `campana up`.
const NO_APPS: &str = "--no-apps";

/// Starts the whole platform, and the applications beside it.
pub fn up(args: &[String]) -> Result<()> {
    let nats_server = tools::nats::ensure()?;
    build_release()?;
    let mut command = Command::new(repo::release_binary("campana"));
    command.arg("up").arg("--nats-server").arg(nats_server);
    command.args(with_apps(args, &repo::root().join("services/support")));
    become_program(command)
}

/// The arguments of `campana up`: with the applications, unless they are not wanted.
fn with_apps(args: &[String], support: &Path) -> Vec<String> {
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let named = |name: &str| args.iter().any(|arg| arg.split('=').next() == Some(name));
    let mut all: Vec<String> = args.iter().filter(|arg| *arg != NO_APPS).cloned().collect();
    if has(NO_APPS) {
        return all;
    }
    if !has("--apps") {
        all.push("--apps".to_owned());
    }
    if !named("--support-dir") {
        all.extend(["--support-dir".to_owned(), support.display().to_string()]);
    }
    all
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let args: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        with_apps(&args, Path::new("/s")).join(" ")
    }

    #[test]
    fn applications_are_started_unless_they_are_not_wanted() {
        assert_eq!(words(""), "--apps --support-dir /s");
        assert_eq!(words("--port-offset 100"), "--port-offset 100 --apps --support-dir /s");
        assert_eq!(words("--no-apps --free-ports"), "--free-ports");
        assert_eq!(words("--apps --support-dir=/x"), "--apps --support-dir=/x");
    }
}
