//! A small client of the Centrifuge protocol (JSON, version 2), written from the protocol and not from the
//! edge's code.
//! Reads and writes: one WebSocket. Never: connects again by itself; a test says when.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use campana_bus::clock;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longer than the bus waits before it gives a message that was in hand at a kill to somebody else (30 s).
const PATIENCE: Duration = Duration::from_secs(50);

/// What a socket brings.
#[derive(Debug)]
pub enum Event {
    /// One line: a reply or a push.
    Line(Value),
    /// The end, with the close frame's code and reason; 1006 and empty if there was none.
    Closed(u16, String),
}

/// A publication of a channel.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its position.
    pub offset: u64,
    /// Its data.
    pub data: Value,
    /// Its tags.
    pub tags: Value,
}

/// A WebSocket that speaks raw frames.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    lines: Vec<Value>,
}

impl Socket {
    /// Opens a WebSocket.
    ///
    /// # Errors
    /// If the handshake fails.
    pub async fn open(url: &str) -> Result<Self> {
        let opened = tokio::time::timeout(PATIENCE, tokio_tungstenite::connect_async(url)).await;
        let (stream, _) = opened.context("the handshake takes too long")??;
        Ok(Self { stream, lines: Vec::new() })
    }

    /// Sends one command.
    ///
    /// # Errors
    /// If the socket is closed.
    pub async fn send(&mut self, command: &Value) -> Result<()> {
        self.send_raw(Message::text(command.to_string())).await
    }

    /// Sends any frame.
    ///
    /// # Errors
    /// If the socket is closed.
    pub async fn send_raw(&mut self, frame: Message) -> Result<()> {
        Ok(self.stream.send(frame).await?)
    }

