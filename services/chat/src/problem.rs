//! Errors of the HTTP API: RFC 9457 problem documents with stable codes, which README.md lists.
//! Reads and writes: nothing. Never: shows an inside cause; that is logged, once.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::edge::EdgeError;
use crate::files::FileError;
use crate::secrets::SecretError;
use crate::store::StoreError;

/// What went wrong, as pages may branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The body is not the JSON that is wanted.
    InvalidBody,
    /// A field breaks a rule; the detail names it.
    InvalidField,
    /// Nobody is signed in.
    Unauthorized,
    /// Handle and password do not fit.
    WrongPassword,
    /// Another site sent this.
    ForeignOrigin,
    /// The person may not do this here.
    Forbidden,
    /// The person was sent out of the room.
    Banned,
    /// The person may not write for a while.
    Muted,
    /// There is no such thing, or it is not for this person.
    NotFound,
    /// The handle is taken.
    HandleTaken,
    /// The upload is too large.
    TooLarge,
    /// The request took too long.
    TooSlow,
    /// There is no such command.
    UnknownCommand,
    /// Too many in a short time.
    RateLimited,
    /// Our fault.
    Internal,
    /// The database or the object store does not answer.
    Unavailable,
}

impl Code {
    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidBody => {
                ("invalid_body", StatusCode::BAD_REQUEST, "The body is not the JSON that is wanted")
            }
            Self::InvalidField => {
                ("invalid_field", StatusCode::UNPROCESSABLE_ENTITY, "A field breaks a rule")
            }
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "Sign in first"),
            Self::WrongPassword => {
                ("wrong_password", StatusCode::UNAUTHORIZED, "Handle and password do not fit")
            }
            Self::ForeignOrigin => {
                ("foreign_origin", StatusCode::FORBIDDEN, "Another site sent this request")
            }
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "You may not do this here"),
            Self::Banned => ("banned", StatusCode::FORBIDDEN, "You were sent out of this room"),
            Self::Muted => ("muted", StatusCode::FORBIDDEN, "You may not write here for a while"),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "There is no such thing"),
            Self::HandleTaken => ("handle_taken", StatusCode::CONFLICT, "The handle is taken"),
            Self::TooLarge => {
                ("too_large", StatusCode::PAYLOAD_TOO_LARGE, "The upload is too large")
            }
            Self::TooSlow => ("too_slow", StatusCode::REQUEST_TIMEOUT, "The request took too long"),
            Self::UnknownCommand => {
                ("unknown_command", StatusCode::UNPROCESSABLE_ENTITY, "There is no such command")
            }
            Self::RateLimited => {
                ("rate_limited", StatusCode::TOO_MANY_REQUESTS, "Too many in a short time")
            }
            Self::Internal => {
                ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side")
            }
            Self::Unavailable => {
                ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Try again in a moment")
            }
        }
    }
}

/// A refusal on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: Option<String>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// Which field, and the rule that it breaks.
    #[must_use]
    pub fn field(name: &str, rule: &str) -> Self {
        Self { detail: Some(format!("{name}: {rule}")), ..Self::from(Code::InvalidField) }
    }

    /// Whether it only says that nobody is signed in.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.code == Code::Unauthorized
    }

    /// A refusal with the time after which it may work.
    #[must_use]
    pub fn after(code: Code, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::from(code) }
    }

    /// A refusal with more words.
    #[must_use]
    pub fn because(code: Code, detail: String) -> Self {
        Self { detail: Some(detail), ..Self::from(code) }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self { code, detail: None, retry_after: None }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "the store did not answer");
        Self::from(Code::Unavailable)
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        tracing::error!(error = %error, "no secret could be made");
        Self::from(Code::Internal)
    }
}

impl From<EdgeError> for Problem {
    fn from(error: EdgeError) -> Self {
        tracing::error!(error = %error, "the edge could not be asked");
        Self::from(Code::Internal)
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        tracing::error!(error = %error, "the object store did not answer");
        Self::from(Code::Unavailable)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (code, status, title) = self.code.row();
        let seconds = self.retry_after.map(|wait| wait.as_secs_f64().ceil().max(1.0));
        let mut body = json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "code": code,
        });
        if let Some(detail) = self.detail {
            body["detail"] = detail.into();
        }
        if let Some(seconds) = seconds {
            body["retry_after_seconds"] = seconds.into();
        }
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(CONTENT_TYPE, kind)], body.to_string()).into_response();
        let after = seconds.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok());
        if let Some(after) = after {
            response.headers_mut().insert(RETRY_AFTER, after);
        }
        response
    }
}
