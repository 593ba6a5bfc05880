//! Questions to services that decide instead of the edge: what they are told, and what their answers say.
//! Reads: a client's requests, answers of services. Writes: nothing.
//! Never: lets a service give a code that clients take for one of the protocol's own.
//!
//! Questions and answers have the form of Centrifugo's event proxies, so that a backend that answers those over
//! HTTP can answer here with the same functions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::calls::CallFailure;
use super::{Join, Publish};
use crate::codes::{Disconnect, disconnect, error};
use crate::control::texts;
use crate::options::ProxyTarget;
use crate::proto::{Protocol, Standing};
use crate::rules::Identity;

/// Error codes that are a service's own; others would have a meaning of the protocol's.
const ERROR_CODES: std::ops::RangeInclusive<u32> = 400..=1_999;
/// Likewise for ends of connections: up to 4499 clients come back, from 4500 on they do not.
const DISCONNECT_CODES: std::ops::RangeInclusive<u16> = 4_000..=4_999;
/// Characters of a service's error text that are passed on.
const MESSAGE_CHARS_MAX: usize = 200;

/// A question to a service.
#[derive(Debug)]
pub struct Ask {
    pub(super) about: About,
    target: ProxyTarget,
    tenant: Box<str>,
    body: Bytes,
}

/// What follows if the service agrees.
#[derive(Debug)]
pub(super) enum About {
    /// The command is answered, with these positions in the channels that the service names.
    Connect { command: u32, subs: BTreeMap<String, Standing> },
    /// The channel is joined.
    Subscribe(Join),
    /// The message is stored.
    Publish(Publish),
    /// The connection stays.
    Refresh,
    /// The subscription stays.
    SubRefresh { ticket: u32 },
}

/// A service did not answer in time, or nobody runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unanswered;

impl Ask {
    /// Which question it is; also the metric's label.
    #[must_use]
    pub const fn question(&self) -> &'static str {
        match self.about {
            About::Connect { .. } => "connect",
            About::Subscribe(_) => "subscribe",
            About::Publish(_) => "publish",
            About::Refresh => "refresh",
            About::SubRefresh { .. } => "sub_refresh",
        }
    }

    /// Who is asked.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.target.service
    }

    /// Its endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.target.endpoint
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.target.timeout()
    }

    /// The client's tenant; empty while it is not known.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The question, as JSON.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// What a service is told; members without a value are left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Question<'a> {
    pub(super) client: &'a str,
    pub(super) transport: &'a str,
    protocol: &'a str,
    /// `json`, or `binary` if `data` is none and stands in `b64data`.
    encoding: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) version: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) channels: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Question<'a> {
    pub(super) fn new(client: &'a str, protocol: Protocol) -> Self {
        Self { client, protocol: protocol.label(), encoding: "json", ..Self::default() }
    }

    /// About a client that is known.
    pub(super) fn of(mut self, who: &'a Identity) -> Self {
        (self.user, self.tenant) = (Some(who.user.as_str()), Some(who.tenant.as_str()));
        self.transport = who.transport;
        self.headers = Some(&who.headers).filter(|headers| !headers.is_empty());
        self.meta = who.meta.as_deref().and_then(|meta| serde_json::from_str(meta).ok());
        self
    }

    /// With what the client sent along.
    pub(super) fn with(mut self, data: &'a [u8]) -> Self {
        if !data.is_empty() {
            self.data = serde_json::from_slice(data).ok();
            if self.data.is_none() {
                (self.encoding, self.b64data) = ("binary", Some(STANDARD.encode(data)));
            }
        }
        self
    }

    pub(super) fn ask(self, target: &ProxyTarget, about: About) -> Ask {
        let body = serde_json::to_vec(&self).expect("texts and JSON can be written as JSON");
        let tenant = self.tenant.unwrap_or_default().into();
        Ask { about, target: target.clone(), tenant, body: body.into() }
    }
}

/// What a service decided.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict<'a> {
    /// Yes, with this result.
    Granted(&'a [u8]),
    /// It said nothing of the kind.
    Nothing,
    Refused(CallFailure),
    Out(Disconnect),
}

impl Verdict<'_> {
    /// The metric's label.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Nothing => "nothing",
            Self::Refused(_) => "refused",
            Self::Out(_) => "disconnected",
        }
    }
}

