//! One keep-alive HTTP/1.1 connection per simulated user: write a request, read one answer.
//! A pooled client costs two more task switches a request and shares a lock between all users,
//! and the generator shares its cores with what it measures. Plain `http` only; it never
//! retries, because a request that may have been accepted must not be sent twice.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stamps;

/// Answers above this are not ours to read: a 202 has a few hundred bytes.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;
const HEADERS_MAX: usize = 64;

/// A parsed answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The stage stamps, if the platform gave any.
    pub stamps: Option<String>,
    /// Whether the server keeps the connection open.
    pub keep_alive: bool,
}

/// An open connection with its read buffer.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `authority` (`host:port`).
    pub async fn open(authority: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(authority).await?;
        // Without it a request in two segments waits for a delayed ack of up to 40 ms.
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1024) })
    }

    /// Whether the server has left the idle connection open. An idle connection has nothing to
    /// read, so anything but "would block" means that it is finished.
    pub fn is_idle(&self) -> bool {
        let mut probe = [0_u8; 1];
        matches!(self.stream.try_read(&mut probe), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends one whole request and reads the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            if let Some(answer) = parse_answer(&self.buffer).map_err(io::Error::other)? {
                return Ok(answer);
            }
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.buffer.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::other("the answer is larger than 1 MiB"));
            }
        }
    }
}

/// Reads an answer from what has arrived so far; `None` while it is incomplete.
///
/// The body is passed over: the mark in the content names the notification, not the answer's id.
pub fn parse_answer(bytes: &[u8]) -> Result<Option<Answer>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let start = match head.parse(bytes).map_err(|error| format!("bad HTTP answer: {error}"))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = head.code.unwrap_or(0);
    let named = |name: &str| {
        head.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let keep_alive = !named("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let chunked =
        named("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let whole = if chunked {
        chunks_are_whole(&bytes[start..])?
    } else {
        let length: usize = match named("content-length") {
            Some(text) => text.parse().map_err(|_| format!("bad content-length {text:?}"))?,
            None if status == 204 => 0,
            None => return Err("the answer has neither a length nor chunks".to_owned()),
        };
        bytes.len() - start >= length
    };
    let stamps = named(stamps::HEADER).filter(|_| whole).map(str::to_owned);
    Ok(whole.then_some(Answer { status, stamps, keep_alive }))
}

fn chunks_are_whole(mut rest: &[u8]) -> Result<bool, String> {
    loop {
        let (header, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(parts)) => parts,
            Ok(httparse::Status::Partial) => return Ok(false),
            Err(_) => return Err("bad chunk size".to_owned()),
        };
        let size = usize::try_from(size).map_err(|_| "chunk too large".to_owned())?;
        let end = header.saturating_add(size).saturating_add(2);
        if rest.len() < end {
            return Ok(false);
        }
        if size == 0 {
            return Ok(true);
        }
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_only_when_whole() {
        let whole = b"HTTP/1.1 202 Accepted\r\ncampana-stamps: boot=0;x=1\r\ncontent-length: 5\r\n\r\nhello";
        for cut in 0..whole.len() {
            assert_eq!(parse_answer(&whole[..cut]), Ok(None), "cut at {cut}");
        }
        let expected =
            Answer { status: 202, stamps: Some("boot=0;x=1".to_owned()), keep_alive: true };
        assert_eq!(parse_answer(whole), Ok(Some(expected)));
    }

    #[test]
    fn chunks_are_counted() {
        let text = b"HTTP/1.1 503 X\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(parse_answer(&text[..cut]), Ok(None), "cut at {cut}");
        }
        let expected = Answer { status: 503, stamps: None, keep_alive: false };
        assert_eq!(parse_answer(text), Ok(Some(expected)));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse_answer(b"SMTP ready\r\n\r\n").is_err());
        assert!(parse_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_answer(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
    }
}
