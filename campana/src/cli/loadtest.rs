//! `campana loadtest …`: hands over to the harness beside this binary.
//! Reads: nothing. Writes: nothing. Never: links the harness, whose dependencies would double every build.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::Global;

pub fn run(global: &Global, arguments: &[OsString]) -> anyhow::Result<()> {
    let this = std::env::current_exe()?;
    let harness = this.with_file_name("campana-loadtest");
    anyhow::ensure!(
        harness.is_file(),
        "the load harness {} is not built: run `cargo build --release --workspace --bins` in the checkout",
        harness.display()
    );
    let mut command = Command::new(harness);
    command.args(arguments);
    // The others only read results or scenarios, or start what they measure.
    let measures = arguments.first().and_then(|first| first.to_str()).is_some_and(|first| {
        ["run", "sweep", "saturate", "soak", "idle", "selftest"].contains(&first)
    });
    if let Some(folder) = global.data_dir.as_ref().filter(|_| measures) {
        command.arg("--data-dir").arg(folder);
    }
    if global.json && measures {
        command.arg("--json");
    }
    Err(command.exec().into())
}
