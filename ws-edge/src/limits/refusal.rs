//! How somebody is told that he is not let in.
//! Reads: nothing. Writes: HTTP answers, a metric. Never: says more than what to do about it.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::metrics;

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The metric's label.
    pub(crate) reason: Reason,
    /// The HTTP answer.
    pub(crate) status: StatusCode,
    /// For people.
    pub(crate) text: &'static str,
    /// For `Retry-After`; 0 if coming again does not help.
    pub(crate) retry_seconds: u64,
}

/// What kind of reason it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The page belongs to an origin that is not listed.
    Origin,
    /// The node stops.
    Drain,
    /// A limit, by its label.
    Limit(&'static str),
}

/// Seconds after which another node, or the one that takes this one's place, can be expected to answer.
const RETRY_SECONDS: u64 = 1;

impl Refused {
    /// The page belongs to an origin that is not listed.
    pub(crate) const ORIGIN: Self = Self {
        reason: Reason::Origin,
        status: StatusCode::FORBIDDEN,
        text: "this origin may not connect: the edge's operator lists those that may",
        retry_seconds: 0,
    };
    /// The node stops.
    pub(crate) const DRAIN: Self = Self {
        reason: Reason::Drain,
        status: StatusCode::SERVICE_UNAVAILABLE,
        text: "this node stops: try again, another one takes over",
        retry_seconds: RETRY_SECONDS,
    };
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self.reason {
            Reason::Origin => metrics::refused("origin"),
            Reason::Drain => metrics::refused("drain"),
            Reason::Limit(limit) => {
                metrics::refused("limit");
                metrics::limited(limit);
            }
        }
        let mut answer = (self.status, self.text).into_response();
        if self.retry_seconds > 0 {
            let seconds = HeaderValue::from(self.retry_seconds);
            answer.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        answer
    }
}
