//! Tokens of others: minted by PyJWT (`vectors/make.py`), and the examples of RFC 7515, 7517 and 8037.
//! Reads: `vectors/tokens.json`. Writes: nothing. Never: signs anything with the code under test.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use campana_identity::{
    Action, ClaimRules, ConnectionClaims, Jwks, JwksError, KeySet, Overrides, TokenAlgorithm,
    TokenFault, TokenPolicy, Verifier, VerifyKey,
};
use serde::Deserialize;
use serde_json::Value;

const HMAC: [TokenAlgorithm; 3] =
    [TokenAlgorithm::Hs256, TokenAlgorithm::Hs384, TokenAlgorithm::Hs512];

#[derive(Deserialize)]
struct File {
    now: i64,
    secret: String,
    previous: String,
    pems: BTreeMap<String, String>,
    jwks: Value,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    kind: String,
    expect: String,
    token: String,
}

fn file() -> File {
    serde_json::from_str(include_str!("../vectors/tokens.json")).unwrap()
}

fn secrets(file: &File) -> Vec<VerifyKey> {
    [&file.secret, &file.previous]
        .map(|text| VerifyKey::hmac(&STANDARD.decode(text).unwrap(), &HMAC).unwrap())
        .to_vec()
}

fn rules() -> ClaimRules {
    let policy = TokenPolicy { ttl_seconds_max: 3_600, ..TokenPolicy::default() };
    ClaimRules { policy, ..ClaimRules::default() }
}

/// Secrets, and public keys from a JWKS document.
fn by_jwks(file: &File) -> Verifier {
    let document = file.jwks.to_string();
    let jwks = Jwks::parse(document.as_bytes(), &TokenAlgorithm::ASYMMETRIC).unwrap();
    assert_eq!((jwks.keys.len(), jwks.skipped), (4, 0));
    let keys = KeySet::new(secrets(file)).unwrap().joined(&jwks.keys).unwrap();
    Verifier::new(keys, rules())
}

/// Secrets, and public keys as PEM texts without names.
fn by_pem(file: &File) -> Verifier {
    let mut keys = secrets(file);
    keys.extend(file.pems.values().map(|pem| VerifyKey::pem(pem).unwrap()));
    Verifier::new(KeySet::new(keys).unwrap(), rules())
}

