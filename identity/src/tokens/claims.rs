//! What a token's header and body may hold, parsed strictly.
//! Reads: the parts of a token whose signature the caller checks. Writes: nothing.
//! Never: accepts a claim of the wrong type or given twice; unknown claims are ignored, unknown headers not.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::TokenError;
use crate::names::{Tenant, check_user};

/// Most server-side channels that one token may name.
const CHANNELS_MAX: usize = 128;

/// What a good connection token says.
#[derive(Debug, Clone)]
pub struct ConnectionClaims {
    /// Who connects.
    pub user: String,
    /// Whose data they see; from the token and from nowhere else.
    pub tenant: Tenant,
    /// When the connection must have been refreshed, in seconds since the Unix epoch.
    pub expires_at: Option<i64>,
    /// JSON shown with what the user publishes.
    pub info: Option<String>,
    /// Channels to subscribe at connect.
    pub channels: Vec<String>,
    /// Channels to subscribe at connect, with options.
    pub subs: BTreeMap<String, TokenSubscription>,
}

/// Options of one server-side channel of a token.
#[derive(Debug, Clone, Default)]
pub struct TokenSubscription {
    /// JSON shown with what the user publishes there.
    pub info: Option<String>,
    /// JSON handed to the client with the subscription.
    pub data: Option<String>,
}

/// What a good subscription token says.
#[derive(Debug, Clone)]
pub struct SubscriptionClaims {
    /// Must equal the connection's user.
    pub user: String,
    /// Must equal the connection's tenant.
    pub tenant: Tenant,
    /// Must equal the channel asked for.
    pub channel: String,
    /// If set (an older form), must equal the connection's client id.
    pub client: Option<String>,
    /// When the subscription must have been refreshed, in seconds since the Unix epoch.
    pub expires_at: Option<i64>,
    /// JSON shown with what the user publishes there.
    pub info: Option<String>,
}

/// Only these header members are known; `kid` is read by nobody, but many issuers send one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
}

pub(super) fn check_header(token: &str) -> Result<(), TokenError> {
    let malformed = TokenError::Invalid("its header is malformed");
    let (header, _) = token.split_once('.').ok_or(malformed)?;
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed)?;
    let header: StrictHeader = serde_json::from_slice(&header).map_err(|_| malformed)?;
    if header.alg != "HS256" {
        return Err(TokenError::Invalid("its algorithm is not HS256"));
    }
    if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(TokenError::Invalid("its type is not JWT"));
    }
    let plain = |kid: &str| {
        (1..=64).contains(&kid.len())
            && kid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if header.kid.is_some_and(|kid| !plain(&kid)) {
        return Err(TokenError::Invalid("its key id is not a plain name"));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub(super) fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

#[derive(Deserialize, Default)]
struct RawSubscription {
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawClaims {
    sub: Option<String>,
    tenant: Option<String>,
    pub(super) aud: Option<Audience>,
    pub(super) iss: Option<String>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    expire_at: Option<Value>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    subs: BTreeMap<String, RawSubscription>,
    pub(super) channel: Option<String>,
    client: Option<String>,
}

/// The times of a token in whole seconds.
pub(super) struct Times {
    pub(super) expires: Option<i64>,
    pub(super) not_before: Option<i64>,
    pub(super) issued_at: Option<i64>,
    pub(super) connection_ends: Option<i64>,
}

impl RawClaims {
    /// Parses the body of a token whose signature is already known to be good.
    pub(super) fn parse(token: &str) -> Result<Self, TokenError> {
        let malformed = TokenError::Invalid("its claims are malformed");
        let body = token.split('.').nth(1).ok_or(malformed)?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| malformed)?;
        serde_json::from_slice(&body).map_err(|_| malformed)
    }

    pub(super) fn times(&self) -> Result<Times, TokenError> {
        Ok(Times {
            expires: seconds(self.exp.as_ref())?,
            not_before: seconds(self.nbf.as_ref())?,
            issued_at: seconds(self.iat.as_ref())?,
            connection_ends: seconds(self.expire_at.as_ref())?,
        })
    }

    fn who(&self) -> Result<(String, Tenant), TokenError> {
        let user = self.sub.clone().ok_or(TokenError::Invalid("it names no user"))?;
        check_user(&user).map_err(|_| TokenError::Invalid("its user is not a valid name"))?;
        let tenant = match &self.tenant {
            None => Tenant::default(),
            Some(name) => Tenant::parse(name)
                .map_err(|_| TokenError::Invalid("its tenant is not a valid name"))?,
        };
        Ok((user, tenant))
    }
}

/// A `NumericDate` (RFC 7519 §2): a number of seconds, perhaps with a fraction, within reason.
fn seconds(value: Option<&Value>) -> Result<Option<i64>, TokenError> {
    const FAR: i64 = 1 << 48;
    let Some(value) = value else { return Ok(None) };
    if let Some(whole) = value.as_i64() {
        return Ok(Some(whole.clamp(-FAR, FAR)));
    }
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "clamped to 48 bits just before")]
        Some(number) if value.is_number() => {
            Ok(Some(number.clamp(-(FAR as f64), FAR as f64).floor() as i64))
        }
        _ => Err(TokenError::Invalid("a time in it is not a number")),
    }
}

/// JSON given plainly or as base64.
fn json(plain: Option<&RawValue>, encoded: Option<&str>) -> Result<Option<String>, TokenError> {
    if let Some(plain) = plain {
        return Ok(Some(single_line(plain.get())));
    }
    let Some(encoded) = encoded.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let malformed = TokenError::Invalid("base64 information in it is malformed");
    let bytes = STANDARD.decode(encoded).map_err(|_| malformed)?;
    let raw: &RawValue = serde_json::from_slice(&bytes).map_err(|_| malformed)?;
    Ok(Some(single_line(raw.get())))
}

/// A line break in JSON is white space between tokens; the protocol separates messages by it.
fn single_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

impl ConnectionClaims {
    pub(super) fn from_raw(raw: RawClaims, expires_at: Option<i64>) -> Result<Self, TokenError> {
        let (user, tenant) = raw.who()?;
        if raw.channels.len() + raw.subs.len() > CHANNELS_MAX {
            return Err(TokenError::Invalid("it names too many channels"));
        }
        let info = json(raw.info.as_deref(), raw.b64info.as_deref())?;
        let mut subs = BTreeMap::new();
        for (channel, sub) in raw.subs {
            let info = json(sub.info.as_deref(), sub.b64info.as_deref())?;
            let data = json(sub.data.as_deref(), sub.b64data.as_deref())?;
            subs.insert(channel, TokenSubscription { info, data });
        }
        Ok(Self { user, tenant, expires_at, info, channels: raw.channels, subs })
    }
}

impl SubscriptionClaims {
    pub(super) fn from_raw(raw: RawClaims, expires_at: Option<i64>) -> Result<Self, TokenError> {
        let (user, tenant) = raw.who()?;
        let info = json(raw.info.as_deref(), raw.b64info.as_deref())?;
        let channel = raw.channel.filter(|name| !name.is_empty());
        let channel = channel.ok_or(TokenError::Invalid("it names no channel"))?;
        let client = raw.client.filter(|id| !id.is_empty());
        Ok(Self { user, tenant, channel, client, expires_at, info })
    }
}
