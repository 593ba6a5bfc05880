//! Programs that come from the system's own packages: PostgreSQL's server, Chromium, curl, Prometheus, Redis.
//! Reads: the usual places. Writes: installs through apt-get, only what is missing.
//! Never: asks for a password; without the right to install it says what to install.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Folder with `initdb` and `postgres` of the newest installed version.
pub fn ensure_postgresql() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("PG_BIN_DIR") {
        return Ok(PathBuf::from(dir));
    }
    if let Some(found) = find_postgresql(Path::new("/usr/lib/postgresql")) {
        return Ok(found);
    }
    install("PostgreSQL's server", &["postgresql"])?;
    find_postgresql(Path::new("/usr/lib/postgresql"))
        .context("PostgreSQL was installed, but initdb is not under /usr/lib/postgresql")
}

fn find_postgresql(base: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(base).ok()?;
    versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let bin = path.join("bin");
            bin.join("initdb").is_file().then_some((version, bin))
        })
        .max()
        .map(|(_, bin)| bin)
}

/// The Chromium program.
pub fn ensure_chromium() -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("CHROMIUM_BIN") {
        return Ok(PathBuf::from(chosen));
    }
    if let Some(found) = find_chromium() {
        return Ok(found);
    }
    // Without a font every letter of a screenshot is an empty box.
    install("Chromium", &["chromium", "fonts-liberation"])?;
    find_chromium().context("Chromium was installed, but `chromium` is not on PATH")
}

fn find_chromium() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(shell::find_program)
}

/// curl, which the guides' commands are written for.
pub fn ensure_curl() -> Result<PathBuf> {
    if shell::find_program("curl").is_none() {
        install("curl", &["curl"])?;
    }
    shell::find_program("curl").context("curl was installed, but is not on PATH")
}

/// The Prometheus server. Its package brings promtool, into the same folder.
pub fn ensure_prometheus() -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("PROMETHEUS_BIN") {
        return Ok(PathBuf::from(chosen));
    }
    if shell::find_program("prometheus").is_none() || shell::find_program("promtool").is_none() {
        install("Prometheus", &["prometheus"])?;
    }
    shell::find_program("prometheus").context("Prometheus was installed, but is not on PATH")
}

/// The Redis server, which the load test's peers need.
pub fn ensure_redis() -> Result<PathBuf> {
    if shell::find_program("redis-server").is_none() {
        install("Redis", &["redis-server"])?;
    }
    shell::find_program("redis-server").context("Redis was installed, but is not on PATH")
}

/// node and npm are the machine's own; a fresh Debian machine for this project has them.
pub fn require_npm() -> Result<()> {
    for program in ["node", "npm"] {
        if shell::find_program(program).is_none() {
            bail!(
                "{program} is needed for the browser side's tests and is not on PATH: install Node.js 20 or newer with npm"
            );
        }
    }
    Ok(())
}

fn install(what: &str, packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if shell::find_program("apt-get").is_none() {
        bail!(
            "{what} is missing and there is no apt-get here: install it yourself (Debian's packages: {list})"
        );
    }
    let Some(mut prefix) = privileged() else {
        bail!("{what} is missing and installing needs root: run `apt-get install {list}` as root");
    };
    eprintln!("installing {list} through apt-get");
    update_once(&prefix)?;
    prefix.extend(["apt-get", "install", "--yes", "--no-install-recommends"].map(str::to_owned));
    prefix.extend(packages.iter().map(|&package| package.to_owned()));
    apt(&prefix).with_context(|| format!("cannot install {what}"))
}

/// The words before a command that may change the system; none if there is no such right.
fn privileged() -> Option<Vec<String>> {
    let id = shell::capture(Command::new("id").arg("-u")).ok()?;
    if id.stdout.trim() == "0" {
        return Some(Vec::new());
    }
    let sudo = shell::capture(Command::new("sudo").args(["-n", "true"])).ok()?;
    sudo.success.then(|| vec!["sudo".to_owned(), "-n".to_owned()])
}

/// The package lists may be old or absent on a fresh machine; once a run is enough.
fn update_once(prefix: &[String]) -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_none() {
        let mut words = prefix.to_vec();
        words.extend(["apt-get".to_owned(), "update".to_owned()]);
        apt(&words).context("cannot refresh the package lists")?;
        let _ = DONE.set(());
    }
    Ok(())
}

fn apt(words: &[String]) -> Result<()> {
    let (program, args) = words.split_first().context("a command has a first word")?;
    let mut command = Command::new("env");
    command.arg("DEBIAN_FRONTEND=noninteractive").arg(program).args(args);
    if program == "sudo" {
        // sudo drops the environment, so the setting goes behind it.
        command = Command::new("sudo");
        command.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive"]).args(&args[1..]);
    }
    let done = shell::capture(&mut command)?;
    if done.success {
        return Ok(());
    }
    if done.stderr.contains("No space left on device") || done.stderr.contains("enough free space")
    {
        bail!("the disk is full: free some space and run this again");
    }
    if done.stderr.contains("Temporary failure resolving")
        || done.stderr.contains("Could not connect")
    {
        bail!("the package registry cannot be reached: check the network and run this again");
    }
    let reason = done.stderr.lines().find(|line| line.starts_with("E:"));
    bail!("apt-get says: {}", reason.or(done.stderr.lines().next_back()).unwrap_or("nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_postgresql_with_a_server_is_taken() {
        let base = std::env::temp_dir().join(format!("xtask-pg-{}", std::process::id()));
        for version in ["9", "15", "17"] {
            fs::create_dir_all(base.join(version).join("bin")).unwrap();
        }
        assert_eq!(find_postgresql(&base), None);
        for version in ["9", "15"] {
            fs::write(base.join(version).join("bin/initdb"), "").unwrap();
        }
        assert_eq!(find_postgresql(&base), Some(base.join("15/bin")));
        fs::remove_dir_all(&base).unwrap();
    }
}
