//! Connection and subscription tokens: JSON Web Tokens (RFC 7515, RFC 7519) with Centrifugo's claims.
//! Reads: a token, the time and the policy that the caller gives. Writes: nothing.
//! Never: lets a token's header choose a key or an algorithm.
//!
//! [`Verifier`] checks tokens of any issuer whose keys are configured. [`TokenKeys`] is the platform's own
//! issuer: it signs with HS256 and verifies what it signed. Headers that point to keys (`jku`, `jwk`, `x5u`,
//! …) or demand extensions (`crit`) are refused rather than ignored. Times are compared here, not in the
//! library, because time is a parameter.

mod caps;
mod claims;
mod fault;
mod grants;
mod header;
mod object;
mod options;
mod verifier;

use std::sync::Arc;

use jsonwebtoken::{EncodingKey, Header};

use crate::keys::{KeySet, TokenAlgorithm, VerifyKey};
use crate::names::{Tenant, check_user};
pub use claims::{ConnectionClaims, Overrides, SubscriptionClaims, TokenSubscription};
pub use fault::TokenFault;
pub use grants::{ConnectionGrant, PublishGrant, RefreshGrant, SubscriptionGrant};
pub use options::{JwksOptions, PublicKeyOptions, TokenOptions};
pub use verifier::{ClaimRules, Verifier};

/// Longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Shortest secret: HS256 wants at least the 256 bits of its hash (RFC 7518 §3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Most that clocks may disagree, in seconds.
const SKEW_SECONDS_MAX: i64 = 60;

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

/// The secrets that sign and verify the platform's own tokens; cheap to clone.
#[derive(Clone)]
pub struct TokenKeys {
    /// The first signs; all verify, so that a secret can be changed without cutting anyone off.
    signing: Arc<[EncodingKey]>,
    algorithm: TokenAlgorithm,
    verifying: KeySet,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKeys({})", self.signing.len())
    }
}

impl TokenKeys {
    /// The current secret and, during a change, the one before it.
    ///
    /// # Errors
    /// If a secret is too short.
    pub fn new(secret: &[u8], previous: Option<&[u8]>) -> Result<Self, KeyError> {
        let secrets = || std::iter::once(secret).chain(previous);
        let verifying = secrets()
            .map(|secret| VerifyKey::hmac(secret, &[TokenAlgorithm::Hs256]))
            .collect::<Result<_, _>>()
            .and_then(KeySet::new)
            .map_err(|_| KeyError::TooShort)?;
        let secrets: Vec<&[u8]> = secrets().collect();
        Ok(Self::signing(&secrets, TokenAlgorithm::Hs256, verifying))
    }

    fn signing(secrets: &[&[u8]], algorithm: TokenAlgorithm, verifying: KeySet) -> Self {
        let signing = secrets.iter().map(|secret| EncodingKey::from_secret(secret)).collect();
        Self { signing, algorithm, verifying }
    }

    /// The same secrets as keys that verify, to be joined with those of other issuers.
    #[must_use]
    pub fn key_set(&self) -> &KeySet {
        &self.verifying
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
        let rules = ClaimRules { policy: policy.clone(), ..ClaimRules::default() };
        Ok(verifier::connection(&self.verifying, &rules, token, now)?)
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
        let rules = ClaimRules { policy: policy.clone(), ..ClaimRules::default() };
        Ok(verifier::subscription(&self.verifying, &rules, token, now)?)
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
        let key = self.signing.first().ok_or(MintError::Sign)?;
        jsonwebtoken::encode(&Header::new(self.algorithm.library()), claims, key)
            .map_err(|_| MintError::Sign)
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

#[cfg(test)]
mod tests;
