//! The one error table of the HTTP API, rendered as RFC 9457 problem documents.
//! Reads and writes: nothing. Never: shows an inside cause, an address or a secret to the caller.
//! Every code here has a page in docs/errors/ with its meaning, cause and remedy.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// Where the pages of the codes are published.
const TYPE_BASE: &str = "https://campana.dev/errors/";

macro_rules! codes {
    ($($name:ident, $code:literal, $status:literal, $retryable:literal, $title:literal;)*) => {
        /// What went wrong with a request, as clients may branch on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// One line for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Whether the same request may succeed later.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }
        }
    };
}

codes! {
    InvalidJson, "invalid_json", 400, false, "The body is not valid JSON";
    InvalidParameter, "invalid_parameter", 400, false, "A query parameter or header is not valid";
    Unauthorized, "unauthorized", 401, false, "The credential is missing or not valid";
    Forbidden, "forbidden", 403, false, "The API key's role does not allow this";
    InvalidSignature, "invalid_signature", 403, false, "The callback's signature does not match";
    NotFound, "not_found", 404, false, "There is no such thing";
    MethodNotAllowed, "method_not_allowed", 405, false, "The method is not allowed here";
    RequestTimeout, "request_timeout", 408, true, "The request took too long to arrive";
    IdempotencyInFlight, "idempotency_in_flight", 409, true, "A request with this Idempotency-Key is in flight";
    BeingRedriven, "being_redriven", 409, true, "Somebody else redrives this dead letter";
    PayloadTooLarge, "payload_too_large", 413, false, "The body is too large";
    UnsupportedMediaType, "unsupported_media_type", 415, false, "The body must be application/json";
    ValidationFailed, "validation_failed", 422, false, "Some fields are not valid";
    IdempotencyKeyReused, "idempotency_key_reused", 422, false, "The Idempotency-Key belongs to another request";
    RateLimited, "rate_limited", 429, true, "Too many requests";
    Internal, "internal", 500, true, "Something went wrong on our side";
    Unavailable, "unavailable", 503, true, "The message store does not take requests at the moment";
    StoreUnavailable, "store_unavailable", 503, true, "The database does not answer at the moment";
    Overloaded, "overloaded", 503, true, "Too many notifications are waiting";
}

macro_rules! field_codes {
    ($($name:ident, $code:literal;)*) => {
        /// What is wrong with one field of a body.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FieldCode {
            $(#[doc = $code] $name,)*
        }

        impl FieldCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

field_codes! {
    MissingField, "missing_field";
    UnknownField, "unknown_field";
    DuplicateField, "duplicate_field";
    WrongType, "wrong_type";
    UnknownValue, "unknown_value";
    Empty, "empty";
    TooLong, "too_long";
    TooMany, "too_many";
    OutOfRange, "out_of_range";
    Conflict, "conflict";
    Duplicate, "duplicate";
    InvalidName, "invalid_name";
    InvalidEmail, "invalid_email";
    InvalidPhone, "invalid_phone";
    InvalidUrl, "invalid_url";
    InvalidTime, "invalid_time";
    InvalidId, "invalid_id";
    InvalidSecret, "invalid_secret";
    InvalidTemplate, "invalid_template";
    UnknownRecipient, "unknown_recipient";
    UnknownTemplate, "unknown_template";
    ItemTooLarge, "item_too_large";
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body.
    pub pointer: String,
    /// What is wrong.
    pub code: FieldCode,
    /// The same for people.
    pub detail: Cow<'static, str>,
}

/// An error on its way to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    /// This occurrence, for people.
    pub detail: Cow<'static, str>,
    /// Wrong fields, if it is about fields.
    pub errors: Vec<FieldError>,
    /// Seconds to wait before a repeat.
    pub retry_after: Option<u32>,
}

impl Problem {
    /// A problem with an explanation.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// Wrong fields.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => Cow::Owned(format!("{}: {}", one.pointer, one.detail)),
            many => Cow::Owned(format!("{} fields are not valid", many.len())),
        };
        Self { code: Code::ValidationFailed, detail, errors, retry_after: None }
    }

    /// The same with a hint when to come back. Spread over twice the time, so that clients that were
    /// refused together do not come back together.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds + rand::random::<u32>() % (seconds + 1));
        self
    }

    /// The document.
    #[must_use]
    pub fn document(&self, request_id: &str) -> ProblemDocument {
        ProblemDocument {
            type_: format!("{TYPE_BASE}{}", self.code.as_str()),
            title: self.code.title().to_owned(),
            status: self.code.status(),
            detail: self.detail.clone().into_owned(),
            code: self.code.as_str().to_owned(),
            request_id: request_id.to_owned(),
            errors: self
                .errors
                .iter()
                .map(|error| ProblemField {
                    pointer: error.pointer.clone(),
                    code: error.code.as_str().to_owned(),
                    detail: error.detail.clone().into_owned(),
                })
                .collect(),
            retryable: self.code.retryable(),
        }
    }
}

/// A problem that still needs the request's id; the outermost layer of the gateway renders it.
#[derive(Clone, Debug)]
pub(super) struct Pending(pub(super) Problem);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Pending(self));
        response
    }
}

/// Renders a pending problem into the response that carries it; returns its code.
pub(super) fn render(response: &mut Response, request_id: &str) -> Option<Code> {
    let Pending(problem) = response.extensions_mut().remove::<Pending>()?;
    let body = serde_json::to_vec(&problem.document(request_id))
        .expect("a struct of texts and numbers always encodes");
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    *response.body_mut() = Body::from(body);
    Some(problem.code)
}

/// RFC 9457 problem document.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProblemDocument {
    /// Address of the page that explains the code.
    #[serde(rename = "type")]
    #[schema(example = "https://campana.dev/errors/validation_failed")]
    pub type_: String,
    /// One line for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This occurrence, for people.
    pub detail: String,
    /// What programs branch on.
    #[schema(example = "validation_failed")]
    pub code: String,
    /// Quote this to support.
    pub request_id: String,
    /// Wrong fields of the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemField>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

/// One wrong field.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProblemField {
    /// JSON pointer (RFC 6901) into the body.
    #[schema(example = "/to/0/email")]
    pub pointer: String,
    /// What programs branch on.
    #[schema(example = "invalid_email")]
    pub code: String,
    /// The same for people.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        let names = Code::ALL.iter().map(|code| code.as_str());
        for name in names.chain(FieldCode::ALL.iter().map(|code| code.as_str())) {
            let page =
                std::fs::read_to_string(folder.join(format!("{name}.md"))).unwrap_or_default();
            for heading in ["# ", "## Meaning", "## Cause", "## Remedy"] {
                assert!(page.contains(heading), "docs/errors/{name}.md lacks `{heading}`");
            }
        }
    }

    #[test]
    fn a_problem_is_rendered_once_with_the_request_s_id() {
        let mut response = Problem::new(Code::Overloaded, "later").retry_after(2).into_response();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(RETRY_AFTER));
        assert_eq!(render(&mut response, "req_1"), Some(Code::Overloaded));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(render(&mut response, "req_1"), None);
    }
}
