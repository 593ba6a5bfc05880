//! What an answer means: for the message, for the recipient and for the provider.
//! Reads: the tables of `classes`. Writes: nothing. Never: looks at the text of an answer.
//!
//! Three separate results, because the usual mistake is to mix them: a full mailbox says nothing about the
//! relay, and a relay out of quota says nothing about the recipient.

use std::time::Duration;

use super::classes::{self, Row};

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageAction {
    /// Again, after the channel's next pause.
    Retry,
    /// Again, but not soon.
    RetrySlow,
    /// Never.
    Fail,
    /// Not now; does not count as an attempt, because the fault is ours or the provider's.
    Hold,
}

/// What is learned about the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientAction {
    /// Nothing.
    None,
    /// The address is bad for good.
    Suppress,
    /// The recipient does not want messages.
    OptedOut,
}

/// What is learned about the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderAction {
    /// It works.
    None,
    /// It is in trouble: count towards opening the circuit.
    Breaker,
    /// It wants less.
    Slow,
}

/// An enhanced status code (RFC 3463).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enhanced(pub u16, pub u16, pub u16);

/// An answer, or the lack of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A reply of the relay.
    Smtp {
        /// Three digits.
        code: u16,
        /// The enhanced code, if there was one.
        enhanced: Option<Enhanced>,
    },
    /// An answer of Twilio's API.
    Twilio {
        /// HTTP status.
        status: u16,
        /// Twilio's own code.
        code: Option<u32>,
    },
    /// The status of a webhook's receiver.
    Webhook {
        /// HTTP status.
        status: u16,
    },
    /// No answer.
    Lost {
        /// Short name of the protocol, for the reason.
        protocol: &'static str,
        /// True if the provider may have taken the message.
        unconfirmed: bool,
    },
    /// We refuse ourselves; the text is the reason.
    Refused(&'static str),
    /// The provider's end or ours is set up wrongly; the text is the reason.
    Misconfigured(&'static str),
    /// Something that we need did not answer; the text is the reason.
    NotReady(&'static str),
}

/// The meaning of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// For the message.
    pub message: MessageAction,
    /// For the recipient.
    pub recipient: RecipientAction,
    /// For the provider.
    pub provider: ProviderAction,
    /// The least time before the next attempt.
    pub wait: Duration,
    /// Machine-readable.
    pub reason: String,
    /// Whether the provider may have taken the message.
    pub unconfirmed: bool,
}

/// The end of every reason after which the next attempt may be a duplicate.
pub(super) const UNCONFIRMED: &str = "_unconfirmed";

/// Looks an answer up.
#[must_use]
pub fn classify(signal: &Signal) -> Class {
    match signal {
        Signal::Smtp { code, enhanced } => {
            let row = classes::smtp(*code, *enhanced);
            let reason = match enhanced {
                Some(Enhanced(a, b, c)) => format!("smtp_{a}.{b}.{c}"),
                None => format!("smtp_{code}"),
            };
            class(row, reason, false)
        }
        Signal::Twilio { status, code } => {
            let row = classes::twilio(*status, *code);
            // The server may have broken after it queued the message.
            let unconfirmed = code.is_none() && *status >= 500;
            let reason = match code {
                Some(code) => format!("twilio_{code}"),
                None if unconfirmed => format!("twilio_http_{status}{UNCONFIRMED}"),
                None => format!("twilio_http_{status}"),
            };
            class(row, reason, unconfirmed)
        }
        Signal::Webhook { status } => {
            class(classes::webhook(*status), format!("http_{status}"), false)
        }
        Signal::Lost { protocol, unconfirmed } => {
            let row = if *unconfirmed { &classes::LOST_UNCONFIRMED } else { &classes::LOST };
            let end = if *unconfirmed { UNCONFIRMED } else { "_no_answer" };
            class(row, format!("{protocol}{end}"), *unconfirmed)
        }
        Signal::Refused(reason) => class(&classes::REFUSED, (*reason).to_owned(), false),
        Signal::Misconfigured(reason) => {
            class(&classes::MISCONFIGURED, (*reason).to_owned(), false)
        }
        Signal::NotReady(reason) => class(&classes::NOT_READY, (*reason).to_owned(), false),
    }
}

fn class(row: &Row, reason: String, unconfirmed: bool) -> Class {
    Class {
        message: row.message,
        recipient: row.recipient,
        provider: row.provider,
        wait: Duration::from_secs(row.wait_seconds),
        reason,
        unconfirmed,
    }
}

/// The first enhanced code in the text of a reply.
#[must_use]
pub fn find_enhanced(text: &str) -> Option<Enhanced> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|token| {
        let mut parts = token.split('.');
        let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
        let number =
            |part: &str| (1..=3).contains(&part.len()).then(|| part.parse().ok()).flatten();
        let known = matches!(class, "2" | "4" | "5") && parts.next().is_none();
        known.then_some(Enhanced(number(class)?, number(subject)?, number(detail)?))
    })
}

#[cfg(test)]
mod tests;
