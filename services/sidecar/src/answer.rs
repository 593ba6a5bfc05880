//! Pure: what an app's answer to a delivery means.
//! Reads: a status, two headers, the body. Writes: nothing. Never: reads a clock.
//!
//! | answer | meaning |
//! |---|---|
//! | 2xx | handled; a JSON body `{"status": "RETRY"}` or `{"status": "DROP"}` is honoured as Dapr does, except that a dropped message is parked |
//! | 202, if the subscription says `answer_later` | the app settles the delivery itself, by its id |
//! | 408, 409, 423, 425, 429, 5xx | again, after `Retry-After` or the backoff |
//! | 1xx, 3xx, 401, 403, 404, 405, 407, 421 | the app or the declaration is set up wrongly, not the message: again, and loud in the log |
//! | 410, 422 and every other 4xx | this message never: parked |

use std::time::{Duration, UNIX_EPOCH};

use campana_bus::clock::Micros;
use serde::Deserialize;

/// The longest pause that an app may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Bytes of an app's answer; a longer one counts as no answer.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Handled.
    Ack,
    /// Not settled yet: the app will do it by the delivery's id.
    Later,
    /// Try again.
    Retry {
        /// How long to wait; `None` leaves it to the backoff.
        after: Option<Duration>,
        /// Why, without anything that the app said.
        why: String,
        /// Whether it looks like a wrong path or token rather than a busy app.
        misconfigured: bool,
    },
    /// Never.
    Dead {
        /// Class for the dead letter.
        reason: String,
        /// Why, for people.
        why: String,
    },
}

/// An app's answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its header `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// Its header `Content-Type`.
    pub content_type: Option<&'a str>,
    /// Its body, or the part of it that was read.
    pub body: &'a [u8],
}

/// What the answer means at `now`; `answer_later` is the subscription's.
#[must_use]
pub fn verdict(answer: Answer<'_>, answer_later: bool, now: Micros) -> Verdict {
    let retry = |misconfigured| Verdict::Retry {
        after: answer.retry_after.and_then(|text| retry_after(text, now)),
        why: format!("the app answered {}", answer.status),
        misconfigured,
    };
    match answer.status {
        202 if answer_later => Verdict::Later,
        200..=299 => worded(answer, now).unwrap_or(Verdict::Ack),
        408 | 409 | 423 | 425 | 429 => retry(false),
        401 | 403 | 404 | 405 | 407 | 421 => retry(true),
        400..=499 => Verdict::Dead {
            reason: format!("http_{}", answer.status),
            why: format!("the app answered {}", answer.status),
        },
        500..=599 => retry(false),
        _ => retry(true),
    }
}

/// Dapr's `{"status": …}` in a 2xx answer; anything else says nothing.
fn worded(answer: Answer<'_>, now: Micros) -> Option<Verdict> {
    #[derive(Deserialize)]
    struct Worded {
        status: Option<String>,
    }
    let essence = answer.content_type?.split(';').next()?.trim();
    if !essence.eq_ignore_ascii_case("application/json") || answer.body.len() > ANSWER_BYTES_MAX {
        return None;
    }
    let said: Worded = serde_json::from_slice(answer.body).ok()?;
    match said.status?.as_str() {
        "RETRY" => Some(Verdict::Retry {
            after: answer.retry_after.and_then(|text| retry_after(text, now)),
            why: "the app answered RETRY".to_owned(),
            misconfigured: false,
        }),
        "DROP" => Some(Verdict::Dead {
            reason: "dropped_by_app".to_owned(),
            why: "the app answered DROP".to_owned(),
        }),
        _ => None,
    }
}

/// `Retry-After` as seconds or HTTP date (RFC 9110 §10.2.3), at most [`RETRY_AFTER_MAX`]; a date that has
/// passed is zero. Anything else counts as absent.
#[must_use]
pub fn retry_after(text: &str, now: Micros) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let at = i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()?;
    let wait = u64::try_from(Micros(at).since(now)).unwrap_or(0);
    Some(Duration::from_micros(wait).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Micros = Micros(1_700_000_000_000_000);

    fn of(status: u16) -> Verdict {
        let answer = Answer { status, retry_after: None, content_type: None, body: b"" };
        verdict(answer, false, NOW)
    }

    #[test]
    fn statuses_mean_what_the_table_says() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(of(status), Verdict::Ack, "{status}");
        }
        for status in [408, 409, 423, 425, 429, 500, 501, 502, 503, 504, 599] {
            assert!(matches!(of(status), Verdict::Retry { misconfigured: false, .. }), "{status}");
        }
        for status in [100, 301, 307, 401, 403, 404, 405, 407, 421, 999] {
            assert!(matches!(of(status), Verdict::Retry { misconfigured: true, .. }), "{status}");
        }
        for status in [400, 402, 406, 410, 413, 415, 422, 451, 499] {
            let reason = format!("http_{status}");
            assert!(matches!(of(status), Verdict::Dead { reason: r, .. } if r == reason));
        }
    }

    #[test]
    fn later_only_if_declared() {
        let answer = Answer { status: 202, retry_after: None, content_type: None, body: b"" };
        assert_eq!(verdict(answer, true, NOW), Verdict::Later);
        assert_eq!(verdict(answer, false, NOW), Verdict::Ack);
    }

    #[test]
    fn dapr_s_words_are_honoured_in_json_only() {
        let say = |content_type, body: &'static str| {
            let answer = Answer {
                status: 200,
                retry_after: None,
                content_type: Some(content_type),
                body: body.as_bytes(),
            };
            verdict(answer, false, NOW)
        };
        let json = "application/json; charset=utf-8";
        assert!(matches!(say(json, r#"{"status":"RETRY"}"#), Verdict::Retry { .. }));
        assert!(matches!(say(json, r#"{"status":"DROP"}"#), Verdict::Dead { .. }));
        for body in ["", "{}", "null", r#"{"status":"SUCCESS"}"#, r#"{"status":7}"#, "[", "\"x\""] {
            assert_eq!(say(json, body), Verdict::Ack, "{body}");
        }
        assert_eq!(say("text/plain", r#"{"status":"DROP"}"#), Verdict::Ack);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_clamped() {
        assert_eq!(retry_after("7", NOW), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(" 0 ", NOW), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999999999999999999", NOW), Some(RETRY_AFTER_MAX));
        assert_eq!(
            retry_after("Tue, 14 Nov 2023 22:14:20 GMT", NOW),
            Some(Duration::from_secs(60))
        );
        assert_eq!(retry_after("Tue, 14 Nov 2000 22:14:20 GMT", NOW), Some(Duration::ZERO));
        for text in ["", "-1", "1.5", "soon", "7s", "NaN"] {
            assert_eq!(retry_after(text, NOW), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_an_app_says_panics_or_waits_too_long(
            status in 0_u16..1000, text in ".{0,40}", body in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
            let answer = Answer {
                status, retry_after: Some(&text), content_type: Some("application/json"), body: &body,
            };
            if let Verdict::Retry { after: Some(after), .. } = verdict(answer, true, NOW) {
                prop_assert!(after <= RETRY_AFTER_MAX);
            }
        }
    }
}
