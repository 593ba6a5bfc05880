//! Keys that verify tokens, and which of them a token may be checked with.
//! Reads: secrets, PEM texts and JWKS documents that the operator configured. Writes: nothing.
//! Never: holds a private key, lets a token's header choose what a key is used for, or grows without a limit.
//!
//! A key knows the algorithms it is for, by its type: a secret for HMAC, an RSA key for RSA signatures, a
//! curve for the one algorithm of that curve. A header's `alg` is only compared with that list, so a public
//! key can never serve as a secret (RFC 8725 §3.1).

mod algorithm;
mod jwks;
mod pem;
mod refresh;
mod set;

use std::fmt;

use jsonwebtoken::DecodingKey;

pub use algorithm::TokenAlgorithm;
pub use jwks::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, Jwks, JwksError};
pub use refresh::{JwksRefresh, RefreshOptions, Standing};
pub use set::KeySet;

/// Most keys of one set.
pub const KEYS_MAX: usize = 64;

/// Longest key id in bytes.
pub const KEY_ID_BYTES_MAX: usize = 128;

/// Smallest and largest RSA modulus in bits: what the crypto library verifies, and what is safe.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Why a key or a set of keys is refused; the text says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// A secret shorter than its hash can be guessed.
    #[error("a secret for {algorithm} needs at least {bytes_min} random bytes", algorithm = algorithm.name())]
    SecretTooShort {
        /// The algorithm that wants more.
        algorithm: TokenAlgorithm,
        /// How much it wants.
        bytes_min: usize,
    },
    /// Not a PEM text.
    #[error("this is no PEM text: expected one block `BEGIN PUBLIC KEY`")]
    NotPem,
    /// A PEM text of something that is not a public key in the usual form.
    #[error("this PEM text holds {found}: expected `PUBLIC KEY`; {remedy}")]
    WrongPem {
        /// What it holds.
        found: &'static str,
        /// The command that makes the right thing of it.
        remedy: &'static str,
    },
    /// A public key of a type that no supported algorithm uses.
    #[error("the key's type is not supported: use RSA, EC P-256, EC P-384 or Ed25519")]
    Unsupported,
    /// An RSA key too small to be safe or too large to be quick.
    #[error("an RSA key needs 2048 to 8192 bits and an odd exponent of at least 3")]
    RsaSize,
    /// The key's numbers have a wrong form or length.
    #[error("the key is damaged: its numbers have a wrong form or length")]
    Damaged,
    /// The algorithms asked for are not those of the key's type.
    #[error("none of the algorithms named fits the key's type")]
    NoAlgorithm,
    /// A key id with odd characters could never be named by a token.
    #[error("a key id has 1 to {KEY_ID_BYTES_MAX} letters, digits and `-_.=+/:@`, no `..`")]
    BadId,
    /// Two keys with one id: a token could not say which is meant.
    #[error("two keys have the same id: give each its own")]
    SameId,
    /// More than [`KEYS_MAX`].
    #[error("more than {KEYS_MAX} keys: remove those that no issuer uses any more")]
    TooMany,
}

/// One key and what it is for.
#[derive(Clone)]
pub struct VerifyKey {
    id: Option<String>,
    algorithms: Vec<TokenAlgorithm>,
    decoding: DecodingKey,
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyKey({:?}, {:?})", self.id, self.algorithms)
    }
}

impl VerifyKey {
    /// A shared secret for these HMAC algorithms.
    ///
    /// # Errors
    /// If an algorithm is none of HMAC, or the secret is shorter than the longest hash (RFC 7518 §3.2).
    pub fn hmac(secret: &[u8], algorithms: &[TokenAlgorithm]) -> Result<Self, KeyFault> {
        for &algorithm in algorithms {
            let bytes_min = algorithm.secret_bytes_min().ok_or(KeyFault::NoAlgorithm)?;
            if secret.len() < bytes_min {
                return Err(KeyFault::SecretTooShort { algorithm, bytes_min });
            }
        }
        Self::new(DecodingKey::from_secret(secret), algorithms)
    }

    /// A shared secret of any length but none, against the advice of RFC 7518 §3.2: whoever has one token can
    /// find a short secret by trying, and sign for anybody.
    ///
    /// # Errors
    /// If an algorithm is none of HMAC, or the secret is empty.
    pub fn short_hmac(secret: &[u8], algorithms: &[TokenAlgorithm]) -> Result<Self, KeyFault> {
        for &algorithm in algorithms {
            algorithm.secret_bytes_min().ok_or(KeyFault::NoAlgorithm)?;
            if secret.is_empty() {
                return Err(KeyFault::SecretTooShort { algorithm, bytes_min: 1 });
            }
        }
        Self::new(DecodingKey::from_secret(secret), algorithms)
    }

