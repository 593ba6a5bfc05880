//! The three parts of a token and what its header says (RFC 7515 §3.1, §4.1).
//! Reads: a token from a stranger. Writes: nothing.
//! Never: believes a header: a key that it brings or points to is a reason to refuse the token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::TOKEN_BYTES_MAX;
use super::fault::TokenFault;
use super::object::Object;
use crate::keys::{TokenAlgorithm, plain_id};

/// Members that bring a key, point to one, demand an extension or make the token another thing than a signed
/// JSON text. Everything else that is unknown is ignored, as RFC 7515 §4 asks: issuers add what they like.
const REFUSED: [&str; 8] = ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"];

/// A token taken apart.
pub(super) struct Parts<'a> {
    pub(super) algorithm: TokenAlgorithm,
    pub(super) key_id: Option<String>,
    /// What is signed: header, dot, body.
    pub(super) message: &'a str,
    pub(super) body: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenFault> {
        const THREE: TokenFault = TokenFault::Malformed("expected three parts with dots between");
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLarge { bytes: token.len() });
        }
        let (message, signature) = token.rsplit_once('.').ok_or(THREE)?;
        let (header, body) = message.split_once('.').ok_or(THREE)?;
        if body.contains('.') {
            return Err(THREE);
        }
        let (algorithm, key_id) = header_of(header)?;
        Ok(Self { algorithm, key_id, message, body, signature })
    }
}

fn header_of(part: &str) -> Result<(TokenAlgorithm, Option<String>), TokenFault> {
    const FORM: TokenFault = TokenFault::Malformed("the header is no JSON object in base64url");
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| FORM)?;
    let header = Object::parse(&bytes).map_err(|_| FORM)?;
    if REFUSED.iter().any(|name| header.has(name)) {
        return Err(TokenFault::Malformed(
            "the header brings or points to a key, or asks for more",
        ));
    }
    let kind = |name| header.text(name, name);
    let typ = kind("typ").map_err(|_| FORM)?;
    if typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) || header.has("cty") {
        return Err(TokenFault::Malformed("its type is not `JWT`"));
    }
    let key_id = kind("kid").map_err(|_| FORM)?;
    if key_id.as_deref().is_some_and(|id| !plain_id(id)) {
        return Err(TokenFault::Malformed("its key id is not a plain name"));
    }
    let name = kind("alg").map_err(|_| FORM)?.ok_or(FORM)?;
    let algorithm = TokenAlgorithm::parse(&name).ok_or(TokenFault::AlgorithmNotAllowed)?;
    Ok((algorithm, key_id))
}
