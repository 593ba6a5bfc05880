//! How messages look in the body of an HTTP answer: lines of JSON, Protobuf behind lengths, server-sent events.
//! Reads: encoded messages. Writes: bytes. Never: changes a message, but for taking a push out of its envelope
//! for clients that only listen.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::Line;
use crate::encode::Encoded;

/// How the body of an answer is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each message ends with a line feed; Protobuf messages carry their length.
    Stream,
    /// Each message is an event (WHATWG HTML, section 9.2).
    Events,
}

/// What encloses a push in a JSON reply.
const ENVELOPE: (&str, &str) = ("{\"push\":", "}");
/// Bytes around one message, at most, without its id.
const AROUND_BYTES: usize = 8;

/// A push without what encloses it, as clients get it that only listen; other messages as they are.
pub(crate) fn bare(text: &str) -> &str {
    text.strip_prefix(ENVELOPE.0).and_then(|rest| rest.strip_suffix(ENVELOPE.1)).unwrap_or(text)
}

impl Framing {
    /// What a body begins with. Events need a first byte for some browsers to say that the stream is open.
    pub(crate) const fn preface(self) -> &'static str {
        match self {
            Self::Stream => "",
            Self::Events => "\r\n",
        }
    }

    /// All messages, one after the other. `alone` takes pushes out of their envelopes.
    pub(crate) fn frame(self, lines: &[Line], alone: bool) -> Bytes {
        let mark = |line: &Line| line.mark.as_ref().map_or(0, |mark| mark.len() + AROUND_BYTES);
        let bytes = lines.iter().map(|line| line.bytes() + mark(line) + AROUND_BYTES).sum();
        let mut out = BytesMut::with_capacity(bytes);
        for line in lines {
            match &line.encoded {
                Encoded::Binary(message) => out.put_slice(message),
                Encoded::Text(text) => {
                    let text = if alone { bare(text.as_str()) } else { text.as_str() };
                    self.text(&mut out, text, line.mark.as_deref());
                }
            }
        }
        out.freeze()
    }

    fn text(self, out: &mut BytesMut, text: &str, mark: Option<&str>) {
        match self {
            Self::Stream => {
                out.put_slice(text.as_bytes());
                out.put_u8(b'\n');
            }
            Self::Events => {
                if let Some(mark) = mark {
                    out.put_slice(b"id: ");
                    out.put_slice(mark.as_bytes());
                    out.put_u8(b'\n');
                }
                out.put_slice(b"data: ");
                out.put_slice(text.as_bytes());
                out.put_slice(b"\n\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, mark: Option<&str>) -> Line {
        let mark = mark.map(Into::into);
        Line { encoded: text.to_owned().into(), publication: None, mark }
    }

    fn text(framing: Framing, lines: &[Line], alone: bool) -> String {
        String::from_utf8(framing.frame(lines, alone).to_vec()).unwrap()
    }

    #[test]
    fn each_framing_divides_as_its_readers_expect() {
        let lines = [line("{}", None), line(r#"{"push":{"pub":{"data":"}"}}}"#, Some("a,b,1"))];
        assert_eq!(
            text(Framing::Stream, &lines, false),
            "{}\n{\"push\":{\"pub\":{\"data\":\"}\"}}}\n"
        );
        assert_eq!(text(Framing::Stream, &lines, true), "{}\n{\"pub\":{\"data\":\"}\"}}\n");
        assert_eq!(
            text(Framing::Events, &lines, true),
            "data: {}\n\nid: a,b,1\ndata: {\"pub\":{\"data\":\"}\"}}\n\n"
        );
    }

    #[test]
    fn protobuf_is_not_touched() {
        let encoded = Encoded::Binary(Bytes::from_static(&[2, 8, 1]));
        let lines = [Line { encoded, publication: None, mark: None }];
        assert_eq!(Framing::Stream.frame(&lines, false), Bytes::from_static(&[2, 8, 1]));
    }
}
