//! One who listens: a WebSocket, the Centrifuge protocol in JSON, one subscription.
//! Reads and writes: the edge. Never: connects again; what a cut connection missed is lost to this measurement.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use campana_bus::clock;
use futures::{SinkExt as _, StreamExt as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::BenchOptions;
use crate::store::timeline::channel;

/// Longest wait for an answer while connecting.
const CONNECTS_WITHIN: Duration = Duration::from_secs(60);
const TOKEN_SECONDS: i64 = 3_600;

pub(super) struct Listener {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What one listener heard.
pub(super) struct Heard {
    /// Number of the message, and when, in nanoseconds of the monotonic clock.
    pub(super) at: Vec<(usize, u64)>,
    /// Changes that came twice or out of order.
    pub(super) wrong: usize,
}

fn token(options: &BenchOptions, claims: Value) -> anyhow::Result<String> {
    let now = clock::now().0 / 1_000_000;
    let mut claims = claims;
    claims["iat"] = now.into();
    claims["exp"] = (now + TOKEN_SECONDS).into();
    let key = EncodingKey::from_secret(options.edge_secret.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

/// Connects and subscribes.
pub(super) async fn connect(
    options: &BenchOptions,
    number: usize,
    room: &str,
) -> anyhow::Result<Listener> {
    let opened = tokio_tungstenite::connect_async(&options.edge_url);
    let (socket, _) = tokio::time::timeout(CONNECTS_WITHIN, opened).await??;
    let mut listener = Listener { socket };
    let user = format!("chat-bench-{number}");
    let connection = token(options, json!({"sub": user}))?;
    listener.ask(&json!({"id": 1, "connect": {"token": connection}})).await?;
    let name = channel(room);
    let subscription = token(options, json!({"sub": user, "channel": name}))?;
    let command = json!({"id": 2, "subscribe": {"channel": name, "token": subscription}});
    listener.ask(&command).await?;
    Ok(listener)
}

impl Listener {
    async fn ask(&mut self, command: &Value) -> anyhow::Result<()> {
        self.socket.send(Message::text(command.to_string())).await?;
        loop {
            let lines = tokio::time::timeout(CONNECTS_WITHIN, self.lines()).await??;
            let reply = lines.into_iter().find(|line| line["id"] == command["id"]);
            if let Some(reply) = reply {
                ensure!(reply.get("error").is_none(), "the edge refused: {reply}");
                return Ok(());
            }
        }
    }

    /// What the next frame holds; a ping is answered.
    async fn lines(&mut self) -> anyhow::Result<Vec<Value>> {
        loop {
            let frame = self.socket.next().await.context("the edge closed the connection")??;
            let Message::Text(text) = frame else {
                if let Message::Close(frame) = frame {
                    bail!("the edge closed the connection: {frame:?}");
                }
                continue;
            };
            let lines = text.as_str().lines().filter(|line| !line.is_empty());
            let lines: Vec<Value> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
            if lines.iter().any(|line| line.as_object().is_some_and(serde_json::Map::is_empty)) {
                self.socket.send(Message::text("{}")).await?;
            }
            return Ok(lines);
        }
    }

    /// Listens until every message came, or nothing comes any more.
    pub(super) async fn listen(mut self, messages: usize, patience: u64) -> anyhow::Result<Heard> {
        let mut heard = Heard { at: Vec::with_capacity(messages), wrong: 0 };
        let mut last_seq = 0;
        while heard.at.len() < messages {
            let wait = Duration::from_secs(patience);
            let Ok(lines) = tokio::time::timeout(wait, self.lines()).await else { break };
            let now = clock::monotonic_ns();
            for line in lines? {
                let data = line.pointer("/push/pub/data").unwrap_or(&Value::Null);
                let Some(seq) = data["seq"].as_i64() else { continue };
                if seq <= last_seq {
                    heard.wrong += 1;
                    continue;
                }
                last_seq = seq;
                let text = data.pointer("/message/text").and_then(Value::as_str);
                let number = text.and_then(|text| text.strip_prefix("bench ")?.parse().ok());
                heard.at.extend(number.map(|number| (number, now)));
            }
        }
        Ok(heard)
    }
}
