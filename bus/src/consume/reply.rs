//! What the reply subject of a delivery says about it.
//! Reads: the subject that acknowledgements go to (NATS ADR-15). Writes: nothing. Never: trusts it: anything
//! that does not parse is no delivery.
//!
//! The client library can do this too, but only with a clone of its whole context for each message.

use crate::clock::Micros;

/// What is known about a delivery before its headers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// The message's sequence in its stream.
    pub sequence: u64,
    /// Deliveries so far, this one included.
    pub delivered: u32,
    /// When the stream stored the message.
    pub published_at: Micros,
}

/// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>`, or the
/// newer form with domain and account in front and perhaps more behind.
pub(crate) fn parse(subject: &str) -> Option<Delivered> {
    let rest = subject.strip_prefix("$JS.ACK.")?;
    // One pass over the bytes: this runs for every message.
    let (mut dots, mut count) = ([0; 8], 0);
    for (at, _) in rest.bytes().enumerate().filter(|(_, byte)| *byte == b'.') {
        if let Some(dot) = dots.get_mut(count) {
            *dot = at;
        }
        count += 1;
    }
    let skipped = match count + 1 {
        7 => 2,
        9.. => 4,
        _ => return None,
    };
    // Between the dot before a token and the dot behind it; the last token of interest has one in both forms.
    let token = |at: usize| rest.get(dots[at - 1] + 1..dots[at]);
    let delivered: u64 = token(skipped)?.parse().ok()?;
    let sequence = token(skipped + 1)?.parse().ok()?;
    let _consumer_sequence: u64 = token(skipped + 2)?.parse().ok()?;
    let nanos: i64 = token(skipped + 3)?.parse().ok()?;
    Some(Delivered {
        sequence,
        delivered: u32::try_from(delivered).unwrap_or(u32::MAX),
        published_at: Micros(nanos / 1_000),
    })
}

/// The stream and the consumer in such a subject. Only for subjects that [`parse`] reads.
pub(crate) fn names(subject: &str) -> Option<(&str, &str)> {
    let tokens: Vec<&str> = subject.strip_prefix("$JS.ACK.")?.split('.').collect();
    let at = if tokens.len() == 7 { 0 } else { 2 };
    Some((tokens.get(at)?, tokens.get(at + 1)?))
}

/// How many messages were waiting behind this one when it was delivered; 0 if the subject does not say.
pub(crate) fn pending(subject: &str) -> u64 {
    let Some(rest) = subject.strip_prefix("$JS.ACK.") else { return 0 };
    let tokens: Vec<&str> = rest.split('.').collect();
    let at = if tokens.len() == 7 { 6 } else { 8 };
    tokens.get(at).and_then(|token| token.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_read() {
        let expected = Some(Delivered {
            sequence: 42,
            delivered: 3,
            published_at: Micros(1_700_000_000_000_001),
        });
        for subject in [
            "$JS.ACK.EVENTS.mailer.3.42.17.1700000000000001999.5",
            "$JS.ACK.hub.ACCHASH.EVENTS.mailer.3.42.17.1700000000000001999.5",
            "$JS.ACK._.ACCHASH.EVENTS.mailer.3.42.17.1700000000000001999.5.token",
        ] {
            assert_eq!((parse(subject), pending(subject)), (expected, 5), "{subject}");
        }
        for nonsense in [
            "",
            "$JS.ACK",
            "_INBOX.a.b.c.d.e.f.g.h",
            "$JS.ACK.EVENTS.mailer.3.42.17.x.5",
            "$JS.ACK.EVENTS.mailer.3.-1.17.1.5",
            "$JS.ACK.A.EVENTS.mailer.3.42.17.1.5",
        ] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn hostile_subjects_do_no_harm(text in "\\PC{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("$JS.ACK.{text}"));
        }
    }
}
