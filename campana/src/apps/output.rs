//! What a program writes, in a file of bounded size.
//! Reads: the program's standard output and standard error. Writes: `<name>.log`, and `<name>.log.1` before it. Never:
//! holds a program up: if the file cannot be written, its lines are read and dropped.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::Context;

/// Bytes of a log file; then another one is begun, and the one before the last is gone.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Lines and characters of each that tell why a program ended.
const LAST_LINES: usize = 3;
const LINE_CHARS: usize = 200;
/// Bytes of a line that are looked at.
const LINE_BYTES: usize = 4 * LINE_CHARS;
/// How long the rest of an ended program's output may take.
const REST_WITHIN: Duration = Duration::from_secs(1);

/// A log file that begins anew when it is full.
pub struct Log {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    bytes_max: u64,
}

impl Log {
    /// Begins a new file; the one of the life before is kept as `….log.1`.
    pub fn begin(path: PathBuf) -> Self {
        let mut log = Self { path, file: None, bytes: 0, bytes_max: BYTES_MAX };
        log.turn();
        log
    }

    fn turn(&mut self) {
        let _ = std::fs::rename(&self.path, self.path.with_extension("log.1"));
        self.bytes = 0;
        self.file = match File::create(&self.path) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(file = %self.path.display(), "a log cannot be written: {error}");
                None
            }
        };
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.bytes >= self.bytes_max {
            self.turn();
        }
        self.bytes += bytes.len() as u64;
        if let Some(file) = &mut self.file {
            let _ = file.write_all(bytes);
        }
    }
}

/// The output of one life of a program.
pub struct Output {
    ended: mpsc::Receiver<()>,
    last: Arc<Mutex<LastLines>>,
}

impl Output {
    /// Takes over both outputs of a command, and gives what reads them once it was started.
    pub fn take(command: &mut Command) -> anyhow::Result<PipeReader> {
        let (reader, writer) = std::io::pipe().context("no pipe for a program's output")?;
        let second = writer.try_clone().context("no pipe for a program's output")?;
        command.stdout(writer).stderr(second);
        Ok(reader)
    }

    /// Reads on a thread of its own until the program has ended.
    pub fn follow(reader: PipeReader, log: Arc<Mutex<Log>>, name: &str) -> anyhow::Result<Self> {
        let (ended_send, ended) = mpsc::channel();
        let last = Arc::new(Mutex::new(LastLines::default()));
        let kept = Arc::clone(&last);
        std::thread::Builder::new()
            .name(format!("log-{name}"))
            .spawn(move || {
                pump(reader, &log, &kept);
                let _ = ended_send.send(());
            })
            .context("cannot start the thread that reads a program's output")?;
        Ok(Self { ended, last })
    }

    /// What the program said last.
    pub fn last_words(&self) -> String {
        let _ = self.ended.recv_timeout(REST_WITHIN);
        lock(&self.last).text()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pump(mut reader: PipeReader, log: &Mutex<Log>, last: &Mutex<LastLines>) {
    let mut buffer = [0; 8_192];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(bytes) => {
                lock(log).write(&buffer[..bytes]);
                lock(last).take(&buffer[..bytes]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The last lines that say something.
#[derive(Default)]
struct LastLines {
    lines: VecDeque<String>,
    begun: Vec<u8>,
}

impl LastLines {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                _ if self.begun.len() < LINE_BYTES => self.begun.push(*byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        let line = shown(&std::mem::take(&mut self.begun));
        if line.is_empty() {
            return;
        }
        self.lines.push_back(line);
        if self.lines.len() > LAST_LINES {
            self.lines.pop_front();
        }
    }

    fn text(&mut self) -> String {
        self.end_line();
        let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        lines.join(" / ")
    }
}

/// A line without what would disturb a terminal or another log.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let plain: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_CHARS).collect();
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_short_and_plain() {
        let mut last = LastLines::default();
        last.take(b"one\ntwo\n\n\x1b[31mthree\n  \nError: no ");
        last.take("bücher\u{7}".as_bytes());
        assert_eq!(last.text(), "two / [31mthree / Error: no bücher");
        last.take("x".repeat(100_000).as_bytes());
        assert!(last.text().len() < 1_000 && last.begun.is_empty());
    }

    #[test]
    fn a_log_begins_anew_when_it_is_full_and_at_every_start() {
        let folder =
            std::env::temp_dir().join(format!("campana-log-{}", campana_bus::ids::NodeId::fresh()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("chat.log");
        let mut log = Log { bytes_max: 10, ..Log::begin(path.clone()) };
        for word in ["0123456789", "ab", "cdefghijkl", "mn"] {
            log.write(word.as_bytes());
        }
        let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
        let before = folder.join("chat.log.1");
        assert_eq!((read(&path).as_str(), read(&before).as_str()), ("mn", "abcdefghijkl"));
        drop(Log::begin(path.clone()));
        assert_eq!((read(&path).as_str(), read(&before).as_str()), ("", "mn"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn both_outputs_of_a_program_arrive() {
        let folder =
            std::env::temp_dir().join(format!("campana-out-{}", campana_bus::ids::NodeId::fresh()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = Arc::new(Mutex::new(Log::begin(folder.join("x.log"))));
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2"]);
        let reader = Output::take(&mut command).unwrap();
        let mut child = command.spawn().unwrap();
        drop(command);
        let output = Output::follow(reader, Arc::clone(&log), "x").unwrap();
        child.wait().unwrap();
        output.ended.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(output.last_words(), "out / err");
        assert_eq!(std::fs::read_to_string(&lock(&log).path).unwrap(), "out\nerr\n");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
