//! All keys at hand, and which of them one token is checked with.
//! Reads: keys and what a token's header says. Writes: nothing.
//! Never: tries a key that the header's algorithm is not for, or more keys than the rule below names.

use std::sync::Arc;

use super::{KEYS_MAX, KeyFault, TokenAlgorithm, VerifyKey};
use crate::tokens::TokenFault;

/// All keys that tokens are checked with; cheap to clone, swapped whole when a key changes.
///
/// With a `kid`, the key of that name is used and no other; keys without a name (secrets and PEM files given
/// without one) are tried for any `kid`, because issuers name such keys as they like. Without a `kid`, keys
/// without a name are tried in their order, and a named key only if it is the one that fits.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Arc<[VerifyKey]>,
    /// Algorithms of keys that are yet to come from a JWKS source.
    expected: Vec<TokenAlgorithm>,
}

impl KeySet {
    /// A set of these keys.
    ///
    /// # Errors
    /// If there are too many, or two of one id and algorithm.
    pub fn new(keys: Vec<VerifyKey>) -> Result<Self, KeyFault> {
        if keys.len() > KEYS_MAX {
            return Err(KeyFault::TooMany);
        }
        let same = |(at, key): (usize, &VerifyKey)| keys[..at].iter().any(|one| one.collides(key));
        if keys.iter().enumerate().any(same) {
            return Err(KeyFault::SameId);
        }
        Ok(Self { keys: keys.into(), expected: Vec::new() })
    }

    /// The same set, to which a JWKS source may add keys for these algorithms: a token that names a key that
    /// is not there yet is then of an unknown key instead of a forbidden algorithm.
    #[must_use]
    pub fn expecting(mut self, algorithms: &[TokenAlgorithm]) -> Self {
        let asymmetric = TokenAlgorithm::ASYMMETRIC;
        self.expected.extend(algorithms.iter().filter(|one| asymmetric.contains(one)));
        self
    }

    /// Both sets in one. Where both have a key of one id and algorithm, the one of `self` stays: what the
    /// operator wrote down cannot be replaced from outside. Join to the configured set each time, not to the
    /// last result, or withdrawn keys stay.
    ///
    /// # Errors
    /// If there would be too many.
    pub fn joined(&self, more: &Self) -> Result<Self, KeyFault> {
        let mut keys = self.keys.to_vec();
        for key in more.keys.iter() {
            if !keys.iter().any(|one| one.collides(key)) {
                keys.push(key.clone());
            }
        }
        let mut joined = Self::new(keys)?;
        joined.expected = self.expected.iter().chain(&more.expected).copied().collect();
        joined.expected.sort_unstable();
        joined.expected.dedup();
        Ok(joined)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no token can be good.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[VerifyKey] {
        &self.keys
    }

    /// Whether a key that may yet come from a JWKS source could be the one meant; costs no signature.
    pub(crate) fn may_come(&self, algorithm: TokenAlgorithm, id: Option<&str>) -> bool {
        let named = |key: &VerifyKey| id.is_none() || key.id() == id;
        self.expected.contains(&algorithm)
            && !self.keys.iter().any(|key| key.fits(algorithm) && key.id.is_some() && named(key))
    }

    /// Checks a signature with the keys that the rule above selects.
    pub(crate) fn verify(
        &self,
        algorithm: TokenAlgorithm,
        id: Option<&str>,
        message: &str,
        signature: &str,
    ) -> Result<(), TokenFault> {
        let fitting = || self.keys.iter().filter(|key| key.fits(algorithm));
        let expected = self.expected.contains(&algorithm);
        if fitting().next().is_none() && !expected {
            return Err(TokenFault::AlgorithmNotAllowed);
        }
        let good = |key: &VerifyKey| key.verifies(algorithm, message, signature);
        let unnamed_good = || fitting().filter(|key| key.id.is_none()).any(good);
        let named: Vec<_> = fitting().filter(|key| key.id.is_some()).collect();
        if let Some(id) = id {
            if let Some(key) = named.iter().find(|key| key.id() == Some(id)) {
                return if good(key) { Ok(()) } else { Err(TokenFault::BadSignature) };
            }
            if self.keys.iter().any(|key| key.id() == Some(id)) {
                return Err(TokenFault::AlgorithmNotAllowed);
            }
            return match unnamed_good() {
                true => Ok(()),
                false if expected || !named.is_empty() => Err(TokenFault::UnknownKey),
                false => Err(TokenFault::BadSignature),
            };
        }
        if unnamed_good() || matches!(named.as_slice(), [only] if good(only)) {
            return Ok(());
        }
        match fitting().count() {
            0 => Err(TokenFault::UnknownKey),
            all if named.len() > 1 && named.len() == all => Err(TokenFault::KeyNotNamed),
            _ => Err(TokenFault::BadSignature),
        }
    }
}
