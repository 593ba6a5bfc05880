//! Public keys as PEM texts (RFC 7468) with a `SubjectPublicKeyInfo` inside (RFC 5280 §4.1.2.7).
//! Reads: a text from the configuration. Writes: nothing.
//! Never: guesses: the object identifiers say what the key is, and that alone says what it is for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use spki::der::asn1::UintRef;
use spki::der::{Decode as _, Reader as _, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::{KeyFault, TokenAlgorithm, VerifyKey};

/// Longest text: an RSA key of 8192 bits takes under 2 KiB.
const PEM_BYTES_MAX: usize = 16 * 1024;

/// RFC 8017 §A.1.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// RFC 5480 §2.1.1, §2.1.1.1.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// RFC 8410 §3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

pub(super) fn parse(text: &str) -> Result<VerifyKey, KeyFault> {
    let der = contents(text)?;
    let info = SubjectPublicKeyInfoRef::from_der(&der).map_err(|_| KeyFault::Damaged)?;
    let bits = info.subject_public_key.as_bytes().ok_or(KeyFault::Damaged)?;
    match info.algorithm.oid {
        RSA => rsa(bits),
        EC => {
            let curve: ObjectIdentifier = info
                .algorithm
                .parameters
                .ok_or(KeyFault::Damaged)?
                .decode_as()
                .map_err(|_| KeyFault::Damaged)?;
            match curve {
                P256 => VerifyKey::point(bits, TokenAlgorithm::Es256),
                P384 => VerifyKey::point(bits, TokenAlgorithm::Es384),
                _ => Err(KeyFault::Unsupported),
            }
        }
        ED25519 => VerifyKey::ed25519(bits),
        _ => Err(KeyFault::Unsupported),
    }
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }` (RFC 8017 §A.1.1).
fn rsa(bits: &[u8]) -> Result<VerifyKey, KeyFault> {
    let numbers = |bits| {
        let mut reader = SliceReader::new(bits)?;
        let pair =
            reader.sequence(|inner| Ok((UintRef::decode(inner)?, UintRef::decode(inner)?)))?;
        reader.finish(pair)
    };
    let (modulus, exponent) = numbers(bits).map_err(|_: spki::der::Error| KeyFault::Damaged)?;
    VerifyKey::rsa(modulus.as_bytes(), exponent.as_bytes())
}

/// The bytes between the one pair of markers.
fn contents(text: &str) -> Result<Vec<u8>, KeyFault> {
    const BEGIN: &str = "-----BEGIN ";
    const DASHES: &str = "-----";
    if text.len() > PEM_BYTES_MAX {
        return Err(KeyFault::NotPem);
    }
    let (_, rest) = text.split_once(BEGIN).ok_or(KeyFault::NotPem)?;
    let (label, rest) = rest.split_once(DASHES).ok_or(KeyFault::NotPem)?;
    right_label(label)?;
    let end = format!("-----END {label}-----");
    let (body, after) = rest.split_once(end.as_str()).ok_or(KeyFault::NotPem)?;
    if after.contains(BEGIN) {
        return Err(KeyFault::NotPem);
    }
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).map_err(|_| KeyFault::NotPem)
}

fn right_label(label: &str) -> Result<(), KeyFault> {
    let (found, remedy) = match label {
        "PUBLIC KEY" => return Ok(()),
        "RSA PUBLIC KEY" => {
            ("a PKCS#1 key", "convert it: openssl rsa -RSAPublicKey_in -in key.pem -pubout")
        }
        "CERTIFICATE" => {
            ("a certificate", "take its key: openssl x509 -in cert.pem -noout -pubkey")
        }
        label if label.ends_with("PRIVATE KEY") => (
            "a private key, which belongs to the issuer alone",
            "take its public half: openssl pkey -in key.pem -pubout",
        ),
        _ => ("something else", "see what it is: openssl asn1parse -in key.pem"),
    };
    Err(KeyFault::WrongPem { found, remedy })
}
