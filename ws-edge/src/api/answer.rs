//! How callers are answered: Centrifugo's form.
//! Reads: results. Writes: JSON and HTTP statuses. Never: passes on the text of an inner error.
//!
//! The answer to everything that could be read is HTTP 200 with a `result` or an `error`, unless the caller asks for
//! statuses by the header `X-Centrifugo-Error-Mode: transport`.

use std::borrow::Cow;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::codes::{ReplyError, error};
use crate::control::Unanswered;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    pub(super) code: u32,
    pub(super) message: Cow<'static, str>,
}

/// The result as JSON.
pub(super) type Answer = Result<String, Failure>;

/// A result that says no more than that it worked.
pub(super) const DONE: &str = "{}";

impl Failure {
    /// The error, with what is the matter instead of its own text.
    pub(super) fn because(error: ReplyError, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: error.code, message: message.into() }
    }

    /// The status in the mode `transport`: Centrifugo's, and those of codes that it does not have here.
    fn status(&self) -> StatusCode {
        match self.code {
            102 | 104 => StatusCode::NOT_FOUND,
            103 => StatusCode::FORBIDDEN,
            106 => StatusCode::PAYLOAD_TOO_LARGE,
            107 | 108 => StatusCode::BAD_REQUEST,
            111 => StatusCode::TOO_MANY_REQUESTS,
            112 => StatusCode::RANGE_NOT_SATISFIABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether it is our fault.
    pub(super) fn is_ours(&self) -> bool {
        self.code == error::INTERNAL.code
    }
}

impl From<ReplyError> for Failure {
    fn from(error: ReplyError) -> Self {
        Self { code: error.code, message: error.message.into() }
    }
}

impl From<Unanswered> for Failure {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Busy => Self::because(error::TOO_MANY_REQUESTS, why.to_string()),
            _ => Self::because(
                error::INTERNAL,
                format!("{why}; those that did have done it: try again"),
            ),
        }
    }
}

/// A result as JSON; ours always have a form.
pub(super) fn json(result: &impl Serialize) -> Answer {
    serde_json::to_string(result).map_err(|_| error::INTERNAL.into())
}

/// The object around a result or an error, as it stands in a broadcast too.
pub(super) fn object(answer: &Answer) -> String {
    match answer {
        Ok(result) => format!("{{\"result\":{result}}}"),
        Err(failure) => format!("{{\"error\":{}}}", text(failure)),
    }
}

pub(super) fn text(failure: &Failure) -> String {
    json(failure)
        .unwrap_or_else(|_| "{\"code\":100,\"message\":\"internal server error\"}".to_owned())
}

/// The whole answer to one command.
pub(super) fn respond(answer: &Answer, statuses: bool) -> Response {
    match answer {
        Err(failure) if statuses => body(failure.status(), text(failure)),
        _ => body(StatusCode::OK, object(answer)),
    }
}

/// An answer to what was not even read.
pub(super) fn refuse(status: StatusCode, failure: &Failure) -> Response {
    body(status, format!("{{\"error\":{}}}", text(failure)))
}

pub(super) fn body(status: StatusCode, json: String) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], json).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_centrifugo_s_statuses() {
        for (error, status) in [
            (error::INTERNAL, 500),
            (error::UNKNOWN_CHANNEL, 404),
            (error::METHOD_NOT_FOUND, 404),
            (error::BAD_REQUEST, 400),
            (error::NOT_AVAILABLE, 400),
            (error::UNRECOVERABLE_POSITION, 416),
            (error::TOO_MANY_REQUESTS, 429),
        ] {
            assert_eq!(Failure::from(error).status().as_u16(), status, "{error:?}");
        }
    }

    #[test]
    fn an_answer_is_a_result_or_an_error() {
        assert_eq!(object(&Ok(DONE.to_owned())), r#"{"result":{}}"#);
        let failure = Failure::because(error::BAD_REQUEST, "no \"channel\"");
        assert_eq!(object(&Err(failure)), r#"{"error":{"code":107,"message":"no \"channel\""}}"#);
    }
}
