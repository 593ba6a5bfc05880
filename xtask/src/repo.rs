//! Where things are in this repository.
//! Reads: the folder this package was compiled from, `CARGO_TARGET_DIR`. Writes: nothing.
//! Never: looks at the current folder, so that every command works from anywhere.

use std::path::{Path, PathBuf};

/// The repository's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in a folder of the repository's root")
}

/// The git-ignored folder of installed tools.
pub fn tools() -> PathBuf {
    root().join(".tools")
}

/// The folder cargo builds into.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// A program that cargo built in the debug profile.
pub fn debug_binary(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// A program that cargo built in the release profile.
pub fn release_binary(name: &str) -> PathBuf {
    target().join("release").join(name)
}
