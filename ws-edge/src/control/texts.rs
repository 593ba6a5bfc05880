//! Codes and reasons that callers of the server API choose.
//! Reads: what callers send. Writes: nothing. Never: lets a reason pass that clients would take for something else,
//! or lets the number of texts grow without a limit.
//!
//! Everything that ends connections passes reasons around as static texts. Callers use a few constants of their
//! programs, so each different text is kept once for the life of the process, up to a limit; what comes after
//! that is sent with a text of ours.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::codes::{Disconnect, Unsubscribe};

/// Different texts that are kept.
const TEXTS_MAX: usize = 1_024;
/// Bytes of a reason in a closing frame (RFC 6455 §5.5: 125 with the code).
pub(crate) const REASON_BYTES_MAX: usize = 123;
/// Codes that may end a connection; those below are WebSocket's and the protocol's own.
pub(crate) const DISCONNECT_CODES: std::ops::RangeInclusive<u16> = 3_000..=4_999;
/// Codes that may end a subscription; from 2500 on clients subscribe again.
pub(crate) const UNSUBSCRIBE_CODES: std::ops::RangeInclusive<u32> = 2_000..=2_999;
/// When there are too many different texts.
const FALLBACK: &str = "ended by the server";

static TEXTS: LazyLock<Mutex<Texts>> = LazyLock::new(Mutex::default);

/// The different texts so far.
#[derive(Debug, Default)]
struct Texts(HashSet<&'static str>);

/// Whether clients can be given this reason: short, printable, and not JSON, which they would parse.
pub(crate) fn is_reason(text: &str) -> bool {
    text.len() <= REASON_BYTES_MAX
        && !text.chars().any(char::is_control)
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err()
}

/// The end of a connection with a code and a reason from outside, which were checked.
pub(crate) fn disconnect(code: u16, reason: &str) -> Disconnect {
    Disconnect { code, reason: kept(reason), label: "server" }
}

/// The end of a subscription, likewise.
pub(crate) fn unsubscribe(code: u32, reason: &str) -> Unsubscribe {
    Unsubscribe { code, reason: kept(reason) }
}

fn kept(text: &str) -> &'static str {
    // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
    TEXTS.lock().unwrap_or_else(PoisonError::into_inner).keep(text)
}

impl Texts {
    fn keep(&mut self, text: &str) -> &'static str {
        if let Some(known) = self.0.get(text) {
            return known;
        }
        if self.0.len() >= TEXTS_MAX || text.len() > REASON_BYTES_MAX {
            return FALLBACK;
        }
        let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
        self.0.insert(text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_short_and_not_json() {
        for good in ["banned", "", "you are out", "{", "12 o'clock"] {
            assert!(is_reason(good), "{good:?}");
        }
        let long = "x".repeat(REASON_BYTES_MAX + 1);
        for bad in ["12", "{}", "\"x\"", "null", " true ", "a\nb", &long] {
            assert!(!is_reason(bad), "{bad:?}");
        }
    }

    #[test]
    fn texts_are_kept_once_and_not_without_limit() {
        let (one, again) = (disconnect(4_001, "banned"), disconnect(4_001, "banned"));
        assert!(std::ptr::eq(one.reason, again.reason));
        let mut texts = Texts::default();
        for n in 0..TEXTS_MAX {
            let text = format!("text {n}");
            assert_eq!(texts.keep(&text), text);
        }
        assert_eq!((texts.keep("one more"), texts.keep("text 7")), (FALLBACK, "text 7"));
        assert_eq!(unsubscribe(2_000, "banned").reason, "banned");
    }
}
