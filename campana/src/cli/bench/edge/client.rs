//! One raw WebSocket client: opened, subscribed, then only counted.
//! Reads and writes: its socket. Never: parses more than it must: this side shares the machine with the server.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::json;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use super::board::Board;
use super::dialect::{Dialect, Hello, Position};
use super::wire::{self, Scanner, Seen};

const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// One source address has about 28,000 ports for one destination.
const CONNECTIONS_PER_ADDRESS: usize = 25_000;
const READ_BYTES: usize = 64 * 1024;

/// A connection that is subscribed.
pub struct Client {
    stream: TcpStream,
    /// Everything from the frame that completed the subscription on.
    pending: Vec<u8>,
    dialect: Dialect,
}

/// A socket for the connection with this number; many connections need several source addresses.
fn socket(number: usize, receive_bytes: Option<u32>) -> anyhow::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let address = number / CONNECTIONS_PER_ADDRESS;
    if address > 0 {
        let last = u8::try_from(address + 1).context("too many connections for 127.0.0.0/24")?;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    }
    Ok(socket)
}

impl Client {
    /// Subscribe commands of one frame.
    pub const SUBSCRIBES_AT_ONCE: usize = 100;

    /// Connects, upgrades and subscribes. `receive_bytes` makes the kernel's buffer small.
    pub async fn open(
        server: SocketAddr,
        number: usize,
        dialect: Dialect,
        hello: &Hello,
        receive_bytes: Option<u32>,
    ) -> anyhow::Result<Self> {
        let opening = async {
            let mut stream = socket(number, receive_bytes)?.connect(server).await?;
            stream.set_nodelay(true)?;
            let request = format!(
                "GET {} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y2FtcGFuYS1iZW5jaC1rZQ==\r\n\r\n",
                dialect.path()
            );
            stream.write_all(request.as_bytes()).await?;
            let mut client = Self { stream, pending: Vec::with_capacity(1_024), dialect };
            client.upgraded().await?;
            for (say, answer) in dialect.steps(hello) {
                if let Some(say) = say {
                    client.stream.write_all(&say).await?;
                }
                client.answered(answer).await?;
            }
            anyhow::Ok(client)
        };
        tokio::time::timeout(OPEN_TIMEOUT, opening)
            .await
            .unwrap_or_else(|_| bail!("no answer within {} s", OPEN_TIMEOUT.as_secs()))
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.pending).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }

    async fn upgraded(&mut self) -> anyhow::Result<()> {
        let end = loop {
            if let Some(at) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.pending[..end]).into_owned();
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 101 "), "the server does not upgrade: {status}");
        self.pending.drain(..end);
        Ok(())
    }

    /// Waits for a frame with this text and keeps it and what came after it.
    async fn answered(&mut self, wanted: &str) -> anyhow::Result<()> {
        loop {
            let Some((from, to, end)) = wire::first_frame(&self.pending) else {
                self.more().await?;
                continue;
            };
            let text = String::from_utf8_lossy(&self.pending[from..to]).into_owned();
            ensure!(!end && !text.contains(self.dialect.refusal()), "the server refuses: {text}");
            // A frame that is kept is read again, and its pings are answered then.
            if text.contains(wanted) {
                return Ok(());
            }
            self.answer_pings(&text).await?;
            self.pending.drain(..to);
        }
    }

    /// A server under load may ping before it has answered.
    async fn answer_pings(&mut self, text: &str) -> anyhow::Result<()> {
        if text.split('\n').any(|line| line.as_bytes() == self.dialect.ping()) {
            self.stream.write_all(&self.dialect.pong()).await?;
        }
        Ok(())
    }

    /// Where the edge says the subscription begins.
    pub fn position(&self) -> anyhow::Result<Position> {
        let (from, to, _) = wire::first_frame(&self.pending).context("no reply was kept")?;
        let text = std::str::from_utf8(&self.pending[from..to])?;
        let line = text.lines().find(|line| line.starts_with("{\"id\":2,")).context("no reply")?;
        let reply: serde_json::Value = serde_json::from_str(line)?;
        let result = &reply["subscribe"];
        Ok(Position {
            offset: result["offset"].as_u64().unwrap_or(0),
            epoch: result["epoch"].as_str().context("the channel has no position")?.to_owned(),
        })
    }

    /// Subscribes to more channels of the edge, many in one frame; `done` is called for each.
    pub async fn subscribe_all(
        &mut self,
        channels: impl Iterator<Item = String>,
        done: impl Fn(),
    ) -> anyhow::Result<()> {
        self.replies().await?;
        let mut channels = channels.enumerate().peekable();
        while channels.peek().is_some() {
            let commands: Vec<String> = channels
                .by_ref()
                .take(Self::SUBSCRIBES_AT_ONCE)
                .map(|(at, channel)| {
                    json!({"id": at + 3, "subscribe": {"channel": channel}}).to_string()
                })
                .collect();
            self.stream.write_all(&wire::text(&commands.join("\n"))).await?;
            let mut left = commands.len();
            while left > 0 {
                let answers = self.replies().await?;
                (0..answers).for_each(|_| done());
                left = left.saturating_sub(answers);
            }
        }
        Ok(())
    }

    /// Replies in the next frame; pings are answered.
    async fn replies(&mut self) -> anyhow::Result<usize> {
        let (from, to, end) = loop {
            match wire::first_frame(&self.pending) {
                Some(frame) => break frame,
                None => self.more().await?,
            }
        };
        let text = String::from_utf8_lossy(&self.pending[from..to]).into_owned();
        self.pending.drain(..to);
        ensure!(!end && !text.contains(self.dialect.refusal()), "the server refuses: {text}");
        self.answer_pings(&text).await?;
        Ok(text.lines().filter(|line| line.starts_with("{\"id\":")).count())
    }

    /// Counts until the connection ends or this future is dropped. Messages have `bytes` bytes.
    pub async fn count(self, receiver: usize, bytes: usize, ordered: bool, board: Arc<Board>) {
        let Self { stream, pending, dialect } = self;
        let mut counter = Counter {
            stream,
            scanner: Scanner::new(dialect.ping(), wire::tail(bytes)),
            dialect,
            receiver,
            next: ordered.then_some(0),
            board,
        };
        let ended = counter.scan(&pending);
        drop(pending);
        let reason = match ended {
            Some(reason) => reason,
            None => counter.run().await,
        };
        counter.board.lost(reason);
    }
}

