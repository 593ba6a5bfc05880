//! What the request of a client that only listens says about it: a connect request in the query or in the body,
//! a token beside it, and where it stood.
//! Reads: queries, bodies, the header `Last-Event-ID`. Writes: one connect request.
//! Never: prefers anything to what the connect request itself says.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::session::standings;

/// What the query of a connection may say; everything else in it is ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Params {
    pub(super) cf_connect: Option<String>,
    pub(super) token: Option<String>,
    cf_ws_frame_ping_pong: Option<String>,
}

impl Params {
    /// Pings shall be frames.
    pub(super) fn frame_pings(&self) -> bool {
        self.cf_ws_frame_ping_pong.as_deref() == Some("true")
    }

    /// The query says who connects.
    pub(super) fn introduces(&self) -> bool {
        self.cf_connect.is_some() || self.token.is_some()
    }
}

/// The connect request, with what stands beside it put into it. `last` is the id of the last event that the
/// client got in an earlier connection.
pub(super) fn introduction(
    request: Option<&str>,
    token: Option<&str>,
    last: Option<&str>,
) -> Result<String, &'static str> {
    let text = request.map(str::trim).filter(|text| !text.is_empty()).unwrap_or("{}");
    if token.is_none() && last.is_none() {
        return Ok(text.to_owned());
    }
    let mut object: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| "the connect request is no JSON object")?;
    if let Some(token) = token
        && object.get("token").is_none_or(|own| own == "")
    {
        object.insert("token".to_owned(), token.into());
    }
    let subs = object.entry("subs").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(subs) = subs {
        for (channel, standing) in last.map(standings).unwrap_or_default() {
            let recover = json!({
                "recover": true,
                "epoch": standing.epoch,
                "offset": standing.offset,
            });
            subs.entry(channel).or_insert(recover);
        }
    }
    Ok(Value::Object(object).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(request: Option<&str>, token: Option<&str>, last: Option<&str>) -> Value {
        serde_json::from_str(&introduction(request, token, last).unwrap()).unwrap()
    }

    #[test]
    fn what_stands_beside_the_request_is_put_into_it() {
        assert_eq!(made(None, None, None), json!({}));
        assert_eq!(made(Some(" "), Some("t"), None), json!({"token": "t", "subs": {}}));
        assert_eq!(
            made(Some(r#"{"token":"own","data":1}"#), Some("t"), Some("inbox=3A=23a,e,7"))["subs"],
            json!({"inbox:#a": {"recover": true, "epoch": "e", "offset": 7}})
        );
        let own = r#"{"token":"own","subs":{"inbox:#a":{"recover":true,"offset":9}}}"#;
        let kept = made(Some(own), Some("t"), Some("inbox=3A=23a,e,7"));
        assert_eq!(
            (&kept["token"], &kept["subs"]["inbox:#a"]["offset"]),
            (&json!("own"), &json!(9))
        );
        assert_eq!(made(None, Some("t"), Some("1234"))["subs"], json!({}));
    }

    #[test]
    fn a_request_that_is_none_is_refused_or_left_to_the_session() {
        assert!(introduction(Some("[1]"), Some("t"), None).is_err());
        assert_eq!(introduction(Some("[1]"), None, None).unwrap(), "[1]");
    }
}
