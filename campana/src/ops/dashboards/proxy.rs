//! Two questions to Prometheus, and nothing else of it: `query` and `query_range`.
//! Reads: the caller's question, Prometheus' answer. Writes: the answer, as it came.
//! Never: follows a redirect, passes on a parameter it does not know or a header, holds more of an answer
//! than `ANSWER_BYTES_MAX`, or asks more at once than `AT_ONCE_MAX`. Errors have the form of Prometheus'
//! own API, because what reads them expects it.

use std::sync::Arc;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use campana_bus::clock;
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use url::Url;

use super::{OpsOptions, Shared};

/// A panel of 50 series with 11,000 points each, Prometheus' own limit, stays below it.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longer than any query of a dashboard.
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// One page asks 6 at once.
const AT_ONCE_MAX: usize = 24;

/// The way to Prometheus.
#[derive(Clone)]
pub struct Proxy {
    http: reqwest::Client,
    base: Option<Url>,
    turns: Arc<Semaphore>,
    options: OpsOptions,
}

/// The parameters of `query`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instant {
    query: String,
    time: Option<f64>,
}

/// The parameters of `query_range`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    query: String,
    start: f64,
    end: f64,
    step: f64,
}

/// Why there is no answer.
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"status": "error", "errorType": self.kind, "error": self.text});
        (self.status, axum::Json(body)).into_response()
    }
}

fn refusal(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Refusal {
    Refusal { status, kind, text: text.into() }
}

/// `GET /dashboards/api/query`.
pub async fn query(
    proxy: Shared,
    headers: HeaderMap,
    asked: Result<Query<Instant>, QueryRejection>,
) -> Response {
    let Query(Instant { query, time }) = match asked {
        Ok(asked) => asked,
        Err(error) => return malformed(&error),
    };
    let numbers = time.map(|time| ("time", time));
    proxy.ask("query", &headers, query, numbers.into_iter().collect()).await
}

/// `GET /dashboards/api/query_range`.
pub async fn query_range(
    proxy: Shared,
    headers: HeaderMap,
    asked: Result<Query<Range>, QueryRejection>,
) -> Response {
    let Query(Range { query, start, end, step }) = match asked {
        Ok(asked) => asked,
        Err(error) => return malformed(&error),
    };
    proxy
        .ask("query_range", &headers, query, vec![("start", start), ("end", end), ("step", step)])
        .await
}

fn malformed(error: &QueryRejection) -> Response {
    refusal(StatusCode::BAD_REQUEST, "bad_data", error.body_text()).into_response()
}

impl Proxy {
    /// Does not connect.
    pub fn new(options: &OpsOptions) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .timeout(options.timeout())
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| error.to_string())?;
        let turns = Arc::new(Semaphore::new(AT_ONCE_MAX));
        Ok(Self { http, base: options.base()?, turns, options: options.clone() })
    }

    /// Whether it is known where a Prometheus is.
    pub fn is_configured(&self) -> bool {
        self.base.is_some()
    }

    async fn ask(
        &self,
        what: &str,
        headers: &HeaderMap,
        query: String,
        numbers: Vec<(&'static str, f64)>,
    ) -> Response {
        match self.answer(what, headers, query, numbers).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn answer(
        &self,
        what: &str,
        headers: &HeaderMap,
        query: String,
        numbers: Vec<(&'static str, f64)>,
    ) -> Result<Response, Refusal> {
        // A page of another site may not read the answer, but it could make Prometheus work.
        if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
            return Err(refusal(StatusCode::FORBIDDEN, "bad_data", "not for pages of other sites"));
        }
        let Some(base) = &self.base else {
            let text = "no Prometheus is configured: set ops.prometheus_url";
            return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text));
        };
        if query.len() > QUERY_BYTES_MAX || numbers.iter().any(|(_, number)| !number.is_finite()) {
            let text = format!("a query has at most {QUERY_BYTES_MAX} bytes, times are numbers");
            return Err(refusal(StatusCode::BAD_REQUEST, "bad_data", text));
        }
        let Ok(_turn) = self.turns.try_acquire() else {
            let text = format!("{AT_ONCE_MAX} questions are being answered: ask again later");
            return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text));
        };
        // The path is put together here, so that it cannot be another one.
        let mut url = base
            .join(&format!("api/v1/{what}"))
            .map_err(|error| refusal(StatusCode::BAD_GATEWAY, "unavailable", error.to_string()))?;
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("query", &query);
            pairs.append_pair("timeout", &format!("{}ms", self.options.prometheus_timeout_ms));
            for (name, number) in numbers {
                pairs.append_pair(name, &number.to_string());
            }
        }
        self.fetch(url).await
    }

    async fn fetch(&self, url: Url) -> Result<Response, Refusal> {
        let started = clock::monotonic();
        let failed = |error: reqwest::Error| {
            let seconds = started.elapsed().as_secs_f64();
            let why = if error.is_timeout() {
                format!(
                    "did not answer within {seconds:.1} s: choose a shorter time, or raise ops.prometheus_timeout_ms"
                )
            } else if error.is_connect() {
                "cannot be reached: is it running?".to_owned()
            } else {
                "broke off its answer".to_owned()
            };
            let text = format!("Prometheus at {} {why}", self.options.prometheus_url);
            refusal(StatusCode::BAD_GATEWAY, "unavailable", text)
        };
        let mut answer = self.http.get(url).send().await.map_err(failed)?;
        let status = answer.status();
        if status.is_redirection() {
            let text = format!(
                "{} answers with a redirect: set ops.prometheus_url to where it leads",
                self.options.prometheus_url
            );
            return Err(refusal(StatusCode::BAD_GATEWAY, "unavailable", text));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                let text = format!(
                    "the answer has more than {ANSWER_BYTES_MAX} bytes: choose a shorter time"
                );
                return Err(refusal(StatusCode::BAD_GATEWAY, "too_large", text));
            }
            body.extend_from_slice(&chunk);
        }
        // Not Prometheus' answer but that of something before it, such as a login page.
        if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
            let text = format!(
                "{} does not answer like a Prometheus (HTTP {status})",
                self.options.prometheus_url
            );
            return Err(refusal(StatusCode::BAD_GATEWAY, "unavailable", text));
        }
        let kind = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        Ok((status, kind, body).into_response())
    }
}
