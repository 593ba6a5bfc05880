//! Metrics of tokens, revocations and of the services that decide.
//! Reads: nothing. Writes: the metrics recorder. Never: puts anything that a token says into a label.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Connection tokens that were refused, by reason.
pub const TOKENS_REFUSED: &str = "campana_edge_tokens_refused_total";
/// Revocations that this node knows.
pub const REVOCATIONS: &str = "campana_edge_revocations";
/// Answers of services that decide, by question and result.
pub const PROXY_ANSWERS: &str = "campana_edge_proxy_answers_total";
/// How long those services take.
pub const PROXY_SECONDS: &str = "campana_edge_proxy_duration_seconds";

/// Questions to services.
pub(crate) const QUESTIONS: [&str; 5] =
    ["connect", "refresh", "subscribe", "publish", "sub_refresh"];

pub(super) fn initialise() {
    describe_counter!(TOKENS_REFUSED, "Connection tokens that were refused");
    describe_gauge!(REVOCATIONS, "Revocations that this node knows");
    describe_counter!(PROXY_ANSWERS, "Answers of services that decide instead of the edge");
    describe_histogram!(PROXY_SECONDS, "How long services take to decide");
    gauge!(REVOCATIONS).set(0.0);
}

/// A token was refused; the reason is [`campana_identity::TokenFault::code`] or `revoked`.
pub(super) fn token_refused(reason: &'static str) {
    counter!(TOKENS_REFUSED, "reason" => reason).increment(1);
}

/// How many revocations there are.
pub(crate) fn revocations(count: usize) {
    gauge!(REVOCATIONS).set(count as f64);
}

/// A service decided, or could not be understood.
pub(super) fn proxy_answered(question: &'static str, result: &'static str) {
    counter!(PROXY_ANSWERS, "question" => question, "result" => result).increment(1);
}

/// A service answered, or did not in its time.
pub(crate) fn proxy_took(question: &'static str, time: Duration) {
    debug_assert!(QUESTIONS.contains(&question));
    histogram!(PROXY_SECONDS, "question" => question).record(time);
}