    /// A public key as a PEM text (`BEGIN PUBLIC KEY`: RSA, EC P-256, EC P-384 or Ed25519).
    ///
    /// # Errors
    /// Says what the text holds instead and how to make the right thing of it.
    pub fn pem(text: &str) -> Result<Self, KeyFault> {
        pem::parse(text)
    }

    /// The same key under a name that tokens can say (`kid`).
    ///
    /// # Errors
    /// If the id is no plain name.
    pub fn with_id(mut self, id: &str) -> Result<Self, KeyFault> {
        if !plain_id(id) {
            return Err(KeyFault::BadId);
        }
        self.id = Some(id.to_owned());
        Ok(self)
    }

    /// The same key for no more than these algorithms.
    ///
    /// # Errors
    /// If nothing would be left.
    pub fn limited_to(self, algorithms: &[TokenAlgorithm]) -> Result<Self, KeyFault> {
        let kept: Vec<_> =
            self.algorithms.iter().copied().filter(|one| algorithms.contains(one)).collect();
        if kept.is_empty() {
            return Err(KeyFault::NoAlgorithm);
        }
        Ok(Self { algorithms: kept, ..self })
    }

    /// The name that tokens call it by.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What it may be used for.
    #[must_use]
    pub fn algorithms(&self) -> &[TokenAlgorithm] {
        &self.algorithms
    }

    fn new(decoding: DecodingKey, algorithms: &[TokenAlgorithm]) -> Result<Self, KeyFault> {
        if algorithms.is_empty() {
            return Err(KeyFault::NoAlgorithm);
        }
        Ok(Self { id: None, algorithms: algorithms.to_vec(), decoding })
    }

    /// An RSA key of its two numbers, big end first; leading zeros are harmless and dropped.
    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyFault> {
        let strip = |number: &[u8]| -> Vec<u8> {
            number.iter().copied().skip_while(|byte| *byte == 0).collect()
        };
        let (modulus, exponent) = (strip(modulus), strip(exponent));
        let unused = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        let exponent_fits = odd(&exponent) && exponent.len() <= 4 && exponent != [1];
        if !RSA_BITS.contains(&(modulus.len() * 8).saturating_sub(unused))
            || !odd(&modulus)
            || !exponent_fits
        {
            return Err(KeyFault::RsaSize);
        }
        let decoding = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
        Self::new(decoding, &TokenAlgorithm::RSA)
    }

    /// A point of the curve that this algorithm is for, uncompressed (SEC 1 §2.3.3).
    fn point(point: &[u8], algorithm: TokenAlgorithm) -> Result<Self, KeyFault> {
        let side = match algorithm {
            TokenAlgorithm::Es256 => 32,
            TokenAlgorithm::Es384 => 48,
            _ => return Err(KeyFault::Unsupported),
        };
        if point.len() != 1 + 2 * side || point.first() != Some(&4) {
            return Err(KeyFault::Damaged);
        }
        Self::new(DecodingKey::from_ec_der(point), &[algorithm])
    }

    fn ed25519(key: &[u8]) -> Result<Self, KeyFault> {
        if key.len() != 32 {
            return Err(KeyFault::Damaged);
        }
        Self::new(DecodingKey::from_ed_der(key), &[TokenAlgorithm::EdDsa])
    }

    fn fits(&self, algorithm: TokenAlgorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    fn verifies(&self, algorithm: TokenAlgorithm, message: &str, signature: &str) -> bool {
        self.fits(algorithm)
            && jsonwebtoken::crypto::verify(
                signature,
                message.as_bytes(),
                &self.decoding,
                algorithm.library(),
            )
            .unwrap_or(false)
    }

    /// Whether a token could not tell the two apart.
    fn collides(&self, other: &Self) -> bool {
        self.id.is_some()
            && self.id == other.id
            && self.algorithms.iter().any(|one| other.fits(*one))
    }
}

/// Whether a text may be a key id. It is only ever compared, but what looks like a path or a query is a sign
/// of an attack on somebody else and is not worth a look.
pub(crate) fn plain_id(id: &str) -> bool {
    (1..=KEY_ID_BYTES_MAX).contains(&id.len())
        && !id.contains("..")
        && id.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'_' | b'.' | b'=' | b'+' | b'/' | b':' | b'@')
        })
}

#[cfg(test)]
mod tests;
