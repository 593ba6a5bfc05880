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
    if let Some(folder) = &global.data_dir {
        command.arg("--data-dir").arg(folder);
    }
    if global.json {
        command.arg("--json");
    }
    Err(command.exec().into())
}
