//! Keep-alive HTTP/1.1 connections of open load. A request is written by whoever dispatches it,
//! without a task switch, so that the noted moment is the moment of the write; the answer is read
//! by the connection's own task. The least recently used connections stay idle, so a pool that
//! was once large costs nothing. Bounded by the number of requests without an answer.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Sending;
use crate::clock::now_ns;
use crate::http1::{self, ANSWER_BYTES_MAX};
use crate::intake::Event;

/// How often a connection's task looks at its request's age.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 2 * 1024;

/// One request on its way to a connection.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    pub slot: u64,
    pub wave: u32,
    pub recipient: u32,
    pub intended_ns: u64,
}

/// The connections.
pub struct Pool {
    sending: Arc<Sending>,
    runtime: Handle,
    limit: usize,
    in_flight: AtomicUsize,
    idle: Mutex<Vec<Arc<Link>>>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// One connection and the request that waits on it.
struct Link {
    stream: TcpStream,
    pending: Mutex<Option<Pending>>,
}

#[derive(Clone, Copy)]
struct Pending {
    slot: u64,
    sent_ns: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock holds a value that is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// An empty pool of at most `limit` requests without an answer.
    pub fn new(sending: Arc<Sending>, limit: usize, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            sending,
            runtime,
            limit,
            in_flight: AtomicUsize::new(0),
            idle: Mutex::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Opens connections before the first arrival, so that it does not pay for them.
    pub async fn warm(self: &Arc<Self>, count: usize) -> io::Result<()> {
        for _ in 0..count.min(self.limit) {
            let link = self.connect().await?;
            self.serve(&link);
            locked(&self.idle).push(link);
        }
        Ok(())
    }

    /// Sends now; false if too many requests are without an answer.
    pub fn dispatch(self: &Arc<Self>, ticket: Ticket, bytes: &[u8]) -> bool {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.limit {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        let idle = locked(&self.idle).pop();
        match idle {
            Some(link) => self.write(&link, ticket, bytes),
            None => {
                let (pool, bytes) = (Arc::clone(self), bytes.to_vec());
                self.tasks.spawn_on(
                    async move {
                        match pool.connect().await {
                            Ok(link) => {
                                pool.serve(&link);
                                pool.write(&link, ticket, &bytes);
                            }
                            Err(error) => pool.never_sent(ticket, &error),
                        }
                    },
                    &self.runtime,
                );
            }
        }
        true
    }

    /// Ends every connection; requests without an answer become unknown.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn connect(&self) -> io::Result<Arc<Link>> {
        let opening = TcpStream::connect(&self.sending.authority);
        let stream = tokio::time::timeout(self.sending.timeout, opening)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // Without it a request in two segments waits for a delayed ack of up to 40 ms.
        stream.set_nodelay(true)?;
        Ok(Arc::new(Link { stream, pending: Mutex::new(None) }))
    }

    fn serve(self: &Arc<Self>, link: &Arc<Link>) {
        let reader = Arc::clone(self).read(Arc::clone(link));
        self.tasks.spawn_on(reader, &self.runtime);
    }

    fn write(self: &Arc<Self>, link: &Arc<Link>, ticket: Ticket, bytes: &[u8]) {
        let Ticket { slot, wave, recipient, intended_ns } = ticket;
        let sent_ns = now_ns();
        *locked(&link.pending) = Some(Pending { slot, sent_ns });
        self.sending.intake.push(Event::Sent { slot, wave, recipient, intended_ns, sent_ns });
        let written = match link.stream.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // The reader sees the same error and enters it, unless it has already left.
            Err(error) => return self.fail(link, error.to_string()),
        };
        if written < bytes.len() {
            let (pool, link, rest) =
                (Arc::clone(self), Arc::clone(link), bytes[written..].to_vec());
            self.tasks.spawn_on(
                async move {
                    if let Err(error) = write_rest(&link.stream, &rest).await {
                        pool.fail(&link, error.to_string());
                    }
                },
                &self.runtime,
            );
        }
    }

    /// The connection's task: reads answers until the connection ends.
    async fn read(self: Arc<Self>, link: Arc<Link>) {
        let mut buffer = Vec::with_capacity(READ_BYTES);
        let reason = loop {
            let ready = tokio::select! {
                ready = tokio::time::timeout(LOOK_EVERY, link.stream.readable()) => ready,
                () = self.closing.cancelled() => break "the step was over".to_owned(),
            };
            match ready {
                Err(_) if self.too_old(&link) => break "time-out".to_owned(),
                Err(_) => continue,
                Ok(Err(error)) => break error.to_string(),
                Ok(Ok(())) => {}
            }
            match link.stream.try_read_buf(&mut buffer) {
                Ok(0) => break "the connection was closed".to_owned(),
                Ok(_) if buffer.len() > ANSWER_BYTES_MAX => break "a huge answer".to_owned(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => break error.to_string(),
            }
            match http1::parse_answer(&buffer) {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    buffer.clear();
                    if !self.answered(&link, &answer) {
                        return;
                    }
                }
                Err(error) => break error,
            }
        };
        // First out of the idle ones, so that nobody takes it any more; then whoever had it.
        locked(&self.idle).retain(|other| !Arc::ptr_eq(other, &link));
        self.fail(&link, reason);
    }

    fn too_old(&self, link: &Link) -> bool {
        let age_of = |pending: Pending| now_ns().saturating_sub(pending.sent_ns);
        locked(&link.pending)
            .is_some_and(|pending| u128::from(age_of(pending)) > self.sending.timeout.as_nanos())
    }

    /// Enters an answer; whether the connection goes on.
    fn answered(&self, link: &Arc<Link>, answer: &http1::Answer) -> bool {
        let at_ns = now_ns();
        let Some(pending) = locked(&link.pending).take() else {
            // An answer that nobody asked for; the connection cannot be trusted any more.
            locked(&self.idle).retain(|other| !Arc::ptr_eq(other, link));
            return false;
        };
        self.sending.answered(pending.slot, at_ns, answer);
        if answer.keep_alive {
            locked(&self.idle).push(Arc::clone(link));
        }
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        answer.keep_alive
    }

    /// The request on this connection has no answer, if there is one.
    fn fail(&self, link: &Link, reason: String) {
        if let Some(pending) = locked(&link.pending).take() {
            self.sending.unanswered(pending.slot, now_ns(), reason);
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn never_sent(&self, ticket: Ticket, error: &io::Error) {
        let Ticket { slot, wave, recipient, intended_ns } = ticket;
        let sent_ns = now_ns();
        self.sending.intake.push(Event::Sent { slot, wave, recipient, intended_ns, sent_ns });
        self.sending.unanswered(slot, sent_ns, format!("connect: {error}"));
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn write_rest(stream: &TcpStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
