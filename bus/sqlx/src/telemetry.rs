//! The metrics of inbox, outbox and ledger: every name once, and the functions that write them.
//! Reads: nothing. Writes: the metrics recorder. Never: puts an id, a key or a subject into a label.

use metrics::{counter, gauge};

/// Messages that came to an inbox, by result: first, seen, failed.
pub const INBOX: &str = "campana_inbox_messages_total";
/// Messages that wait in the outbox; counting stops at 100,000.
pub const OUTBOX_PENDING: &str = "campana_outbox_pending_messages";
/// Age of the oldest message that waits in the outbox.
pub const OUTBOX_OLDEST: &str = "campana_outbox_oldest_seconds";
/// Messages that no relay will publish until an operator decides; counting stops at 100,000.
pub const OUTBOX_SET_ASIDE: &str = "campana_outbox_set_aside_messages";
/// Messages that a relay published, by result: stored, duplicate, unexpected_duplicate.
pub const OUTBOX_PUBLISHED: &str = "campana_outbox_published_total";
/// Publishes and statements of a relay that failed, by reason.
pub const OUTBOX_FAILURES: &str = "campana_outbox_failures_total";
/// Answers of the attempt ledger, by answer.
pub const LEDGER: &str = "campana_ledger_answers_total";

pub(crate) fn inbox(consumer: &str, result: &'static str) {
    counter!(INBOX, "consumer" => consumer.to_owned(), "result" => result).increment(1);
}

pub(crate) fn outbox_depth(pending: i64, oldest_seconds: f64, set_aside: i64) {
    gauge!(OUTBOX_PENDING).set(pending as f64);
    gauge!(OUTBOX_OLDEST).set(oldest_seconds);
    gauge!(OUTBOX_SET_ASIDE).set(set_aside as f64);
}

pub(crate) fn outbox_published(result: &'static str) {
    counter!(OUTBOX_PUBLISHED, "result" => result).increment(1);
}

pub(crate) fn outbox_failed(reason: &'static str) {
    counter!(OUTBOX_FAILURES, "reason" => reason).increment(1);
}

pub(crate) fn ledger(answer: &'static str) {
    counter!(LEDGER, "answer" => answer).increment(1);
}
