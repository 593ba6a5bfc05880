//! `cargo xtask fuzz`: libFuzzer against one target of ws-edge/fuzz, on the stable compiler.
//! Reads: the committed corpus. Writes: new inputs under `target/fuzz`, crashes there as well.
//! Never: part of the everyday checks; those replay the corpus and changes of it on every run.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::{repo, shell};

/// Names of the targets.
pub const TARGETS: [&str; 3] = ["json", "protobuf", "session"];
/// What cargo-fuzz passes too, as far as the stable compiler takes it: coverage for the fuzzer to follow.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// `fuzz TARGET [SECONDS]`.
pub fn command(args: &[String]) -> Result<()> {
    let Some(target) = args.first().map(String::as_str).filter(|name| TARGETS.contains(name))
    else {
        bail!("name a target: cargo xtask fuzz {} [SECONDS]", TARGETS.join("|"));
    };
    let seconds: u32 = match args.get(1) {
        None => 60,
        Some(text) => text.parse().with_context(|| format!("{text} is no number of seconds"))?,
    };
    let folder = repo::root().join("ws-edge/fuzz");
    let out = repo::root().join("target/fuzz");
    let (found, crashes) = (out.join("corpus").join(target), out.join("crashes"));
    for path in [&found, &crashes] {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    let mut run = shell::cargo();
    run.args(["run", "--release", "--target", &host()?, "--bin", target, "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(out.join("build"))
        .env("RUSTFLAGS", COVERAGE.join(" "))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args(["-max_len=4096", "-timeout=5"])
        .arg(format!("-artifact_prefix={}/{target}-", crashes.display()))
        .arg(&found)
        .arg(folder.join("corpus").join(target));
    shell::run(&mut run).with_context(|| {
        format!("a crash is kept in {}: it belongs into the corpus with its fix", crashes.display())
    })
}

/// The machine's own target: named, so that build scripts are not instrumented.
fn host() -> Result<String> {
    let mut rustc = std::process::Command::new("rustc");
    let text = shell::capture(rustc.arg("-vV"))?.stdout;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say which machine this is")
}
