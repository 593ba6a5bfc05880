//! Metrics of the keys.
//! Reads: nothing. Writes: the metrics recorder. Never: puts anything that a document says into a label.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Attempts to fetch a JWKS document, by result.
pub const JWKS_FETCHES: &str = "campana_jwks_fetches_total";
/// Age of the oldest JWKS document in use.
pub const JWKS_AGE: &str = "campana_jwks_age_seconds";
/// Keys that tokens are checked with.
pub const TOKEN_KEYS: &str = "campana_token_keys";

const FETCH_RESULTS: [&str; 3] = ["ok", "unavailable", "malformed"];

/// Every series exists from the start, so that the first failure is seen as an increase.
pub(crate) fn initialise() {
    describe_counter!(JWKS_FETCHES, "Attempts to fetch a JWKS document");
    describe_gauge!(JWKS_AGE, "Age of the oldest JWKS document in use");
    describe_gauge!(TOKEN_KEYS, "Keys that tokens are checked with");
    for result in FETCH_RESULTS {
        counter!(JWKS_FETCHES, "result" => result).absolute(0);
    }
}

/// A fetch ended.
pub(crate) fn fetched(result: &'static str) {
    debug_assert!(FETCH_RESULTS.contains(&result));
    counter!(JWKS_FETCHES, "result" => result).increment(1);
}

/// What is in use now.
pub(crate) fn keys(count: usize, age_seconds: i64) {
    gauge!(TOKEN_KEYS).set(count as f64);
    gauge!(JWKS_AGE).set(age_seconds as f64);
}
