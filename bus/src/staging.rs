//! Atomic batches staged in memory, for whoever runs a nats-server on this machine.
//! Reads and writes: links in the server's store directory, a folder in `/dev/shm`. Never: touches what a stream has
//! stored.
//!
//! Before it stores an atomic batch (NATS ADR-50) a server without replicas writes it to files of its own below the
//! stream's folder, in `batches`, which it removes afterwards: milliseconds of disk for each group of a
//! [`crate::publish::GroupPublisher`]. It does not sync these files, so that they survive its own death and not a loss
//! of power, the same as in memory. A link from `batches` to a folder in memory saves the disk's time (ADR 34).
//!
//! The server removes `batches` when it starts and makes it again for the next batch, so links are tended. Without
//! one everything works as before, only slower.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

/// Where Linux keeps a file system in memory for everybody.
const MEMORY: &str = "/dev/shm";
/// What the folders of all stores begin with.
const PREFIX: &str = "campana-batches-";
/// In each folder a link to the store that it belongs to.
const OWNER: &str = "store";
/// Below this much free memory batches go to the disk again: at most 50 batches a stream of some 256 KiB.
const FREE_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// The staging of one server's streams.
#[derive(Clone, Debug)]
pub struct Staging {
    /// The server's `store_dir`.
    store: PathBuf,
    /// This store's own folder in memory.
    folder: PathBuf,
}

impl Staging {
    /// For the server whose configuration says this `store_dir`; it exists. `None` where there is no memory to be had,
    /// or the folder there is somebody else's.
    #[must_use]
    pub fn of(store_dir: &Path) -> Option<Self> {
        Self::within(store_dir, Path::new(MEMORY))
    }

    fn within(store_dir: &Path, memory: &Path) -> Option<Self> {
        sweep(memory);
        let found = fs::metadata(store_dir).ok()?;
        // The same after a restart: what a killed server staged is found again by the next.
        let folder = memory.join(format!("{PREFIX}{:x}-{:x}", found.dev(), found.ino()));
        let staging = Self { store: store_dir.canonicalize().ok()?, folder };
        staging.is_usable().then_some(staging)
    }

    /// Whether there is a folder of our own with enough space. Anybody may make one of any name in `/dev/shm`, and batches
    /// hold what people are told.
    fn is_usable(&self) -> bool {
        let _ = DirBuilder::new().mode(0o700).create(&self.folder);
        if !is_private(&self.folder) || !has_space(&self.folder) {
            return false;
        }
        lay(&self.store, &self.folder.join(OWNER)).is_ok()
    }

    /// Puts the links where they are missing, and takes them away while memory is short. Cheap: for once a second.
    /// Returns how many of these streams stage in memory now.
    #[must_use]
    pub fn tend(&self, streams: &[&str]) -> usize {
        if !self.is_usable() {
            self.unlink(streams);
            return 0;
        }
        streams.iter().filter(|stream| self.link(stream).is_ok()).count()
    }

    /// Takes everything away again. The server has ended.
    pub fn remove(&self, streams: &[&str]) {
        self.unlink(streams);
        let _ = fs::remove_dir_all(&self.folder);
    }

    fn link(&self, stream: &str) -> std::io::Result<()> {
        let (from, to) = (self.place(stream), self.folder.join(stream));
        match DirBuilder::new().mode(0o700).create(&to) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // A folder of the server's with a batch in it is not empty, and stays for this time.
        if !is_link(&from)
            && let Err(error) = fs::remove_dir(&from)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
        lay(&to, &from)
    }

    fn unlink(&self, streams: &[&str]) {
        for stream in streams {
            let place = self.place(stream);
            if is_link(&place) {
                let _ = fs::remove_file(place);
            }
        }
    }

