//! WebSocket frames as a benchmark needs them: small ones written, all of them scanned.
//! Pure. Never: copies a payload or parses JSON: the receiving side shares the machine with what is measured.
//!
//! A message carries `@` and ten digits. Whatever protocol wraps it, the scanner finds the number, skips the
//! rest of the message, and sees the server's pings, also when frames and reads do not end together.

/// Marks the number in a message; no protocol here uses it elsewhere in a push.
const MARK: u8 = b'@';
/// Digits of the number.
const DIGITS: u8 = 10;
/// What stands before the number's digits in a message.
const BODY_HEAD: &str = "{\"n\":\"@";
/// What stands after them.
const BODY_MIDDLE: &str = "\",\"pad\":\"";
const BODY_END: &str = "\"}";
/// Bytes of the smallest message.
pub const BODY_BYTES_MIN: usize = 32;
/// Bytes of a line that are kept, to recognise a ping.
const LINE_KEPT: usize = 6;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A JSON object of exactly `bytes` bytes, at least [`BODY_BYTES_MIN`], that carries a number.
pub fn body(number: u64, bytes: usize) -> String {
    let fixed = BODY_HEAD.len() + usize::from(DIGITS) + BODY_MIDDLE.len() + BODY_END.len();
    let pad = "x".repeat(bytes.saturating_sub(fixed));
    format!("{BODY_HEAD}{number:010}{BODY_MIDDLE}{pad}{BODY_END}")
}

/// Bytes after the number of such a message.
pub fn tail(bytes: usize) -> u32 {
    let before = BODY_HEAD.len() + usize::from(DIGITS);
    u32::try_from(bytes.saturating_sub(before)).unwrap_or(u32::MAX)
}

/// A masked frame; the mask is zero, which changes nothing and is allowed to.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

/// A masked text frame.
pub fn text(payload: &str) -> Vec<u8> {
    frame(TEXT, payload.as_bytes())
}

/// A masked binary frame.
pub fn binary(payload: &str) -> Vec<u8> {
    frame(BINARY, payload.as_bytes())
}

/// An answer to a ping frame that brought nothing.
pub fn pong() -> Vec<u8> {
    frame(PONG, &[])
}

/// The first whole frame of `bytes`: where its payload begins, where it ends, and whether it ends the
/// connection.
pub fn first_frame(bytes: &[u8]) -> Option<(usize, usize, bool)> {
    let head = head_bytes(bytes)?;
    let end = head + usize::try_from(payload_bytes(bytes.get(..head)?)).ok()?;
    (bytes.len() >= end).then(|| (head, end, bytes[0] & 0x0f == CLOSE))
}

/// Bytes of the head that begins here, once enough of it is there to know. Servers do not mask.
fn head_bytes(bytes: &[u8]) -> Option<usize> {
    let head = match bytes.get(1)? & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (bytes.len() >= head).then_some(head)
}

fn payload_bytes(head: &[u8]) -> u64 {
    match head {
        [_, _, rest @ ..] if !rest.is_empty() => {
            rest.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
        }
        [_, length] => u64::from(length & 0x7f),
        _ => 0,
    }
}

/// One thing in what a server sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A message with this number.
    Number(u64),
    /// A ping of the protocol inside the frames.
    Ping,
    /// A ping frame.
    PingFrame,
    /// A closing frame with its code; 1005 if it has none.
    Close(u16),
}

/// Reads what one server sends, in pieces of any size.
#[derive(Debug)]
pub struct Scanner {
    ping: &'static [u8],
    tail: u32,
    head: [u8; 10],
    head_kept: u8,
    opcode: u8,
    payload_left: u64,
    line: [u8; LINE_KEPT],
    line_bytes: u32,
    digits_left: u8,
    number: u64,
    skip: u32,
}

impl Scanner {
    /// A line that is exactly `ping` is one; messages end `tail` bytes after their number.
    pub fn new(ping: &'static [u8], tail: u32) -> Self {
        Self {
            ping,
            tail,
            head: [0; 10],
            head_kept: 0,
            opcode: 0,
            payload_left: 0,
            line: [0; LINE_KEPT],
            line_bytes: 0,
            digits_left: 0,
            number: 0,
            skip: 0,
        }
    }

    /// Tells what is in the next piece.
    pub fn feed(&mut self, mut bytes: &[u8], see: &mut impl FnMut(Seen)) {
        while !bytes.is_empty() {
            if self.payload_left == 0 {
                bytes = self.read_head(bytes, see);
                continue;
            }
            let here = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(here);
            if self.opcode < CLOSE {
                self.scan(payload, see);
            } else {
                payload.iter().for_each(|byte| self.keep(*byte));
            }
            self.payload_left -= here as u64;
            if self.payload_left == 0 {
                self.end_of_frame(see);
            }
            bytes = rest;
        }
    }

