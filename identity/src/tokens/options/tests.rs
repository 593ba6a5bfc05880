//! Options that are wrong are named, and those that are right make the keys and rules they say.

use super::*;

const SECRET: &[u8] = &[7; 64];

fn parse(json: serde_json::Value) -> TokenOptions {
    serde_json::from_value(json).unwrap()
}

fn pem(name: &str) -> String {
    let file = include_str!("../../../tests/vectors/tokens.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    file["pems"][name].as_str().unwrap().to_owned()
}

#[test]
fn defaults_are_those_of_the_policy() {
    let options = TokenOptions::default();
    assert_eq!(options.check(), Ok(()));
    let (ours, theirs) = (options.claim_rules(), ClaimRules::default());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    let set = options.key_set(&[SECRET, &[8; 64]]).unwrap();
    assert_eq!((set.len(), set.keys()[0].algorithms()), (2, &[TokenAlgorithm::Hs256][..]));
    let written = serde_json::to_value(&options).unwrap();
    assert_eq!(parse(written).check(), Ok(()));
}

#[test]
fn keys_are_limited_and_named_as_configured() {
    let options = parse(serde_json::json!({
        "hmac_algorithms": ["HS512"],
        "public_keys": [
            {"id": "k1", "pem": pem("RS"), "algorithms": ["RS512"]},
            {"pem": pem("EdDSA")},
        ],
        "jwks": [{"url": "https://issuer.example/.well-known/jwks.json"}],
        "audience": "edge",
        "user_claim": "https://example.com/user",
    }));
    assert_eq!(options.check(), Ok(()));
    let set = options.key_set(&[SECRET]).unwrap();
    let keys: Vec<_> = set.keys().iter().map(|key| (key.id(), key.algorithms())).collect();
    let expected = [
        (None, &[TokenAlgorithm::Hs512][..]),
        (Some("k1"), &[TokenAlgorithm::Rs512][..]),
        (None, &[TokenAlgorithm::EdDsa][..]),
    ];
    assert_eq!(keys, expected);
    assert!(options.key_set(&[b"short"]).is_err());
    assert_eq!(options.claim_rules().policy.audience.as_deref(), Some("edge"));
}

#[test]
fn wrong_options_are_named() {
    let check = |json| parse(json).check().unwrap_err();
    for (json, word) in [
        (serde_json::json!({"skew_seconds": 61}), "skew_seconds"),
        (serde_json::json!({"skew_seconds": -1}), "skew_seconds"),
        (serde_json::json!({"ttl_seconds_max": 0}), "ttl_seconds_max"),
        (serde_json::json!({"user_claim": ""}), "user_claim"),
        (serde_json::json!({"user_claim": "info"}), "user_claim"),
        (serde_json::json!({"tenant_claim": "aud"}), "tenant_claim"),
        (serde_json::json!({"tenant_claim": "sub"}), "must differ"),
        (serde_json::json!({"hmac_algorithms": ["RS256"]}), "hmac_algorithms"),
        (serde_json::json!({"public_keys": [{"pem": "x"}]}), "public_keys, entry 1"),
        (serde_json::json!({"public_keys": [{"pem": pem("RS"), "algorithms": ["ES256"]}]}), "fits"),
        (serde_json::json!({"jwks": [{"url": "http://issuer.example/"}]}), "https"),
        (serde_json::json!({"jwks": [{"url": "http://localhost.evil.example/"}]}), "https"),
        (serde_json::json!({"jwks": [{"url": "http://localhost@evil.example/"}]}), "https"),
        (serde_json::json!({"jwks": [{"url": "http://127.0.0.1:80@evil.example/"}]}), "https"),
        (serde_json::json!({"jwks": [{"url": "http://localhost\\@evil.example/"}]}), "https"),
        (serde_json::json!({"jwks": [{"url": "https://user:pw@issuer.example/"}]}), "https"),
        (serde_json::json!({"jwks": [{"url": "https://"}]}), "https"),
        (serde_json::json!({"jwks": [{"url": "https://a b/"}]}), "https"),
        (serde_json::json!({"jwks": [{"url": "file:///etc/passwd"}]}), "https"),
        (serde_json::json!({"jwks": [{"url": "https://a", "algorithms": ["HS256"]}]}), "HMAC"),
        (
            serde_json::json!({"jwks": [{"url": "https://a", "refresh": {"ttl_seconds": 1}}]}),
            "jwks.refresh.ttl",
        ),
    ] {
        let why = check(json);
        assert!(why.contains(word), "{word}: {why}");
    }
    assert!(serde_json::from_str::<TokenOptions>(r#"{"secrets":1}"#).is_err());
    assert!(serde_json::from_str::<TokenOptions>(r#"{"hmac_algorithms":["none"]}"#).is_err());
    let local = parse(serde_json::json!({"jwks": [{"url": "http://127.0.0.1:8080/jwks"}]}));
    assert_eq!(local.check(), Ok(()));
}

#[test]
fn the_platform_signs_with_the_first_algorithm() {
    let hs512 = TokenAlgorithm::Hs512;
    let options = TokenOptions { hmac_algorithms: vec![hs512], ..TokenOptions::default() };
    assert!(options.token_keys(&[&[7; 63]]).is_err());
    let keys = options.token_keys(&[&[7; 64], &[8; 64]]).unwrap();
    let token = keys.mint_connection("alice", "default", 60, 1_000, &Default::default()).unwrap();
    let verifier = crate::Verifier::new(keys.key_set().clone(), options.claim_rules());
    assert_eq!(verifier.connection(&token, 1_000).unwrap().user, "alice");
    let none = TokenOptions { hmac_algorithms: Vec::new(), ..options };
    assert!(none.token_keys(&[&[7; 64]]).is_err());
}

#[test]
fn short_secrets_are_taken_only_if_allowed_and_empty_ones_never() {
    let allowed = TokenOptions { allow_short_secret: true, ..TokenOptions::default() };
    assert!(TokenOptions::default().key_set(&[b"secret"]).is_err());
    assert!(allowed.key_set(&[b"secret"]).is_ok());
    assert!(allowed.key_set(&[b""]).is_err());
}
