//! Running other programs.
//! Reads: their output. Writes: the terminal. Never: goes through a shell, so no quoting and no
//! surprises from file names.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// Output of a program that was run silently.
pub struct Captured {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// The cargo that started this program, so that toolchain overrides hold.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(crate::repo::root());
    // What cargo told this program about itself would make build scripts of others run again.
    let about_us = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start))
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(about_us) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a program with the terminal's own streams; an exit code other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    require(status, command)
}

/// Runs a program and keeps what it prints; an exit code other than 0 is not an error here.
pub fn capture(command: &mut Command) -> Result<Captured> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    Ok(Captured {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program, shows what it prints as it comes, and returns the lines that `keep` wants.
pub fn run_keeping(
    command: &mut Command,
    keep: fn(&str) -> bool,
) -> Result<(ExitStatus, Vec<String>)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| cannot_start(command))?;
    let stdout = child.stdout.take().context("a piped stdout is there once")?;
    let stderr = child.stderr.take().context("a piped stderr is there once")?;
    let out = thread::spawn(move || copy_lines(stdout, std::io::stdout(), keep));
    let err = thread::spawn(move || copy_lines(stderr, std::io::stderr(), keep));
    let status = child.wait().context("cannot wait for a child process")?;
    let mut kept = Vec::new();
    for reader in [out, err] {
        kept.extend(reader.join().unwrap_or_default());
    }
    Ok((status, kept))
}

fn copy_lines(from: impl Read, mut to: impl Write, keep: fn(&str) -> bool) -> Vec<String> {
    let mut from = BufReader::new(from);
    let mut kept = Vec::new();
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A closed terminal must not stop the run that it was showing.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        let text = String::from_utf8_lossy(&line);
        if keep(text.trim_end()) {
            kept.push(text.trim_end().to_owned());
        }
        line.clear();
    }
    kept
}

/// Turns an unsuccessful exit into an error that names the command.
pub fn require(status: ExitStatus, command: &Command) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    match status.code() {
        Some(code) => bail!("`{}` ended with exit code {code}", shown(command)),
        None => bail!("`{}` was ended by a signal", shown(command)),
    }
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", command.get_program().to_string_lossy())
}

/// The first program of that name on PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    find_in(std::env::var_os("PATH").as_deref()?, name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_only_the_wanted_lines_and_the_exit_code() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo keep one; echo drop; echo keep two >&2; exit 3"]);
        let (status, kept) = run_keeping(&mut command, |line| line.starts_with("keep")).unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(kept, ["keep one", "keep two"]);
        let error = require(status, &command).unwrap_err().to_string();
        assert!(error.starts_with("`sh -c") && error.ends_with("exit code 3"), "{error}");
    }

    #[test]
    fn finds_only_executable_files() {
        assert!(find_in(OsStr::new("/bin:/usr/bin"), "sh").is_some());
        assert_eq!(find_in(OsStr::new("/etc"), "passwd"), None);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program-here`");
    }
}
