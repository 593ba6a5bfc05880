//! JWKS documents (RFC 7517 §5) as their issuers publish them.
//! Reads: a document fetched from an address that the operator configured. Writes: nothing.
//! Never: takes a secret from a document, a key meant for encryption, or a key whose type it does not know.
//!
//! A key that cannot be used is skipped and counted, as RFC 7517 §5 asks: an issuer that adds a key of a new
//! type must not cut off the users of the old ones.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{KeyFault, KeySet, TokenAlgorithm, VerifyKey};

/// Longest document in bytes.
pub const JWKS_BYTES_MAX: usize = 64 * 1024;

/// Most usable keys of one document; also how many entries of any kind are looked at, times four.
pub const JWKS_KEYS_MAX: usize = 32;

/// What a document held.
#[derive(Debug, Clone)]
pub struct Jwks {
    /// The keys that can verify tokens.
    pub keys: KeySet,
    /// How many others there were.
    pub skipped: usize,
}

/// Why a whole document is refused. The keys of the last good one stay in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Longer than [`JWKS_BYTES_MAX`].
    #[error("the document is longer than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// Not the object that RFC 7517 §5 describes.
    #[error("the document is not a JSON object with a list `keys`")]
    Malformed,
    /// More than [`JWKS_KEYS_MAX`].
    #[error("the document holds more than {JWKS_KEYS_MAX} keys for signatures")]
    TooMany,
    /// Nothing in it can verify a token: most likely the address is wrong.
    #[error(
        "the document holds no key for signatures of a supported type (RSA, P-256, P-384, Ed25519)"
    )]
    NoKey,
}

impl Jwks {
    /// Parses a document and keeps what fits these algorithms.
    ///
    /// # Errors
    /// If the document is no JWKS, too long, or without a usable key.
    pub fn parse(document: &[u8], algorithms: &[TokenAlgorithm]) -> Result<Self, JwksError> {
        #[derive(Deserialize)]
        struct Document<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        if document.len() > JWKS_BYTES_MAX {
            return Err(JwksError::TooLarge);
        }
        let document: Document<'_> =
            serde_json::from_slice(document).map_err(|_| JwksError::Malformed)?;
        if document.keys.len() > 4 * JWKS_KEYS_MAX {
            return Err(JwksError::TooMany);
        }
        let mut keys: Vec<VerifyKey> = Vec::new();
        let mut skipped = 0;
        for raw in document.keys {
            match key(raw.get()).and_then(|key| key.limited_to(algorithms)) {
                Ok(key) if !keys.iter().any(|one| one.collides(&key)) => keys.push(key),
                _ => skipped += 1,
            }
        }
        if keys.is_empty() {
            return Err(JwksError::NoKey);
        }
        if keys.len() > JWKS_KEYS_MAX {
            return Err(JwksError::TooMany);
        }
        let keys = KeySet::new(keys).map_err(|_| JwksError::TooMany)?;
        Ok(Self { keys: keys.expecting(algorithms), skipped })
    }
}

/// The members of RFC 7517 §4 and RFC 7518 §6 that matter; a member given twice makes the key unusable.
#[derive(Deserialize)]
struct RawKey {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn key(text: &str) -> Result<VerifyKey, KeyFault> {
    let raw: RawKey = serde_json::from_str(text).map_err(|_| KeyFault::Damaged)?;
    let signs = raw.usage.as_deref().is_none_or(|usage| usage == "sig")
        && raw.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
    if !signs {
        return Err(KeyFault::Unsupported);
    }
    let mut key = match (raw.kty.as_str(), raw.crv.as_deref()) {
        ("RSA", None) => VerifyKey::rsa(&number(raw.n.as_deref())?, &number(raw.e.as_deref())?),
        ("EC", Some("P-256")) => VerifyKey::point(&point(&raw, 32)?, TokenAlgorithm::Es256),
        ("EC", Some("P-384")) => VerifyKey::point(&point(&raw, 48)?, TokenAlgorithm::Es384),
        ("OKP", Some("Ed25519")) => VerifyKey::ed25519(&number(raw.x.as_deref())?),
        // `oct` is a secret: one that is published is none.
        _ => Err(KeyFault::Unsupported),
    }?;
    if let Some(name) = &raw.alg {
        // RFC 9864 names the curve; the key's type has fixed it already.
        let name = if name == "Ed25519" { "EdDSA" } else { name.as_str() };
        let only = TokenAlgorithm::parse(name).ok_or(KeyFault::Unsupported)?;
        key = key.limited_to(&[only])?;
    }
    match &raw.kid {
        Some(id) => key.with_id(id),
        None => Ok(key),
    }
}

fn number(text: Option<&str>) -> Result<Vec<u8>, KeyFault> {
    URL_SAFE_NO_PAD.decode(text.ok_or(KeyFault::Damaged)?).map_err(|_| KeyFault::Damaged)
}

/// Both coordinates at their full length (RFC 7518 §6.2.1.2).
fn point(raw: &RawKey, side: usize) -> Result<Vec<u8>, KeyFault> {
    let (x, y) = (number(raw.x.as_deref())?, number(raw.y.as_deref())?);
    if x.len() != side || y.len() != side {
        return Err(KeyFault::Damaged);
    }
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}
