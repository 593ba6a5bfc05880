//! A program that is kept running: started, started again with growing pauses when it ends, stopped.
//! Reads: nothing. Writes: nothing of its own. Never: lets a child outlive us: it is started by one thread that
//! lives as long as the process, and the kernel ends it with that thread ([`guard`]).

mod guard;

use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::Context;
use campana_bus::clock;
use rustix::process::{Pid, Signal, kill_process};

pub use guard::{command, run as run_guard};

/// How long a killed child may take to be gone.
const KILL_GRACE: Duration = Duration::from_secs(10);

/// What is kept running. All of it is called on the thread that watches.
pub trait Program: Send + 'static {
    /// Starts it once, through [`command`].
    fn start(&mut self) -> anyhow::Result<Child>;
    /// It runs.
    fn runs(&mut self);
    /// It ended, or could not be started, and why. It is started again after the pause; `None` if it was told to stop.
    fn ended(&mut self, why: &str, pause: Option<Duration>);
    /// The pause is over: another start comes now.
    fn again(&mut self);
}

/// How long to wait before another start: doubled with each failure, up to a bound.
#[derive(Clone, Debug)]
pub struct Pauses {
    first: Duration,
    max: Duration,
    healthy_after: Duration,
    next: Duration,
}

impl Pauses {
    /// A child that ran for `healthy_after` was healthy: its next failure begins with the first pause again.
    pub const fn new(first: Duration, max: Duration, healthy_after: Duration) -> Self {
        Self { first, max, healthy_after, next: first }
    }

    /// The pause after a life of this length.
    pub fn after(&mut self, ran: Duration) -> Duration {
        if ran > self.healthy_after {
            self.next = self.first;
        }
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.max);
        pause
    }
}

/// A program that is kept running.
pub struct Supervised {
    shared: Arc<Shared>,
    ended: Mutex<mpsc::Receiver<()>>,
    wake: mpsc::Sender<()>,
}

struct Shared {
    pid: AtomicU32,
    stopping: AtomicBool,
}

/// What the watching thread tells and hears.
struct Link {
    shared: Arc<Shared>,
    wake: mpsc::Receiver<()>,
    started: mpsc::Sender<anyhow::Result<()>>,
}

