//! The one error table of the sidecar, rendered as RFC 9457 problem documents.
//! Reads and writes: nothing. Never: shows a secret, or what a message says, to the caller.
//! Every code here has a page in docs/errors/ with its meaning, cause and remedy; codes that the gateway
//! has as well mean the same.

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
    InvalidParameter, "invalid_parameter", 400, false, "A part of the address, a query parameter or a header is not valid";
    InvalidEvent, "invalid_event", 400, false, "The CloudEvent is not valid";
    Unauthorized, "unauthorized", 401, false, "The credential is missing or not valid";
    ForeignOrigin, "foreign_origin", 403, false, "The request seems to come from a web page";
    NotFound, "not_found", 404, false, "There is no such thing";
    MethodNotAllowed, "method_not_allowed", 405, false, "The method is not allowed here";
    RequestTimeout, "request_timeout", 408, true, "The request took too long to arrive";
    DeliverySettled, "delivery_settled", 409, false, "The delivery has its answer already";
    PreconditionFailed, "precondition_failed", 412, false, "The entry is not in the state that the request asks for";
    PayloadTooLarge, "payload_too_large", 413, false, "The body is too large";
    UnsupportedMediaType, "unsupported_media_type", 415, false, "The media type is not supported here";
    ValidationFailed, "validation_failed", 422, false, "Some fields are not valid";
    Internal, "internal", 500, true, "Something went wrong on our side";
    ServiceError, "service_error", 502, false, "The called service answered with an error";
    Unavailable, "unavailable", 503, true, "The message store does not take requests at the moment";
    NoResponders, "no_responders", 503, true, "Nobody serves this endpoint at the moment";
    Overloaded, "overloaded", 503, true, "Too many requests are at work";
    CallTimeout, "call_timeout", 504, true, "The called service did not answer in time";
}

/// An error on its way to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    /// This occurrence, for people.
    pub detail: Cow<'static, str>,
    /// JSON pointer (RFC 6901) to what is wrong in the body, if it is about one place.
    pub pointer: Option<String>,
    /// Seconds to wait before a repeat.
    pub retry_after: Option<u32>,
    /// The status of a called service, which takes the place of the code's own.
    pub status: Option<u16>,
    /// For a batch: what became of each entry.
    pub results: Option<serde_json::Value>,
}

impl Problem {
    /// A problem with an explanation.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            pointer: None,
            retry_after: matches!(code, Code::Unavailable | Code::Overloaded | Code::NoResponders)
                .then_some(1),
            status: None,
            results: None,
        }
    }

    /// A wrong place in the body.
    #[must_use]
    pub fn at(pointer: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: Some(pointer.into()), ..Self::new(Code::ValidationFailed, detail) }
    }

    /// The same, below this place.
    #[must_use]
    pub fn below(mut self, prefix: &str) -> Self {
        let pointer = self.pointer.take().unwrap_or_default();
        self.pointer = Some(format!("{prefix}{pointer}"));
        self
    }

    fn status(&self) -> u16 {
        self.status.unwrap_or(self.code.status())
    }

    /// The document.
    #[must_use]
    pub fn document(&self, request_id: &str) -> ProblemDocument {
        ProblemDocument {
            type_: format!("{TYPE_BASE}{}", self.code.as_str()),
            title: self.code.title().to_owned(),
            status: self.status(),
            detail: self.detail.clone().into_owned(),
            code: self.code.as_str().to_owned(),
            request_id: request_id.to_owned(),
            pointer: self.pointer.clone(),
            results: self.results.clone(),
            retryable: self.code.retryable(),
        }
    }
}

/// A problem that still needs the request's id; the outermost layer renders it.
#[derive(Clone, Debug)]
pub(crate) struct Pending(pub(crate) Problem);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
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
pub(crate) fn render(response: &mut Response, request_id: &str) -> Option<Code> {
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
    #[schema(example = "https://campana.dev/errors/invalid_event")]
    pub type_: String,
    /// One line for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This occurrence, for people.
    pub detail: String,
    /// What programs branch on.
    #[schema(example = "invalid_event")]
    pub code: String,
    /// Quote this in a question; the log has it too.
    pub request_id: String,
    /// JSON pointer (RFC 6901) to what is wrong in the body, if it is about one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// For a batch of which a part was not stored: what became of each entry, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<serde_json::Value>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for name in Code::ALL.iter().map(|code| code.as_str()) {
            let page =
                std::fs::read_to_string(folder.join(format!("{name}.md"))).unwrap_or_default();
            for heading in ["# ", "## Meaning", "## Cause", "## Remedy"] {
                assert!(page.contains(heading), "docs/errors/{name}.md lacks `{heading}`");
            }
        }
    }

    #[test]
    fn a_problem_is_rendered_once_with_the_request_s_id() {
        let mut response = Problem::new(Code::Overloaded, "later").into_response();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(RETRY_AFTER));
        assert_eq!(render(&mut response, "req_1"), Some(Code::Overloaded));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(render(&mut response, "req_1"), None);
    }
}
