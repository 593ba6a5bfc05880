//! Where a running `campana up` can be found: `up.json` in its data directory.
//! Reads and writes: that file, mode 0600, because it holds a working API key. Never: is read by a role.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::apps::AppRecord;

/// The running platform, for commands in another shell and for the load test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Discovery {
    /// Version of this file's form.
    pub schema_version: u32,
    /// The platform's process.
    pub pid: u32,
    /// The nats-server child.
    pub nats_pid: u32,
    /// HTTP API, demo page, API docs.
    pub gateway: String,
    /// The edge.
    pub edge: String,
    /// Where browsers connect.
    pub edge_ws: String,
    /// Metrics and health.
    pub metrics: String,
    /// NATS.
    pub nats: String,
    /// Monitoring of nats-server.
    pub nats_monitor: String,
    /// The sandbox's web page.
    pub sandbox: String,
    /// The sandbox's SMTP receiver.
    pub smtp: String,
    /// An API key with the role admin.
    pub api_key: String,
    /// What an acknowledged notification survives.
    pub durability: String,
    /// The platform's version.
    pub version: String,
    /// Where the data lies.
    pub data_dir: PathBuf,
    /// The applications beside it; empty without `--apps`.
    #[serde(default)]
    pub apps: Vec<AppRecord>,
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("up.json")
}

impl Discovery {
    /// Writes the file so that readers see all of it or nothing.
    pub fn write(&self) -> anyhow::Result<()> {
        let path = file(&self.data_dir);
        let text = serde_json::to_string_pretty(self)?;
        write_private(&path, text.as_bytes())
    }

    /// Reads the file of a running platform.
    pub fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = file(data_dir);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "no running platform found ({} cannot be read); start one with `campana up`",
                path.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Removes the file at a clean end.
    pub fn remove(data_dir: &Path) {
        let _ = std::fs::remove_file(file(data_dir));
    }
}

/// Writes a file that only its owner can read, in one step.
pub fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("tmp");
    let mut options = std::fs::OpenOptions::new();
    let mut out = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(|| format!("cannot write {}", temporary.display()))?;
    out.write_all(content)
        .and_then(|()| out.sync_all())
        .with_context(|| format!("cannot write {}", temporary.display()))?;
    std::fs::rename(&temporary, path).with_context(|| format!("cannot write {}", path.display()))
}
