//! Servers of a peer: started in a temporary folder, waited for, ended with this process.
//! Reads: their output. Writes: that folder, which is removed afterwards. Never: leaves one behind: each is asked
//! to end and then killed, and the kernel kills it if this process dies first.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child as StdChild, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use super::programs;
use crate::failure::Failure;
use crate::procs::{self, Process};

/// An interpreter on a busy machine, with a cold disk.
const START_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Bytes of a log that an error shows.
const LOG_SHOWN: usize = 2_000;

/// A running server.
#[derive(Debug)]
pub struct Child {
    child: StdChild,
    name: &'static str,
    output: PathBuf,
    log: PathBuf,
    /// Whether it leads a process group of its own, which then ends with it.
    group: bool,
    /// Whether it starts more processes while it runs.
    forks: bool,
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16, Failure> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Failure::failed("no free port on the loopback interface", error))
}

impl Child {
    /// Starts a program in a folder, where its output goes too.
    pub fn start(
        name: &'static str,
        folder: &Path,
        program: &Path,
        arguments: &[&str],
    ) -> Result<Self, Failure> {
        let mut command = dying_with_us(program);
        without_configuration(&mut command);
        command
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("NODE_ENV", "production")
            .current_dir(folder);
        Self::spawn(name, folder, command, false)
    }

    /// Starts a line of the shell in a process group of its own, from where we are, so that the line means what it
    /// would mean if it were typed; only its output goes to the folder. A ctrl-C of the terminal does not reach it.
    pub fn start_line(
        name: &'static str,
        folder: &Path,
        line: &str,
        environment: &[(&str, &OsStr)],
    ) -> Result<Self, Failure> {
        let mut command = dying_with_us(Path::new("/bin/sh"));
        without_configuration(&mut command);
        command
            .args(["-c", &without_shell(line)])
            .envs(environment.iter().copied())
            .process_group(0);
        Self::spawn(name, folder, command, true)
    }