    /// The next line or the end; pings are answered on the way.
    ///
    /// # Errors
    /// If nothing comes in time.
    pub async fn next(&mut self, within: Duration) -> Result<Event> {
        let started = clock::monotonic();
        loop {
            if !self.lines.is_empty() {
                let line = self.lines.remove(0);
                if line.as_object().is_some_and(serde_json::Map::is_empty) {
                    self.send(&json!({})).await?;
                    continue;
                }
                return Ok(Event::Line(line));
            }
            let left = within.saturating_sub(started.elapsed());
            let frame = tokio::time::timeout(left, self.stream.next())
                .await
                .context("nothing came in time")?;
            match frame {
                Some(Ok(Message::Text(text))) => {
                    for line in text.as_str().lines().filter(|line| !line.is_empty()) {
                        self.lines.push(
                            serde_json::from_str(line)
                                .with_context(|| format!("no JSON: {line}"))?,
                        );
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (frame.code.into(), frame.reason.to_string())
                    });
                    return Ok(Event::Closed(code, reason));
                }
                Some(Ok(_)) => {}
                Some(Err(WsError::Protocol(_) | WsError::Io(_) | WsError::ConnectionClosed))
                | None => {
                    return Ok(Event::Closed(1006, String::new()));
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// The reply to a command, or the end; pushes before it are dropped.
    ///
    /// # Errors
    /// If neither comes in time.
    pub async fn reply(&mut self, id: u64) -> Result<Event> {
        loop {
            match self.next(PATIENCE).await? {
                Event::Line(line) if line["id"] == id => return Ok(Event::Line(line)),
                Event::Line(_) => {}
                closed @ Event::Closed(..) => return Ok(closed),
            }
        }
    }
}

/// A connected client that follows its inbox.
pub struct Client {
    socket: Socket,
    url: String,
    token: String,
    /// Its inbox channel.
    pub channel: String,
    /// Incarnation of the stream.
    pub epoch: String,
    /// Position of the last publication seen.
    pub offset: u64,
    /// Whether the last reconnect recovered everything.
    pub recovered: bool,
    waiting: Vec<Publication>,
    next_id: u64,
}

impl Client {
    /// Connects; the server subscribes the user's inbox.
    ///
    /// # Errors
    /// If the token is refused, or no inbox comes with the answer.
    pub async fn connect(url: &str, user: &str, token: &str) -> Result<Self> {
        let mut client = Self {
            socket: Socket::open(url).await?,
            url: url.to_owned(),
            token: token.to_owned(),
            channel: format!("inbox:#{user}"),
            epoch: String::new(),
            offset: 0,
            recovered: false,
            waiting: Vec::new(),
            next_id: 1,
        };
        client.greet(json!({"token": token})).await?;
        Ok(client)
    }

    /// Connects again and recovers from the last position.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn reconnect(&mut self) -> Result<()> {
        self.socket = Socket::open(&self.url).await?;
        let standing = json!({"recover": true, "epoch": self.epoch, "offset": self.offset});
        let subs = json!({self.channel.clone(): standing});
        self.greet(json!({"token": self.token, "subs": subs})).await
    }

    async fn greet(&mut self, request: Value) -> Result<()> {
        let id = self.id();
        self.socket.send(&json!({"id": id, "connect": request})).await?;
        let reply = match self.socket.reply(id).await? {
            Event::Line(line) => line,
            Event::Closed(code, reason) => bail!("the edge closed with {code} {reason}"),
        };
        let sub = &reply["connect"]["subs"][&self.channel];
        ensure!(
            sub["recoverable"] == true && sub["positioned"] == true,
            "no recoverable inbox: {reply}"
        );
        self.recovered = sub["recovered"] == true;
        sub["epoch"].as_str().unwrap_or_default().clone_into(&mut self.epoch);
        let missed: Vec<Publication> =
            sub["publications"].as_array().into_iter().flatten().map(publication).collect();
        if missed.is_empty() {
            self.offset = sub["offset"].as_u64().unwrap_or_default();
        }
        self.waiting.extend(missed);
        Ok(())
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Sends a command and returns the reply's line.
    ///
    /// # Errors
    /// If the connection ends instead.
    pub async fn call(&mut self, method: &str, request: Value) -> Result<Value> {
        let id = self.id();
        self.socket.send(&json!({"id": id, method: request})).await?;
        match self.socket.reply(id).await? {
            Event::Line(line) => Ok(line),
            Event::Closed(code, reason) => bail!("the edge closed with {code} {reason}"),
        }
    }

    /// The next publication of the inbox. Fails if one comes twice or out of order.
    ///
    /// # Errors
    /// If none comes in time or the connection ends.
    pub async fn next(&mut self, within: Duration) -> Result<Publication> {
        let next =
            if self.waiting.is_empty() { self.read(within).await? } else { self.waiting.remove(0) };
        ensure!(next.offset > self.offset, "offset {} after {}", next.offset, self.offset);
        self.offset = next.offset;
        Ok(next)
    }

    async fn read(&mut self, within: Duration) -> Result<Publication> {
        loop {
            match self.socket.next(within).await? {
                Event::Line(line)
                    if line["push"]["channel"] == self.channel.as_str()
                        && line["push"]["pub"].is_object() =>
                {
                    return Ok(publication(&line["push"]["pub"]));
                }
                Event::Line(_) => {}
                Event::Closed(code, reason) => bail!("the edge closed with {code} {reason}"),
            }
        }
    }

    /// The next publication, which must be a notification with this id.
    ///
    /// # Errors
    /// If another one comes, or none.
    pub async fn expect(&mut self, notification: &str) -> Result<Publication> {
        let next = self.next(PATIENCE).await?;
        ensure!(
            next.data["notification_id"] == notification,
            "{} instead of {notification}",
            next.data
        );
        Ok(next)
    }
}

fn publication(value: &Value) -> Publication {
    Publication {
        offset: value["offset"].as_u64().unwrap_or_default(),
        data: value["data"].clone(),
        tags: value["tags"].clone(),
    }
}
