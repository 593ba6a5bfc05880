//! Records which compiler and profile built the harness, because a latency figure without them
//! cannot be repeated. Reads `RUSTC` and `PROFILE` from cargo, writes two compile-time variables.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned());
    let profile = std::env::var("PROFILE").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=LOADTEST_RUSTC={version}");
    println!("cargo::rustc-env=LOADTEST_PROFILE={profile}");
    println!("cargo::rerun-if-changed=build.rs");
}
