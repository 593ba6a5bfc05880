//! Reads JSON bodies and says precisely what is wrong with them.
//! Reads: a request's body, within a limit of bytes and time. Writes: nothing.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use super::options::GatewayOptions;
use super::problem::{Code, FieldCode, FieldError, Problem};
use super::validate::step;

/// Reads a JSON body of at most `limit` bytes.
pub(super) async fn json_bytes(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    options: &GatewayOptions,
) -> Result<Bytes, Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "send the header Content-Type: application/json",
        ));
    }
    raw_bytes(body, limit, options).await
}

/// Reads any body of at most `limit` bytes.
pub(super) async fn raw_bytes(
    body: Body,
    limit: usize,
    options: &GatewayOptions,
) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Code::PayloadTooLarge, format!("at most {limit} bytes are allowed"));
    // A declared length is refused before anything is read.
    if http_body_len(&body).is_some_and(|len| len > limit as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(options.body_timeout(), axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            if is_length_limit(&error) {
                Err(too_large())
            } else {
                Err(Problem::new(Code::InvalidJson, "the body ended before it was complete"))
            }
        }
        Err(_) => Err(Problem::new(Code::RequestTimeout, "the body did not arrive in time")),
    }
}

fn http_body_len(body: &Body) -> Option<u64> {
    use axum::body::HttpBody as _;
    body.size_hint().exact()
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        // The type is private to http-body-util, its text is not.
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        source = error.source();
    }
    false
}

/// Decodes JSON; `prefix` is where `json` stands in the whole body.
pub(super) fn decode<T: DeserializeOwned>(json: &[u8], prefix: &str) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = format!("{prefix}{}", pointer(error.path()));
        explain(&pointer, error.inner())
    })?;
    deserializer.end().map_err(|error| explain(prefix, &error))?;
    Ok(value)
}

fn pointer(path: &Path) -> String {
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => out.push_str(&format!("/{index}")),
            Segment::Map { key } => out.push_str(&step(key)),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    out
}

fn explain(pointer: &str, error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    let message = error.to_string();
    // The text ends with ` at line 1 column 2`; the pointer says it better.
    let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
    if matches!(error.classify(), Category::Syntax | Category::Eof | Category::Io) {
        return Problem::new(
            Code::InvalidJson,
            format!(
                "{} at line {}, column {}",
                without_values(&message),
                error.line(),
                error.column()
            ),
        );
    }
    let quoted = message.split('`').nth(1).unwrap_or("");
    let (code, pointer, detail) = if message.starts_with("missing field") {
        (
            FieldCode::MissingField,
            format!("{pointer}{}", step(quoted)),
            "this field is required".to_owned(),
        )
    } else if message.starts_with("unknown field") {
        let expected = message.split_once("expected ").map_or("no fields", |(_, rest)| rest);
        (FieldCode::UnknownField, pointer.to_owned(), format!("unknown field, expected {expected}"))
    } else if message.starts_with("duplicate field") {
        (
            FieldCode::DuplicateField,
            format!("{pointer}{}", step(quoted)),
            "this field stands twice".to_owned(),
        )
    } else if message.starts_with("unknown variant") {
        let expected = message.split_once("expected ").map_or("another value", |(_, rest)| rest);
        (FieldCode::UnknownValue, pointer.to_owned(), format!("unknown value, expected {expected}"))
    } else {
        (FieldCode::WrongType, pointer.to_owned(), without_values(&message))
    };
    Problem::fields(vec![FieldError { pointer, code, detail: detail.into() }])
}

/// `invalid type: string "x@y", expected u64` → `invalid type: string, expected u64`: the value may be an
/// address and does not belong into answers that get logged.
fn without_values(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut inside = false;
    let mut escaped = false;
    for ch in message.chars() {
        match ch {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ if !inside => out.push(ch),
            _ => {}
        }
    }
    out.replace(" ,", ",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::notification_in::NotificationIn;

    #[test]
    fn each_kind_of_wrong_json_has_its_code_and_pointer() {
        for (json, code, pointer) in [
            (r#"{"to":"a","tpyo":1}"#, FieldCode::UnknownField, "/tpyo"),
            (r#"{"content":{"title":"x"}}"#, FieldCode::MissingField, "/to"),
            (r#"{"to":"a","content":{"title":7}}"#, FieldCode::WrongType, "/content/title"),
            (r#"{"to":"a","content":{"titel":"x"}}"#, FieldCode::UnknownField, "/content/titel"),
            (r#"{"to":5}"#, FieldCode::WrongType, "/to"),
            (r#"{"to":["a",5]}"#, FieldCode::WrongType, "/to/1"),
            (r#"{"to":{"id":"a","mail":"x"}}"#, FieldCode::UnknownField, "/to/mail"),
            (r#"{"to":[{"id":1}]}"#, FieldCode::WrongType, "/to/0/id"),
            (r#"{"to":"a","to":"b"}"#, FieldCode::DuplicateField, "/to"),
            (r#"{"to":"a","channels":["fax"]}"#, FieldCode::UnknownValue, "/channels/0"),
            (r#"{"to":"a","priority":"urgent"}"#, FieldCode::UnknownValue, "/priority"),
            (r#"{"to":"a","metadata":{"a/b":1}}"#, FieldCode::WrongType, "/metadata/a~1b"),
            ("[]", FieldCode::WrongType, ""),
        ] {
            let problem = decode::<NotificationIn>(json.as_bytes(), "").unwrap_err();
            assert_eq!(problem.code, Code::ValidationFailed, "{json}");
            assert_eq!(
                (problem.errors[0].code, problem.errors[0].pointer.as_str()),
                (code, pointer),
                "{json}"
            );
        }
        for json in
            ["", "{", "{\"to\":", "nope", "{} {}", "{\"to\":\"a\"}x", "\u{0}", "{\"to\":\"\u{1}\"}"]
        {
            let problem = decode::<NotificationIn>(json.as_bytes(), "").unwrap_err();
            assert!(
                problem.code == Code::InvalidJson
                    || problem.errors[0].code == FieldCode::MissingField,
                "{json}: {problem:?}"
            );
        }
    }

    #[test]
    fn a_wrong_value_is_not_repeated() {
        assert_eq!(
            without_values(r#"invalid type: string "a \"b\" c@d.org", expected u64"#),
            "invalid type: string, expected u64"
        );
    }
}