struct Counter {
    stream: TcpStream,
    scanner: Scanner,
    dialect: Dialect,
    receiver: usize,
    /// The number that must come next, if they come in order.
    next: Option<u64>,
    board: Arc<Board>,
}

impl Counter {
    /// Reads until the connection ends, and says why it did. The buffer belongs to the thread: ten thousand
    /// of them would be what is measured.
    async fn run(&mut self) -> String {
        thread_local! {
            static BUFFER: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; READ_BYTES]);
        }
        poll_fn(|context| {
            BUFFER.with_borrow_mut(|buffer| {
                // Bounded, so that one connection does not keep a thread.
                for _ in 0..16 {
                    let mut read = ReadBuf::new(buffer);
                    let result = ready!(Pin::new(&mut self.stream).poll_read(context, &mut read));
                    if let Err(error) = result {
                        return Poll::Ready(error.to_string());
                    }
                    if read.filled().is_empty() {
                        return Poll::Ready("ended".to_owned());
                    }
                    if let Some(reason) = self.scan(read.filled()) {
                        return Poll::Ready(reason);
                    }
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
        })
        .await
    }

    /// Counts what is in these bytes; a reason if the server closes.
    fn scan(&mut self, bytes: &[u8]) -> Option<String> {
        let Self { stream, scanner, dialect, receiver, next, board } = self;
        let at_us = board.now_us().max(1);
        let mut end = None;
        scanner.feed(bytes, &mut |seen| match seen {
            Seen::Number(number) => {
                if let Some(next) = next {
                    if *next != number {
                        board.fault();
                    }
                    *next = number + 1;
                }
                board.received(*receiver, number, at_us);
            }
            // A full buffer of a connection that only ever says this does not happen.
            Seen::Ping => drop(stream.try_write(&dialect.pong())),
            Seen::PingFrame => drop(stream.try_write(&wire::pong())),
            Seen::Close(code) => end = Some(format!("closed with {code}")),
        });
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_come_from_several_addresses() {
        let address = |number| socket(number, None).unwrap().local_addr().unwrap().ip().to_string();
        assert_eq!(address(0), "0.0.0.0");
        assert_eq!(address(CONNECTIONS_PER_ADDRESS), "127.0.0.2");
        assert_eq!(address(3 * CONNECTIONS_PER_ADDRESS + 1), "127.0.0.4");
        assert!(socket(usize::MAX, None).is_err());
    }
}
