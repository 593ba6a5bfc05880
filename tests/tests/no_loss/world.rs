//! A worker process and where it writes its effects.
//! Reads: nothing. Writes: a temporary folder. Never: leaves the worker behind.

use std::path::{Path, PathBuf};

use campana_tests::Process;
use campana_tests::ledger::{Entry, Fate};

pub struct World {
    pub folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn effects(&self) -> PathBuf {
        self.folder.path().join("effects")
    }

    /// Starts a worker; a probed one stands still before and after each handler until it is answered.
    pub fn worker(&self, url: &str, probed: bool) -> Process {
        let program = Path::new(env!("CARGO_BIN_EXE_ledger-worker"));
        Process::start("worker", program, self.folder.path(), |command| {
            command.env("NATS_URL", url).env("LEDGER_EFFECTS", self.effects());
            if probed {
                command.env("LEDGER_PROBED", "1");
            }
        })
        .unwrap()
    }
}

/// Entries with ids from `first`.
pub fn entries(first: u64, count: u64, fate: impl Fn(u64) -> Fate) -> Vec<Entry> {
    (first..first + count).map(|id| Entry { id, fate: fate(id) }).collect()
}
