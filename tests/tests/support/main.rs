//! The support desk, a Python program that knows nothing of NATS, beside a whole platform.
//! Reads: the programs beside the test, `python3`, `CHROMIUM_BIN`, `tests/browser/node_modules`. Writes: temporary
//! folders, and with `CAMPANA_SHOTS` pictures into that folder. Never: installs anything.

#![cfg(test)]

mod load;
mod pages;
mod world;

use std::path::PathBuf;

/// Where the desk is.
fn desk_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../services/support")
}

/// The desk's own tests, without a bus.
#[tokio::test]
async fn the_desks_own_tests_pass() {
    let tests = tokio::process::Command::new("python3")
        .args(["-m", "unittest", "discover", "-s", "tests", "-t", "."])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(desk_folder())
        .output();
    let output = tests.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
