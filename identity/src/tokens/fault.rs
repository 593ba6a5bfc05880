//! Exactly why a token is refused, for operators and logs; clients get the short form.
//! Reads: nothing. Writes: nothing.
//! Never: holds anything that a token says, so every text may be logged.

use std::borrow::Cow;

use super::{TOKEN_BYTES_MAX, TokenError};

/// Why a token is refused. Checks run in the order of the variants, so a token that is wrong in two ways gives
/// the first; nothing about its claims is told before its signature is known to be good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Longer than [`TOKEN_BYTES_MAX`]; not looked at.
    #[error("the token has {bytes} bytes, more than {TOKEN_BYTES_MAX}: put less into its claims")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not three parts of unpadded base64url, or a header that is not what it must be.
    #[error("the token has a wrong form: {0}")]
    Malformed(&'static str),
    /// `none`, an unknown algorithm, or one that no key is for.
    #[error("the token's algorithm is not allowed: sign with one that a configured key is for")]
    AlgorithmNotAllowed,
    /// Its `kid` names a key that is not there; perhaps not yet, see [`crate::JwksRefresh::unknown_key`].
    #[error(
        "the token names a key that is not known: check the key id, or wait until the key set is fetched"
    )]
    UnknownKey,
    /// It has no `kid`, and several keys fit.
    #[error("the token names no key and several would fit: set `kid` in its header")]
    KeyNotNamed,
    /// Signed with another key, or changed after it was signed.
    #[error("the token's signature is wrong: it was made with another key, or changed afterwards")]
    BadSignature,
    /// The body is not a JSON object, or something in it is given twice.
    #[error("the token's body is malformed: expected {0}")]
    Body(&'static str),
    /// A claim is missing or not what it must be.
    #[error("the claim `{claim}` is missing or malformed: expected {expected}")]
    Claim {
        /// Its name, with dots between the levels and `*` for any member of a map.
        claim: Cow<'static, str>,
        /// What it must be.
        expected: &'static str,
    },
    /// A subscription token where a connection token is expected, or the other way round.
    #[error("this is {found}: expected {expected}")]
    WrongKind {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// `aud` does not contain the configured audience.
    #[error("the token is meant for another audience (`aud`)")]
    WrongAudience,
    /// `iss` is not the configured issuer.
    #[error("the token is from another issuer (`iss`)")]
    WrongIssuer,
    /// `nbf` is ahead.
    #[error("the token is not valid yet (`nbf`): wait, or compare the clocks")]
    NotYetValid,
    /// `iat` is ahead.
    #[error("the token was issued in the future (`iat`): compare the clocks")]
    IssuedInFuture,
    /// No end where one is required.
    #[error("the token has no end: set `exp`")]
    NoEnd,
    /// An end further away than allowed.
    #[error("the token lives longer than allowed: set an earlier `exp` or `expire_at`")]
    TooLongLived,
    /// It was good and its time is over.
    #[error("the token has expired: get a new one")]
    Expired,
}

impl TokenFault {
    pub(crate) fn claim(claim: impl Into<Cow<'static, str>>, expected: &'static str) -> Self {
        Self::Claim { claim: claim.into(), expected }
    }

    /// A short name for metrics and logs; one of a fixed few, and never changed.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Malformed(_) => "malformed",
            Self::AlgorithmNotAllowed => "algorithm_not_allowed",
            Self::UnknownKey => "unknown_key",
            Self::KeyNotNamed => "key_not_named",
            Self::BadSignature => "bad_signature",
            Self::Body(_) => "malformed_body",
            Self::Claim { .. } => "malformed_claim",
            Self::WrongKind { .. } => "wrong_kind",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::NoEnd => "no_end",
            Self::TooLongLived => "too_long_lived",
            Self::Expired => "expired",
        }
    }
}

impl From<TokenFault> for TokenError {
    fn from(fault: TokenFault) -> Self {
        Self::Invalid(match fault {
            TokenFault::Expired => return Self::Expired,
            TokenFault::TooLarge { .. } => "it is too long",
            TokenFault::Malformed(_) => "its header or form is malformed",
            TokenFault::AlgorithmNotAllowed => "its algorithm is not allowed",
            TokenFault::UnknownKey => "its key is not known",
            TokenFault::KeyNotNamed => "it does not name its key",
            TokenFault::BadSignature => "its signature is wrong",
            TokenFault::Body(_) => "its claims are malformed",
            TokenFault::Claim { .. } => "a claim is missing or malformed",
            TokenFault::WrongKind { found, .. } => return Self::Invalid(found),
            TokenFault::WrongAudience => "it is meant for another audience",
            TokenFault::WrongIssuer => "it is from another issuer",
            TokenFault::NotYetValid => "it is not valid yet",
            TokenFault::IssuedInFuture => "it was issued in the future",
            TokenFault::NoEnd => "it has no end",
            TokenFault::TooLongLived => "it lives longer than allowed",
        })
    }
}
