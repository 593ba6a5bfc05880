//! What the server's status messages mean for the pull loop.
//! Reads: code, description and counts of a status message (NATS ADR-13, nats-server `consumer.go`).
//! Writes: nothing. Never: guesses that a request is alive when the server did not say how much of it is left.

use std::time::Duration;

/// What follows from a status message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The request is alive.
    Alive,
    /// One request ended; so many of its messages will not come.
    Ended {
        /// Messages that were asked for and will not come.
        unfilled: usize,
    },
    /// Which requests are alive is unknown: ask anew under another inbox.
    Rearm {
        /// Bounded reason for the metric.
        why: &'static str,
        /// Whether the server would say the same again at once.
        pause: bool,
    },
    /// A request asked for more messages than the consumer allows.
    BatchLimit(usize),
    /// A request wanted to wait longer than the consumer allows.
    ExpiresLimit(Duration),
    /// The consumer has to be created anew.
    Gone,
}

/// Reads a status. `unfilled` is the `Nats-Pending-Messages` header, which is absent if the request was never
/// accepted or the server does not know any more.
pub(super) fn meaning(code: u16, description: &str, unfilled: Option<usize>) -> Meaning {
    let says = |text: &str| description.contains(text);
    let ended = |why: &'static str, pause: bool| match unfilled {
        Some(unfilled) if !pause => Meaning::Ended { unfilled },
        _ => Meaning::Rearm { why, pause },
    };
    match code {
        100 => Meaning::Alive,
        // Nothing there; time is up; batch or bytes complete.
        404 | 408 => ended("ended", false),
        409 if says("Consumer Deleted") || says("push based") => Meaning::Gone,
        409 if says("MaxRequestBatch") => match number_after_of(description) {
            Some(limit) if limit > 0 => Meaning::BatchLimit(limit),
            _ => Meaning::Rearm { why: "limit", pause: true },
        },
        409 if says("MaxRequestExpires") => match duration_after_of(description) {
            Some(limit) => Meaning::ExpiresLimit(limit),
            None => Meaning::Rearm { why: "limit", pause: true },
        },
        409 if says("Exceeded") => Meaning::Rearm { why: "limit", pause: true },
        // The request died with its leader, even where the server says how much was left of it: other
        // requests of ours died too, without a word.
        409 if says("Leadership Change") => Meaning::Rearm { why: "leader", pause: false },
        409 if says("Server Shutdown") => Meaning::Rearm { why: "shutdown", pause: true },
        409 => ended("ended", false),
        // Another process holds the pin, or ours is out of date.
        423 => Meaning::Rearm { why: "pin", pause: false },
        // Nobody answers for this consumer: it is gone, or JetStream is away for the moment.
        503 => Meaning::Gone,
        // 400 and what future servers may say.
        _ => Meaning::Rearm { why: "refused", pause: true },
    }
}

/// The number in "Exceeded MaxRequestBatch of 25".
fn number_after_of(description: &str) -> Option<usize> {
    description.rsplit_once(" of ")?.1.trim().parse().ok()
}

/// The time in "Exceeded MaxRequestExpires of 1m30s": Go's way to write a duration.
fn duration_after_of(description: &str) -> Option<Duration> {
    let text = description.rsplit_once(" of ")?.1.trim();
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..unit_end] {
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "µs" | "us" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(total).ok().filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Meaning::{Alive, BatchLimit, Ended, ExpiresLimit, Gone, Rearm};
    use super::*;

    #[test]
    fn every_status_has_a_meaning() {
        let table: &[(u16, &str, Option<usize>, Meaning)] = &[
            (100, "Idle Heartbeat", None, Alive),
            (100, "FlowControl Request", None, Alive),
            (404, "No Messages", Some(3), Ended { unfilled: 3 }),
            (404, "No Messages", None, Rearm { why: "ended", pause: false }),
            (408, "Request Timeout", Some(64), Ended { unfilled: 64 }),
            (408, "Interest Expired", Some(2), Ended { unfilled: 2 }),
            (408, "Request Timeout", None, Rearm { why: "ended", pause: false }),
            (409, "Batch Completed", Some(0), Ended { unfilled: 0 }),
            (409, "Message Size Exceeds MaxBytes", Some(5), Ended { unfilled: 5 }),
            (409, "Consumer Deleted", None, Gone),
            (409, "Consumer is push based", None, Gone),
            (409, "Leadership Change", Some(7), Rearm { why: "leader", pause: false }),
            (409, "Leadership Change", None, Rearm { why: "leader", pause: false }),
            (409, "Server Shutdown", Some(7), Rearm { why: "shutdown", pause: true }),
            (409, "Exceeded MaxRequestBatch of 25", None, BatchLimit(25)),
            (409, "Exceeded MaxRequestBatch of 0", None, Rearm { why: "limit", pause: true }),
            (409, "Exceeded MaxRequestBatch of x", None, Rearm { why: "limit", pause: true }),
            (
                409,
                "Exceeded MaxRequestExpires of 1.5s",
                None,
                ExpiresLimit(Duration::from_millis(1_500)),
            ),
            (
                409,
                "Exceeded MaxRequestExpires of 1m30s",
                None,
                ExpiresLimit(Duration::from_secs(90)),
            ),
            (409, "Exceeded MaxRequestExpires of soon", None, Rearm { why: "limit", pause: true }),
            (409, "Exceeded MaxRequestMaxBytes of 10", None, Rearm { why: "limit", pause: true }),
            (409, "Exceeded MaxWaiting", None, Rearm { why: "limit", pause: true }),
            (409, "Exceeded MaxAckPending", None, Rearm { why: "limit", pause: true }),
            (409, "something new", None, Rearm { why: "ended", pause: false }),
            (423, "Nats-Wrong-Pin-Id", None, Rearm { why: "pin", pause: false }),
            (423, "Nats-Pin-Id mismatch", Some(4), Rearm { why: "pin", pause: false }),
            (503, "", None, Gone),
            (503, "No Responders Available For Request", None, Gone),
            (
                400,
                "Bad Request - heartbeat value too large",
                None,
                Rearm { why: "refused", pause: true },
            ),
            (499, "from the future", Some(1), Rearm { why: "refused", pause: true }),
        ];
        for (code, description, unfilled, expected) in table {
            assert_eq!(
                meaning(*code, description, *unfilled),
                *expected,
                "{code} {description} {unfilled:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn hostile_descriptions_do_no_harm(code in 0_u16..1_000, text in ".{0,60}", of in ".{0,20}") {
            let _ = meaning(code, &text, None);
            let _ = meaning(409, &format!("Exceeded MaxRequestExpires of {of}"), Some(1));
            let _ = meaning(409, &format!("Exceeded MaxRequestBatch of {of}"), Some(1));
        }
    }
}
