//! What an operator may choose about tokens.
//! Reads: configuration. Writes: nothing.
//! Never: holds a secret; those are given apart, so that these options may be shown.

use serde::{Deserialize, Serialize};

use super::verifier::ClaimRules;
use super::{SKEW_SECONDS_MAX, TokenKeys, TokenPolicy};
use crate::keys::{KeyFault, KeySet, RefreshOptions, TokenAlgorithm, VerifyKey};

/// Most JWKS sources.
const SOURCES_MAX: usize = 8;

/// Options of tokens; every one has a default. An empty text stands for "not set".
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenOptions {
    /// Algorithms that the HMAC secrets are for. A secret needs as many bytes as the longest hash.
    pub hmac_algorithms: Vec<TokenAlgorithm>,
    /// Whether secrets may be shorter than that. Whoever has one token can then find the secret by trying:
    /// only while issuers move to a long one.
    pub allow_short_secret: bool,
    /// Public keys of issuers.
    pub public_keys: Vec<PublicKeyOptions>,
    /// Documents with public keys of issuers, fetched and kept fresh.
    pub jwks: Vec<JwksOptions>,
    /// If set, `aud` must contain it.
    pub audience: String,
    /// If set, `iss` must be it.
    pub issuer: String,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that names the tenant; a token without it is of the default tenant.
    pub tenant_claim: String,
    /// Whether a token may name no user.
    pub anonymous: bool,
    /// Whether a token without an end is refused.
    pub require_exp: bool,
    /// Furthest end of a token from now, in seconds.
    pub ttl_seconds_max: i64,
    /// How far clocks may disagree, in seconds, at most 60.
    pub skew_seconds: i64,
}

/// One public key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublicKeyOptions {
    /// The `kid` that tokens name it by; empty for a key that is tried for every token.
    pub id: String,
    /// The key as a PEM text, `BEGIN PUBLIC KEY`: RSA of 2048 to 8192 bits, EC P-256 or P-384, or Ed25519.
    pub pem: String,
    /// What it may be used for; empty for all algorithms of its type.
    pub algorithms: Vec<TokenAlgorithm>,
}

/// One JWKS source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwksOptions {
    /// Where the document is; `https`, but for a source on this machine.
    pub url: String,
    /// What its keys may be used for; never HMAC.
    pub algorithms: Vec<TokenAlgorithm>,
    /// When it is fetched.
    pub refresh: RefreshOptions,
}

impl Default for JwksOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            algorithms: TokenAlgorithm::ASYMMETRIC.to_vec(),
            refresh: RefreshOptions::default(),
        }
    }
}

impl Default for TokenOptions {
    fn default() -> Self {
        let (rules, policy) = (ClaimRules::default(), TokenPolicy::default());
        Self {
            hmac_algorithms: vec![TokenAlgorithm::Hs256],
            allow_short_secret: false,
            public_keys: Vec::new(),
            jwks: Vec::new(),
            audience: policy.audience.unwrap_or_default(),
            issuer: policy.issuer.unwrap_or_default(),
            user_claim: rules.user_claim,
            tenant_claim: rules.tenant_claim,
            anonymous: rules.anonymous,
            require_exp: policy.require_exp,
            ttl_seconds_max: policy.ttl_seconds_max,
            skew_seconds: policy.skew_seconds,
        }
    }
}

