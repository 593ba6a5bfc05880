//! What a stranger, or an issuer gone mad, may send: every line is refused, and for the right reason.
//! Reads: `vectors/tokens.json` for its keys. Writes: nothing. Never: waits.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
use campana_identity::{
    ClaimRules, Jwks, JwksError, KeyFault, KeySet, TOKEN_BYTES_MAX, TokenAlgorithm, TokenPolicy,
    Verifier, VerifyKey,
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const SECRET: &[u8; 64] = &[7; 64];

fn file() -> Value {
    serde_json::from_str(include_str!("../vectors/tokens.json")).unwrap()
}

fn jwks() -> KeySet {
    Jwks::parse(file()["jwks"].to_string().as_bytes(), &TokenAlgorithm::ASYMMETRIC).unwrap().keys
}

fn hmac() -> VerifyKey {
    VerifyKey::hmac(SECRET, &[TokenAlgorithm::Hs256]).unwrap()
}

fn verifier() -> Verifier {
    let keys = KeySet::new(vec![hmac()]).unwrap().joined(&jwks()).unwrap();
    Verifier::new(keys, ClaimRules::default())
}

fn sign(header: &str, body: &str, secret: &[u8], algorithm: Algorithm) -> String {
    let message = format!("{}.{}", B64.encode(header), B64.encode(body));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn signed(body: &str) -> String {
    sign(r#"{"alg":"HS256"}"#, body, SECRET, Algorithm::HS256)
}

fn with(claims: &str) -> String {
    signed(&format!(r#"{{"sub":"a","exp":{},{claims}}}"#, NOW + 60))
}

fn code(token: &str) -> &'static str {
    verifier().connection(token, NOW).map_or_else(|fault| fault.code(), |_| "ok")
}

fn check(table: &[(&str, &str, String)]) {
    for (expected, name, token) in table {
        assert_eq!(code(token), *expected, "{name}");
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    let body = json!({"sub": "root", "exp": NOW + 60}).to_string();
    let pem = file()["pems"]["RS"].as_str().unwrap().to_owned();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(der).unwrap();
    let modulus = B64.decode(file()["jwks"]["keys"][0]["n"].as_str().unwrap()).unwrap();
    let only_rsa = KeySet::new(vec![VerifyKey::pem(&pem).unwrap()]).unwrap();
    for secret in [pem.as_bytes(), pem.trim().as_bytes(), &der, &der[24..], &modulus, b""] {
        for (name, algorithm) in
            [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
        {
            for kid in ["", r#","kid":"rsa""#, r#","kid":"other""#] {
                let token = sign(&format!(r#"{{"alg":"{name}"{kid}}}"#), &body, secret, algorithm);
                assert_ne!(code(&token), "ok", "{name} {kid}");
                let alone = Verifier::new(only_rsa.clone(), ClaimRules::default());
                let fault = alone.connection(&token, NOW).unwrap_err();
                assert_eq!(fault.code(), "algorithm_not_allowed", "{name} {kid}");
            }
            let claimed = sign(r#"{"alg":"RS256","kid":"rsa"}"#, &body, secret, algorithm);
            assert_eq!(code(&claimed), "bad_signature");
        }
    }
}

#[test]
fn a_header_cannot_choose() {
    let body = json!({"sub": "a", "exp": NOW + 60}).to_string();
    let token = |header: &str| sign(header, &body, SECRET, Algorithm::HS256);
    let long = "k".repeat(129);
    check(&[
        ("ok", "a plain one", token(r#"{"alg":"HS256"}"#)),
        ("ok", "members nobody knows", token(r#"{"alg":"HS256","cat":"x","x5t":"abc"}"#)),
        ("algorithm_not_allowed", "none", token(r#"{"alg":"none"}"#)),
        ("algorithm_not_allowed", "nOnE", token(r#"{"alg":"nOnE"}"#)),
        ("algorithm_not_allowed", "HS384 by a key for HS256", token(r#"{"alg":"HS384"}"#)),
        ("algorithm_not_allowed", "PS256", token(r#"{"alg":"PS256"}"#)),
        ("algorithm_not_allowed", "a kid of RSA", token(r#"{"alg":"HS256","kid":"rsa"}"#)),
        ("malformed", "alg twice", token(r#"{"alg":"HS256","alg":"none"}"#)),
        ("malformed", "alg twice, once escaped", token(r#"{"alg":"HS256","\u0061lg":"none"}"#)),
        ("malformed", "jku", token(r#"{"alg":"HS256","jku":"https://evil.example"}"#)),
        ("malformed", "an empty crit", token(r#"{"alg":"HS256","crit":null}"#)),
        ("malformed", "nested", token(r#"{"alg":"HS256","cty":"JWT"}"#)),
        ("malformed", "kid a path", token(r#"{"alg":"HS256","kid":"../../dev/null"}"#)),
        ("malformed", "kid a query", token(r#"{"alg":"HS256","kid":"x' OR '1'='1"}"#)),
        ("malformed", "kid with NUL", token(r#"{"alg":"HS256","kid":"a\u0000"}"#)),
        ("malformed", "kid a number", token(r#"{"alg":"HS256","kid":1}"#)),
        ("malformed", "kid empty", token(r#"{"alg":"HS256","kid":""}"#)),
        ("malformed", "kid long", token(&format!(r#"{{"alg":"HS256","kid":"{long}"}}"#))),
        ("malformed", "not an object", token(r#"["HS256"]"#)),
        (
            "malformed",
            "deep",
            token(&format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(50), "]".repeat(50))),
        ),
    ]);
}

#[test]
fn a_huge_or_deep_or_double_body_is_refused() {
    let deep = |n: usize| format!(r#""info":{}1{}"#, "[".repeat(n), "]".repeat(n));
    let encoded = STANDARD.encode(format!("{}1{}", "[".repeat(2_000), "]".repeat(2_000)));
    let good = with(r#""x":1"#);
    check(&[
        ("ok", "nested as deep as allowed", with(&deep(31))),
        ("malformed_body", "one deeper", with(&deep(32))),
        ("malformed_body", "deep enough for any stack", with(&deep(1_500))),
        (
            "ok",
            "brackets in a text",
            with(&format!(r#""info":"{}\"{}""#, "[".repeat(99), "{".repeat(99))),
        ),
        ("malformed_claim", "deep in base64", with(&format!(r#""b64info":"{encoded}""#))),
        (
            "too_large",
            "one byte too long",
            format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX + 1 - good.len())),
        ),
        ("too_large", "a megabyte", "a.".repeat(500_000)),
        ("malformed_body", "a claim twice", with(r#""sub":"b""#)),
        ("malformed_body", "twice, once escaped", with(r#""\u0073ub":"b""#)),
        ("malformed_claim", "twice within", with(r#""subs":{"c":{},"c":{}}"#)),
        (
            "malformed_claim",
            "twice deeper",
            with(r#""subs":{"c":{"override":{"presence":{"value":true,"value":false}}}}"#),
        ),
        ("malformed_body", "no object", signed("[1]")),
        ("malformed_body", "no JSON", signed("sub=a")),
        (
            "malformed_body",
            "something behind",
            signed(&format!(r#"{{"sub":"a","exp":{}}} {{}}"#, NOW + 60)),
        ),
        ("malformed_body", "not UTF-8", {
            let message = format!(
                "{}.{}",
                B64.encode(r#"{"alg":"HS256"}"#),
                B64.encode(b"{\"sub\":\"\xff\"}")
            );
            let key = EncodingKey::from_secret(SECRET);
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
            format!("{message}.{}", signature.unwrap())
        }),
    ]);
}

#[test]
fn numbers_cannot_overflow() {
    let exp = |number: &str| signed(&format!(r#"{{"sub":"a","exp":{number}}}"#));
    check(&[
        ("malformed_claim", "i64 + 1", exp("9223372036854775808")),
        ("malformed_claim", "i64", exp("9223372036854775807")),
        ("malformed_claim", "u64 + 1", exp("18446744073709551616")),
        ("malformed_claim", "-i64", exp("-9223372036854775808")),
        ("malformed_claim", "1e300", exp("1e300")),
        ("malformed_claim", "1e400 is no number", exp("1e400")),
        ("malformed_claim", "a text", exp(r#""1900000000""#)),
        ("malformed_claim", "a list", exp("[1900000000]")),
        ("malformed_claim", "true", exp("true")),
        ("no_end", "null", exp("null")),
        ("expired", "negative", exp("-1")),
        ("expired", "zero", exp("0")),
        ("expired", "2^48 in the past", exp("-281474976710656")),
        ("too_long_lived", "2^48", exp("281474976710656")),
        ("not_yet_valid", "nbf far ahead", with(r#""nbf":281474976710656"#)),
        ("ok", "nbf negative", with(r#""nbf":-5"#)),
        ("issued_in_future", "iat far ahead", with(r#""iat":281474976710656"#)),
        ("malformed_claim", "nbf too far", with(r#""nbf":1e17"#)),
        ("expired", "the connection ended before", with(r#""expire_at":-1"#)),
        ("no_end", "the connection never ends", with(r#""expire_at":0"#)),
        ("too_long_lived", "it ends too late", with(r#""expire_at":281474976710656"#)),
    ]);
    let extreme =
        TokenPolicy { ttl_seconds_max: i64::MAX, skew_seconds: i64::MAX, ..TokenPolicy::default() };
    let rules = ClaimRules { policy: extreme, ..ClaimRules::default() };
    let verifier = Verifier::new(KeySet::new(vec![hmac()]).unwrap(), rules);
    for now in [i64::MIN, -1, 0, i64::MAX] {
        let _ = verifier.connection(&exp("-281474976710656"), now);
        let _ = verifier.connection(&exp("281474976710656"), now);
    }
}

#[test]
fn a_wrong_claim_is_named_with_what_is_expected() {
    let fault = |claims: &str| verifier().connection(&with(claims), NOW).unwrap_err().to_string();
    for (claims, name, expected) in [
        (r#""channels":"news""#, "`channels`", "a list of texts"),
        (r#""channels":[""]"#, "`channels`", "1 to 255 bytes"),
        (r#""subs":[]"#, "`subs`", "an object"),
        (r#""subs":{"c":1}"#, "`subs.*`", "an object"),
        (r#""subs":{"c":{"override":{"presence":true}}}"#, "`subs.*.override.presence`", "value"),
        (r#""subs":{"c":{"b64data":"%"}}"#, "`subs.*.data`", "base64"),
        (r#""aud":7"#, "`aud`", "a text or a list"),
        (r#""aud":["a",7]"#, "`aud`", "a text or a list"),
        (r#""iss":{}"#, "`iss`", "a text"),
        (r#""jti":7"#, "`jti`", "a text"),
        (r#""tenant":"""#, "`tenant`", "a name"),
        (r#""caps":{}"#, "`caps`", "a list of objects"),
        (r#""caps":[{"channels":["a"],"allow":["all"]}]"#, "`caps.*.allow`", "sub, pub, hst, prs"),
        (
            r#""caps":[{"channels":["^a"],"match":"regex","allow":["sub"]}]"#,
            "`caps.*.match`",
            "not supported",
        ),
        (r#""caps":[{"channels":[],"allow":["sub"]}]"#, "`caps.*.channels`", "1 to 128"),
        (
            r#""caps":[{"channels":["*********"],"match":"wildcard","allow":["sub"]}]"#,
            "`caps.*.channels`",
            "8",
        ),
    ] {
        let text = fault(claims);
        assert!(text.contains(name) && text.contains(expected), "{claims}: {text}");
    }
    // Nothing that a token says is repeated.
    assert!(!fault(r#""channels":{"secret-name":1}"#).contains("secret-name"));
}

#[test]
fn keys_that_are_none_are_refused_with_a_remedy() {
    let pem = |label: &str, der: &[u8]| {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    };
    let good = file()["pems"]["ES256"].as_str().unwrap().to_owned();
    let fault = |text: &str| VerifyKey::pem(text).map(|_| ()).unwrap_err();
    assert!(VerifyKey::pem(&format!("a comment\n{good}")).is_ok());
    assert_eq!(fault(""), KeyFault::NotPem);
    assert_eq!(fault(&good.replace("END", "FIN")), KeyFault::NotPem);
    assert_eq!(fault(&format!("{good}{good}")), KeyFault::NotPem);
    assert_eq!(fault(&"x".repeat(100_000)), KeyFault::NotPem);
    assert_eq!(fault(&pem("PUBLIC KEY", b"no DER")), KeyFault::Damaged);
    assert!(fault(&pem("RSA PRIVATE KEY", b"x")).to_string().contains("-pubout"));
    assert!(fault(&pem("ENCRYPTED PRIVATE KEY", b"x")).to_string().contains("issuer alone"));
    assert!(fault(&pem("CERTIFICATE", b"x")).to_string().contains("openssl x509"));
    assert!(fault(&pem("RSA PUBLIC KEY", b"x")).to_string().contains("RSAPublicKey_in"));
    let short = VerifyKey::hmac(&[1; 32], &[TokenAlgorithm::Hs256, TokenAlgorithm::Hs512]);
    let expected = KeyFault::SecretTooShort { algorithm: TokenAlgorithm::Hs512, bytes_min: 64 };
    assert_eq!(short.map(|_| ()).unwrap_err(), expected);
    let wrong = VerifyKey::hmac(&[1; 64], &[TokenAlgorithm::Rs256]);
    assert_eq!(wrong.map(|_| ()).unwrap_err(), KeyFault::NoAlgorithm);
    let shown = format!("{:?} {:?}", hmac(), VerifyKey::pem(&good).unwrap());
    assert_eq!(shown, "VerifyKey(None, [Hs256]) VerifyKey(None, [Es256])");
}

#[test]
fn a_document_s_bad_keys_are_skipped_and_its_size_is_bounded() {
    let all = file()["jwks"]["keys"].clone();
    let (rsa, p256, ed) = (all[0].clone(), all[1].clone(), all[3].clone());
    let change = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    let parse = |keys: Vec<Value>| {
        let document = json!({"keys": keys, "more": 1}).to_string();
        let jwks = Jwks::parse(document.as_bytes(), &TokenAlgorithm::ASYMMETRIC)?;
        Ok((jwks.keys.len(), jwks.skipped))
    };
    let bad = vec![
        json!(7),
        json!({}),
        json!({"kty": "oct", "k": "AAAA", "alg": "HS256"}),
        change(&rsa, "use", json!("enc")),
        change(&rsa, "key_ops", json!(["sign"])),
        change(&rsa, "alg", json!("HS256")),
        change(&rsa, "alg", json!("PS256")),
        change(&rsa, "alg", json!("none")),
        change(&rsa, "n", json!("AQAB")),
        change(&rsa, "e", json!("AQ")),
        change(&rsa, "e", json!("AA")),
        change(&rsa, "n", json!("%%%")),
        change(&rsa, "kty", json!("RSA2")),
        change(&rsa, "kid", json!("../x")),
        change(&p256, "x", json!("AAAA")),
        change(&p256, "crv", json!("P-521")),
        change(&p256, "crv", json!("P-384")),
        change(&p256, "alg", json!("ES384")),
        change(&ed, "crv", json!("Ed448")),
        change(&ed, "crv", json!("X25519")),
        change(&ed, "x", json!("AAAA")),
    ];
    let count = bad.len();
    assert_eq!(parse(bad.clone()), Err(JwksError::NoKey));
    assert_eq!(parse([bad, vec![ed.clone()]].concat()), Ok((1, count)));
    // One id and one algorithm: the first is the key.
    assert_eq!(parse(vec![ed.clone(), change(&ed, "x", rsa["n"].clone()), ed.clone()]), Ok((1, 2)));
    assert_eq!(parse(vec![change(&ed, "alg", json!("Ed25519"))]), Ok((1, 0)));
    let many = |n: usize| (0..n).map(|at| change(&ed, "kid", json!(format!("k{at}")))).collect();
    assert_eq!(parse(many(32)), Ok((32, 0)));
    assert_eq!(parse(many(33)), Err(JwksError::TooMany));
    assert_eq!(parse(many(129)), Err(JwksError::TooMany));
    let raw = |text: &str| Jwks::parse(text.as_bytes(), &TokenAlgorithm::ASYMMETRIC).map(|_| ());
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert_eq!(raw(text), Err(JwksError::Malformed), "{text}");
    }
    let deep = format!(r#"{{"keys":[{}]}}"#, "[".repeat(20_000));
    assert_eq!(raw(&deep), Err(JwksError::Malformed));
    assert_eq!(raw(&" ".repeat(70_000)), Err(JwksError::TooLarge));
}

proptest::proptest! {
    #[test]
    fn nothing_panics(header in "\\PC*", body in "\\PC*", text in "\\PC*", claims in "[\\[\\]{}\",:0-9a-z\\\\]{0,200}") {
        proptest::prop_assert_ne!(code(&text), "ok");
        proptest::prop_assert_ne!(code(&sign(&header, &body, SECRET, Algorithm::HS256)), "ok");
        let _ = code(&with(&claims));
        let _ = VerifyKey::pem(&text);
        let _ = Jwks::parse(body.as_bytes(), &TokenAlgorithm::ALL);
    }
}
