//! JSON lines over any pair of streams, each of limited length, each read and write of limited
//! duration. A line that is too long, no UTF-8, no JSON or of another shape is refused with its
//! code; nothing is guessed. Knows no message.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use rustix::net::sockopt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec, LinesCodecError};

use super::protocol::{Code, Refusal};

/// How long one line may take to be written.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// Who has gone without a farewell is noticed after the silence and as many questions.
const SILENCE: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_secs(5);
const ASK_TIMES: u32 = 4;

/// Prepares a connection: lines go out at once (a question about the clock must not wait for a
/// delayed ack), and the end of the other machine or of the way to it ends the connection, so
/// that no agent makes load for nobody.
pub fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, SILENCE)?;
    sockopt::set_tcp_keepintvl(stream, ASK_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, ASK_TIMES)?;
    let most = SILENCE + ASK_EVERY * ASK_TIMES;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(most.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// The reading side.
pub struct Input(FramedRead<Box<dyn AsyncRead + Send + Unpin>, LinesCodec>);

/// The writing side.
pub struct Output(FramedWrite<Box<dyn AsyncWrite + Send + Unpin>, LinesCodec>);

impl Input {
    /// Lines of at most so many bytes.
    pub fn new(stream: impl AsyncRead + Send + Unpin + 'static, bytes_max: usize) -> Self {
        Self(FramedRead::new(Box::new(stream), LinesCodec::new_with_max_length(bytes_max)))
    }

    /// From now on lines may be this long.
    pub fn allow(&mut self, bytes_max: usize) {
        *self.0.decoder_mut() = LinesCodec::new_with_max_length(bytes_max);
    }

    /// The next line.
    pub async fn read<T: DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        match self.0.next().await {
            Some(Ok(line)) => decode(&line),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                Err(Refusal::new(Code::TooLong, "a line longer than allowed"))
            }
            Some(Err(LinesCodecError::Io(error)))
                if error.kind() == std::io::ErrorKind::InvalidData =>
            {
                Err(Refusal::new(Code::Malformed, "a line that is no UTF-8"))
            }
            Some(Err(LinesCodecError::Io(error))) => Err(Refusal::new(Code::Gone, error)),
            None => Err(Refusal::new(Code::Gone, "the connection ended")),
        }
    }

    /// The next line, if it comes in time.
    pub async fn read_within<T: DeserializeOwned>(
        &mut self,
        within: Duration,
    ) -> Result<T, Refusal> {
        tokio::time::timeout(within, self.read()).await.unwrap_or_else(|_| {
            let message = format!("nothing was said for {} s", within.as_secs());
            Err(Refusal::new(Code::TimedOut, message))
        })
    }
}

/// Reads a line's text.
pub fn decode<T: DeserializeOwned>(line: &str) -> Result<T, Refusal> {
    // The message of serde_json names the place and the key, not the text around it.
    serde_json::from_str(line).map_err(|error| Refusal::new(Code::Malformed, error))
}

impl Output {
    /// Onto a stream.
    pub fn new(stream: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(FramedWrite::new(Box::new(stream), LinesCodec::new()))
    }

    /// Writes a line.
    pub async fn write(&mut self, value: &impl Serialize) -> Result<(), Refusal> {
        let line = serde_json::to_string(value)
            .map_err(|error| Refusal::new(Code::Failed, format!("cannot be written: {error}")))?;
        match tokio::time::timeout(WRITE_WITHIN, self.0.send(line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Refusal::new(Code::Gone, error)),
            Err(_) => Err(Refusal::new(Code::TimedOut, "the other side does not read")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::protocol::{Greeting, Hello, Order, Report};
    use super::*;

    /// Reads all of it as an agent or a coordinator would, and says how it ended.
    fn read_all(bytes: &[u8], most: usize) -> Code {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = bytes.to_vec();
        runtime.block_on(async move {
            let mut input = Input::new(std::io::Cursor::new(bytes), most);
            loop {
                match input.read::<Order>().await {
                    Ok(order) => drop(order.check()),
                    Err(refusal) => break refusal.code,
                }
            }
        })
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_refused_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let code = read_all(&bytes, 256);
            prop_assert!(matches!(code, Code::Gone | Code::Malformed | Code::TooLong));
        }

        #[test]
        fn text_like_ours_is_refused_without_panic(
            text in r#"\{"(ping|open|step|go|closed|pong|progress|seconds|stop)":[\[\]{}",:a-z0-9.e-]{0,80}\}?"#,
        ) {
            let _ = decode::<Order>(&text).map(|order| order.check());
            let _ = decode::<Report>(&text).map(|report| report.check());
            let _ = decode::<Hello>(&text);
            let _ = decode::<Greeting>(&text);
        }
    }

    #[test]
    fn a_long_line_and_a_deep_one_are_refused() {
        assert_eq!(read_all(&[b'x'; 5_000], 4_096), Code::TooLong);
        let deep = "[".repeat(4_000);
        assert_eq!(read_all(format!("{deep}\n").as_bytes(), 4_096), Code::Malformed);
        assert_eq!(read_all(b"{\"ping\":{\"id\":1}}\n\"stop\"\n", 4_096), Code::Gone);
        assert_eq!(read_all(b"\xff\xfe\n", 4_096), Code::Malformed);
    }
}