fn check(verifier: &Verifier, vector: &Vector, now: i64) -> Result<(), TokenFault> {
    if vector.kind == "connection" {
        let claims = verifier.connection(&vector.token, now)?;
        assert_eq!(claims.user, "42", "{}", vector.name);
        if vector.name.starts_with("full") {
            check_full(&claims, now);
        }
    } else {
        let claims = verifier.subscription(&vector.token, now)?;
        assert_eq!((claims.user.as_str(), claims.channel.as_str()), ("42", "$chat:1"));
        assert_eq!(claims.client.as_deref(), Some("c-1"));
        assert_eq!(claims.info.as_deref(), Some(r#"{"n": 1}"#));
        assert_eq!(claims.allow, [Action::Publish, Action::Presence]);
        assert_eq!(claims.overrides.join_leave, Some(true));
        assert_eq!(claims.overrides.force_push_join_leave, Some(true));
        assert_eq!(claims.overrides.force_positioning, Some(true));
        assert_eq!(claims.overrides.presence, None);
    }
    Ok(())
}

fn check_full(claims: &ConnectionClaims, now: i64) {
    assert_eq!(claims.tenant.as_str(), "acme");
    let info: Value = serde_json::from_str(claims.info.as_deref().unwrap()).unwrap();
    assert_eq!(info["name"], "Zoë");
    assert_eq!(claims.meta.as_deref(), Some(r#"{"plan":"gold"}"#));
    assert_eq!(claims.channels, ["news", "chat:1"]);
    assert_eq!(claims.subs["feed"].data.as_deref(), Some(r#"{"hello": 1}"#));
    let overrides =
        Overrides { presence: Some(true), force_recovery: Some(false), ..Overrides::default() };
    assert_eq!(claims.subs["feed"].overrides, overrides);
    assert_eq!(claims.caps.len(), 2);
    assert!(claims.caps[0].channels[0].matches("news:a"));
    assert!(!claims.caps[1].channels[0].matches("user_421"));
    assert_eq!(claims.caps[1].allow, [Action::Publish, Action::Presence]);
    assert_eq!(claims.expires_at, Some(now + 600));
    assert_eq!((claims.id.as_deref(), claims.issued_at), (Some("t-1"), Some(now - 1)));
}

#[test]
fn tokens_of_another_implementation_are_read_with_keys_from_a_document() {
    let file = file();
    let verifier = by_jwks(&file);
    for vector in &file.vectors {
        // A subscription that never ends is not for everyone.
        let mut rules = rules();
        rules.policy.require_exp = vector.kind != "subscription";
        let verifier = Verifier::new(verifier.keys().clone(), rules);
        let answer = check(&verifier, vector, file.now);
        let code = answer.as_ref().map_or_else(TokenFault::code, |()| "ok");
        assert_eq!(code, vector.expect, "{}: {answer:?}", vector.name);
    }
}

#[test]
fn tokens_of_another_implementation_are_read_with_keys_as_pem() {
    let file = file();
    let verifier = by_pem(&file);
    let mut seen = 0;
    for vector in file.vectors.iter().filter(|one| one.kind == "connection" && one.expect == "ok") {
        assert_eq!(check(&verifier, vector, file.now), Ok(()), "{}", vector.name);
        seen += 1;
    }
    assert!(seen >= 20);
}

#[test]
fn audience_and_issuer_of_another_implementation_are_compared() {
    let file = file();
    let with = |audience: &str, issuer: &str| {
        let mut rules = rules();
        rules.policy.audience = Some(audience.to_owned());
        rules.policy.issuer = Some(issuer.to_owned());
        let verifier = Verifier::new(by_jwks(&file).keys().clone(), rules);
        let full = file.vectors.iter().find(|one| one.name.starts_with("full")).unwrap();
        verifier.connection(&full.token, file.now).map(|_| ())
    };
    assert_eq!(with("edge", "https://issuer.example"), Ok(()));
    assert_eq!(with("edg", "https://issuer.example"), Err(TokenFault::WrongAudience));
    assert_eq!(with("other", "https://issuer.exampl"), Err(TokenFault::WrongIssuer));
}

/// The body of the examples of RFC 7515: `iss`, `exp` and a claim of their own, no user.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn joe(keys: KeySet, now: i64, header: &str, signature: &str) -> Result<Option<i64>, TokenFault> {
    let rules = ClaimRules { anonymous: true, ..rules() };
    let token = format!("{header}.{JOE}.{signature}");
    Verifier::new(keys, rules).connection(&token, now).map(|claims| claims.expires_at)
}

fn of_jwk(jwk: &str) -> KeySet {
    let document = format!(r#"{{"keys":[{jwk}]}}"#);
    Jwks::parse(document.as_bytes(), &TokenAlgorithm::ASYMMETRIC).unwrap().keys
}

fn check_joe(keys: &KeySet, header: &str, signature: &str) {
    const END: i64 = 1_300_819_380;
    assert_eq!(joe(keys.clone(), END - 1, header, signature), Ok(Some(END)));
    assert_eq!(joe(keys.clone(), END + 5, header, signature), Err(TokenFault::Expired));
    let last = if signature.ends_with('w') { 'A' } else { 'w' };
    let broken = format!("{last}{}", &signature[1..]);
    assert_eq!(joe(keys.clone(), END, header, &broken), Err(TokenFault::BadSignature));
}

#[test]
fn rfc_7515_a_1_hs256() {
    let secret =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
    let keys = KeySet::new(vec![VerifyKey::hmac(&secret, &HMAC).unwrap()]).unwrap();
    let header = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
    check_joe(&keys, header, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

#[test]
fn rfc_7515_a_2_rs256() {
    let keys = of_jwk(
        r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
    );
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    check_joe(&keys, "eyJhbGciOiJSUzI1NiJ9", signature);
}

#[test]
fn rfc_7515_a_3_es256() {
    let keys = of_jwk(
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    );
    let signature =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    check_joe(&keys, "eyJhbGciOiJFUzI1NiJ9", signature);
}

#[test]
fn rfc_7515_a_5_unsecured_is_refused() {
    let keys = KeySet::new(secrets(&file())).unwrap();
    let answer = joe(keys, 0, "eyJhbGciOiJub25lIn0", "");
    assert_eq!(answer, Err(TokenFault::AlgorithmNotAllowed));
}

#[test]
fn rfc_8037_a_4_ed25519() {
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let verifier = Verifier::new(of_jwk(jwk), rules());
    let code =
        |token: &str| verifier.connection(token, 0).map_err(|fault| fault.code()).map(|_| ());
    // What is signed is a plain sentence: that this is found out shows that the signature was good.
    assert_eq!(code(&format!("{message}.{signature}")), Err("malformed_body"));
    assert_eq!(code(&format!("{message}.A{}", &signature[1..])), Err("bad_signature"));
}

#[test]
fn rfc_7517_a_1_public_keys_and_a_3_symmetric_keys() {
    let document = br#"{"keys":[
      {"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"},
      {"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}]}"#;
    let jwks = Jwks::parse(document, &TokenAlgorithm::ASYMMETRIC).unwrap();
    assert_eq!((jwks.keys.len(), jwks.skipped), (1, 1));
    let key = &jwks.keys.keys()[0];
    assert_eq!((key.id(), key.algorithms()), (Some("2011-04-29"), &[TokenAlgorithm::Rs256][..]));
    let secrets = br#"{"keys":[
      {"kty":"oct","alg":"A128KW","k":"GawgguFyGrWKav7AX4VKUg"},
      {"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow","kid":"HMAC key used in JWS spec Appendix A.1 example"}]}"#;
    let answer = Jwks::parse(secrets, &TokenAlgorithm::ALL).map(|_| ());
    assert_eq!(answer, Err(JwksError::NoKey));
}
