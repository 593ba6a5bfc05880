//! The NATS client protocol, one operation at a time (https://docs.nats.io/reference/reference-protocols).
//! Reads: bytes. Writes: nothing. Never: understands more than it must to find where an operation ends and
//! which subject it is about.

use bytes::{Bytes, BytesMut};

/// One operation of the protocol, with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Exactly what went over the wire.
    pub raw: Bytes,
    /// `PUB`, `HPUB`, `MSG`, `HMSG`, `PING`, …
    pub verb: String,
    /// Where it goes; empty for operations without a subject.
    pub subject: String,
    /// Where the answer is expected.
    pub reply: Option<String>,
    /// The body without headers.
    pub payload: Bytes,
}

/// Takes the first whole operation out of the buffer; `None` if it is not complete yet.
pub fn next_op(buffer: &mut BytesMut) -> Option<Op> {
    let line_end = buffer.windows(2).position(|pair| pair == b"\r\n")?;
    let line = String::from_utf8_lossy(&buffer[..line_end]).into_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    let verb = words.first().copied().unwrap_or_default().to_ascii_uppercase();
    // After the verb: subject, (subscription,) optional reply, (size of the headers,) size of everything.
    let (before, sizes) = match verb.as_str() {
        "PUB" => (1, 1),
        "HPUB" => (1, 2),
        "MSG" => (2, 1),
        "HMSG" => (2, 2),
        _ => {
            let raw = buffer.split_to(line_end + 2).freeze();
            return Some(Op {
                raw,
                verb,
                subject: String::new(),
                reply: None,
                payload: Bytes::new(),
            });
        }
    };
    let number = |back: usize| -> usize {
        words.get(words.len() - back).and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    let body = number(1);
    let whole = line_end + 2 + body + 2;
    if buffer.len() < whole {
        return None;
    }
    let headers = if sizes == 2 { number(2) } else { 0 };
    let has_reply = words.len() == 1 + before + 1 + sizes;
    let reply = has_reply.then(|| words[1 + before].to_owned());
    let subject = words.get(1).copied().unwrap_or_default().to_owned();
    let raw = buffer.split_to(whole).freeze();
    let payload = raw.slice(line_end + 2 + headers..line_end + 2 + body);
    Some(Op { raw, verb, subject, reply, payload })
}

/// The stream sequence in an acknowledgement subject, in its short and its long form (ADR-15 of NATS).
#[must_use]
pub fn acknowledged_sequence(subject: &str) -> Option<u64> {
    let tokens: Vec<&str> = subject.strip_prefix("$JS.ACK.")?.split('.').collect();
    let at = if tokens.len() == 7 { 3 } else { 5 };
    tokens.get(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(text: &str) -> Vec<Op> {
        let mut buffer = BytesMut::from(text);
        std::iter::from_fn(|| next_op(&mut buffer)).collect()
    }

    #[test]
    fn operations_are_told_apart() {
        let found = ops(
            "PING\r\nPUB a.b 2\r\nhi\r\nPUB a r.1 0\r\n\r\nHPUB x _I.1 12 14\r\nNATS/1.0\r\n\r\nyo\r\n",
        );
        let subjects: Vec<_> = found
            .iter()
            .map(|op| (op.verb.as_str(), op.subject.as_str(), op.reply.as_deref()))
            .collect();
        assert_eq!(
            subjects,
            [
                ("PING", "", None),
                ("PUB", "a.b", None),
                ("PUB", "a", Some("r.1")),
                ("HPUB", "x", Some("_I.1"))
            ]
        );
        assert_eq!(found[1].payload, "hi");
        assert_eq!(found[3].payload, "yo");
    }

    #[test]
    fn what_the_server_sends_is_understood() {
        let found = ops(
            "MSG s 1 4\r\nbody\r\nHMSG s 1 $JS.ACK.S.c.1.42.1.0.0 12 13\r\nNATS/1.0\r\n\r\nz\r\n",
        );
        assert_eq!(
            (found[0].subject.as_str(), found[0].reply.as_deref(), &found[0].payload[..]),
            ("s", None, &b"body"[..])
        );
        assert_eq!(found[1].payload, "z");
        assert_eq!(acknowledged_sequence(found[1].reply.as_deref().unwrap()), Some(42));
    }

    #[test]
    fn half_an_operation_waits_for_the_rest() {
        let mut buffer = BytesMut::from("PUB a 5\r\nhel");
        assert_eq!(next_op(&mut buffer), None);
        buffer.extend_from_slice(b"lo\r\n");
        assert_eq!(next_op(&mut buffer).unwrap().payload, "hello");
        assert!(buffer.is_empty());
    }

    #[test]
    fn both_forms_of_an_acknowledgement_are_read() {
        assert_eq!(acknowledged_sequence("$JS.ACK.S.c.1.7.9.100.0"), Some(7));
        assert_eq!(acknowledged_sequence("$JS.ACK._.hash.S.c.1.7.9.100.0"), Some(7));
        assert_eq!(acknowledged_sequence("$JS.API.INFO"), None);
    }
}
