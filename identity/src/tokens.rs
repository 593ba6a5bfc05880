//! Connection and subscription tokens: JSON Web Tokens signed with HS256 (RFC 7515, RFC 7519).
//! Reads: a token, the time and the policy that the caller gives. Writes: nothing.
//! Never: lets a token's header choose a key or an algorithm, and never tells why a signature failed.
//!
//! A key is for HS256 and nothing else, so `none` and RS/HS confusion have nothing to hold on to. Headers
//! that point to keys (`jku`, `jwk`, `x5u`, …) or demand extensions (`crit`) are refused rather than
//! ignored. Times are compared here, not in the library, because time is a parameter.

mod claims;

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

use crate::names::{Tenant, check_user};
pub use claims::{ConnectionClaims, SubscriptionClaims, TokenSubscription};
use claims::{RawClaims, Times};

/// Longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Shortest secret: HS256 wants at least the 256 bits of its hash (RFC 7518 §3.2).
const SECRET_BYTES_MIN: usize = 32;

/// What a token must say beyond a good signature.
#[derive(Debug, Clone)]
pub struct TokenPolicy {
    /// If set, `aud` must contain it.
    pub audience: Option<String>,
    /// If set, `iss` must be it.
    pub issuer: Option<String>,
    /// Whether a token without an end is refused.
    pub require_exp: bool,
    /// Furthest end from now, in seconds.
    pub ttl_seconds_max: i64,
    /// How far clocks may disagree, in seconds; never more than 60 is used.
    pub skew_seconds: i64,
}

impl Default for TokenPolicy {
    fn default() -> Self {
        Self {
            audience: None,
            issuer: None,
            require_exp: true,
            ttl_seconds_max: 24 * 3_600,
            skew_seconds: 5,
        }
    }
}

impl TokenPolicy {
    fn skew(&self) -> i64 {
        self.skew_seconds.clamp(0, 60)
    }
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good and its time is over: the client should get a new one.
    #[error("the token has expired")]
    Expired,
    /// It is not good; the text says which check failed and holds nothing of the token.
    #[error("the token is invalid: {0}")]
    Invalid(&'static str),
}

/// Why a secret is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Shorter than HS256 needs.
    #[error("a token secret needs at least {SECRET_BYTES_MIN} bytes")]
    TooShort,
}

/// Why a token cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The user or tenant breaks a rule.
    #[error("{0}")]
    Name(#[from] crate::names::NameError),
    /// The lifetime is not positive.
    #[error("the lifetime must be at least one second")]
    Lifetime,
    /// Signing failed.
    #[error("the token could not be signed")]
    Sign,
}

/// What a connection token shall say.
#[derive(Debug, Clone, Default)]
pub struct ConnectionSpec {
    /// `aud`, if the verifier asks for one.
    pub audience: Option<String>,
    /// `iss`, if the verifier asks for one.
    pub issuer: Option<String>,
    /// Public facts about the user, shown with what they publish.
    pub info: Option<serde_json::Value>,
    /// Channels that the server subscribes at connect.
    pub channels: Vec<String>,
}

/// What a subscription token shall say beside its user and channel.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionSpec {
    /// `aud`, if the verifier asks for one.
    pub audience: Option<String>,
    /// `iss`, if the verifier asks for one.
    pub issuer: Option<String>,
    /// Public facts about the user within the channel.
    pub info: Option<serde_json::Value>,
}

struct Key {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// The secrets that sign and verify tokens; cheap to clone.
#[derive(Clone)]
pub struct TokenKeys {
    /// The first signs; all verify, so that a secret can be changed without cutting anyone off.
    keys: Arc<[Key]>,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKeys({})", self.keys.len())
    }
}

