//! Cuts what arrived into command lines and message content: pure, fed with a buffer.
//!
//! Strict on purpose. Only CRLF ends a line and only CRLF.CRLF ends a message: accepting a bare
//! LF is what makes SMTP smuggling possible, and a sender that emits one should learn it here.

use bytes::BytesMut;

/// Octets of one overlong command line that are skipped before the connection is given up.
const MAX_SKIPPED: usize = 1024 * 1024;

/// What is wrong with a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLine {
    TooLong,
    /// Ended by LF alone, or with a CR or NUL inside.
    Malformed,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// The buffer holds no whole line.
    More,
    /// A line without its CRLF.
    Line(Vec<u8>),
    Bad(BadLine),
    /// The line is endless.
    Flood,
}

/// Command lines of bounded length.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    scanned: usize,
    skipped: usize,
}

impl Lines {
    pub fn new(limit: usize) -> Self {
        Self { limit, scanned: 0, skipped: 0 }
    }

    pub fn next(&mut self, buffer: &mut BytesMut) -> Frame {
        let Some(end) = buffer[self.scanned..].iter().position(|byte| *byte == b'\n') else {
            self.scanned = buffer.len();
            if self.skipped + buffer.len() > self.limit {
                // The rest of the line is dropped as it comes, so memory stays at one buffer.
                self.skipped += buffer.len();
                self.scanned = 0;
                buffer.clear();
            }
            return if self.skipped > MAX_SKIPPED { Frame::Flood } else { Frame::More };
        };
        let line = buffer.split_to(self.scanned + end + 1);
        let length = self.skipped + line.len();
        self.scanned = 0;
        self.skipped = 0;
        if length > self.limit {
            return Frame::Bad(BadLine::TooLong);
        }
        match line.strip_suffix(b"\r\n") {
            Some(line) if !line.iter().any(|byte| matches!(byte, b'\r' | b'\0')) => {
                Frame::Line(line.to_vec())
            }
            _ => Frame::Bad(BadLine::Malformed),
        }
    }
}

/// Why a message that was transferred whole is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadData {
    TooBig,
    LineTooLong,
    BareLineEnd,
    Nul,
}

#[derive(Debug, PartialEq, Eq)]
pub enum DataFrame {
    More,
    Done(Result<Vec<u8>, BadData>),
    /// The client goes on long after the limit: give the connection up.
    Flood,
}

/// Message content up to the lone dot, with dots unstuffed (RFC 5321 §4.5.2).
#[derive(Debug)]
pub struct DataReceiver {
    limit: usize,
    line_limit: usize,
    content: Vec<u8>,
    received: usize,
    line_length: usize,
    /// The next octet begins a line that follows a CRLF.
    fresh: bool,
    bad: Option<BadData>,
}

impl DataReceiver {
    pub fn new(limit: usize, line_limit: usize) -> Self {
        Self {
            limit,
            line_limit,
            content: Vec::new(),
            received: 0,
            line_length: 0,
            fresh: true,
            bad: None,
        }
    }

    /// Octets held so far.
    pub fn held(&self) -> usize {
        self.content.len()
    }

    /// Refuses the message although it is still coming in.
    pub fn refuse(&mut self, why: BadData) {
        self.bad.get_or_insert(why);
        self.content = Vec::new();
    }

