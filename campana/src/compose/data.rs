//! The data directory of `campana up`: made, locked, checked for space.
//! Reads: the file system. Writes: the directory, its lock and generated secrets. Never: shares the
//! directory with another running platform.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock, statvfs};

use crate::config::Config;
use crate::discovery::write_private;
use crate::errors::bad_config;

/// The directory, locked as long as this value lives.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes and locks the directory.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let path = &config.data_dir;
        // It holds secrets, addresses and messages: nobody but its owner looks in.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| {
            bad_config(format!("data_dir {} cannot be made: {error}", path.display()))
        })?;
        let path = path.canonicalize().with_context(|| format!("data_dir {}", path.display()))?;
        check_space(&path, config.nats.embedded.free_bytes_min)?;
        let file = path.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&file).map_err(
            |error| bad_config(format!("{} cannot be written: {error}", file.display())),
        )?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            bad_config(format!(
                "another campana is running on {}; stop it, or choose another --data-dir",
                path.display()
            ))
        })?;
        Ok(Self { path, _lock: lock })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A full disk stops JetStream in the middle of a write, so say it before anything starts.
fn check_space(path: &Path, min: u64) -> anyhow::Result<()> {
    let Ok(stat) = statvfs(path) else {
        return Ok(());
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < min {
        return Err(bad_config(format!(
            "the disk of {} is full: {} MiB free, at least {} MiB are needed (nats.embedded.free_bytes_min); make room or choose another --data-dir",
            path.display(),
            free / (1024 * 1024),
            min / (1024 * 1024)
        )));
    }
    Ok(())
}

/// The HMAC secret of connection tokens in the data directory, generated the first time.
pub fn token_secret(data_dir: &Path) -> anyhow::Result<String> {
    kept_secret(data_dir, "token-secret")
}

/// The key of the edge's server API in the data directory, generated the first time.
pub fn edge_api_key(data_dir: &Path) -> anyhow::Result<String> {
    kept_secret(data_dir, "edge-api-key")
}

/// What the support desk and its sidecar show each other, generated the first time: the file, and what it holds.
pub fn sidecar_token(data_dir: &Path) -> anyhow::Result<(PathBuf, String)> {
    let (folder, name) = (data_dir.join("apps"), "sidecar-token");
    let token = kept_secret(&folder, name)?;
    Ok((folder.join(name), token))
}

/// 64 hexadecimal digits, the same at every start.
fn kept_secret(data_dir: &Path, name: &str) -> anyhow::Result<String> {
    let path = data_dir.join(name);
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(text.trim().to_owned());
    }
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("cannot make {}", data_dir.display()))?;
    let secret = hex::encode(rand::random::<[u8; 32]>());
    write_private(&path, secret.as_bytes())?;
    Ok(secret)
}
