//! Reads parts of a request within their limits and says precisely what is wrong with them.
//! Reads: bodies, query parameters, headers. Writes: nothing.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::Query;
use axum::http::{HeaderMap, Uri};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::cloudevent::{decode, essence};
use crate::options::Limits;
use crate::problem::{Code, Problem};

/// Reads a body within its limits of bytes and time.
pub(crate) async fn body(body: Body, limits: &Limits) -> Result<Bytes, Problem> {
    let limit = limits.body_bytes_max;
    let too_large =
        || Problem::new(Code::PayloadTooLarge, format!("at most {limit} bytes are allowed"));
    // A declared length is refused before anything is read.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let read = axum::body::to_bytes(body, limit);
    match tokio::time::timeout(limits.read_timeout, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(too_large()),
        Ok(Err(_)) => {
            Err(Problem::new(Code::InvalidParameter, "the body ended before it was complete"))
        }
        Err(_) => Err(Problem::new(Code::RequestTimeout, "the body did not arrive in time")),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = current.source();
    }
    false
}

/// Reads a JSON body.
pub(crate) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    stream: Body,
    limits: &Limits,
) -> Result<T, Problem> {
    let kind = headers
        .get(axum::http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(essence);
    if kind.as_deref() != Some("application/json") {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "send JSON with Content-Type: application/json",
        ));
    }
    parse(&body(stream, limits).await?)
}

/// Parses JSON; a wrong field is named by its pointer.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        use serde_json::error::Category;
        let inner = error.inner();
        if inner.classify() == Category::Data {
            Problem::at(pointer(error.path()), inner.to_string())
        } else {
            Problem::new(Code::InvalidJson, inner.to_string())
        }
    })?;
    reader.end().map_err(|error| Problem::new(Code::InvalidJson, error.to_string()))?;
    Ok(parsed)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// Reads the query; an unknown parameter is an error, so that a typing error does not go unnoticed.
pub(crate) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    use std::error::Error as _;
    Query::<T>::try_from_uri(uri).map(|Query(parsed)| parsed).map_err(|error| {
        let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Problem::new(Code::InvalidParameter, detail)
    })
}

/// The value of a header of ours: printable ASCII, in which `%XX` stands for a byte.
pub(crate) fn header(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    if headers.get_all(name).iter().nth(1).is_some() {
        return Err(Problem::new(Code::InvalidParameter, format!("{name} is there twice")));
    }
    let text = value
        .to_str()
        .map_err(|_| Problem::new(Code::InvalidParameter, format!("{name} is not ASCII")))?;
    Ok(Some(decode(text)))
}

/// A number of seconds, with a fraction if need be.
pub(crate) fn seconds(name: &str, text: &str, most: Duration) -> Result<Duration, Problem> {
    let parsed: Option<f64> = text.trim().parse().ok();
    parsed
        .filter(|seconds| (0.0..=most.as_secs_f64()).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| {
            Problem::new(
                Code::InvalidParameter,
                format!("{name} is a number of seconds, 0 to {}", most.as_secs()),
            )
        })
}

/// The name of something on the bus.
pub(crate) fn name(what: &'static str, value: &str) -> Result<(), Problem> {
    campana_bus::subjects::check_name(value)
        .map_err(|error| Problem::new(Code::InvalidParameter, format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_finite_and_bounded() {
        let day = Duration::from_secs(86_400);
        assert_eq!(seconds("x", "1.5", day), Ok(Duration::from_millis(1_500)));
        for text in ["", "-1", "NaN", "inf", "1e9", "86401", "1s"] {
            assert_eq!(seconds("x", text, day).unwrap_err().code, Code::InvalidParameter, "{text}");
        }
    }

    #[test]
    fn wrong_fields_have_pointers() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only the error is of interest")]
        struct One {
            numbers: Vec<u8>,
        }
        let problem = parse::<One>(br#"{"numbers":[1,"x"]}"#).unwrap_err();
        assert_eq!(problem.pointer.as_deref(), Some("/numbers/1"));
        assert_eq!(parse::<One>(b"{").unwrap_err().code, Code::InvalidJson);
        assert_eq!(parse::<One>(b"{\"numbers\":[]} x").unwrap_err().code, Code::InvalidJson);
    }
}