    pub fn push(&mut self, buffer: &mut BytesMut) -> DataFrame {
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            if self.fresh && line[..] == b".\r\n"[..] {
                let content = std::mem::take(&mut self.content);
                return DataFrame::Done(self.bad.map_or(Ok(content), Err));
            }
            self.take(&line);
            let whole = line.ends_with(b"\r\n");
            if !whole {
                self.refuse(BadData::BareLineEnd);
            }
            self.fresh = whole;
            self.line_length = 0;
        }
        // A line without an end is taken in pieces once it is too long to be the lone dot. Its
        // last octet stays back, because it may be the CR of a CRLF.
        if self.line_length + buffer.len() > self.line_limit && buffer.len() > 1 {
            let piece = buffer.split_to(buffer.len() - 1);
            self.take(&piece);
            self.line_length += piece.len();
            self.fresh = false;
        }
        if self.received > self.limit.saturating_mul(4) {
            DataFrame::Flood
        } else {
            DataFrame::More
        }
    }

    fn take(&mut self, piece: &[u8]) {
        self.received += piece.len();
        if self.line_length + piece.len() > self.line_limit {
            self.refuse(BadData::LineTooLong);
        }
        let inner = piece.strip_suffix(b"\r\n").or(piece.strip_suffix(b"\n")).unwrap_or(piece);
        if inner.contains(&b'\r') {
            self.refuse(BadData::BareLineEnd);
        }
        if inner.contains(&b'\0') {
            self.refuse(BadData::Nul);
        }
        let stuffed = self.fresh && piece.first() == Some(&b'.');
        let piece = if stuffed { &piece[1..] } else { piece };
        if self.content.len() + piece.len() > self.limit {
            self.refuse(BadData::TooBig);
        }
        if self.bad.is_none() {
            self.content.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the input in pieces of every given size and expects the same end each time.
    fn receive(input: &[u8]) -> DataFrame {
        let mut results = [1, 2, 3, 7, 4_096].map(|size| {
            let mut receiver = DataReceiver::new(100, 40);
            let mut buffer = BytesMut::new();
            for piece in input.chunks(size) {
                buffer.extend_from_slice(piece);
                match receiver.push(&mut buffer) {
                    DataFrame::More => {}
                    done => return (done, buffer.len()),
                }
            }
            (DataFrame::More, 0)
        });
        for (result, _) in &results {
            assert_eq!(result, &results[0].0);
        }
        std::mem::replace(&mut results[0].0, DataFrame::More)
    }

    fn content(text: &str) -> DataFrame {
        DataFrame::Done(Ok(text.as_bytes().to_vec()))
    }

    #[test]
    fn dots_are_unstuffed_and_the_lone_dot_ends() {
        assert_eq!(receive(b"a\r\n..\r\n.b\r\nc.\r\n.\r\n"), content("a\r\n.\r\nb\r\nc.\r\n"));
        assert_eq!(receive(b".\r\n"), content(""));
        assert_eq!(receive(b"..\r\n.\r\n"), content(".\r\n"));
        assert_eq!(receive(b"a\r\n.b"), DataFrame::More);
    }

    #[test]
    fn what_follows_the_dot_stays_in_the_buffer() {
        let mut buffer = BytesMut::from(&b"a\r\n.\r\nQUIT\r\n"[..]);
        assert_eq!(DataReceiver::new(100, 40).push(&mut buffer), content("a\r\n"));
        assert_eq!(buffer, "QUIT\r\n");
    }

    #[test]
    fn smuggling_does_not_end_a_message() {
        let bad = DataFrame::Done(Err(BadData::BareLineEnd));
        for input in [
            &b"a\n.\nb\r\n.\r\n"[..],
            b"a\r\n.\nb\r\n.\r\n",
            b"a\n.\r\nb\r\n.\r\n",
            b"a\r.\r\nb\r\n.\r\n",
            b"a\r\n.\rb\r\n.\r\n",
        ] {
            assert_eq!(receive(input), bad, "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn limits_and_nul_refuse_after_the_whole_transfer() {
        let long = format!("{}\r\n.\r\n", "x".repeat(60));
        assert_eq!(receive(long.as_bytes()), DataFrame::Done(Err(BadData::LineTooLong)));
        let big = format!("{}.\r\n", "twelve octets\r\n".repeat(10));
        assert_eq!(receive(big.as_bytes()), DataFrame::Done(Err(BadData::TooBig)));
        assert_eq!(receive(b"a\0b\r\n.\r\n"), DataFrame::Done(Err(BadData::Nul)));
        let flood = "twelve octets\r\n".repeat(100);
        assert_eq!(receive(flood.as_bytes()), DataFrame::Flood);
    }

    #[test]
    fn command_lines() {
        let mut lines = Lines::new(20);
        let mut buffer = BytesMut::from(&b"EHLO a\r\nNOOP\nQU"[..]);
        assert_eq!(lines.next(&mut buffer), Frame::Line(b"EHLO a".to_vec()));
        assert_eq!(lines.next(&mut buffer), Frame::Bad(BadLine::Malformed));
        assert_eq!(lines.next(&mut buffer), Frame::More);
        buffer.extend_from_slice(b"IT\r\nNO\0OP\r\nNO\rOP\r\n");
        assert_eq!(lines.next(&mut buffer), Frame::Line(b"QUIT".to_vec()));
        assert_eq!(lines.next(&mut buffer), Frame::Bad(BadLine::Malformed));
        assert_eq!(lines.next(&mut buffer), Frame::Bad(BadLine::Malformed));
    }

    #[test]
    fn an_overlong_command_is_skipped_in_bounded_memory() {
        let mut lines = Lines::new(20);
        let mut buffer = BytesMut::new();
        for _ in 0..100 {
            buffer.extend_from_slice(&[b'x'; 100]);
            assert_eq!(lines.next(&mut buffer), Frame::More);
            assert!(buffer.len() <= 100);
        }
        buffer.extend_from_slice(b"\r\nNOOP\r\n");
        assert_eq!(lines.next(&mut buffer), Frame::Bad(BadLine::TooLong));
        assert_eq!(lines.next(&mut buffer), Frame::Line(b"NOOP".to_vec()));
        let mut end = Frame::More;
        for _ in 0..200 {
            buffer.extend_from_slice(&[b'x'; 10_000]);
            end = lines.next(&mut buffer);
            if end != Frame::More {
                break;
            }
        }
        assert_eq!(end, Frame::Flood);
    }

    proptest::proptest! {
        /// However the octets are cut into reads, the end is the same.
        #[test]
        fn cuts_do_not_matter(text in "[ab.\r\n]{0,60}", size in 1_usize..20) {
            let input = format!("{text}\r\n.\r\n");
            let feed = |size: usize| {
                let mut receiver = DataReceiver::new(100, 40);
                let mut buffer = BytesMut::new();
                for piece in input.as_bytes().chunks(size) {
                    buffer.extend_from_slice(piece);
                    let frame = receiver.push(&mut buffer);
                    if frame != DataFrame::More {
                        return frame;
                    }
                }
                DataFrame::More
            };
            proptest::prop_assert_eq!(feed(size), feed(input.len()));
        }

        /// Stuffing a text of whole lines and receiving it gives the text back.
        #[test]
        fn stuffing_round_trips(lines in proptest::collection::vec("[a-z.]{0,8}", 0..6)) {
            let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let stuffed: String = lines
                .iter()
                .map(|line| format!("{}{line}\r\n", if line.starts_with('.') { "." } else { "" }))
                .collect();
            let mut buffer = BytesMut::from(format!("{stuffed}.\r\n").as_bytes());
            let frame = DataReceiver::new(100, 40).push(&mut buffer);
            proptest::prop_assert_eq!(frame, DataFrame::Done(Ok(text.into_bytes())));
        }
    }
}
