//! Checks tokens against a set of keys and the rules for their claims.
//! Reads: a token, the time, and what the operator configured. Writes: nothing.
//! Never: looks at a claim before the signature is known to be good, or at a clock.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::claims::{self, ConnectionClaims, SubscriptionClaims, Times};
use super::fault::TokenFault;
use super::header::Parts;
use super::object::Object;
use super::{SKEW_SECONDS_MAX, TokenPolicy};
use crate::keys::KeySet;

/// What tokens must say, and in which claims they say it.
#[derive(Debug, Clone)]
pub struct ClaimRules {
    /// Audience, issuer and times.
    pub policy: TokenPolicy,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that names the tenant; a token without it is of the default tenant.
    pub tenant_claim: String,
    /// Whether a token may name no user.
    pub anonymous: bool,
}

impl Default for ClaimRules {
    fn default() -> Self {
        Self {
            policy: TokenPolicy::default(),
            user_claim: "sub".to_owned(),
            tenant_claim: "tenant".to_owned(),
            anonymous: false,
        }
    }
}

/// Checks tokens; cheap to clone, replaced whole when keys change.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: KeySet,
    rules: ClaimRules,
}

impl Verifier {
    /// A verifier with these keys and rules.
    #[must_use]
    pub fn new(keys: KeySet, rules: ClaimRules) -> Self {
        Self { keys, rules }
    }

    /// The keys that it checks with.
    #[must_use]
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Checks a token that a client connects with, at `now` in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The first check that fails, in the order of [`TokenFault`].
    pub fn connection(&self, token: &str, now: i64) -> Result<ConnectionClaims, TokenFault> {
        connection(&self.keys, &self.rules, token, now)
    }

    /// Checks a token that a client subscribes with. The caller compares it with the connection and the
    /// channel: [`SubscriptionClaims::is_for`].
    ///
    /// # Errors
    /// The first check that fails, in the order of [`TokenFault`].
    pub fn subscription(&self, token: &str, now: i64) -> Result<SubscriptionClaims, TokenFault> {
        subscription(&self.keys, &self.rules, token, now)
    }

    /// Whether the token is refused for no other reason than that its key is not there, while a JWKS source
    /// may yet bring it: [`TokenFault::UnknownKey`]. Cheap for all other tokens.
    #[must_use]
    pub fn misses_key(&self, token: &str) -> bool {
        let Ok(parts) = Parts::parse(token) else {
            return false;
        };
        let id = parts.key_id.as_deref();
        self.keys.may_come(parts.algorithm, id)
            && self.keys.verify(parts.algorithm, id, parts.message, parts.signature)
                == Err(TokenFault::UnknownKey)
    }
}

pub(super) fn connection(
    keys: &KeySet,
    rules: &ClaimRules,
    token: &str,
    now: i64,
) -> Result<ConnectionClaims, TokenFault> {
    let body = body(keys, token)?;
    let body = Object::parse(&body)?;
    if body.says("channel") {
        let (found, expected) = ("it is a subscription token", "a connection token");
        return Err(TokenFault::WrongKind { found, expected });
    }
    let expires_at = check_common(&body, now, &rules.policy)?;
    claims::connection(&body, rules, expires_at)
}

pub(super) fn subscription(
    keys: &KeySet,
    rules: &ClaimRules,
    token: &str,
    now: i64,
) -> Result<SubscriptionClaims, TokenFault> {
    let body = body(keys, token)?;
    let body = Object::parse(&body)?;
    if !body.says("channel") {
        let (found, expected) = ("it names no channel", "a subscription token with `channel`");
        return Err(TokenFault::WrongKind { found, expected });
    }
    let expires_at = check_common(&body, now, &rules.policy)?;
    claims::subscription(&body, rules, expires_at)
}

/// The body behind a good signature.
fn body(keys: &KeySet, token: &str) -> Result<Vec<u8>, TokenFault> {
    let parts = Parts::parse(token)?;
    keys.verify(parts.algorithm, parts.key_id.as_deref(), parts.message, parts.signature)?;
    URL_SAFE_NO_PAD.decode(parts.body).map_err(|_| TokenFault::Body("unpadded base64url"))
}

/// Audience, issuer and times; the answer is when the connection or subscription ends.
fn check_common(
    body: &Object<'_>,
    now: i64,
    policy: &TokenPolicy,
) -> Result<Option<i64>, TokenFault> {
    let (audiences, issuer) = (body.one_or_more("aud")?, body.text("iss", "iss")?);
    if policy.audience.as_ref().is_some_and(|wanted| !audiences.contains(wanted)) {
        return Err(TokenFault::WrongAudience);
    }
    if policy.issuer.is_some() && issuer != policy.issuer {
        return Err(TokenFault::WrongIssuer);
    }
    check_times(&claims::times(body)?, now, policy)
}

fn check_times(times: &Times, now: i64, policy: &TokenPolicy) -> Result<Option<i64>, TokenFault> {
    let skew = policy.skew_seconds.clamp(0, SKEW_SECONDS_MAX);
    let latest = now.saturating_add(policy.ttl_seconds_max).saturating_add(skew);
    let soon = now.saturating_add(skew);
    if times.not_before.is_some_and(|at| at > soon) {
        return Err(TokenFault::NotYetValid);
    }
    if times.issued_at.is_some_and(|at| at > soon) {
        return Err(TokenFault::IssuedInFuture);
    }
    let end = |at: i64| {
        if at > latest {
            Err(TokenFault::TooLongLived)
        } else if at.saturating_add(skew) <= now {
            Err(TokenFault::Expired)
        } else {
            Ok(at)
        }
    };
    let expires = times.expires.map(end).transpose()?;
    if expires.is_none() && policy.require_exp {
        return Err(TokenFault::NoEnd);
    }
    match times.ends {
        None => Ok(expires),
        Some(0) if policy.require_exp => Err(TokenFault::NoEnd),
        Some(0) => Ok(None),
        Some(at) => end(at).map(Some),
    }
}
