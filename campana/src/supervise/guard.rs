//! The step between this process and a child: asks the kernel to end the child with its parent, then becomes the
//! child's program.
//! Reads: its arguments. Writes: nothing. Never: returns if it succeeds.
//! A hidden subcommand, because the request has to be made in the child and survives `exec` (prctl(2),
//! PR_SET_PDEATHSIG).

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::Context;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// A command that becomes `program` and dies with the *thread* that starts it. Arguments can be added. It has a group
/// of its own: what is typed at the terminal (ctrl-C) reaches us alone, and we end our children in order.
pub fn command(program: &OsStr) -> anyhow::Result<Command> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(this);
    command
        .args(["guard", "--parent", &std::process::id().to_string(), "--"])
        .arg(program)
        .stdin(Stdio::null())
        .process_group(0);
    Ok(command)
}

/// Becomes `program`, which dies with process `parent`.
pub fn run(parent: u32, program: &OsString, arguments: &[OsString]) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the request was made.
    let alive = getppid().is_some_and(|pid| {
        u32::try_from(pid.as_raw_nonzero().get()).is_ok_and(|pid| pid == parent)
    });
    anyhow::ensure!(alive, "the platform ended before its child started");
    let failed = Command::new(program).args(arguments).exec();
    Err(failed).with_context(|| format!("cannot start {}", program.display()))
}
