//! One receiver's connection: opens it, reads it until it ends, and opens it again. The only file
//! of the receivers that touches a socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use super::protocol::{Heard, Protocol, Publication, Speaker};
use super::{CONNECT_TIMEOUT, Common, Leave, Seat};
use crate::clock;
use crate::intake::{Channel, Event};
use crate::mark::{self, Read};
use crate::stamps::Stamps;

/// tungstenite zero-fills its read buffer before each read, 128 KiB by default.
const READ_BUFFER_BYTES: usize = 4 * 1024;
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
const REASON_CHARS_MAX: usize = 120;

pub(super) type Socket = WebSocketStream<TcpStream>;

/// Why reading ended.
enum End {
    Stopped,
    Ordered,
    Lost(String),
}

/// One connection's task.
pub(super) struct Receiver {
    index: usize,
    seat: Seat,
    speaker: Speaker,
    common: Arc<Common>,
    leave: watch::Receiver<Leave>,
}

impl Receiver {
    pub fn new(
        index: usize,
        seat: Seat,
        protocol: Protocol,
        common: Arc<Common>,
        leave: watch::Receiver<Leave>,
    ) -> Self {
        Self { index, seat, speaker: Speaker::new(protocol), common, leave }
    }

    pub fn url(&self) -> &Url {
        &self.seat.url
    }

    /// Opens the connection and returns when it is subscribed.
    pub async fn connect(&mut self) -> Result<Socket, String> {
        let mut socket = self.open().await?;
        for message in self.speaker.first(&self.seat) {
            socket.send(message).await.map_err(text)?;
        }
        loop {
            let message = socket.next().await.ok_or("the connection ended before the reply")?;
            let message = message.map_err(text)?;
            if let Message::Close(frame) = message {
                return Err(frame.map_or_else(|| "closed".to_owned(), |frame| frame.to_string()));
            }
            let heard = self.hear(&message, clock::now_ns())?;
            heard.answer(&mut socket).await?;
            if let Some(unrecovered) = heard.ready {
                self.common.counters.unrecovered.fetch_add(unrecovered, Ordering::AcqRel);
                self.common.counters.open.fetch_add(1, Ordering::AcqRel);
                return Ok(socket);
            }
        }
    }

    async fn open(&self) -> Result<Socket, String> {
        let url = &self.seat.url;
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
        let mut request = url.as_str().into_client_request().map_err(text)?;
        if let Some(name) = self.speaker.subprotocol() {
            let headers = request.headers_mut();
            headers.insert("sec-websocket-protocol", HeaderValue::from_static(name));
        }
        let opened = client_async_with_config(request, stream, Some(config)).await;
        Ok(opened.map_err(text)?.0)
    }

    /// Reads until the run ends, coming back whenever the connection is lost or cut.
    pub async fn run(mut self, socket: Socket) {
        let stop = self.common.stop.clone();
        let mut socket = Some(socket);
        while let Some(mut open) = socket.take() {
            let end = tokio::select! {
                () = stop.cancelled() => End::Stopped,
                end = self.read(&mut open) => end,
            };
            let counters = &self.common.counters;
            counters.open.fetch_sub(1, Ordering::AcqRel);
            let ordered = match end {
                End::Stopped => {
                    let _ = open.close(None).await;
                    return;
                }
                End::Ordered => true,
                End::Lost(reason) => {
                    counters.lost.fetch_add(1, Ordering::AcqRel);
                    let reason = reason.chars().take(REASON_CHARS_MAX).collect();
                    let (recipient, at_ns) = (self.seat.recipient, clock::now_ns());
                    self.common.intake.push(Event::Dropped { recipient, at_ns, reason });
                    false
                }
            };
            drop(open);
            socket = tokio::select! {
                () = stop.cancelled() => None,
                again = self.come_back() => Some(again),
            };
            if ordered && socket.is_some() {
                self.common.counters.returned.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// Tries until it works; whoever waits for it has a deadline of his own.
    async fn come_back(&mut self) -> Socket {
        let mut pause = RETRY_FIRST;
        loop {
            if let Ok(Ok(socket)) = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
                return socket;
            }
            // Spread by the seat, so that thousands do not knock in step.
            let spread = pause.mul_f64(0.5 + (self.index % 97) as f64 / 97.0);
            tokio::time::sleep(spread).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn read(&mut self, socket: &mut Socket) -> End {
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                changed = self.leave.changed() => {
                    // The sender lives as long as the receivers: an error is the end.
                    if changed.is_err() {
                        return End::Stopped;
                    }
                    let order = *self.leave.borrow_and_update();
                    if order.hits(self.index) {
                        return End::Ordered;
                    }
                    continue;
                }
            };
            let at_ns = clock::now_ns();
            let message = match message {
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map_or_else(|| "closed".to_owned(), |f| f.to_string());
                    return End::Lost(reason);
                }
                Some(Ok(message)) => message,
                Some(Err(error)) => return End::Lost(error.to_string()),
                None => return End::Lost("ended".to_owned()),
            };
            let answered = match self.hear(&message, at_ns) {
                Ok(heard) => heard.answer(socket).await,
                Err(error) => Err(error),
            };
            if let Err(error) = answered {
                return End::Lost(error);
            }
        }
    }

    /// Reads one message and enters what it holds.
    fn hear(&mut self, message: &Message, at_ns: u64) -> Result<Answers, String> {
        let bytes: &[u8] = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            _ => return Ok(Answers::default()),
        };
        let mut heard = Answers::default();
        let (common, recipient) = (&self.common, self.seat.recipient);
        let (mut refused, mut pings) = (None, 0_u32);
        heard.messages = self.speaker.hear(bytes, &mut |event| match event {
            Heard::Publication(publication) => {
                common.intake.push(receipt(common, recipient, at_ns, &publication));
            }
            Heard::Ping => pings += 1,
            Heard::Ready { unrecovered } => heard.ready = Some(unrecovered),
            Heard::Refused(text) => refused = Some(text),
        })?;
        heard.messages.extend((0..pings).map(|_| self.speaker.pong()));
        refused.map_or(Ok(heard), Err)
    }
}

/// What a message asks for.
#[derive(Default)]
struct Answers {
    ready: Option<u32>,
    messages: Vec<Message>,
}

impl Answers {
    async fn answer(&self, socket: &mut Socket) -> Result<(), String> {
        for message in &self.messages {
            socket.send(message.clone()).await.map_err(text)?;
        }
        Ok(())
    }
}

fn receipt(common: &Common, recipient: u32, at_ns: u64, publication: &Publication<'_>) -> Event {
    match mark::read(common.run, &publication.title, &publication.body) {
        Read::Ours { slot, intact } => Event::Receipt {
            slot,
            channel: Channel::InApp,
            recipient,
            at_ns,
            offset: publication.offset,
            intact,
            recovered: publication.recovered,
            stamps: publication
                .stamps
                .as_deref()
                .and_then(|stamps| Stamps::parse(stamps, common.boot)),
        },
        Read::Foreign => Event::Stranger { channel: Channel::InApp, recipient, at_ns },
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
