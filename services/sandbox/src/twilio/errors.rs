//! Twilio's error shape and the codes the sandbox uses, in one table.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwilioError {
    pub status: u16,
    pub code: u32,
    pub message: String,
    pub retry_after: Option<u64>,
}

impl TwilioError {
    /// An error of the table with its usual status.
    pub fn of(code: u32) -> Self {
        let (status, message) = describe(code);
        Self { status, code, message: message.to_owned(), retry_after: None }
    }

    /// An error that a rule asked for: unknown codes keep the rule's words.
    pub fn scripted(
        status: u16,
        code: Option<u32>,
        message: Option<String>,
        retry_after: Option<u64>,
    ) -> Self {
        let code = code.unwrap_or(match status {
            401 => 20_003,
            404 => 20_404,
            429 => 20_429,
            503 => 20_503,
            _ => 20_500,
        });
        let message = message.unwrap_or_else(|| describe(code).1.to_owned());
        Self { status, code, message, retry_after }
    }
}

fn describe(code: u32) -> (u16, &'static str) {
    match code {
        20_003 => (401, "Authenticate"),
        20_404 => (404, "The requested resource was not found"),
        20_429 => (429, "Too Many Requests"),
        20_500 => (500, "Internal server error"),
        20_503 => (503, "Service unavailable"),
        21_211 => (400, "Invalid 'To' Phone Number"),
        21_212 => (400, "Invalid 'From' Phone Number"),
        21_408 => (400, "Permission to send an SMS has not been enabled for the region"),
        21_602 => (400, "Message body is required"),
        21_603 => (400, "A 'From' phone number or a Messaging Service is required"),
        21_604 => (400, "A 'To' phone number is required"),
        21_606 => {
            (400, "The 'From' phone number is not a valid message-capable number of the account")
        }
        21_609 => (400, "The 'StatusCallback' URL is not a valid URL"),
        21_610 => (400, "Attempt to send to unsubscribed recipient"),
        21_611 => (400, "This 'From' number has exceeded the maximum number of queued messages"),
        21_612 => (400, "The 'To' phone number is not currently reachable with the 'From' number"),
        21_614 => (400, "'To' number is not a valid mobile number"),
        21_617 => (400, "The concatenated message body exceeds the 1600 character limit"),
        21_910 => (400, "Invalid 'From' and 'To' pair: both must be of the same channel"),
        _ => (400, "The request was refused"),
    }
}

impl IntoResponse for TwilioError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = Json(json!({
            "code": self.code,
            "message": self.message,
            "more_info": format!("https://www.twilio.com/docs/errors/{}", self.code),
            "status": self.status,
        }));
        let mut response = (status, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let realm = HeaderValue::from_static("Basic realm=\"Twilio API\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}
