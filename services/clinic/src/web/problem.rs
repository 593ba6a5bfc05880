//! The one error table of the pages' API, as RFC 9457 problem documents.
//! Reads and writes: nothing. Never: shows an inside cause; that goes into the log.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

macro_rules! codes {
    ($($name:ident, $code:literal, $status:literal, $title:literal;)*) => {
        /// What went wrong, as a page may branch on it. README.md lists them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// Every code.
            #[cfg(test)]
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    InvalidJson, "invalid_json", 400, "The body is not the JSON that is expected here";
    Unauthorized, "unauthorized", 401, "Sign in first";
    WrongCredentials, "wrong_credentials", 401, "E-mail address or password are wrong";
    ForeignOrigin, "foreign_origin", 403, "The request comes from a page of another origin";
    OnlyPatients, "only_patients", 403, "Only patients ask for appointments";
    NotFound, "not_found", 404, "There is no such thing";
    MethodNotAllowed, "method_not_allowed", 405, "The method is not allowed here";
    RequestTimeout, "request_timeout", 408, "The request took too long";
    EmailTaken, "email_taken", 409, "This e-mail address has an account already";
    TimeTaken, "time_taken", 409, "Somebody else has this time by now";
    PatientBusy, "patient_busy", 409, "The patient has another appointment at this time";
    ChangedMeanwhile, "changed_meanwhile", 409, "Somebody changed it meanwhile; look again";
    RequestReused, "request_reused", 409, "This form was sent before with another dentist or time, and arrived";
    NotPossible, "not_possible", 409, "That is not possible as the appointment stands";
    TooManyOpen, "too_many_open", 409, "So many open appointments are enough";
    PayloadTooLarge, "payload_too_large", 413, "The body is too large";
    UnsupportedMediaType, "unsupported_media_type", 415, "The body must be application/json";
    ValidationFailed, "validation_failed", 422, "A field is not valid";
    TimeIsPast, "time_is_past", 422, "That time is over";
    SameTime, "same_time", 422, "That is the time that it has already";
    NoSuchTime, "no_such_time", 422, "No appointment can begin at this time";
    TooFarAhead, "too_far_ahead", 422, "Appointments can be made up to 180 days ahead";
    RateLimited, "rate_limited", 429, "Too many requests";
    Internal, "internal", 500, "Something went wrong on our side";
    StoreUnavailable, "store_unavailable", 503, "The database does not answer at the moment";
    PlatformUnavailable, "platform_unavailable", 503, "The notification platform does not answer at the moment";
}

/// A problem to be answered.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    /// The field that is wrong, as a JSON pointer.
    pointer: Option<&'static str>,
    detail: Option<String>,
    retry_after: Option<u64>,
}

impl Problem {
    /// Without more to say.
    pub const fn of(code: Code) -> Self {
        Self { code, pointer: None, detail: None, retry_after: None }
    }

    /// Whether it is this one.
    pub fn is(&self, code: Code) -> bool {
        self.code == code
    }

    /// A field that breaks a rule.
    pub fn field(pointer: &'static str, rule: impl Into<String>) -> Self {
        let detail = Some(rule.into());
        Self { pointer: Some(pointer), detail, ..Self::of(Code::ValidationFailed) }
    }

    /// With the field that it is about.
    pub fn at(code: Code, pointer: &'static str) -> Self {
        Self { pointer: Some(pointer), ..Self::of(code) }
    }

    /// With words for the author of a client.
    pub fn with(code: Code, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::of(code) }
    }

    /// Come back after so many seconds.
    pub fn later(code: Code, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..Self::of(code) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let outage = match &error {
            StoreError::Database(error) => {
                campana_bus_sqlx::trouble(error) != campana_bus_sqlx::Trouble::Statement
            }
            _ => false,
        };
        tracing::warn!("a request failed: {error}");
        if outage { Self::later(Code::StoreUnavailable, 2) } else { Self::of(Code::Internal) }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        tracing::warn!("a request failed: {error:#}");
        Self::of(Code::Internal)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { code, pointer, detail, retry_after } = self;
        let status =
            StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = json!({
            "type": format!("urn:campana-clinic:{}", code.as_str()), "title": code.title(),
            "status": status.as_u16(), "code": code.as_str(),
        });
        if let Some(detail) = detail {
            body["detail"] = json!(detail);
        }
        if let Some(pointer) = pointer {
            body["pointer"] = json!(pointer);
        }
        let mut answer = (status, body.to_string()).into_response();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_explains_every_code() {
        let readme = include_str!("../../README.md");
        for code in Code::ALL {
            assert!(readme.contains(&format!("`{}`", code.as_str())), "{}", code.as_str());
        }
    }
}
