//! Libraries of the peers: a Python environment and npm packages, exactly as their lock files say.
//! Reads: `requirements.txt`, `package-lock.json`. Writes: `.tools/peers/django` beside the folder `loadtest`, and
//! `node_modules`. Never: changes a lock file, or does anything if a stamp shows that it is done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs::{self, Program};
use crate::failure::Failure;

/// The Python of an environment with what the Django peer needs; made if it is not there.
pub fn python(peers: &Path) -> Result<PathBuf, Failure> {
    let folder = programs::folder(peers, "django")?;
    let requirements = folder.join("requirements.txt");
    let wanted = read(&requirements)?;
    let environment = environment(&folder);
    let python = environment.join("bin/python3");
    let stamp = environment.join("installed-requirements.txt");
    if is_done(&stamp, &wanted) && python.is_file() {
        return Ok(python);
    }
    eprintln!("installing {} into {}", requirements.display(), environment.display());
    let mut create = Command::new(Program::Python.find()?);
    create.args(["-m", "venv", "--clear"]).arg(&environment);
    run(&mut create, "python3 cannot make a virtual environment (Debian: python3-venv)")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--require-hashes", "--only-binary", ":all:", "--requirement"])
        .arg(&requirements);
    run(&mut pip, "pip cannot install the Django peer's packages")?;
    finish(&stamp, &wanted)?;
    Ok(python)
}

/// `.tools/peers/django` of the checkout.
fn environment(django: &Path) -> PathBuf {
    let checkout = django.ancestors().nth(3).unwrap_or(django);
    checkout.join(".tools/peers/django")
}

/// The folder of the Socket.IO peer, with its packages installed.
pub fn node_modules(peers: &Path) -> Result<PathBuf, Failure> {
    let folder = programs::folder(peers, "socketio")?;
    let wanted = read(&folder.join("package-lock.json"))?;
    let stamp = folder.join("node_modules/.installed-lock");
    if is_done(&stamp, &wanted) {
        return Ok(folder);
    }
    eprintln!("installing npm packages of {}", folder.display());
    let mut npm = Command::new(Program::Npm.find()?);
    npm.current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]);
    run(&mut npm, "npm ci cannot install the Socket.IO peer's packages")?;
    finish(&stamp, &wanted)?;
    Ok(folder)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::failed(path.display(), error))
}

fn is_done(stamp: &Path, wanted: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|found| found == wanted)
}

fn finish(stamp: &Path, wanted: &str) -> Result<(), Failure> {
    fs::write(stamp, wanted).map_err(|error| Failure::failed(stamp.display(), error))
}

/// Runs a program to its end; its last words are the error.
pub fn run(command: &mut Command, what: &str) -> Result<(), Failure> {
    let output = command.output().map_err(|error| Failure::failed(what, error))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = text.lines().rev().take(3).collect();
    Err(Failure::Failed(format!(
        "{what}: {}",
        last.into_iter().rev().collect::<Vec<_>>().join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_lie_in_the_checkout_s_tools() {
        let folder = environment(Path::new("/r/loadtest/peers/django"));
        assert_eq!(folder, Path::new("/r/.tools/peers/django"));
    }

    #[test]
    fn a_failure_shows_the_last_lines() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "printf 'a\\nb\\nc\\nd\\n' >&2; exit 1"]);
        let failure = run(&mut shell, "it failed").unwrap_err().to_string();
        assert_eq!(failure, "it failed: b; c; d");
    }
}
