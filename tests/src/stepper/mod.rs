//! A proxy between a worker and nats-server that kills the worker at an exact step of the protocol.
//! Reads: both directions of every connection, operation by operation. Writes: them, unchanged; `SIGKILL`.
//! Never: changes, delays or reorders anything, and never lets an operation through that the worker's death
//! was to forestall.
//!
//! Stepping from outside leaves the library as it is: no failure points in the code that is tested, and a
//! step is defined by what the server was told, which is all that a loss can depend on.

pub mod plan;
pub mod wire;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::process::{Signal, signal};
use plan::{Kill, Moment, Step};
use wire::{Op, acknowledged_sequence, next_op};

/// A worker asks here at the start of a handler, and stands still until it is answered.
pub const HANDLER_STARTS: &str = "probe.starts";
/// A worker asks here when the work of a handler is done.
pub const HANDLER_DONE: &str = "probe.done";

/// What the proxy knows.
#[derive(Debug, Default)]
struct State {
    kill: Option<Kill>,
    /// The reply subject on which the answer to the awaited step comes.
    awaited: Option<String>,
    /// In which life of the worker the server was told that a message is done, by stream sequence.
    done_in_life: HashMap<u64, u32>,
    life: u32,
    violations: Vec<String>,
}

/// A running proxy.
#[derive(Debug)]
pub struct Stepper {
    port: u16,
    shared: Arc<Shared>,
    killed: mpsc::UnboundedReceiver<Kill>,
    /// Ends with its owner, and every connection with it.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    worker: AtomicU32,
    killed: mpsc::UnboundedSender<Kill>,
}

impl Stepper {
    /// Listens on a free port and passes everything on to the server on `upstream`.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(upstream: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (told, killed) = mpsc::unbounded_channel();
        let shared =
            Arc::new(Shared { state: Mutex::default(), worker: AtomicU32::new(0), killed: told });
        let mut tasks = JoinSet::new();
        let of_task = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await {
                    connections.spawn(pass_on(Arc::clone(&of_task), client, server));
                }
            }
        });
        Ok(Self { port, shared, killed, _tasks: tasks })
    }

    /// Where a worker connects.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Names the worker's process; a new life begins.
    pub fn worker(&self, pid: u32) {
        self.shared.worker.store(pid, Ordering::SeqCst);
        self.shared.state().life += 1;
    }

    /// Plans the next kill.
    pub fn plan(&self, kill: Option<Kill>) {
        let mut state = self.shared.state();
        state.kill = kill;
        state.awaited = None;
    }

    /// The next kill that happened.
    pub async fn killed(&mut self) -> Option<Kill> {
        self.killed.recv().await
    }

    /// Messages that came again although a worker of an earlier life had told the server that they are done.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.shared.state().violations.clone()
    }
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    /// The worker dies, the operation is lost.
    DieFirst,
    /// The operation gets through, then the worker dies.
    DieAfter,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge_sent(&self, op: &Op) -> Verdict {
        let mut state = self.state();
        let Some(step) = plan::sent(op) else {
            return Verdict::Pass;
        };
        let verdict = match state.kill {
            Some(kill) if kill.step == step && state.awaited.is_none() => match kill.moment {
                Moment::Before => Verdict::DieFirst,
                Moment::After | Moment::Answered if plan::is_answered(step) => {
                    state.awaited.clone_from(&op.reply);
                    Verdict::Pass
                }
                Moment::After | Moment::Answered => Verdict::DieAfter,
            },
            _ => Verdict::Pass,
        };
        if verdict != Verdict::DieFirst
            && matches!(step, Step::Ack | Step::Term)
            && let Some(sequence) = acknowledged_sequence(&op.subject)
        {
            let life = state.life;
            state.done_in_life.insert(sequence, life);
        }
        verdict
    }

    fn judge_received(&self, op: &Op) -> Verdict {
        let mut state = self.state();
        if let Some(awaited) = &state.awaited
            && *awaited == op.subject
        {
            return match state.kill {
                Some(Kill { moment: Moment::Answered, .. }) => Verdict::DieAfter,
                _ => Verdict::DieFirst,
            };
        }
        let Some(sequence) = op.reply.as_deref().and_then(acknowledged_sequence) else {
            return Verdict::Pass;
        };
        // In the same life the server's time-out and the acknowledgement may cross on the wire.
        if let Some(life) = state.done_in_life.get(&sequence).copied()
            && life < state.life
        {
            state.violations.push(format!("sequence {sequence} came again: {}", op.subject));
        }
        match state.kill {
            Some(Kill { step: Step::Delivered, .. }) => Verdict::DieFirst,
            _ => Verdict::Pass,
        }
    }

    fn kill(&self) {
        let pid = self.worker.load(Ordering::SeqCst);
        let _ = signal(pid, Signal::KILL);
        let kill = self.state().kill.take();
        if let Some(kill) = kill {
            let _ = self.killed.send(kill);
        }
    }
}

async fn pass_on(shared: Arc<Shared>, client: TcpStream, server: TcpStream) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (stop, stopped) = watch::channel(false);
    let up = one_way(from_client, to_server, stopped.clone(), |op| shared.judge_sent(op), &shared);
    let down = one_way(from_server, to_client, stopped, |op| shared.judge_received(op), &shared);
    tokio::pin!(up, down);
    // When one direction ends, so does the other. What was written to the server before is read by it, since
    // the connection is closed in order, not reset: the rest of the other direction is read to its end.
    tokio::select! {
        _ = &mut up => { let _ = stop.send(true); down.await; }
        _ = &mut down => { let _ = stop.send(true); up.await; }
    }
}

async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut stopped: watch::Receiver<bool>,
    judge: impl Fn(&Op) -> Verdict,
    shared: &Shared,
) {
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    'connection: loop {
        while let Some(op) = next_op(&mut buffer) {
            if *stopped.borrow() {
                break 'connection;
            }
            let verdict = judge(&op);
            if verdict == Verdict::DieFirst {
                shared.kill();
                break 'connection;
            }
            if to.write_all(&op.raw).await.is_err() {
                break 'connection;
            }
            if verdict == Verdict::DieAfter {
                shared.kill();
                break 'connection;
            }
        }
        tokio::select! {
            read = from.read_buf(&mut buffer) => if !matches!(read, Ok(1..)) { break },
            _ = stopped.changed() => break,
        }
    }
    let _ = to.shutdown().await;
    // Unread bytes would turn the close into a reset, which can void what was written just before.
    let mut rest = [0_u8; 4096];
    let drained = async { while matches!(from.read(&mut rest).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), drained).await;
}
