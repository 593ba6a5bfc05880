//! The program as a user starts it: arguments, folder, exit code.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

use crate::fake::Fake;

/// On a machine that does other things as well, counts are judged and times are not.
const SHARED_MACHINE: [&str; 2] = ["--no-floor", "--lenient-timing"];

/// A finished program with its run.json, if it wrote one.
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub run: Value,
    pub dir: tempfile::TempDir,
}

/// Runs `sweep` against a fake with short gaps.
pub async fn sweep(fake: &Fake, extra: &[&str]) -> Finished {
    let arguments = [&["sweep", "--settle-ms", "20", "--drain-ms", "700"], extra].concat();
    measure(fake, &arguments).await
}

/// Runs a command that measures, with a folder of its own.
pub async fn measure(fake: &Fake, arguments: &[&str]) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let output = program(fake.data_dir.path())
        .args(arguments)
        .args(SHARED_MACHINE)
        .arg("--out")
        .arg(&out)
        .output()
        .await
        .unwrap();
    let run = std::fs::read_to_string(out.join("run.json"))
        .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    let (code, stdout, stderr) = texts(&output);
    Finished { code, stdout, stderr, run, dir }
}

/// The program against an up.json.
pub fn program(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campana-loadtest"));
    command
        .env("CAMPANA_DATA_DIR", data_dir)
        .env_remove("CAMPANA_API_KEY")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Exit code, stdout and stderr.
pub fn texts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