    fn read_head<'a>(&mut self, bytes: &'a [u8], see: &mut impl FnMut(Seen)) -> &'a [u8] {
        let kept = usize::from(self.head_kept);
        self.head[kept] = bytes[0];
        self.head_kept += 1;
        let so_far = &self.head[..=kept];
        if head_bytes(so_far) == Some(so_far.len()) {
            // Parts after the first of a message have no kind of their own: the kind of the first counts on.
            if so_far[0] & 0x0f != 0 {
                self.opcode = so_far[0] & 0x0f;
            }
            self.payload_left = payload_bytes(so_far);
            self.head_kept = 0;
            self.line_bytes = 0;
            if self.payload_left == 0 {
                self.end_of_frame(see);
            }
        }
        &bytes[1..]
    }

    fn end_of_frame(&mut self, see: &mut impl FnMut(Seen)) {
        match self.opcode {
            CLOSE if self.line_bytes >= 2 => {
                see(Seen::Close(u16::from_be_bytes([self.line[0], self.line[1]])));
            }
            CLOSE => see(Seen::Close(1005)),
            PING => see(Seen::PingFrame),
            PONG => {}
            _ => self.end_of_line(see),
        }
    }

    fn end_of_line(&mut self, see: &mut impl FnMut(Seen)) {
        let bytes = self.line_bytes as usize;
        if bytes == self.ping.len() && self.line[..bytes] == *self.ping {
            see(Seen::Ping);
        }
        self.line_bytes = 0;
    }

    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.line.get_mut(self.line_bytes as usize) {
            *place = byte;
        }
        self.line_bytes = self.line_bytes.saturating_add(1);
    }

    fn scan(&mut self, mut bytes: &[u8], see: &mut impl FnMut(Seen)) {
        while let [first, rest @ ..] = bytes {
            if self.skip > 0 {
                let skipped = bytes.len().min(self.skip as usize);
                self.skip -= skipped as u32;
                bytes = &bytes[skipped..];
            } else if self.digits_left > 0 {
                self.number = self.number * 10 + u64::from(first.wrapping_sub(b'0'));
                self.digits_left -= 1;
                if self.digits_left == 0 {
                    see(Seen::Number(self.number));
                    self.skip = self.tail;
                }
                bytes = rest;
            } else if self.line_bytes as usize > LINE_KEPT {
                // Far into a line only its end and the mark matter.
                let plain = bytes.iter().position(|byte| matches!(*byte, MARK | b'\n'));
                bytes = match plain {
                    None => &[],
                    Some(0) => self.one(*first, rest, see),
                    Some(at) => &bytes[at..],
                };
            } else {
                bytes = self.one(*first, rest, see);
            }
        }
    }

    fn one<'a>(&mut self, byte: u8, rest: &'a [u8], see: &mut impl FnMut(Seen)) -> &'a [u8] {
        match byte {
            MARK => {
                (self.digits_left, self.number) = (DIGITS, 0);
                self.line_bytes = u32::MAX;
            }
            b'\n' => self.end_of_line(see),
            other => self.keep(other),
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = frame(opcode, payload);
        let head = head_bytes(&out).unwrap();
        out[1] &= 0x7f;
        out.drain(head..head + 4);
        out
    }

    fn seen(ping: &'static [u8], bytes: &[u8], piece: usize) -> Vec<Seen> {
        let mut scanner = Scanner::new(ping, tail(64));
        let mut all = Vec::new();
        bytes.chunks(piece).for_each(|piece| scanner.feed(piece, &mut |one| all.push(one)));
        all
    }

    #[test]
    fn messages_have_exactly_the_wanted_size_and_are_json() {
        for bytes in [BODY_BYTES_MIN, 64, 200, 65_536] {
            let body = body(42, bytes);
            assert_eq!(body.len(), bytes);
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(value["n"], "@0000000042");
            assert_eq!(body.len() - body.find("42").unwrap() - 2, tail(bytes) as usize);
        }
    }

    #[test]
    fn numbers_pings_and_the_end_are_seen_in_pieces_of_any_size() {
        let push = |number| {
            let body = body(number, 64);
            format!(r#"{{"push":{{"channel":"bench:all","pub":{{"data":{body},"offset":7}}}}}}"#)
        };
        let many: Vec<String> = (0..20).map(push).collect();
        let mut bytes = unmasked(TEXT, push(100).as_bytes());
        bytes.extend(unmasked(TEXT, b"{}"));
        bytes.extend(unmasked(TEXT, format!("{}\n{{}}\n{}", push(101), push(102)).as_bytes()));
        bytes.extend(unmasked(PING, b""));
        bytes.extend(unmasked(TEXT, many.join("\n").as_bytes()));
        bytes.extend(unmasked(CLOSE, &[0x0b, 0xc0, b'x']));
        let mut wanted =
            vec![Seen::Number(100), Seen::Ping, Seen::Number(101), Seen::Ping, Seen::Number(102)];
        wanted.push(Seen::PingFrame);
        wanted.extend((0..20).map(Seen::Number));
        wanted.push(Seen::Close(3008));
        for piece in [1, 2, 3, 7, 64, 1_000, bytes.len()] {
            assert_eq!(seen(b"{}", &bytes, piece), wanted, "{piece}");
        }
    }

    #[test]
    fn other_protocols_are_only_other_pings() {
        let lines = format!("MSG b 1 64\r\n{}\r\nPING\r\n+OK\r\n", body(5, 64));
        let bytes = unmasked(BINARY, lines.as_bytes());
        assert_eq!(seen(b"PING\r", &bytes, 9), [Seen::Number(5), Seen::Ping]);
        let mut bytes = unmasked(TEXT, b"2");
        bytes.extend(unmasked(TEXT, format!("42[\"m\",{}]", body(6, 64)).as_bytes()));
        assert_eq!(seen(b"2", &bytes, 5), [Seen::Ping, Seen::Number(6)]);
    }

    #[test]
    fn whole_frames_are_found() {
        let payload = vec![b'x'; 70_000];
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let bytes = unmasked(TEXT, &payload[..length]);
            let (from, to, end) = first_frame(&bytes).unwrap();
            assert_eq!((to - from, to, end), (length, bytes.len(), false));
            assert_eq!(first_frame(&bytes[..bytes.len() - 1]), None);
        }
        assert!(first_frame(&unmasked(CLOSE, &[])).unwrap().2);
    }
}
