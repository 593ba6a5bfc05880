//! The alerts' own tests: `promtool check rules` and `promtool test rules`.
//! Reads: `dashboards/prometheus`. Writes: nothing. Never: starts a Prometheus; promtool brings its engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{repo, shell, tools};

const RULES: &str = "dashboards/prometheus/rules";
const TESTS: &str = "dashboards/prometheus/tests";

/// Checks every file of rules and runs their tests.
pub fn check() -> Result<()> {
    let promtool = tools::ensure_prometheus()?.with_file_name("promtool");
    for (words, folder) in [(["check", "rules"], RULES), (["test", "rules"], TESTS)] {
        let files = yaml_files(&repo::root().join(folder))?;
        let mut command = Command::new(&promtool);
        command.current_dir(repo::root()).args(words).args(files);
        shell::run(&mut command).with_context(|| format!("promtool {}", words.join(" ")))?;
    }
    Ok(())
}

/// The files of a folder in order; a folder without any is a mistake, not a success.
fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    files.sort();
    if files.is_empty() {
        bail!("there are no .yml files in {}", folder.display());
    }
    Ok(files)
}