impl TokenOptions {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// Names the option and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if !(0..=SKEW_SECONDS_MAX).contains(&self.skew_seconds) {
            return Err(format!("skew_seconds must be between 0 and {SKEW_SECONDS_MAX}"));
        }
        if self.ttl_seconds_max < 1 {
            return Err("ttl_seconds_max must be at least 1".to_owned());
        }
        self.check_claims()?;
        if self.hmac_algorithms.iter().any(|one| TokenAlgorithm::ASYMMETRIC.contains(one)) {
            return Err("hmac_algorithms may name HS256, HS384 and HS512 only".to_owned());
        }
        if self.jwks.len() > SOURCES_MAX {
            return Err(format!("jwks may have at most {SOURCES_MAX} sources"));
        }
        for source in &self.jwks {
            source.check()?;
        }
        for (at, key) in self.public_keys.iter().enumerate() {
            key.key().map_err(|fault| format!("public_keys, entry {}: {fault}", at + 1))?;
        }
        Ok(())
    }

    /// A claim with another meaning must not be taken for a name.
    fn check_claims(&self) -> Result<(), String> {
        const TAKEN: [&str; 19] = [
            "aud",
            "iss",
            "exp",
            "nbf",
            "iat",
            "jti",
            "expire_at",
            "info",
            "b64info",
            "data",
            "b64data",
            "channel",
            "channels",
            "subs",
            "meta",
            "caps",
            "allow",
            "client",
            "override",
        ];
        for (option, claim) in
            [("user_claim", &self.user_claim), ("tenant_claim", &self.tenant_claim)]
        {
            let plain =
                claim.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte));
            if claim.is_empty() || claim.len() > 128 || !plain || TAKEN.contains(&claim.as_str()) {
                return Err(format!(
                    "{option} must be a claim's name of letters, digits and `_-.:/` that has no other meaning"
                ));
            }
        }
        if self.user_claim == self.tenant_claim {
            return Err("user_claim and tenant_claim must differ".to_owned());
        }
        Ok(())
    }

    /// What tokens must say.
    #[must_use]
    pub fn claim_rules(&self) -> ClaimRules {
        let set = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        ClaimRules {
            policy: TokenPolicy {
                audience: set(&self.audience),
                issuer: set(&self.issuer),
                require_exp: self.require_exp,
                ttl_seconds_max: self.ttl_seconds_max,
                skew_seconds: self.skew_seconds,
            },
            user_claim: self.user_claim.clone(),
            tenant_claim: self.tenant_claim.clone(),
            anonymous: self.anonymous,
        }
    }

    /// The keys that need no fetching: these secrets, the current one first, and the public keys. Keys of
    /// JWKS sources are joined to them when they come: [`KeySet::joined`].
    ///
    /// # Errors
    /// If a secret or key is refused, or two have one id.
    pub fn key_set(&self, secrets: &[&[u8]]) -> Result<KeySet, KeyFault> {
        let hmac = secrets.iter().map(|secret| self.secret(secret));
        let public = self.public_keys.iter().map(PublicKeyOptions::key);
        let set = KeySet::new(hmac.chain(public).collect::<Result<_, _>>()?)?;
        Ok(self.jwks.iter().fold(set, |set, source| set.expecting(&source.algorithms)))
    }

    /// The platform's own issuer with these secrets, the current one first; it signs with the first of
    /// `hmac_algorithms`.
    ///
    /// # Errors
    /// If a secret is refused or there is none.
    pub fn token_keys(&self, secrets: &[&[u8]]) -> Result<TokenKeys, KeyFault> {
        let algorithm = *self.hmac_algorithms.first().ok_or(KeyFault::NoAlgorithm)?;
        let keys = secrets.iter().map(|secret| self.secret(secret)).collect::<Result<_, _>>()?;
        Ok(TokenKeys::signing(secrets, algorithm, KeySet::new(keys)?))
    }

    fn secret(&self, secret: &[u8]) -> Result<VerifyKey, KeyFault> {
        match self.allow_short_secret {
            true => VerifyKey::short_hmac(secret, &self.hmac_algorithms),
            false => VerifyKey::hmac(secret, &self.hmac_algorithms),
        }
    }
}

impl PublicKeyOptions {
    fn key(&self) -> Result<VerifyKey, KeyFault> {
        let mut key = VerifyKey::pem(&self.pem)?;
        if !self.algorithms.is_empty() {
            key = key.limited_to(&self.algorithms)?;
        }
        if self.id.is_empty() { Ok(key) } else { key.with_id(&self.id) }
    }
}

impl JwksOptions {
    fn check(&self) -> Result<(), String> {
        if !fetchable(&self.url) {
            return Err(
                "jwks.url must begin with https:// (http:// only for this machine)".to_owned()
            );
        }
        if self.algorithms.is_empty()
            || self.algorithms.iter().any(|one| !TokenAlgorithm::ASYMMETRIC.contains(one))
        {
            return Err("jwks.algorithms must name algorithms with public keys, no HMAC".to_owned());
        }
        self.refresh.check().map_err(|why| format!("jwks.refresh.{why}"))
    }
}

/// Whether a document may be fetched from there: over TLS, or from this machine. No user information: it hides
/// the host from whoever reads the configuration, and credentials do not belong there.
fn fetchable(url: &str) -> bool {
    let odd = |byte: u8| !byte.is_ascii_graphic() || byte == b'\\';
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if url.bytes().any(odd) || authority.is_empty() || authority.contains('@') {
        return false;
    }
    let local = ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| {
        authority.strip_prefix(host).is_some_and(|port| {
            let digits = port.strip_prefix(':').unwrap_or(port);
            digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    });
    scheme == "https" || (scheme == "http" && local)
}

#[cfg(test)]
mod tests;
