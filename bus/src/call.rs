//! Asking a service and waiting for its answer.
//! Reads: the answer. Writes: one request. Never: waits without a limit, repeats a request by itself: a question
//! may have effects, so only the caller knows whether it may be asked twice.
//!
//! Requests go over core NATS, not through a stream: nobody has an answer any more after the caller went away.
//! The counterpart is [`crate::service`]; both speak the protocol of NATS services (ADR-32), so that either side
//! may be written with another library.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::{self, Micros};
use crate::connect::Bus;
use crate::replies::RequestError;
use crate::trace::TraceParent;
use crate::{headers, subjects};

/// Header of an answer that is an error: its number.
pub const ERROR_CODE: &str = "Nats-Service-Error-Code";
/// Header of an answer that is an error: its text.
pub const ERROR_TEXT: &str = "Nats-Service-Error";

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer in time. The service may have done the work all the same.
    #[error("the service did not answer in time; it may have done the work all the same")]
    Timeout,
    /// Nobody listens: the service does not run, or not under this name.
    #[error("no instance of the service is running")]
    NoResponders,
    /// The service said no.
    #[error("the service answered {code}: {message}")]
    Service {
        /// As in HTTP: 4xx is the caller's fault, 5xx the service's, 503 means overloaded, 504 out of time.
        code: u16,
        /// What the service says about it.
        message: String,
    },
    /// The answer is not what the caller expects.
    #[error("the answer cannot be read: {0}")]
    Decode(String),
    /// The request cannot be written as JSON.
    #[error("the request cannot be written as JSON: {0}")]
    Encode(String),
    /// The request is larger than the server accepts, its headers included.
    #[error("the request has {bytes} bytes and the server takes at most {max}")]
    TooLarge {
        /// Bytes of the request's body.
        bytes: usize,
        /// What the server takes.
        max: usize,
    },
    /// The connection is gone for good.
    #[error("the connection to NATS is closed")]
    Closed,
}

impl CallError {
    /// The stable name of what is wrong.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Timeout => "request_timeout",
            Self::NoResponders => "no_responders",
            Self::Service { .. } => "service_error",
            Self::Decode(_) => "undecodable",
            Self::Encode(_) => "unencodable",
            Self::TooLarge { .. } => "payload_too_large",
            Self::Closed => "unavailable",
        }
    }

    /// Whether the service certainly did nothing, so that the same call may be made again.
    #[must_use]
    pub const fn is_unhandled(&self) -> bool {
        matches!(
            self,
            Self::NoResponders
                | Self::Service { code: 503, .. }
                | Self::TooLarge { .. }
                | Self::Encode(_)
        )
    }
}

impl Bus {
    /// Asks an endpoint of a service and waits for its answer, both JSON. The service learns until when the
    /// caller waits (`Campana-Deadline`) and begins nothing after that.
    ///
    /// # Errors
    /// If nobody answers in time, or the answer is an error or something else than `R`.
    pub async fn call<Q: Serialize, R: DeserializeOwned>(
        &self,
        service: &str,
        endpoint: &str,
        request: &Q,
        timeout: Duration,
    ) -> Result<R, CallError> {
        let body =
            serde_json::to_vec(request).map_err(|error| CallError::Encode(error.to_string()))?;
        let (_, answer) =
            self.call_raw(service, endpoint, HeaderMap::new(), body.into(), timeout).await?;
        serde_json::from_slice(&answer).map_err(|error| CallError::Decode(error.to_string()))
    }

    /// The same with bodies and headers as they are. A `traceparent` among the headers is passed on, else a
    /// trace begins.
    ///
    /// # Errors
    /// If nobody answers in time, or the answer is an error.
    pub async fn call_raw(
        &self,
        service: &str,
        endpoint: &str,
        mut headers: HeaderMap,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<(HeaderMap, Bytes), CallError> {
        let bytes = payload.len();
        let trace = headers::trace(&headers).unwrap_or_else(TraceParent::fresh).child();
        headers::set(&mut headers, headers::TRACEPARENT, &trace.to_string());
        headers::set(
            &mut headers,
            headers::DEADLINE,
            &deadline(clock::now(), timeout).to_rfc3339(),
        );
        let subject = subjects::service(service, endpoint);
        let answer =
            self.request(subject, headers, payload, timeout).await.map_err(
                |error| match error {
                    RequestError::Timeout => CallError::Timeout,
                    // Names are escaped: a subject that cannot be is one that nobody listens on.
                    RequestError::NoResponders | RequestError::InvalidSubject => {
                        CallError::NoResponders
                    }
                    RequestError::Closed => CallError::Closed,
                    RequestError::TooLarge => {
                        CallError::TooLarge { bytes, max: self.client().server_info().max_payload }
                    }
                },
            )?;
        let headers = answer.headers.unwrap_or_default();
        match refusal(&headers) {
            Some(refusal) => Err(refusal),
            None => Ok((headers, answer.payload)),
        }
    }
}

fn deadline(now: Micros, timeout: Duration) -> Micros {
    Micros(now.0.saturating_add(i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX / 2)))
}

/// The error that an answer carries in its headers, if it is one.
fn refusal(headers: &HeaderMap) -> Option<CallError> {
    let text = headers::get(headers, ERROR_TEXT);
    let code = headers::get(headers, ERROR_CODE);
    if text.is_none() && code.is_none() {
        return None;
    }
    Some(CallError::Service {
        code: code.and_then(|code| code.trim().parse().ok()).unwrap_or(500),
        message: text.unwrap_or("no text").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_from_an_answer_by_its_headers() {
        let mut all = HeaderMap::new();
        assert_eq!(refusal(&all), None);
        headers::set(&mut all, ERROR_TEXT, "no such sku");
        assert_eq!(
            refusal(&all),
            Some(CallError::Service { code: 500, message: "no such sku".to_owned() })
        );
        headers::set(&mut all, ERROR_CODE, "404");
        assert_eq!(
            refusal(&all),
            Some(CallError::Service { code: 404, message: "no such sku".to_owned() })
        );
    }
}
