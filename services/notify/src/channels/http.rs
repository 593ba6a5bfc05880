//! What the HTTP channels share: reading an answer with a limit, and what a failed request means.
//! Reads: responses. Writes: nothing. Never: buffers more than the limit, whatever the length header says.

use std::time::Duration;

use campana_bus::clock::Micros;
use campana_bus::headers::STAMPS;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::classify::Signal;
use super::reply::Refusal;

/// Bytes of an answer that are read; the rest is dropped with the connection.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The request with its stage stamps, if it has any.
pub(super) fn stamped(request: RequestBuilder, stamps: Option<&str>) -> RequestBuilder {
    match stamps {
        Some(stamps) => request.header(STAMPS, stamps),
        None => request,
    }
}

/// The beginning of the body.
pub(super) async fn read_capped(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(body)
}

/// A request without an answer. Only a request that never reached the host is known not to have arrived.
pub(super) fn lost(protocol: &'static str, error: &reqwest::Error) -> Refusal {
    let unconfirmed = !(error.is_connect() || error.is_builder());
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    Refusal::new(Signal::Lost { protocol, unconfirmed }, what)
}

/// `Retry-After` in seconds or as a date (RFC 9110).
pub(super) fn retry_after(headers: &HeaderMap, now: Micros) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(7 * 24 * 3600)));
    }
    // RFC 2822 knows no zone "GMT" in its strict form.
    let at = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
    let seconds = at.unix_timestamp().saturating_sub(now.0 / 1_000_000);
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after() {
        let now = Micros::from_rfc3339("2026-01-01T00:00:00Z").unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999", Some(604_800)),
            ("Thu, 01 Jan 2026 00:01:30 GMT", Some(90)),
            ("Wed, 31 Dec 2025 00:00:00 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
