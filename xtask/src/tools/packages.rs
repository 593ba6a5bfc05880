//! Libraries of the tests: npm packages and a Python environment, as their lock files say.
//! Reads: `package-lock.json`, `requirements.txt`. Writes: `node_modules`, `.tools/venv`, `.tools/suites`.
//! Never: changes a lock file; a stamp keeps the lock file's text, so nothing is installed twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{system, wheel};
use crate::{repo, shell};

/// Folders with a `package-lock.json` of their own.
pub const NPM_FOLDERS: [&str; 9] = [
    "ws-edge/web",
    "campana/web",
    "services/chat/web",
    "services/clinic/web",
    "services/shop/web",
    "services/support/web",
    "tests/browser",
    "tests/sdk",
    "tests/contracts",
];
const PEER_NPM: &str = "loadtest/peers/socketio";
const REQUIREMENTS: [&str; 3] = [
    "tests/sdk/requirements.txt",
    "tests/cloudevents/requirements.txt",
    "tests/dashboards/requirements.txt",
];
const PEER_REQUIREMENTS: &str = "loadtest/peers/django/requirements.txt";
/// Fetches and runs the tests of the Python client.
const SUITE: &str = "tests/sdk/official_python.py";

/// `npm ci` in every folder that is there and has changed.
pub fn ensure_npm() -> Result<()> {
    for folder in NPM_FOLDERS {
        ensure_npm_in(&repo::root().join(folder), folder)?;
    }
    Ok(())
}

/// The packages of the load test's Socket.IO peer.
pub fn ensure_peer_npm() -> Result<()> {
    ensure_npm_in(&repo::root().join(PEER_NPM), PEER_NPM)
}

fn ensure_npm_in(folder: &Path, name: &str) -> Result<()> {
    let Ok(lock) = fs::read_to_string(folder.join("package-lock.json")) else {
        return Ok(());
    };
    let stamp = folder.join("node_modules/.installed-lock");
    if is_stamped(&stamp, &lock) {
        return Ok(());
    }
    system::require_npm()?;
    eprintln!("installing npm packages of {name}");
    let mut npm = Command::new("npm");
    npm.current_dir(folder).args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]);
    let done = shell::capture(&mut npm)?;
    if !done.success {
        bail!("npm ci in {name} failed: {}", explain_npm(&done.stderr));
    }
    write_stamp(&stamp, &lock)
}

fn explain_npm(stderr: &str) -> String {
    if stderr.contains("ENOSPC") {
        return "the disk is full: free some space and run this again".to_owned();
    }
    if ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT"]
        .iter()
        .any(|code| stderr.contains(code))
    {
        return "the package registry cannot be reached: check the network and run this again"
            .to_owned();
    }
    let reasons: Vec<&str> = stderr.lines().filter(|line| line.contains("error")).take(4).collect();
    reasons.join("; ")
}

/// The Python environment of the SDK tests; none if there are no requirements files.
pub fn ensure_venv() -> Result<Option<PathBuf>> {
    let files = REQUIREMENTS.map(|file| repo::root().join(file));
    let files: Vec<&PathBuf> = files.iter().filter(|file| file.is_file()).collect();
    if files.is_empty() {
        return Ok(None);
    }
    let mut wanted = String::new();
    for file in &files {
        wanted +=
            &fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    let venv = repo::tools().join("venv");
    ensure_venv_at(&venv, &wanted, &files, &REQUIREMENTS.join(" and "))?;
    ensure_suite(&venv)?;
    Ok(Some(venv))
}

/// The Python environment of the load test's Django peer, where `campana loadtest peers` looks for it.
pub fn ensure_peer_venv() -> Result<PathBuf> {
    let requirements = repo::root().join(PEER_REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let venv = repo::tools().join("peers/django");
    ensure_venv_at(&venv, &wanted, &[&requirements], PEER_REQUIREMENTS)?;
    Ok(venv)
}

/// An environment with exactly these packages; the stamp keeps what was asked for.
fn ensure_venv_at(venv: &Path, wanted: &str, files: &[&PathBuf], names: &str) -> Result<()> {
    let stamp = venv.join("installed-requirements.txt");
    if is_stamped(&stamp, wanted) {
        return Ok(());
    }
    wheel::require_pip("the Python packages of the tests")?;
    eprintln!("installing Python packages of {names} into {}", venv.display());
    let mut create = Command::new("python3");
    create.args(["-m", "venv", "--clear"]).arg(venv);
    if !shell::capture(&mut create)?.success {
        bail!("python3 cannot create a virtual environment (Debian: apt-get install python3-venv)");
    }
    let mut pip = Command::new(venv.join("bin/python3"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args([
        "--require-hashes",
        "--only-binary",
        ":all:",
    ]);
    for file in files {
        pip.arg("--requirement").arg(file);
    }
    let done = shell::capture(&mut pip)?;
    if !done.success {
        bail!("cannot install {names}: {}", wheel::explain_pip(&done.stderr));
    }
    write_stamp(&stamp, wanted)
}

/// The Python client's own tests: the script that runs them knows which file, and keeps it in `.tools/suites`.
fn ensure_suite(venv: &Path) -> Result<()> {
    let mut script = Command::new(venv.join("bin/python3"));
    script.arg(repo::root().join(SUITE)).arg("--fetch");
    let done = shell::capture(&mut script)?;
    if !done.success {
        bail!("cannot fetch the Python client's tests: {}", wheel::explain_pip(&done.stderr));
    }
    Ok(())
}

fn is_stamped(stamp: &Path, wanted: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|found| found == wanted)
}

fn write_stamp(stamp: &Path, text: &str) -> Result<()> {
    fs::write(stamp, text).with_context(|| format!("cannot write {}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_npm_become_one_line() {
        assert!(explain_npm("npm error code ENOSPC").starts_with("the disk is full"));
        assert!(explain_npm("npm error code EAI_AGAIN").contains("cannot be reached"));
        assert_eq!(explain_npm("warn x\nnpm error a\nnpm error b\n"), "npm error a; npm error b");
    }

    #[test]
    fn a_folder_without_a_lock_file_is_skipped() {
        ensure_npm_in(Path::new("/nonexistent"), "nothing").unwrap();
    }
}
