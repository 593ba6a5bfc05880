//! Which dead letters are meant.
//! Reads: the `DLQ` stream, page by page. Writes: nothing. Never: reads on without a limit.

use serde::{Deserialize, Serialize};

use super::DlqError;
use super::letter::{DeadLetter, view};
use crate::clock::Micros;
use crate::connect::Bus;
use crate::fetch::StoredMessage;
use crate::subjects;
use crate::topology::DLQ;

/// Entries read with one request.
pub(super) const PAGE: usize = 256;
/// Requests that one page of results may cost: a filter that matches little answers early with a cursor.
const REQUESTS_MAX: usize = 16;

/// Which dead letters are meant; empty fields mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Only from this stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Only from this consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Only of this class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Only with this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only if the error text contains this; `*` stands for any text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_contains: Option<String>,
    /// Only parked at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Micros>,
    /// Only parked before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Micros>,
    /// Only with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Only of this tenant; letters whose subject names no tenant are nobody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// Some dead letters, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LetterPage {
    /// Oldest first.
    pub letters: Vec<DeadLetter>,
    /// Pass it as `after` for the next page; `None` at the end. A page can be short or empty and still not be
    /// the last one.
    pub next: Option<u64>,
}

impl Filter {
    /// Whether every field is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a letter is meant; `at` is when the stream stored it.
    pub(super) fn matches(&self, letter: &DeadLetter, at: Micros) -> bool {
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        self.id.is_none_or(|id| id == letter.id)
            && same(&self.stream, &letter.stream)
            && same(&self.consumer, &letter.consumer)
            && same(&self.class, &letter.class)
            && same(&self.reason, &letter.reason)
            && self.from.is_none_or(|from| from <= at)
            && self.to.is_none_or(|to| at < to)
            && self.tenant.as_ref().is_none_or(|tenant| letter.tenant.as_ref() == Some(tenant))
            && self.error_contains.as_ref().is_none_or(|text| contains(&letter.error, text))
    }

    pub(super) fn subject(&self) -> String {
        subjects::dead_letter_filter(self.stream.as_deref(), self.consumer.as_deref())
    }

    /// Where reading starts.
    pub(super) fn start(&self, after: u64) -> u64 {
        after.max(self.id.map_or(0, |id| id.saturating_sub(1)))
    }
}

/// Whether the parts between the `*` of a pattern occur in this order: linear in the text, whatever the
/// pattern.
fn contains(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    pattern.split('*').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// What a scan found.
pub(super) struct Found {
    pub messages: Vec<StoredMessage>,
    /// Everything up to here was looked at.
    pub after: u64,
    pub at_end: bool,
}

/// Entries after `after` that the filter means: at most `limit`, and at most so many that few requests find.
pub(super) async fn scan(
    bus: &Bus,
    filter: &Filter,
    after: u64,
    limit: usize,
) -> Result<Found, DlqError> {
    let subject = filter.subject();
    let mut found = Found { messages: Vec::new(), after: filter.start(after), at_end: false };
    for _ in 0..REQUESTS_MAX {
        let page = bus.fetch_after(DLQ, &subject, found.after, PAGE).await?;
        found.at_end = page.pending == 0;
        for message in page.messages {
            if found.messages.len() == limit {
                found.at_end = false;
                return Ok(found);
            }
            found.after = message.sequence;
            let letter = view(&message);
            if filter.matches(&letter, message.time) {
                found.messages.push(message);
            }
        }
        if found.at_end || filter.id.is_some_and(|id| found.after >= id) {
            found.at_end = true;
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_pattern_is_text_with_gaps() {
        for (text, pattern, found) in [
            ("rcpt: 550 5.1.1 no such user", "550", true),
            ("rcpt: 550 5.1.1 no such user", "550*user", true),
            ("rcpt: 550 5.1.1 no such user", "user*550", false),
            ("rcpt: 550", "*", true),
            ("", "", true),
            ("aab", "ab*b", false),
            ("(a+)+$", "(a+)+$", true),
        ] {
            assert_eq!(contains(text, pattern), found, "{text} {pattern}");
        }
    }

    fn letter() -> DeadLetter {
        DeadLetter {
            id: 7,
            stream: "EVENTS".to_owned(),
            consumer: "orders".to_owned(),
            sequence: 1,
            subject: "app.acme.shop.order".to_owned(),
            tenant: Some("acme".to_owned()),
            class: "permanent".to_owned(),
            reason: "no_stock".to_owned(),
            error: "none left".to_owned(),
            attempts: 1,
            redrives: 0,
            first_at: String::new(),
            first_failure_at: None,
            dead_at: String::new(),
            service: String::new(),
            host: String::new(),
            filed_by: "consumer".to_owned(),
            trace_id: None,
            bytes: 2,
        }
    }

    #[test]
    fn every_field_of_a_filter_counts() {
        let text = |text: &str| Some(text.to_owned());
        let at = Micros(100);
        let all = |filter: &Filter| filter.matches(&letter(), at);
        assert!(all(&Filter::default()));
        let none = Filter::default();
        for (right, wrong) in [
            (Filter { id: Some(7), ..none.clone() }, Filter { id: Some(8), ..none.clone() }),
            (
                Filter { stream: text("EVENTS"), ..none.clone() },
                Filter { stream: text("x"), ..none.clone() },
            ),
            (
                Filter { consumer: text("orders"), ..none.clone() },
                Filter { consumer: text("x"), ..none.clone() },
            ),
            (
                Filter { class: text("permanent"), ..none.clone() },
                Filter { class: text("poison"), ..none.clone() },
            ),
            (
                Filter { reason: text("no_stock"), ..none.clone() },
                Filter { reason: text("x"), ..none.clone() },
            ),
            (
                Filter { error_contains: text("left"), ..none.clone() },
                Filter { error_contains: text("right"), ..none.clone() },
            ),
            (
                Filter { from: Some(Micros(100)), ..none.clone() },
                Filter { from: Some(Micros(101)), ..none.clone() },
            ),
            (
                Filter { to: Some(Micros(101)), ..none.clone() },
                Filter { to: Some(Micros(100)), ..none.clone() },
            ),
            (
                Filter { tenant: text("acme"), ..none.clone() },
                Filter { tenant: text("default"), ..none.clone() },
            ),
        ] {
            assert!(all(&right) && !all(&wrong), "{right:?} {wrong:?}");
        }
        let nobody_s = DeadLetter { tenant: None, ..letter() };
        assert!(!Filter { tenant: text("acme"), ..none }.matches(&nobody_s, at));
    }
}