    fn spawn(
        name: &'static str,
        folder: &Path,
        mut command: Command,
        group: bool,
    ) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::failed(name, error);
        let (output, log) =
            (folder.join(format!("{name}.out")), folder.join(format!("{name}.log")));
        let child = command
            .stdin(Stdio::null())
            .stdout(fs::File::create(&output).map_err(failed)?)
            .stderr(fs::File::create(&log).map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child, name, output, log, group, forks: false })
    }

    /// Waits for the first whole line of its output.
    pub async fn line(&mut self) -> Result<String, Failure> {
        let output = self.output.clone();
        self.until("is not ready", || {
            let text = fs::read_to_string(&output).ok()?;
            text.split_once('\n').map(|(line, _)| line.to_owned())
        })
        .await
    }

    /// Waits until a file is there, and reads it.
    pub async fn file(&mut self, path: &Path) -> Result<String, Failure> {
        self.until("is not ready", || fs::read_to_string(path).ok()).await
    }

    /// Waits until something listens at a port.
    pub async fn listening(&mut self, port: u16) -> Result<(), Failure> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        self.until("does not listen", || std::net::TcpStream::connect(address).ok()).await?;
        Ok(())
    }

    /// Waits until `look` finds something; an error with its last words if it ends before, or takes too long.
    pub async fn until<T>(
        &mut self,
        trouble: &str,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<T, Failure> {
        let found = async {
            loop {
                if let Some(found) = look() {
                    return Some(found);
                }
                if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                    return None;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let result = tokio::time::timeout(START_TIMEOUT, found).await.ok().flatten();
        result.ok_or_else(|| {
            Failure::Failed(format!(
                "{} {trouble}; its last words: {}",
                self.name,
                self.last_words()
            ))
        })
    }

    /// Marks it as a server that starts processes as it goes, one for every connection.
    pub const fn forking(mut self) -> Self {
        self.forks = true;
        self
    }

    /// It and everything that it started, under its name; of one that goes on forking only itself, marked.
    pub fn processes(&self) -> Vec<Process> {
        let root = self.child.id();
        if self.forks {
            return vec![Process { name: self.name.to_owned(), pid: root, forks: true }];
        }
        let pids = procs::descendants(root, &procs::parents());
        pids.into_iter().map(|pid| Process::alone(self.name, pid)).collect()
    }

    /// Asks it to end, then what is left of its group, and kills what does not.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM, false);
        let ended = async {
            while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let _ = tokio::time::timeout(STOP_TIMEOUT, ended).await;
        if !self.has_company() {
            return;
        }
        self.signal(Signal::TERM, true);
        let gone = async {
            while self.has_company() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let _ = tokio::time::timeout(STOP_TIMEOUT, gone).await;
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// To it, or to its whole group; whoever has ended by itself does not mind.
    fn signal(&self, signal: Signal, all: bool) {
        let Some(pid) = self.pid() else { return };
        let _ = if all { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }

    /// Whether somebody of its group still runs.
    fn has_company(&self) -> bool {
        self.group && self.pid().is_some_and(|pid| test_kill_process_group(pid).is_ok())
    }

    fn last_words(&self) -> String {
        let read = |path: &PathBuf| fs::read(path).unwrap_or_default();
        let bytes = [read(&self.log), read(&self.output)].concat();
        let from = bytes.len().saturating_sub(LOG_SHOWN);
        let text = String::from_utf8_lossy(&bytes[from..]).trim().to_owned();
        if text.is_empty() { "none".to_owned() } else { text }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.group {
            self.signal(Signal::KILL, true);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A plain command becomes the shell's process, so that what the kernel and we ask of it reaches the program.
fn without_shell(line: &str) -> String {
    let line = line.trim_start();
    let first = line.split_whitespace().next().unwrap_or_default();
    let several = line.contains(['|', '&', ';', '<', '>', '(', ')', '`', '\n']);
    if several || first.contains('=') { line.to_owned() } else { format!("exec {line}") }
}

/// Configuration of the caller's environment must not change what is measured.
fn without_configuration(command: &mut Command) {
    let foreign = std::env::vars_os().map(|(key, _)| key);
    for key in foreign.filter(|key| key.to_string_lossy().starts_with("CAMPANA_")) {
        command.env_remove(key);
    }
}

/// The kernel's parent-death signal needs a call between fork and exec, which `setpriv` (util-linux, on every
/// Debian) makes for us; it then becomes the program, so the process id is the program's.
fn dying_with_us(program: &Path) -> Command {
    match programs::on_path("setpriv").into_iter().find(|file| file.is_file()) {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_awaited_and_an_end_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let shell = Path::new("/bin/sh");
        let arguments = ["-c", "echo ready; exec tail -f /dev/null"];
        let mut child = Child::start("sh", folder.path(), shell, &arguments).unwrap();
        assert_eq!(child.line().await.unwrap(), "ready");
        assert!(child.processes().iter().any(|one| one.pid == child.child.id()));
        child.stop().await;
        let mut child =
            Child::start("sh", folder.path(), shell, &["-c", "echo why >&2; exit 1"]).unwrap();
        let error = child.line().await.unwrap_err().to_string();
        assert!(error.contains("why"), "{error}");
    }

    #[tokio::test]
    async fn a_group_ends_with_its_leader() {
        let folder = tempfile::tempdir().unwrap();
        // The one in the background does not hear of the leader's end, and does not mind being asked.
        let line = "(trap '' TERM; exec tail -f /dev/null) & echo $! >$OUT; wait";
        let out = folder.path().join("pid");
        let mut child =
            Child::start_line("line", folder.path(), line, &[("OUT", out.as_os_str())]).unwrap();
        let pid = child
            .until("is silent", || fs::read_to_string(&out).ok()?.trim().parse::<i32>().ok())
            .await
            .unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        child.signal(Signal::TERM, false);
        assert!(child.has_company());
        drop(child);
        let gone = || rustix::process::test_kill_process(pid).is_err() || is_zombie(pid);
        while !gone() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ended, and not yet reaped by whoever adopted it.
    fn is_zombie(pid: Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")))
    }
}
