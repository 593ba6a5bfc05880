//! Which key a token is checked with.

use jsonwebtoken::{Algorithm, EncodingKey};

use super::*;
use crate::tokens::TokenFault;

const HS256: &[TokenAlgorithm] = &[TokenAlgorithm::Hs256];

fn key(secret: u8, id: &str) -> VerifyKey {
    let key = VerifyKey::hmac(&[secret; 32], HS256).unwrap();
    if id.is_empty() { key } else { key.with_id(id).unwrap() }
}

fn signature(secret: u8) -> String {
    let key = EncodingKey::from_secret(&[secret; 32]);
    jsonwebtoken::crypto::sign(b"message", &key, Algorithm::HS256).unwrap()
}

/// Keys as `secret:id`, the secret that signed, the `kid` of the token, and what comes of it.
fn check(keys: &[(u8, &str)], signed: u8, kid: &str, expected: Result<(), TokenFault>) {
    let set = KeySet::new(keys.iter().map(|(secret, id)| key(*secret, id)).collect()).unwrap();
    let kid = Some(kid).filter(|kid| !kid.is_empty());
    let answer = set.verify(TokenAlgorithm::Hs256, kid, "message", &signature(signed));
    assert_eq!(answer, expected, "{keys:?} signed by {signed}, kid {kid:?}");
}

#[test]
fn a_kid_selects_and_without_one_only_a_single_named_key_is_tried() {
    use TokenFault::{BadSignature, KeyNotNamed, UnknownKey};
    check(&[(1, "a"), (2, "b")], 1, "a", Ok(()));
    check(&[(1, "a"), (2, "b")], 1, "b", Err(BadSignature));
    check(&[(1, "a"), (2, "b")], 1, "c", Err(UnknownKey));
    check(&[(1, "a"), (2, "b")], 1, "", Err(KeyNotNamed));
    check(&[(1, "a")], 1, "", Ok(()));
    check(&[(1, "a")], 2, "", Err(BadSignature));
    // Secrets without a name: the current and the previous one, whatever the issuer calls them.
    check(&[(1, ""), (2, "")], 2, "", Ok(()));
    check(&[(1, ""), (2, "")], 2, "any", Ok(()));
    check(&[(1, ""), (2, "")], 3, "any", Err(BadSignature));
    check(&[(1, ""), (2, "b")], 1, "b", Err(BadSignature));
    check(&[(1, ""), (2, "b")], 2, "", Ok(()));
    check(&[(1, ""), (2, "b")], 3, "c", Err(UnknownKey));
    check(&[(1, ""), (2, "b"), (3, "c")], 2, "", Err(BadSignature));
}

#[test]
fn a_key_yet_to_come_is_unknown_and_not_forbidden() {
    let empty = KeySet::default();
    let ask = |set: &KeySet, algorithm, kid| set.verify(algorithm, kid, "message", "AAAA");
    assert_eq!(ask(&empty, TokenAlgorithm::Rs256, None), Err(TokenFault::AlgorithmNotAllowed));
    let expecting = empty.expecting(&TokenAlgorithm::ALL);
    assert_eq!(ask(&expecting, TokenAlgorithm::Rs256, Some("a")), Err(TokenFault::UnknownKey));
    assert_eq!(ask(&expecting, TokenAlgorithm::Rs256, None), Err(TokenFault::UnknownKey));
    let hmac = ask(&expecting, TokenAlgorithm::Hs256, Some("a"));
    assert_eq!(hmac, Err(TokenFault::AlgorithmNotAllowed), "no source may bring a secret");
}

#[test]
fn a_set_is_bounded_and_its_names_are_unique() {
    let ids: Vec<String> = (0..=KEYS_MAX).map(|at| format!("k{at}")).collect();
    let keys = |n: usize| ids[..n].iter().map(|id| key(1, id)).collect();
    assert_eq!(KeySet::new(keys(KEYS_MAX)).unwrap().len(), KEYS_MAX);
    assert_eq!(KeySet::new(keys(KEYS_MAX + 1)).map(|_| ()), Err(KeyFault::TooMany));
    assert_eq!(KeySet::new(vec![key(1, "a"), key(2, "a")]).map(|_| ()), Err(KeyFault::SameId));
    let ours = KeySet::new(vec![key(1, "a")]).unwrap();
    let theirs = KeySet::new(vec![key(2, "a"), key(3, "b")]).unwrap();
    let both = ours.joined(&theirs).unwrap();
    assert_eq!(both.len(), 2);
    let verify = |secret, id| {
        both.verify(TokenAlgorithm::Hs256, Some(id), "message", &signature(secret)).is_ok()
    };
    assert!(verify(1, "a") && !verify(2, "a") && verify(3, "b"));
    assert_eq!(key(1, "a").with_id("a b").map(|_| ()), Err(KeyFault::BadId));
    let none = key(1, "").limited_to(&TokenAlgorithm::ASYMMETRIC);
    assert_eq!(none.map(|_| ()), Err(KeyFault::NoAlgorithm));
}

#[test]
fn names_of_algorithms_are_exact() {
    for one in TokenAlgorithm::ALL {
        assert_eq!(TokenAlgorithm::parse(one.name()), Some(one));
        assert_eq!(serde_json::to_value(one).unwrap(), one.name());
    }
    for name in ["none", "", "hs256", "HS256 ", "PS256", "ES512", "ES256K", "HS1"] {
        assert_eq!(TokenAlgorithm::parse(name), None, "{name}");
    }
}
