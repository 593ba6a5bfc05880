//! The two relays of the layer: bytes of requests and answers, and frames of WebSockets. They
//! write nothing while the target stands still; what happens to a frame is decided in
//! [`super::lane`]. A connection that ends on one side is ended on the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{accept_async_with_config, client_async_with_config};

use super::lane::{Lane, What, slot_of_request};
use super::layer::Shared;
use crate::clock::now_ns;

const BYTES_AT_ONCE: usize = 16 * 1024;
/// tungstenite zero-fills its read buffer before each read, 128 KiB by default.
const READ_BUFFER_BYTES: usize = 4 * 1024;
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// A reader that answers no pings is not waited for.
const UNREAD_MAX: usize = 10_000;
/// Every request begins with it, and the harness writes one in one piece.
const REQUEST: &[u8] = b"POST ";

/// One connection for requests.
pub async fn relay_posts(front: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let behind = TcpStream::connect(&shared.authority).await.ok()?;
    front.set_nodelay(true).ok()?;
    behind.set_nodelay(true).ok()?;
    let (from_front, to_front) = front.into_split();
    let (from_behind, to_behind) = behind.into_split();
    tokio::select! {
        ended = copy(from_front, to_behind, &shared) => ended,
        ended = copy(from_behind, to_front, &shared) => ended,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
) -> Option<()> {
    let mut buffer = vec![0; BYTES_AT_ONCE];
    loop {
        let read = from.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        if buffer[..read].starts_with(REQUEST) {
            shared.request(slot_of_request(&buffer[..read]));
        }
        shared.pass().await;
        to.write_all(&buffer[..read]).await.ok()?;
    }
}

/// One receiver's connection.
pub async fn relay_socket(front: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let host = shared.ws_url.host_str()?;
    let port = shared.ws_url.port_or_known_default()?;
    let behind = TcpStream::connect(format!("{host}:{port}")).await.ok()?;
    front.set_nodelay(true).ok()?;
    behind.set_nodelay(true).ok()?;
    let opened = client_async_with_config(shared.ws_url.as_str(), behind, Some(config)).await;
    let (mut behind, _) = opened.ok()?;
    let mut front = accept_async_with_config(front, Some(config)).await.ok()?;
    let mut lane = Lane::default();
    let mut unread = Unread::default();
    loop {
        let wake = lane.next_due_ns().map(|due_ns| due_ns.saturating_sub(now_ns()));
        tokio::select! {
            heard = behind.next() => match heard?.ok()? {
                Message::Text(text) => {
                    let (plan, came_ns) = (shared.plan(), now_ns());
                    for line in text.lines().filter(|line| !line.is_empty()) {
                        shared.came(lane.enter(line, came_ns, plan));
                    }
                }
                Message::Close(_) => return None,
                other if other.is_binary() => {
                    shared.pass().await;
                    front.send(other).await.ok()?;
                }
                _ => {}
            },
            heard = front.next() => match heard?.ok()? {
                Message::Close(_) => return None,
                Message::Pong(number) => unread.answered(&number, |slot| shared.read(slot)),
                said if said.is_text() || said.is_binary() => {
                    shared.pass().await;
                    behind.send(said).await.ok()?;
                }
                _ => {}
            },
            () = tokio::time::sleep(Duration::from_nanos(wake.unwrap_or(0))), if wake.is_some() => {}
        }
        while let Some(out) = lane.due(now_ns()) {
            shared.pass().await;
            shared.left(&out);
            front.send(Message::text(out.text.as_str())).await.ok()?;
            if [What::Whole, What::Corrupted, What::Swapped].contains(&out.what) {
                front.send(Message::Ping(unread.number(out.slot))).await.ok()?;
            }
        }
    }
}

/// Publications whose reader has not answered the ping behind them. A client may answer only the
/// newest of several pings (RFC 6455, 5.5.3): an answer stands for all before it.
#[derive(Debug, Default)]
struct Unread {
    slots: VecDeque<u64>,
    /// The number of the first of them.
    first: u64,
}

impl Unread {
    /// The ping for this publication.
    fn number(&mut self, slot: u64) -> Bytes {
        let number = self.first + self.slots.len() as u64;
        self.slots.push_back(slot);
        if self.slots.len() > UNREAD_MAX {
            self.slots.pop_front();
            self.first += 1;
        }
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    /// What has been read by now.
    fn answered(&mut self, number: &[u8], mut read: impl FnMut(u64)) {
        let Ok(bytes) = <[u8; 8]>::try_from(number) else { return };
        while self.first <= u64::from_be_bytes(bytes)
            && let Some(slot) = self.slots.pop_front()
        {
            self.first += 1;
            read(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_stands_for_all_before_it() {
        let (mut unread, mut seen) = (Unread::default(), Vec::new());
        let numbers: Vec<Bytes> = [7, 8, 9].map(|slot| unread.number(slot)).into();
        unread.answered(&numbers[1], |slot| seen.push(slot));
        unread.answered(b"hello", |slot| seen.push(slot));
        unread.answered(&numbers[0], |slot| seen.push(slot));
        assert_eq!(seen, [7, 8]);
        for slot in 0..2 * UNREAD_MAX as u64 {
            unread.number(slot);
        }
        assert_eq!(unread.slots.len(), UNREAD_MAX);
        unread.answered(&u64::MAX.to_be_bytes(), |slot| seen.push(slot));
        assert_eq!((seen.len(), unread.slots.len()), (2 + UNREAD_MAX, 0));
    }
}