    fn place(&self, stream: &str) -> PathBuf {
        // A server without accounts has one, of this name.
        self.store.join("jetstream/$G/streams").join(stream).join("batches")
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

/// A link to `target` at `place`, also if one leads elsewhere: a data directory may have been moved or copied.
fn lay(target: &Path, place: &Path) -> std::io::Result<()> {
    match fs::read_link(place) {
        Ok(found) if found == target => return Ok(()),
        Ok(_) => fs::remove_file(place)?,
        Err(_) => {}
    }
    symlink(target, place)
}

/// Removes folders of stores that are no more: nobody did when their server's process was killed.
fn sweep(memory: &Path) {
    for entry in fs::read_dir(memory).into_iter().flatten().flatten() {
        let folder = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && is_private(&folder)
            && fs::read_link(folder.join(OWNER)).is_ok_and(|store| !store.exists())
        {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn is_private(folder: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == own && found.mode() & 0o077 == 0)
}

fn has_space(folder: &Path) -> bool {
    statvfs(folder).is_ok_and(|stat| stat.f_bavail * stat.f_frsize >= FREE_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const STREAMS: [&str; 2] = ["CHANNELS", "OUTCOMES"];

    struct Bench {
        _folder: tempfile::TempDir,
        memory: PathBuf,
        staging: Staging,
    }

    fn bench() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let (store, memory) = (folder.path().join("js"), folder.path().join("memory"));
        for stream in STREAMS {
            fs::create_dir_all(store.join("jetstream/$G/streams").join(stream)).unwrap();
        }
        fs::create_dir(&memory).unwrap();
        let staging = Staging::within(&store, &memory).unwrap();
        Bench { staging, memory, _folder: folder }
    }

    #[test]
    fn links_are_put_where_they_are_missing_and_taken_away_again() {
        let Bench { staging, memory, _folder } = bench();
        assert_eq!(staging.tend(&STREAMS), 2);
        assert_eq!(staging.tend(&STREAMS), 2);
        fs::write(staging.place("CHANNELS").join("batch"), "").unwrap();
        assert!(staging.folder.join("CHANNELS/batch").is_file());
        // As a server does when it starts; then it stages on the disk until somebody looks.
        fs::remove_file(staging.place("OUTCOMES")).unwrap();
        fs::create_dir_all(staging.place("OUTCOMES").join("batch")).unwrap();
        assert_eq!(staging.tend(&STREAMS), 1, "a batch is in hand");
        fs::remove_dir(staging.place("OUTCOMES").join("batch")).unwrap();
        assert_eq!(staging.tend(&STREAMS), 2);
        fs::remove_file(staging.place("CHANNELS")).unwrap();
        symlink("/nowhere", staging.place("CHANNELS")).unwrap();
        assert_eq!(staging.tend(&STREAMS), 2, "a copy of another store");
        fs::remove_dir_all(&staging.folder).unwrap();
        assert_eq!(staging.tend(&STREAMS), 2, "somebody tidied /dev/shm");
        assert!(staging.place("CHANNELS").is_dir());
        staging.remove(&STREAMS);
        assert_eq!(fs::read_dir(memory).unwrap().count(), 0);
        assert!(fs::symlink_metadata(staging.place("CHANNELS")).is_err());
    }

    #[test]
    fn what_killed_servers_left_is_swept_when_their_stores_are_gone() {
        let Bench { staging, memory, _folder } = bench();
        let other = Bench { memory: memory.clone(), ..bench() };
        let lost = Staging::within(&other.staging.store, &memory).unwrap();
        assert_eq!(lost.tend(&STREAMS), 2);
        sweep(&memory);
        assert!(lost.folder.exists(), "its store is still there");
        fs::remove_dir_all(&lost.store).unwrap();
        fs::create_dir(memory.join("of-somebody-else")).unwrap();
        let again = Staging::within(&staging.store, &memory).unwrap();
        assert!(!lost.folder.exists());
        assert!(again.folder.exists() && memory.join("of-somebody-else").exists());
    }

    #[test]
    fn a_stream_that_is_not_there_is_not_counted() {
        assert_eq!(bench().staging.tend(&["CHANNELS", "OTHER"]), 1);
    }

    #[test]
    fn a_folder_that_others_can_read_is_not_used() {
        let Bench { staging, .. } = &bench();
        assert_eq!(staging.tend(&STREAMS), 2);
        fs::set_permissions(&staging.folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(staging.tend(&STREAMS), 0);
        assert!(fs::symlink_metadata(staging.place("CHANNELS")).is_err(), "back to the disk");
        assert!(Staging::within(Path::new("/nowhere"), Path::new("/tmp")).is_none());
    }
}
