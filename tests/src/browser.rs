//! Checks in a browser, written in `tests/browser/*.mjs`, where they say what must be seen.
//! Reads: `CAMPANA_SHOTS`, a folder for the pictures of the documentation. Writes: pictures there, if it is set. Never:
//! takes a script for good that ended without its last words.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// Runs a script with the address of a page; `passed` is what it prints if everything was as it must be.
///
/// # Errors
/// With all that the script said, if a check failed or the script does not end within the time.
pub async fn checks(script: &str, url: &str, passed: &str, within: Duration) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let mut command = Command::new("node");
    command.arg(folder.join(script)).arg(url).current_dir(&folder).kill_on_drop(true);
    if let Some(shots) = std::env::var_os("CAMPANA_SHOTS") {
        command.arg("--shots").arg(shots);
    }
    let ended = tokio::time::timeout(within, command.output()).await;
    let output = ended.with_context(|| format!("the checks of {script} do not end"))?;
    let output = output.context("node cannot be started; Node.js 20 or newer must be on PATH")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains(passed), "{said}{errors}");
    Ok(())
}
