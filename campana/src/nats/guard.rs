//! The step between this process and its nats-server: asks the kernel to end the server with its parent,
//! then becomes the server.
//! Reads: its arguments. Writes: nothing. Never: returns if it succeeds.
//! A hidden subcommand, because the request has to be made in the child and survives `exec` (prctl(2),
//! PR_SET_PDEATHSIG).

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Becomes `program`, which dies with process `parent`.
pub fn run(parent: u32, program: &OsString, arguments: &[OsString]) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the request was made.
    let alive = getppid().is_some_and(|pid| {
        u32::try_from(pid.as_raw_nonzero().get()).is_ok_and(|pid| pid == parent)
    });
    anyhow::ensure!(alive, "the platform ended before its nats-server started");
    Err(Command::new(program).args(arguments).exec().into())
}