impl Supervised {
    /// Starts the program and the thread that watches it. If `must_start`, a first start that fails is an error and
    /// the end; otherwise it is tried again like every other.
    pub fn start(
        mut program: impl Program,
        pauses: Pauses,
        thread: &str,
        must_start: bool,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared { pid: AtomicU32::new(0), stopping: AtomicBool::new(false) });
        let (ended_send, ended) = mpsc::channel();
        let (wake, wake_receive) = mpsc::channel();
        let (started, started_receive) = mpsc::channel();
        let link = Link { shared: Arc::clone(&shared), wake: wake_receive, started };
        std::thread::Builder::new()
            .name(thread.to_owned())
            .spawn(move || {
                watch(&mut program, pauses, &link, must_start);
                let _ = ended_send.send(());
            })
            .with_context(|| format!("cannot start the thread {thread}"))?;
        started_receive.recv().with_context(|| format!("the thread {thread} ended"))??;
        Ok(Self { shared, ended: Mutex::new(ended), wake })
    }

    /// The child's process id now; 0 between an end and the next start.
    pub fn pid(&self) -> u32 {
        self.shared.pid.load(Ordering::SeqCst)
    }

    /// Asks the child to end, waits, and kills it after a grace period. Blocking.
    pub fn stop(&self, grace: Duration) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = self.wake.send(());
        signal(self.pid(), Signal::TERM);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(grace).is_err() {
            self.kill();
            let _ = ended.recv_timeout(KILL_GRACE);
        }
    }

    /// `kill -9` of the child that runs now, if one does.
    pub fn kill(&self) {
        signal(self.pid(), Signal::KILL);
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Runs on its own thread until told to stop.
fn watch(program: &mut impl Program, mut pauses: Pauses, link: &Link, must_start: bool) {
    let shared = &link.shared;
    let mut first = true;
    loop {
        let at = clock::monotonic();
        let why = match program.start() {
            Ok(mut child) => {
                shared.pid.store(child.id(), Ordering::SeqCst);
                program.runs();
                if std::mem::take(&mut first) {
                    let _ = link.started.send(Ok(()));
                }
                // Who stops us may have looked for a child a moment before there was one.
                if shared.stopping.load(Ordering::SeqCst) {
                    signal(child.id(), Signal::TERM);
                }
                let status = child.wait();
                shared.pid.store(0, Ordering::SeqCst);
                status.map_or_else(|error| error.to_string(), |status| status.to_string())
            }
            Err(error) if first && must_start => {
                let _ = link.started.send(Err(error));
                return;
            }
            Err(error) => {
                if std::mem::take(&mut first) {
                    let _ = link.started.send(Ok(()));
                }
                format!("{error:#}")
            }
        };
        if shared.stopping.load(Ordering::SeqCst) {
            program.ended(&why, None);
            return;
        }
        let pause = pauses.after(at.elapsed());
        program.ended(&why, Some(pause));
        if !matches!(link.wake.recv_timeout(pause), Err(mpsc::RecvTimeoutError::Timeout)) {
            return;
        }
        program.again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_after_a_healthy_life() {
        let mut pauses = Pauses::new(ms(100), ms(500), ms(30_000));
        let short = [100, 200, 400, 500, 500].map(ms);
        for wanted in short {
            assert_eq!(pauses.after(ms(5)), wanted);
        }
        assert_eq!(pauses.after(ms(30_001)), ms(100));
        assert_eq!(pauses.after(ms(5)), ms(200));
    }

    /// A program of the system, without the guard: this test program cannot become another one.
    struct Sleeper {
        told: mpsc::Sender<&'static str>,
        fails: bool,
    }

    impl Program for Sleeper {
        fn start(&mut self) -> anyhow::Result<Child> {
            anyhow::ensure!(!self.fails, "not today");
            Ok(std::process::Command::new("sleep").arg("600").spawn()?)
        }
        fn runs(&mut self) {
            let _ = self.told.send("runs");
        }
        fn ended(&mut self, _why: &str, pause: Option<Duration>) {
            let _ = self.told.send(if pause.is_some() { "ended" } else { "stopped" });
        }
        fn again(&mut self) {
            let _ = self.told.send("again");
        }
    }

    const PAUSES: Pauses = Pauses::new(ms(1), ms(1), ms(1));
    const WITHIN: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_killed_is_started_again_and_what_is_stopped_is_not() {
        let (told, hear) = mpsc::channel();
        let child =
            Supervised::start(Sleeper { told, fails: false }, PAUSES, "test", true).unwrap();
        assert_eq!(hear.recv_timeout(WITHIN), Ok("runs"));
        signal(child.pid(), Signal::KILL);
        for wanted in ["ended", "again", "runs"] {
            assert_eq!(hear.recv_timeout(WITHIN), Ok(wanted));
        }
        child.stop(WITHIN);
        assert_eq!(hear.recv_timeout(WITHIN), Ok("stopped"));
        assert_eq!(child.pid(), 0);
    }

    #[test]
    fn a_first_start_that_fails_is_an_error_only_where_it_must_not() {
        let (told, hear) = mpsc::channel();
        let failed =
            Supervised::start(Sleeper { told: told.clone(), fails: true }, PAUSES, "test", true);
        assert!(failed.is_err_and(|error| error.to_string().contains("not today")));
        let tries =
            Supervised::start(Sleeper { told, fails: true }, PAUSES, "test", false).unwrap();
        for wanted in ["ended", "again", "ended"] {
            assert_eq!(hear.recv_timeout(WITHIN), Ok(wanted));
        }
        tries.stop(WITHIN);
    }

    #[test]
    fn a_stop_does_not_wait_for_a_pause() {
        let (told, hear) = mpsc::channel();
        let long = Pauses::new(WITHIN * 60, WITHIN * 60, WITHIN);
        let tries = Supervised::start(Sleeper { told, fails: true }, long, "test", false).unwrap();
        assert_eq!(hear.recv_timeout(WITHIN), Ok("ended"));
        // Ends by itself long before the hour is over, or the test does.
        tries.stop(WITHIN * 60);
    }
}
