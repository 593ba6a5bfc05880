//! The receiving side: one long-lived WebSocket connection per recipient, opened before the
//! first wave and never restarted, because a client that reconnects would recover what it
//! missed and hide a loss. Each reader stamps the moment a frame has been read and hands the
//! receipt on; it judges nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::centrifuge::{self, Event};
use crate::clock::Origin;
use crate::failure::Failure;
use crate::ledger::Receipt;
use crate::tokens::Token;

/// tungstenite zero-fills its read buffer before each read, 128 KiB by default.
const READ_BUFFER_BYTES: usize = 4 * 1024;
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const CONNECT_AT_ONCE: usize = 32;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// About 1 GiB; a sweep has a few hundred thousand.
const RECEIPTS_MAX: usize = 10_000_000;

type Socket = WebSocketStream<TcpStream>;

/// Where readers put what they read, until the ledger takes it.
#[derive(Default)]
pub struct Inbox {
    receipts: Mutex<Vec<Receipt>>,
    overflow: Mutex<u64>,
    dropped: Mutex<Vec<String>>,
}

impl Inbox {
    /// Takes what has arrived since the last call, in the order of arrival.
    pub fn take(&self) -> Vec<Receipt> {
        std::mem::take(&mut *locked(&self.receipts))
    }

    /// Takes the reasons of connections that ended since the last call.
    pub fn take_dropped(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.dropped))
    }

    /// Receipts that were thrown away because too many lay untaken.
    pub fn overflow(&self) -> u64 {
        *locked(&self.overflow)
    }

    fn push(&self, receipt: Receipt) {
        let mut receipts = locked(&self.receipts);
        if receipts.len() < RECEIPTS_MAX {
            receipts.push(receipt);
        } else {
            *locked(&self.overflow) += 1;
        }
    }
}

/// A poisoned lock holds a vector that is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All connections of a run.
pub struct Receivers {
    pub inbox: Arc<Inbox>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Receivers {
    /// Opens one connection per token, paced, and returns when each is subscribed.
    pub async fn open(
        origin: Origin,
        tokens: Vec<Token>,
        ws_url: Option<&Url>,
        progress: impl Fn(),
    ) -> Result<Self, Failure> {
        let receivers = Self {
            inbox: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let opened = stream::iter(tokens.into_iter().enumerate())
            .map(|(index, token)| async move {
                let url = ws_url.or(token.ws_url.as_ref()).cloned().ok_or_else(|| {
                    Failure::Usage(
                        "the gateway names no WebSocket address; give --ws-url".to_owned(),
                    )
                })?;
                let attempt = tokio::time::timeout(CONNECT_TIMEOUT, connect(&url, &token));
                let socket = attempt
                    .await
                    .map_err(|_| Failure::connect(&url, "time-out"))?
                    .map_err(|error| Failure::connect(&url, error))?;
                Ok::<_, Failure>((index, socket))
            })
            .buffer_unordered(CONNECT_AT_ONCE);
        let mut opened = std::pin::pin!(opened);
        while let Some((index, socket)) = opened.try_next().await? {
            let recipient = u32::try_from(index).unwrap_or(u32::MAX);
            let reader = Reader { origin, recipient, inbox: Arc::clone(&receivers.inbox) };
            receivers.tasks.spawn(reader.run(socket, receivers.stop.clone()));
            progress();
        }
        Ok(receivers)
    }

    /// Closes every connection in an orderly way.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        // A peer that does not answer the close holds nothing up: the process is about to end.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
    }
}

async fn connect(url: &Url, token: &Token) -> Result<Socket, String> {
    if url.scheme() != "ws" {
        return Err("only ws:// can be measured".to_owned());
    }
    let host = url.host_str().ok_or("the address has no host")?;
    let port = url.port_or_known_default().ok_or("the address has no port")?;
    let stream = TcpStream::connect(format!("{host}:{port}")).await.map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let (mut socket, _) =
        client_async_with_config(url.as_str(), stream, Some(config)).await.map_err(text)?;
    let command = centrifuge::connect_command(&token.token);
    socket.send(Message::text(command)).await.map_err(text)?;
    await_connected(&mut socket, token.channel.as_deref()).await?;
    Ok(socket)
}

/// Waits for the connect reply and makes sure that the personal channel came with it.
async fn await_connected(socket: &mut Socket, channel: Option<&str>) -> Result<(), String> {
    while let Some(message) = socket.next().await {
        let Message::Text(body) = message.map_err(text)? else {
            continue;
        };
        for event in centrifuge::parse(&body).map_err(text)? {
            match event {
                Event::Connected { channels } => {
                    let wanted = channel.is_none_or(|name| channels.iter().any(|has| has == name));
                    return if wanted {
                        Ok(())
                    } else {
                        Err(format!("the edge subscribed {channels:?} instead of {channel:?}"))
                    };
                }
                Event::Refused { code, message } => {
                    return Err(format!("refused: {code} {message}"));
                }
                Event::Ping | Event::Notification { .. } | Event::Other => {}
            }
        }
    }
    Err("the connection ended before the connect reply".to_owned())
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// One connection's task.
struct Reader {
    origin: Origin,
    recipient: u32,
    inbox: Arc<Inbox>,
}

impl Reader {
    async fn run(self, mut socket: Socket, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {
                let _ = socket.close(None).await;
            }
            reason = self.read(&mut socket) => locked(&self.inbox.dropped).push(reason),
        }
    }

    /// Reads until the connection ends, and says why it did.
    async fn read(&self, socket: &mut Socket) -> String {
        loop {
            let message = socket.next().await;
            let at_ns = self.origin.ns();
            let body = match message {
                Some(Ok(Message::Text(body))) => body,
                Some(Ok(Message::Close(frame))) => {
                    return frame.map_or_else(|| "closed".to_owned(), |frame| frame.to_string());
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => return error.to_string(),
                None => return "ended".to_owned(),
            };
            let events = match centrifuge::parse(&body) {
                Ok(events) => events,
                Err(error) => return format!("unreadable frame: {error}"),
            };
            for event in events {
                match event {
                    Event::Notification { id, offset } => self.inbox.push(Receipt {
                        recipient: self.recipient,
                        id: id.into_boxed_str(),
                        at_ns,
                        offset,
                    }),
                    Event::Ping => {
                        let pong = Message::Text(Utf8Bytes::from_static(centrifuge::PONG));
                        if let Err(error) = socket.send(pong).await {
                            return error.to_string();
                        }
                    }
                    Event::Refused { code, message } => return format!("{code} {message}"),
                    Event::Connected { .. } | Event::Other => {}
                }
            }
        }
    }
}
