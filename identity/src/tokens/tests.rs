//! Forged, damaged and expired tokens, one line each; and that nothing a stranger sends can panic.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const OTHER: &[u8] = b"another secret of thirty-two bytes!";

fn keys() -> TokenKeys {
    TokenKeys::new(SECRET, None).unwrap()
}

fn part(value: &Value) -> String {
    B64.encode(value.to_string())
}

fn hmac(message: &str, secret: &[u8], algorithm: Algorithm) -> String {
    jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), algorithm)
        .unwrap()
}

fn raw(header: &str, body: &str, secret: &[u8], algorithm: Algorithm) -> String {
    let message = format!("{}.{}", B64.encode(header), B64.encode(body));
    let signature = hmac(&message, secret, algorithm);
    format!("{message}.{signature}")
}

fn token(header: &Value, body: &Value) -> String {
    raw(&header.to_string(), &body.to_string(), SECRET, Algorithm::HS256)
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

fn alice() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = alice();
    claims[name] = value;
    claims
}

fn verify(token: &str) -> Result<ConnectionClaims, TokenError> {
    keys().verify_connection(token, NOW, &TokenPolicy::default())
}

fn forged_algorithms() -> Vec<(&'static str, String)> {
    let unsigned = |alg: &str| format!("{}.{}.", part(&json!({"alg": alg})), part(&alice()));
    vec![
        ("alg none, no signature", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg NONE", unsigned("NONE")),
        ("alg nOnE with the good signature", token(&json!({"alg": "nOnE"}), &alice())),
        ("alg empty", unsigned("")),
        ("alg HS256 without a signature", unsigned("HS256")),
        (
            "alg HS384 truly signed so",
            raw(r#"{"alg":"HS384"}"#, &alice().to_string(), SECRET, Algorithm::HS384),
        ),
        (
            "alg HS512 truly signed so",
            raw(r#"{"alg":"HS512"}"#, &alice().to_string(), SECRET, Algorithm::HS512),
        ),
        ("alg RS256 signed as HS256", token(&json!({"alg": "RS256"}), &alice())),
        ("alg ES256 signed as HS256", token(&json!({"alg": "ES256"}), &alice())),
        ("alg EdDSA signed as HS256", token(&json!({"alg": "EdDSA"}), &alice())),
        ("alg hs256 in lower case", token(&json!({"alg": "hs256"}), &alice())),
        ("alg a list", token(&json!({"alg": ["HS256"]}), &alice())),
        ("alg missing", token(&json!({"typ": "JWT"}), &alice())),
        (
            "alg twice",
            raw(r#"{"alg":"HS256","alg":"none"}"#, &alice().to_string(), SECRET, Algorithm::HS256),
        ),
    ]
}

fn forged_headers() -> Vec<(&'static str, String)> {
    let good = token(&hs256(), &alice());
    let tail = good.split_once('.').unwrap().1.to_owned();
    vec![
        ("typ of another thing", token(&json!({"alg": "HS256", "typ": "at+jwt"}), &alice())),
        ("kid a path", token(&json!({"alg": "HS256", "kid": "../../dev/null"}), &alice())),
        (
            "kid an injection",
            token(&json!({"alg": "HS256", "kid": "x' UNION SELECT 'k"}), &alice()),
        ),
        ("jku", token(&json!({"alg": "HS256", "jku": "https://evil.example/jwks"}), &alice())),
        ("jwk", token(&json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AA"}}), &alice())),
        ("x5u", token(&json!({"alg": "HS256", "x5u": "https://evil.example"}), &alice())),
        ("crit", token(&json!({"alg": "HS256", "crit": ["exp"]}), &alice())),
        ("b64 false", token(&json!({"alg": "HS256", "b64": false}), &alice())),
        (
            "header replaced under a good signature",
            format!("{}.{tail}", part(&json!({"alg": "HS256"}))),
        ),
    ]
}

fn forged_signatures() -> Vec<(&'static str, String)> {
    let good = token(&hs256(), &alice());
    let parts: Vec<&str> = good.split('.').collect();
    let body = part(&json!({"sub": "root", "exp": NOW + 60}));
    let foreign = raw(&hs256().to_string(), &alice().to_string(), OTHER, Algorithm::HS256);
    vec![
        ("signed with another secret", foreign),
        (
            "signed with a prefix of the secret",
            raw(&hs256().to_string(), &alice().to_string(), &SECRET[..31], Algorithm::HS256),
        ),
        ("body replaced", format!("{}.{body}.{}", parts[0], parts[2])),
        ("signature cut", good[..good.len() - 4].to_owned()),
        ("signature of zeros", format!("{}.{}.{}", parts[0], parts[1], B64.encode([0_u8; 32]))),
        ("a fourth part", format!("{good}.AAAA")),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("padding added", format!("{good}=")),
        ("white space added", format!(" {good}")),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("too long", format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX))),
    ]
}

fn forged_claims() -> Vec<(&'static str, String)> {
    let claims = |value: Value| token(&hs256(), &value);
    vec![
        ("no user", claims(json!({"exp": NOW + 60}))),
        ("empty user", claims(with("sub", json!("")))),
        ("user a number", claims(with("sub", json!(42)))),
        ("user with a line break", claims(with("sub", json!("a\nb")))),
        ("user of 10 kB", claims(with("sub", json!("u".repeat(5_000))))),
        (
            "user twice",
            raw(
                &hs256().to_string(),
                r#"{"sub":"a","sub":"b","exp":1800000060}"#,
                SECRET,
                Algorithm::HS256,
            ),
        ),
        ("tenant empty", claims(with("tenant", json!("")))),
        ("tenant a list", claims(with("tenant", json!(["a"])))),
        ("no end", claims(json!({"sub": "alice"}))),
        ("end a text", claims(with("exp", json!("tomorrow")))),
        ("end too far", claims(with("exp", json!(NOW + 30 * 24 * 3_600)))),
        (
            "end at infinity",
            raw(&hs256().to_string(), r#"{"sub":"a","exp":1e300}"#, SECRET, Algorithm::HS256),
        ),
        ("connection without end", claims(with("expire_at", json!(0)))),
        ("not yet valid", claims(with("nbf", json!(NOW + 3_600)))),
        ("issued in the future", claims(with("iat", json!(NOW + 3_600)))),
        ("a subscription token", claims(with("channel", json!("news")))),
        ("129 channels", claims(with("channels", json!(vec!["c"; 129])))),
        ("body not an object", claims(json!(["sub", "alice"]))),
    ]
}

#[test]
fn every_forged_token_is_invalid() {
    let tables = [forged_algorithms(), forged_headers(), forged_signatures(), forged_claims()];
    let table: Vec<_> = tables.into_iter().flatten().collect();
    assert!(table.len() >= 40);
    for (name, token) in table {
        let answer = verify(&token);
        assert!(matches!(answer, Err(TokenError::Invalid(_))), "{name}: {answer:?}");
        assert!(
            keys().verify_subscription(&token, NOW, &TokenPolicy::default()).is_err()
                || name == "a subscription token",
            "{name}"
        );
    }
}

#[test]
fn a_minted_token_says_what_was_asked() {
    let spec = ConnectionSpec {
        info: Some(json!({"name": "Alice"})),
        channels: vec!["news".to_owned()],
        ..ConnectionSpec::default()
    };
    let token = keys().mint_connection("alice", "acme", 3_600, NOW, &spec).unwrap();
    let claims = verify(&token).unwrap();
    assert_eq!((claims.user.as_str(), claims.tenant.as_str()), ("alice", "acme"));
    assert_eq!(claims.expires_at, Some(NOW + 3_600));
    assert_eq!(claims.info.as_deref(), Some(r#"{"name":"Alice"}"#));
    assert_eq!(claims.channels, ["news"]);
    assert_eq!(keys().mint_connection("", "acme", 1, NOW, &spec).ok(), None);
    assert_eq!(keys().mint_connection("a", "acme", 0, NOW, &spec), Err(MintError::Lifetime));
}

#[test]
fn the_tenant_is_default_if_not_named() {
    assert_eq!(verify(&token(&hs256(), &alice())).unwrap().tenant.as_str(), "default");
}

#[test]
fn an_expired_token_is_told_from_a_forged_one() {
    let policy = TokenPolicy { skew_seconds: 10, ..TokenPolicy::default() };
    let at = |end: i64| {
        keys()
            .verify_connection(&token(&hs256(), &with("exp", json!(end))), NOW, &policy)
            .map(|_| ())
    };
    assert_eq!(at(NOW - 9), Ok(()));
    assert_eq!(at(NOW - 10), Err(TokenError::Expired));
    assert_eq!(at(-5), Err(TokenError::Expired));
    let forged = raw(
        &hs256().to_string(),
        &json!({"sub": "a", "exp": 1}).to_string(),
        OTHER,
        Algorithm::HS256,
    );
    assert!(matches!(verify(&forged), Err(TokenError::Invalid(_))));
    let fraction = token(&hs256(), &with("exp", json!(NOW as f64 + 0.5)));
    assert_eq!(verify(&fraction).unwrap().expires_at, Some(NOW));
}

#[test]
fn skew_is_never_more_than_a_minute() {
    let policy = TokenPolicy { skew_seconds: 3_600, ..TokenPolicy::default() };
    let old = token(&hs256(), &with("exp", json!(NOW - 61)));
    assert_eq!(keys().verify_connection(&old, NOW, &policy).map(|_| ()), Err(TokenError::Expired));
}

#[test]
fn audience_and_issuer_are_checked_when_asked_for() {
    let policy = TokenPolicy {
        audience: Some("edge".to_owned()),
        issuer: Some("campana".to_owned()),
        ..TokenPolicy::default()
    };
    let check = |aud: Value, iss: Value| {
        let mut claims = alice();
        claims["aud"] = aud;
        claims["iss"] = iss;
        keys().verify_connection(&token(&hs256(), &claims), NOW, &policy).is_ok()
    };
    assert!(check(json!("edge"), json!("campana")));
    assert!(check(json!(["x", "edge"]), json!("campana")));
    assert!(!check(json!("edges"), json!("campana")));
    assert!(!check(json!(["x"]), json!("campana")));
    assert!(!check(Value::Null, json!("campana")));
    assert!(!check(json!("edge"), json!("someone")));
    assert!(!check(json!("edge"), Value::Null));
}

#[test]
fn the_previous_secret_still_verifies_and_never_signs() {
    let old = TokenKeys::new(OTHER, None).unwrap();
    let both = TokenKeys::new(SECRET, Some(OTHER)).unwrap();
    let spec = ConnectionSpec::default();
    let from_old = old.mint_connection("alice", "default", 60, NOW, &spec).unwrap();
    let from_both = both.mint_connection("alice", "default", 60, NOW, &spec).unwrap();
    let policy = TokenPolicy::default();
    assert!(both.verify_connection(&from_old, NOW, &policy).is_ok());
    assert!(old.verify_connection(&from_both, NOW, &policy).is_err());
    assert_eq!(TokenKeys::new(b"short", None).map(|_| ()), Err(KeyError::TooShort));
}

#[test]
fn subscription_tokens_need_a_channel() {
    let spec = SubscriptionSpec { info: Some(json!({"n": 1})), ..SubscriptionSpec::default() };
    let token = keys().mint_subscription("alice", "default", "news:a", 60, NOW, &spec).unwrap();
    let claims = keys().verify_subscription(&token, NOW, &TokenPolicy::default()).unwrap();
    assert_eq!((claims.user.as_str(), claims.channel.as_str()), ("alice", "news:a"));
    assert_eq!(claims.info.as_deref(), Some(r#"{"n":1}"#));
    assert!(verify(&token).is_err());
    let connection =
        keys().mint_connection("alice", "default", 60, NOW, &ConnectionSpec::default()).unwrap();
    let answer = keys().verify_subscription(&connection, NOW, &TokenPolicy::default());
    assert!(matches!(answer, Err(TokenError::Invalid(_))));
}

#[test]
fn encoded_information_and_endless_tokens_work_where_allowed() {
    let policy = TokenPolicy { require_exp: false, ..TokenPolicy::default() };
    let mut claims = json!({"sub": "42", "b64info": "eyJhIjoxfQ=="});
    claims["subs"] = json!({"news": {"data": {"x": 1}, "override": {"presence": {"value": true}}}});
    let claims = keys().verify_connection(&token(&hs256(), &claims), NOW, &policy).unwrap();
    assert_eq!((claims.info.as_deref(), claims.expires_at), (Some(r#"{"a":1}"#), None));
    assert_eq!(claims.subs["news"].data.as_deref(), Some(r#"{"x":1}"#));
}

#[test]
fn what_is_minted_here_is_read_by_any_verifier_with_the_same_secret() {
    let token =
        keys().mint_connection("alice", "acme", 60, NOW, &ConnectionSpec::default()).unwrap();
    let verifier = Verifier::new(keys().key_set().clone(), ClaimRules::default());
    assert_eq!(verifier.connection(&token, NOW).unwrap().user, "alice");
    let other = TokenKeys::new(OTHER, None).unwrap();
    let verifier = Verifier::new(other.key_set().clone(), ClaimRules::default());
    assert_eq!(verifier.connection(&token, NOW).map(|_| ()), Err(TokenFault::BadSignature));
}

#[test]
fn the_claims_that_name_user_and_tenant_are_configured() {
    let rules = ClaimRules {
        user_claim: "https://example.com/user".to_owned(),
        tenant_claim: "org".to_owned(),
        ..ClaimRules::default()
    };
    let with = |rules: &ClaimRules, claims: &Value| {
        let verifier = Verifier::new(keys().key_set().clone(), rules.clone());
        let answer = verifier.connection(&token(&hs256(), claims), NOW);
        answer.map(|claims| (claims.user, claims.tenant.as_str().to_owned()))
    };
    let pair = |user: &str, tenant: &str| Ok((user.to_owned(), tenant.to_owned()));
    let mut claims = alice();
    claims["https://example.com/user"] = json!("bob");
    claims["tenant"] = json!("evil");
    claims["org"] = json!("acme");
    assert_eq!(with(&rules, &claims), pair("bob", "acme"));
    assert_eq!(with(&ClaimRules::default(), &claims), pair("alice", "evil"));
    let fault = with(&rules, &alice()).unwrap_err();
    assert!(fault.to_string().contains("`https://example.com/user`"), "{fault}");
    let anonymous = ClaimRules { anonymous: true, ..ClaimRules::default() };
    assert_eq!(with(&anonymous, &json!({"exp": NOW + 60})), pair("", "default"));
    assert_eq!(with(&anonymous, &json!({"sub": "", "exp": NOW + 60})), pair("", "default"));
    assert!(with(&anonymous, &json!({"sub": 7, "exp": NOW + 60})).is_err());
    assert!(with(&anonymous, &json!({"sub": "a\nb", "exp": NOW + 60})).is_err());
}

proptest::proptest! {
    #[test]
    fn no_garbage_panics(text in "\\PC*") {
        proptest::prop_assert!(verify(&text).is_err());
    }

    #[test]
    fn no_signed_garbage_panics(header in "\\PC*", body in "\\PC*") {
        proptest::prop_assert!(verify(&raw(&header, &body, SECRET, Algorithm::HS256)).is_err());
    }

    #[test]
    fn one_changed_byte_is_never_accepted(at in 0_usize..200, byte in 0_u8..128) {
        let good = token(&hs256(), &alice());
        let mut bytes = good.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        proptest::prop_assume!(changed != good);
        proptest::prop_assert!(verify(&changed).is_err());
    }
}