impl TokenKeys {
    /// The current secret and, during a change, the one before it.
    ///
    /// # Errors
    /// If a secret is too short.
    pub fn new(secret: &[u8], previous: Option<&[u8]>) -> Result<Self, KeyError> {
        let key = |secret: &[u8]| {
            if secret.len() < SECRET_BYTES_MIN {
                return Err(KeyError::TooShort);
            }
            let encoding = EncodingKey::from_secret(secret);
            Ok(Key { encoding, decoding: DecodingKey::from_secret(secret) })
        };
        let keys = std::iter::once(secret).chain(previous).map(key).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// Checks a token that a client connects with, at `now` in seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`TokenError::Expired`] if only its time is over, else [`TokenError::Invalid`].
    pub fn verify_connection(
        &self,
        token: &str,
        now: i64,
        policy: &TokenPolicy,
    ) -> Result<ConnectionClaims, TokenError> {
        let claims = self.verified(token)?;
        if claims.channel.is_some() {
            return Err(TokenError::Invalid("it is a subscription token"));
        }
        let expires_at = check_common(&claims, now, policy)?;
        ConnectionClaims::from_raw(claims, expires_at)
    }

    /// Checks a token that a client subscribes with. The caller compares user, tenant and channel with
    /// what the connection says.
    ///
    /// # Errors
    /// [`TokenError::Expired`] if only its time is over, else [`TokenError::Invalid`].
    pub fn verify_subscription(
        &self,
        token: &str,
        now: i64,
        policy: &TokenPolicy,
    ) -> Result<SubscriptionClaims, TokenError> {
        let claims = self.verified(token)?;
        let expires_at = check_common(&claims, now, policy)?;
        SubscriptionClaims::from_raw(claims, expires_at)
    }

    /// A connection token that ends `ttl_seconds` after `now`.
    ///
    /// # Errors
    /// If a name or the lifetime breaks a rule.
    pub fn mint_connection(
        &self,
        user: &str,
        tenant: &str,
        ttl_seconds: i64,
        now: i64,
        spec: &ConnectionSpec,
    ) -> Result<String, MintError> {
        let mut claims = base_claims(user, tenant, ttl_seconds, now)?;
        insert(&mut claims, "aud", spec.audience.clone());
        insert(&mut claims, "iss", spec.issuer.clone());
        insert(&mut claims, "info", spec.info.clone());
        if !spec.channels.is_empty() {
            insert(&mut claims, "channels", Some(spec.channels.clone()));
        }
        self.sign(&claims)
    }

    /// A subscription token for one user and one channel.
    ///
    /// # Errors
    /// If a name or the lifetime breaks a rule.
    pub fn mint_subscription(
        &self,
        user: &str,
        tenant: &str,
        channel: &str,
        ttl_seconds: i64,
        now: i64,
        spec: &SubscriptionSpec,
    ) -> Result<String, MintError> {
        let mut claims = base_claims(user, tenant, ttl_seconds, now)?;
        insert(&mut claims, "channel", Some(channel));
        insert(&mut claims, "aud", spec.audience.clone());
        insert(&mut claims, "iss", spec.issuer.clone());
        insert(&mut claims, "info", spec.info.clone());
        self.sign(&claims)
    }

    fn sign(
        &self,
        claims: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<String, MintError> {
        let key = self.keys.first().ok_or(MintError::Sign)?;
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key.encoding)
            .map_err(|_| MintError::Sign)
    }

    /// The claims behind a good signature.
    fn verified(&self, token: &str) -> Result<RawClaims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid("it is too long"));
        }
        claims::check_header(token)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let good = |key: &Key| {
            jsonwebtoken::decode::<serde::de::IgnoredAny>(token, &key.decoding, &validation).is_ok()
        };
        if !self.keys.iter().any(good) {
            return Err(TokenError::Invalid("its signature or form is wrong"));
        }
        RawClaims::parse(token)
    }
}

fn base_claims(
    user: &str,
    tenant: &str,
    ttl_seconds: i64,
    now: i64,
) -> Result<serde_json::Map<String, serde_json::Value>, MintError> {
    check_user(user)?;
    let tenant = Tenant::parse(tenant)?;
    if ttl_seconds < 1 {
        return Err(MintError::Lifetime);
    }
    let mut claims = serde_json::Map::new();
    insert(&mut claims, "sub", Some(user));
    insert(&mut claims, "tenant", Some(tenant.as_str()));
    insert(&mut claims, "iat", Some(now));
    insert(&mut claims, "exp", Some(now.saturating_add(ttl_seconds)));
    Ok(claims)
}

fn insert(
    claims: &mut serde_json::Map<String, serde_json::Value>,
    name: &str,
    value: Option<impl Into<serde_json::Value>>,
) {
    if let Some(value) = value {
        claims.insert(name.to_owned(), value.into());
    }
}

/// Audience, issuer and times; the answer is when the connection or subscription ends.
fn check_common(
    claims: &RawClaims,
    now: i64,
    policy: &TokenPolicy,
) -> Result<Option<i64>, TokenError> {
    if let Some(audience) = &policy.audience
        && !claims.aud.as_ref().is_some_and(|given| given.contains(audience))
    {
        return Err(TokenError::Invalid("it is meant for another audience"));
    }
    if let Some(issuer) = &policy.issuer
        && claims.iss.as_ref() != Some(issuer)
    {
        return Err(TokenError::Invalid("it is from another issuer"));
    }
    check_times(&claims.times()?, now, policy)
}

fn check_times(times: &Times, now: i64, policy: &TokenPolicy) -> Result<Option<i64>, TokenError> {
    let skew = policy.skew();
    let latest = now.saturating_add(policy.ttl_seconds_max).saturating_add(skew);
    if times.not_before.is_some_and(|at| at > now.saturating_add(skew)) {
        return Err(TokenError::Invalid("it is not valid yet"));
    }
    if times.issued_at.is_some_and(|at| at > now.saturating_add(skew)) {
        return Err(TokenError::Invalid("it was issued in the future"));
    }
    let end = |at: i64| {
        if at > latest {
            Err(TokenError::Invalid("it lives longer than allowed"))
        } else if at.saturating_add(skew) <= now {
            Err(TokenError::Expired)
        } else {
            Ok(at)
        }
    };
    let expires = times.expires.map(end).transpose()?;
    if expires.is_none() && policy.require_exp {
        return Err(TokenError::Invalid("it has no end"));
    }
    match times.connection_ends {
        None => Ok(expires),
        Some(0) if policy.require_exp => Err(TokenError::Invalid("it has no end")),
        Some(0) => Ok(None),
        Some(at) => end(at).map(Some),
    }
}

#[cfg(test)]
mod tests;
