//! Errors as RFC 9457 problem documents with stable codes.
//! Reads and writes: nothing. Never: shows a visitor what the database said.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

/// Where the pages of the codes are published.
const TYPE_BASE: &str = "https://campana.dev/errors/";

/// What went wrong, as clients may branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidJson,
    ValidationFailed,
    ForeignOrigin,
    NotFound,
    MethodNotAllowed,
    PayloadTooLarge,
    KeyReused,
    RateLimited,
    Unavailable,
}

impl Code {
    /// Stable name, status and title.
    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidJson => {
                ("invalid_json", StatusCode::BAD_REQUEST, "The body is not valid JSON")
            }
            Self::ValidationFailed => {
                ("validation_failed", StatusCode::UNPROCESSABLE_ENTITY, "Some fields are not valid")
            }
            Self::ForeignOrigin => (
                "foreign_origin",
                StatusCode::FORBIDDEN,
                "The request seems to come from another page",
            ),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "There is no such thing"),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "The method is not allowed here",
            ),
            Self::PayloadTooLarge => {
                ("payload_too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large")
            }
            Self::KeyReused => (
                "idempotency_key_reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The key was used for something else",
            ),
            Self::RateLimited => {
                ("rate_limited", StatusCode::TOO_MANY_REQUESTS, "Too many requests at once")
            }
            Self::Unavailable => (
                "unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The shop cannot take this at the moment",
            ),
        }
    }
}

/// A wrong field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// JSON pointer.
    pub pointer: &'static str,
    /// Stable name of the rule.
    pub code: &'static str,
}

/// An error on its way to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: String,
    errors: Vec<Wrong>,
}

impl Problem {
    /// An error in one sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new() }
    }

    /// Fields that break a rule.
    pub fn fields(errors: Vec<Wrong>) -> Self {
        let detail = "some fields are not valid: see errors".to_owned();
        Self { code: Code::ValidationFailed, detail, errors }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a request was not answered");
        Self::new(Code::Unavailable, "the shop's database does not answer; try again in a moment")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (code, status, title) = self.code.row();
        let errors: Vec<_> = self
            .errors
            .iter()
            .map(|wrong| json!({"pointer": wrong.pointer, "code": wrong.code}))
            .collect();
        let mut body = json!({
            "type": format!("{TYPE_BASE}{code}"), "title": title, "status": status.as_u16(),
            "code": code, "detail": self.detail,
        });
        if !errors.is_empty() {
            body["errors"] = errors.into();
        }
        let mut response = (status, body.to_string()).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if matches!(self.code, Code::RateLimited | Code::Unavailable) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
