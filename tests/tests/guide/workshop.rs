//! The reader's folder after each step, and the programs that are built of it.
//! Reads: the workspace's `Cargo.lock`. Writes: `target/tmp/guide`, which later runs build on: a step whose files did
//! not change is not built again. Never: fetches anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

/// The first build compiles every dependency.
const BUILDS_WITHIN: Duration = Duration::from_secs(1_500);
/// What `cargo new` writes.
const VERSION: &str = "version = \"0.1.0\"";
/// What the environment passes on; anything else may differ from run to run and cost a build.
const PASSED_ON: [&str; 8] =
    ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR", "LANG", "USER"];

/// Builds the steps.
pub struct Workshop {
    base: PathBuf,
    root: PathBuf,
    /// Path and text of the reader's files as they stand now.
    files: BTreeMap<String, String>,
}

impl Workshop {
    /// A workshop whose folder earlier runs may have used.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open() -> Result<Self> {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        std::fs::create_dir_all(&base)?;
        // The reader's folder lies beside the repository.
        link(&root, &base.join("campana"))?;
        Ok(Self { base, root, files: BTreeMap::new() })
    }

    /// The repository.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the reader, as it stands now.
    ///
    /// # Errors
    /// If there is none.
    pub fn file(&self, path: &str) -> Result<&str> {
        self.files.get(path).map(String::as_str).context("no block before made this file")
    }

    /// Writes down a file of the reader.
    pub fn save(&mut self, path: &str, text: String) {
        self.files.insert(path.to_owned(), text);
    }

    /// The folder of a step, with the files as they stand now.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn folder(&self, step: usize) -> Result<PathBuf> {
        let folder = self.base.join(format!("step-{step}"));
        let mut files = self.files.clone();
        let manifest = files.get_mut("Cargo.toml").context("the guide has no Cargo.toml")?;
        // Unlike the reader's, this folder lies inside of the repository, which is a workspace.
        manifest.push_str("\n[workspace]\n");
        // Cargo knows a package by name and version, and takes one step's program for that of another.
        *manifest = manifest.replacen(VERSION, &format!("version = \"0.1.{step}\""), 1);
        for part in ["src", "examples"] {
            remove_others(&folder.join(part), &folder, &files)?;
        }
        for (path, text) in &files {
            write_if_new(&folder.join(path), text)?;
        }
        std::fs::copy(self.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
        Ok(folder)
    }

    /// The clinic of a step, built.
    ///
    /// # Errors
    /// If it does not compile, or not without warnings.
    pub async fn build(&self, step: usize) -> Result<PathBuf> {
        let folder = self.folder(step)?;
        let mut cargo = self.command("cargo", &folder);
        cargo.args(["build", "--quiet"]).stdout(Stdio::null());
        let output = tokio::time::timeout(BUILDS_WITHIN, cargo.output()).await;
        let output = output.context("the build does not end")??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && !said.contains("warning"), "cargo build:\n{said}");
        // A name of its own: the next step's program takes the place of this one.
        let program = self.base.join(format!("clinic-{step}"));
        let _ = std::fs::remove_file(&program);
        std::fs::hard_link(self.target().join("debug/clinic"), &program)?;
        Ok(program)
    }

    /// A command with nothing of this process's environment but where the tools are.
    pub fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment()).current_dir(folder);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// What every program of the reader is given.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for name in PASSED_ON {
            all.extend(std::env::var(name).ok().map(|value| (name.to_owned(), value)));
        }
        let target = self.target().display().to_string();
        let own = [
            ("CARGO_TARGET_DIR", target.as_str()),
            ("CARGO_NET_OFFLINE", "true"),
            ("CARGO_INCREMENTAL", "0"),
            ("CARGO_PROFILE_DEV_DEBUG", "0"),
        ];
        all.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        all
    }

    fn target(&self) -> PathBuf {
        self.base.join("target")
    }
}

/// Makes a symbolic link, if it is not there.
///
/// # Errors
/// If something else is there.
pub fn link(to: &Path, at: &Path) -> Result<()> {
    match std::fs::read_link(at) {
        Ok(found) if found == to => Ok(()),
        Ok(_) => {
            std::fs::remove_file(at)?;
            Ok(std::os::unix::fs::symlink(to, at)?)
        }
        Err(_) => Ok(std::os::unix::fs::symlink(to, at)?),
    }
}

/// What is written again is built again.
fn write_if_new(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let folder = path.parent().context("a file lies in a folder")?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(path, text).with_context(|| format!("{}", path.display()))
}

/// Removes files that an earlier version of the guide had.
fn remove_others(part: &Path, base: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(part) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.strip_prefix(base)?.to_str() else { bail!("a strange file name") };
        if path.is_file() && !files.contains_key(name) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}