/// Reads an answer; nothing if it is not of the form. Of several members the hardest counts.
pub(super) fn verdict(answer: &[u8]) -> Option<Verdict<'_>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        result: Option<&'a RawValue>,
        error: Option<Failure>,
        disconnect: Option<End>,
    }
    #[derive(Deserialize)]
    struct Failure {
        code: u32,
        #[serde(default)]
        message: String,
        #[serde(default)]
        temporary: bool,
    }
    #[derive(Deserialize)]
    struct End {
        code: u32,
        #[serde(default)]
        reason: String,
    }
    let Answer { result, error, disconnect } = serde_json::from_slice(answer).ok()?;
    if let Some(End { code, reason }) = disconnect {
        return Some(Verdict::Out(end(code, &reason)));
    }
    if let Some(Failure { code, message, temporary }) = error {
        return Some(Verdict::Refused(match ERROR_CODES.contains(&code) {
            true => {
                let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
                CallFailure::of_service(code, Cow::Owned(message), temporary)
            }
            false => error::INTERNAL.into(),
        }));
    }
    Some(match result {
        Some(result) => Verdict::Granted(result.get().as_bytes()),
        None => Verdict::Nothing,
    })
}

fn end(code: u32, reason: &str) -> Disconnect {
    let code = u16::try_from(code).ok().filter(|code| DISCONNECT_CODES.contains(code));
    let Some(code) = code else { return disconnect::BAD_REQUEST };
    texts::disconnect(code, if texts::is_reason(reason) { reason } else { "disconnected" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_protocol_cannot_be_given_by_a_service() {
        for code in [0, 1, 3_000, 3_008, 3_500, 3_999, 5_000, 1_000, 65_536, u32::MAX] {
            assert_eq!(end(code, "x"), disconnect::BAD_REQUEST, "{code}");
        }
        for code in [4_000, 4_499, 4_500, 4_999] {
            assert_eq!((u32::from(end(code, "out").code), end(code, "out").reason), (code, "out"));
        }
        for reason in ["{\"a\":1}", "1", &"x".repeat(200)] {
            assert_eq!(end(4_000, reason).reason, "disconnected");
        }
        let refused = |code: u32| {
            let answer = format!("{{\"error\":{{\"code\":{code},\"message\":\"m\"}}}}");
            match verdict(answer.as_bytes()) {
                Some(Verdict::Refused(failure)) => failure,
                other => panic!("{other:?}"),
            }
        };
        for code in [0, 99, 100, 109, 112, 399, 2_000, 3_500] {
            assert_eq!(refused(code), error::INTERNAL.into(), "{code}");
        }
        for code in [400, 1_000, 1_999] {
            assert_eq!(refused(code), CallFailure::of_service(code, "m".into(), false));
        }
    }

    #[test]
    fn an_answer_says_one_thing() {
        assert_eq!(verdict(b"{}"), Some(Verdict::Nothing));
        assert_eq!(verdict(br#"{"result":null}"#), Some(Verdict::Nothing));
        assert_eq!(verdict(br#"{"result":{"a": 1}}"#), Some(Verdict::Granted(br#"{"a": 1}"#)));
        let both = br#"{"result":{},"error":{"code":1000}}"#;
        assert_eq!(verdict(both).unwrap().label(), "refused");
        let all = br#"{"result":{},"error":{"code":1000},"disconnect":{"code":4000}}"#;
        assert_eq!(verdict(all).unwrap().label(), "disconnected");
        for nonsense in ["", "[]", "1", "{", r#"{"error":1}"#, r#"{"disconnect":{"code":-1}}"#] {
            assert_eq!(verdict(nonsense.as_bytes()), None, "{nonsense}");
        }
    }

    #[test]
    fn bytes_that_are_no_json_travel_as_base64() {
        let question = |data: &[u8]| {
            let ask = Question::new("c", Protocol::Protobuf)
                .with(data)
                .ask(&ProxyTarget::default(), About::Refresh);
            serde_json::from_slice::<serde_json::Value>(&ask.body()).unwrap()
        };
        assert_eq!(question(b"")["data"], serde_json::Value::Null);
        assert_eq!(question(b"{\"a\":1}")["data"]["a"], 1);
        let binary = question(&[0, 255]);
        assert_eq!((&binary["b64data"], &binary["encoding"]), (&"AP8=".into(), &"binary".into()));
        assert!(binary.get("data").is_none());
    }
}
