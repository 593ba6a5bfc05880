//! A bare HTTP client: one request on one TCP connection, and the answer as it comes, chunk by chunk.
//! Reads and writes: sockets on the loopback interface. Never: interprets or repairs what it gets.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Edge;

const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer whose body is still coming.
pub struct Answer {
    pub status: u16,
    /// By names in small letters.
    pub headers: BTreeMap<String, String>,
    stream: TcpStream,
    /// Of the connection, with the marks of chunks.
    raw: Vec<u8>,
    /// Of the body.
    body: Vec<u8>,
    /// Nothing more comes.
    ended: bool,
}

/// Percent-encoding of everything that is not a letter or a digit.
pub fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Sends a request and waits for the head of the answer.
pub async fn ask(edge: &Edge, method: &str, path: &str, more: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", edge.port)).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: edge\r\n");
    if method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    more.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    answer(stream).await
}

/// Waits for the head of an answer.
pub async fn answer(mut stream: TcpStream) -> Answer {
    let mut raw = Vec::new();
    let end = loop {
        if let Some(at) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        assert!(more(&mut stream, &mut raw).await, "no answer: {}", String::from_utf8_lossy(&raw));
    };
    let head = String::from_utf8(raw[..end].to_vec()).unwrap();
    raw.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let headers = pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status, headers, stream, raw, body: Vec::new(), ended: false }
}

async fn more(stream: &mut TcpStream, into: &mut Vec<u8>) -> bool {
    let read = tokio::time::timeout(TIMEOUT, stream.read_buf(into)).await.unwrap();
    read.is_ok_and(|bytes| bytes > 0)
}

impl Answer {
    /// Moves whole chunks from the connection to the body, and waits for some if there are none.
    async fn fill(&mut self) {
        loop {
            let mark = self.raw.windows(2).position(|two| two == b"\r\n");
            let size = mark.map(|at| {
                let digits = std::str::from_utf8(&self.raw[..at]).unwrap();
                (at + 2, usize::from_str_radix(digits, 16).unwrap())
            });
            if let Some((begin, size)) = size
                && self.raw.len() >= begin + size + 2
            {
                self.body.extend_from_slice(&self.raw[begin..begin + size]);
                self.raw.drain(..begin + size + 2);
                self.ended = size == 0;
                return;
            }
            if !more(&mut self.stream, &mut self.raw).await {
                self.ended = true;
                return;
            }
        }
    }

    /// The next bytes up to and without `mark`; nothing at the end of the body.
    pub async fn upto(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.body.windows(mark.len()).position(|part| part == mark) {
                let found = self.body[..at].to_vec();
                self.body.drain(..at + mark.len());
                return Some(found);
            }
            if self.ended {
                return None;
            }
            self.fill().await;
        }
    }

    /// The next `count` bytes.
    pub async fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.body.len() < count && !self.ended {
            self.fill().await;
        }
        (self.body.len() >= count).then(|| self.body.drain(..count).collect())
    }

    /// The next line of JSON.
    pub async fn line(&mut self) -> Option<Value> {
        let line = self.upto(b"\n").await?;
        Some(serde_json::from_slice(&line).unwrap())
    }

    /// The next server-sent event: its id, if it has one, and its data.
    pub async fn event(&mut self) -> Option<(Option<String>, Value)> {
        let event = String::from_utf8(self.upto(b"\n\n").await?).unwrap();
        let field = |name: &str| {
            let mut lines = event.lines().map(str::trim);
            lines.find_map(|line| line.strip_prefix(name)).map(ToOwned::to_owned)
        };
        let data = field("data: ").unwrap_or_else(|| panic!("an event without data: {event:?}"));
        Some((field("id: "), serde_json::from_str(&data).unwrap()))
    }

    /// The data of the next event that is no ping.
    pub async fn data(&mut self) -> Value {
        loop {
            let (_, data) = self.event().await.unwrap();
            if data != json!({}) {
                return data;
            }
        }
    }

    /// Whether nothing more comes, and the connection is closed.
    pub async fn is_over(&mut self) -> bool {
        while !self.ended {
            self.fill().await;
        }
        self.body.is_empty() && !more(&mut self.stream, &mut self.raw).await
    }
}
