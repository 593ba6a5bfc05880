//! An echo edge in this process: a POST comes back on the WebSocket of its first recipient. What
//! the harness measures against it is what the harness itself needs. It speaks just enough HTTP
//! and Centrifuge for our own clients, listens on loopback only, and stores nothing.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::target::{Target, TokenSource};

const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Frames that a socket may be behind.
const OUTBOX: usize = 10_000;
/// The kernel takes no more than its own `somaxconn`.
const BACKLOG: u32 = 4_096;
const HEADERS_MAX: usize = 32;
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}";

type Outboxes = Arc<Mutex<HashMap<String, mpsc::Sender<String>>>>;

/// A running echo.
pub struct NullTarget {
    pub target: Target,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow)]
    to: Vec<Recipient<'a>>,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Recipient<'a> {
    id: &'a str,
}

#[derive(Deserialize)]
struct Content<'a> {
    title: &'a str,
    body: &'a str,
}

#[derive(Deserialize)]
struct Command {
    id: u32,
    connect: Connect,
}

#[derive(Deserialize)]
struct Connect {
    token: String,
}

impl NullTarget {
    /// Starts on two free ports.
    pub async fn start() -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::failed("the echo of this process", error);
        let posts = listen_on_loopback().map_err(failed)?;
        let sockets = listen_on_loopback().map_err(failed)?;
        let post_at = posts.local_addr().map_err(failed)?;
        let socket_at = sockets.local_addr().map_err(failed)?;
        let echo = Self {
            target: target(post_at, socket_at)?,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let outboxes = Outboxes::default();
        echo.listen(posts, Arc::clone(&outboxes), take_posts);
        echo.listen(sockets, outboxes, push);
        Ok(echo)
    }

    /// Ends every connection.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn listen<F: Future<Output = Option<()>> + Send + 'static>(
        &self,
        listener: TcpListener,
        outboxes: Outboxes,
        serve: fn(TcpStream, Outboxes) -> F,
    ) {
        let (tasks, stop) = (self.tasks.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => return,
                };
                let Ok((stream, _)) = accepted else { return };
                let serving = serve(stream, Arc::clone(&outboxes));
                let stop = stop.clone();
                tasks.spawn(async move {
                    tokio::select! {
                        _ = serving => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        });
    }
}

/// A free port whose queue holds a whole burst of connections. Beyond the usual 128 the kernel
/// lets the rest try again after a second, which would be measured.
pub fn listen_on_loopback() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(BACKLOG)
}

fn target(posts: SocketAddr, sockets: SocketAddr) -> Result<Target, Failure> {
    let url = |text: String| text.parse().map_err(|error| Failure::failed("an address", error));
    let mut target = Target::campana(url(format!("http://{posts}"))?, String::new())?;
    target.name = "echo in the generator".to_owned();
    target.tokens = TokenSource::Name;
    target.ws_url = Some(url(format!("ws://{sockets}/connection/websocket"))?);
    target.durability = "none".to_owned();
    Ok(target)
}

/// Reads requests of one connection; ends at the first that is not as expected.
async fn take_posts(mut stream: TcpStream, outboxes: Outboxes) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::with_capacity(4 * 1024);
    loop {
        let Some((start, end)) = whole_request(&buffer)? else {
            if buffer.len() > REQUEST_BYTES_MAX || stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
            continue;
        };
        let text = std::str::from_utf8(&buffer[start..end]).ok()?;
        let notification: Notification<'_> = serde_json::from_str(text).ok()?;
        for recipient in &notification.to {
            let outbox = {
                let outboxes = outboxes.lock().unwrap_or_else(PoisonError::into_inner);
                outboxes.get(recipient.id).cloned()
            };
            if let Some(outbox) = outbox {
                let _ = outbox.send(data(&notification.content)).await;
            }
        }
        buffer.drain(..end);
        stream.write_all(ACCEPTED).await.ok()?;
    }
}

/// Where the body begins and ends: `Some(None)` while incomplete, `None` if it is no request.
#[expect(clippy::option_option, reason = "incomplete and unreadable are two different things")]
fn whole_request(bytes: &[u8]) -> Option<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(start) = request.parse(bytes).ok()? else {
        return Some(None);
    };
    let length = request.headers.iter().find(|it| it.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(length?.value).ok()?.parse().ok()?;
    let end = start.checked_add(length)?;
    Some((bytes.len() >= end).then_some((start, end)))
}

fn data(content: &Content<'_>) -> String {
    json!({
        "type": "notification", "id": content.title, "notification_id": content.title,
        "title": content.title, "body": content.body,
    })
    .to_string()
}

/// Numbered where it is written, so that the order of the numbers is the order on the wire.
fn frame(channel: &str, data: &str, offset: u64) -> String {
    format!(r#"{{"push":{{"channel":"{channel}","pub":{{"data":{data},"offset":{offset}}}}}}}"#)
}

/// One receiver's socket: lets it in and writes what is posted for it.
async fn push(stream: TcpStream, outboxes: Outboxes) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut socket = tokio_tungstenite::accept_async(stream).await.ok()?;
    let Some(Ok(Message::Text(first))) = socket.next().await else { return None };
    let command: Command = serde_json::from_str(&first).ok()?;
    let user = command.connect.token;
    let (outbox, mut inbox) = mpsc::channel(OUTBOX);
    outboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(user.clone(), outbox);
    // The harness names its recipients so that nothing in them needs escaping.
    let channel = format!("inbox:#{user}");
    let reply = json!({"id": command.id, "connect": {
        "client": "echo", "version": "0", "subs": {&channel: {}},
    }});
    socket.send(Message::text(reply.to_string())).await.ok()?;
    let mut offset = 0_u64;
    loop {
        tokio::select! {
            data = inbox.recv() => {
                offset += 1;
                socket.send(Message::text(frame(&channel, &data?, offset))).await.ok()?;
            }
            heard = socket.next() => match heard {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            },
        }
    }
}
