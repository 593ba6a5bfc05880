//! What a stream answers to a publish.
//! Reads: the answer's body (NATS ADR-1 and ADR-50). Writes: nothing. Never: takes something for an
//! acknowledgement that does not carry a sequence.

use std::borrow::Cow;

use serde::Deserialize;

use super::PublishError;

/// The server's code for a request that it cannot read.
pub(super) const BAD_REQUEST: u64 = 10_003;
/// The subject's last message has another id than expected.
const WRONG_LAST_MESSAGE_ID: u64 = 10_070;
/// The subject's (or the stream's) last message has another sequence than expected.
const WRONG_LAST_SEQUENCE: u64 = 10_071;

/// An acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub sequence: u64,
    pub duplicate: bool,
    /// Messages of the atomic batch that this commits.
    pub batch_size: Option<u64>,
}

#[derive(Deserialize)]
struct Body<'a> {
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    count: Option<u64>,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(borrow, default)]
    description: Cow<'a, str>,
}

/// Reads an answer; one that makes no sense is unknown, not refused.
pub(super) fn read(body: &[u8]) -> Result<Ack, PublishError> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| {
        PublishError::Unavailable(format!("an answer that is no acknowledgement: {error}"))
    })?;
    match (body.error, body.seq) {
        (Some(Refusal { err_code: WRONG_LAST_MESSAGE_ID | WRONG_LAST_SEQUENCE, .. }), _) => {
            Err(PublishError::WrongLastSequence)
        }
        (Some(Refusal { code, err_code, description }), _) => Err(PublishError::Refused {
            code: err_code,
            detail: format!("{description} (code {code}, error code {err_code})"),
        }),
        (None, Some(sequence)) => {
            Ok(Ack { sequence, duplicate: body.duplicate, batch_size: body.count })
        }
        (None, None) => Err(PublishError::Unavailable(
            "an answer that is no acknowledgement: no sequence".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn acknowledgements_and_refusals_are_told_apart() {
        let ok = |sequence, duplicate, batch_size| Ok(Ack { sequence, duplicate, batch_size });
        assert_eq!(read(br#"{"stream":"A","seq":7}"#), ok(7, false, None));
        assert_eq!(
            read(br#"{"stream":"A","domain":"hub","seq":7,"duplicate":true,"val":"3"}"#),
            ok(7, true, None)
        );
        assert_eq!(
            read(br#"{"stream":"A","seq":1000,"batch":"b1","count":1000}"#),
            ok(1000, false, Some(1000))
        );
        let wrong = br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"seq":0}"#;
        assert_eq!(read(wrong), Err(PublishError::WrongLastSequence));
        let full = br#"{"error":{"code":503,"err_code":10077,"description":"\"maximum\" messages"},"seq":0}"#;
        assert_eq!(
            read(full),
            Err(PublishError::Refused {
                code: 10_077,
                detail: "\"maximum\" messages (code 503, error code 10077)".to_owned()
            })
        );
        assert!(matches!(read(br#"{"error":{}}"#), Err(PublishError::Refused { code: 0, .. })));
        for nonsense in [&b""[..], b"{}", b"[]", b"+ACK", br#"{"seq":-1}"#, br#"{"stream":"A"}"#] {
            assert!(matches!(read(nonsense), Err(PublishError::Unavailable(_))));
        }
    }

    proptest! {
        #[test]
        fn hostile_answers_do_no_harm(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body);
        }
    }
}
