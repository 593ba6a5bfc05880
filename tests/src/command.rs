//! The `campana` binary, run once to its end.
//! Reads: `CAMPANA_BIN`, else the binary beside the test. Writes: nothing. Never: builds it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Where the binary is.
///
/// # Errors
/// If it was not built; says how.
pub fn campana() -> Result<PathBuf> {
    let path = match std::env::var_os("CAMPANA_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let this = std::env::current_exe()?;
            // target/debug/deps/it-… → target/debug/campana
            let profile =
                this.parent().and_then(Path::parent).context("a test lies in a folder")?;
            profile.join("campana")
        }
    };
    ensure!(
        path.is_file(),
        "{} does not exist: build it first (`cargo build -p campana`), or set CAMPANA_BIN",
        path.display()
    );
    Ok(path)
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// Results.
    pub stdout: String,
    /// Progress, logs and errors.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// The JSON that it printed, if it succeeded.
    ///
    /// # Errors
    /// If it failed, or printed something else.
    pub fn json(&self) -> Result<Value> {
        ensure!(self.code == 0, "exit code {}: {}", self.code, self.stderr);
        serde_json::from_str(&self.stdout).with_context(|| format!("not JSON: {}", self.stdout))
    }

    /// Its output, if it succeeded.
    ///
    /// # Errors
    /// If it failed.
    pub fn text(&self) -> Result<&str> {
        ensure!(self.code == 0, "exit code {}: {}", self.code, self.stderr);
        Ok(self.stdout.trim_end())
    }
}

/// Runs a command to its end, in `folder`, so that no configuration file of the developer is read.
///
/// # Errors
/// If it cannot be started.
pub async fn run<S: AsRef<OsStr>>(
    folder: &Path,
    environment: &[(String, String)],
    arguments: &[S],
) -> Result<Ended> {
    let mut command = Command::new(campana()?);
    command.args(arguments).envs(environment.iter().cloned()).current_dir(folder);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    Ok(output.into())
}
