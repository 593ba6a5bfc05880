//! Who is let in, by what, and until when.

use std::collections::BTreeMap;

use campana_identity::{Jwks, JwksOptions, Revocation, TokenAlgorithm, TokenOptions};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::*;
use crate::options::PersonalChannelOptions;

/// A token with these claims, signed with the secret.
fn signed(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(&[7; 32])).unwrap()
}

fn claims(more: Value) -> Value {
    let mut claims =
        json!({"sub": "alice", "tenant": "acme", "exp": NOW.unix + 60, "iat": NOW.unix - 5});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn connected_with(options: EdgeOptions, more: Value) -> World {
    let mut world = World::new(options);
    world.say(&json!({"id": 1, "connect": {"token": signed(&claims(more))}}));
    world.answer();
    assert_eq!(world.closed, None);
    world
}

fn joined(world: &World) -> Vec<String> {
    let mut names: Vec<String> =
        world.session.channels().map(|(key, _)| key.name.as_str().to_owned()).collect();
    names.sort_unstable();
    names
}

fn anonymous() -> EdgeOptions {
    let namespace = |name: &str, way: Allow| NamespaceOptions {
        name: name.to_owned(),
        subscribe: vec![way],
        ..NamespaceOptions::default()
    };
    EdgeOptions {
        anonymous_connect: true,
        namespaces: vec![
            namespace("public", Allow::Anonymous),
            namespace("members", Allow::Authenticated),
            namespace("own", Allow::OwnUser),
        ],
        ..EdgeOptions::default()
    }
}

#[test]
fn without_a_token_nobody_comes_in_unless_that_is_wanted() {
    let mut world = World::new(options());
    world.say(&json!({"id": 1, "connect": {}}));
    assert_eq!(world.closed, Some(3501));

    let mut world = World::new(anonymous());
    world.say(&json!({"id": 1, "connect": {}}));
    world.answer();
    assert_eq!(world.session.identity(), Some(("default", "")));
    assert!(world.sent[0]["connect"]["subs"].is_null(), "{:?}", world.sent);
    for (channel, code) in
        [("public:a", 0), ("members:a", 103), ("own:#", 103), ("own:#alice", 103), ("inbox:#", 103)]
    {
        assert_eq!(
            world.error(&json!({"id": 2, "subscribe": {"channel": channel}})),
            code,
            "{channel}"
        );
    }
    // Whoever brings a token wants to be somebody.
    let mut world = World::new(anonymous());
    world.say(&json!({"id": 1, "connect": {"token": "x.y.z"}}));
    assert_eq!(world.closed, Some(3500));
}

#[test]
fn a_token_may_name_nobody_if_that_is_wanted() {
    let nobody = json!({"sub": "", "exp": NOW.unix + 60});
    for (anonymous, closed) in [(false, Some(3500)), (true, None)] {
        let tokens = TokenOptions { anonymous, ..TokenOptions::default() };
        let mut world = World::new(EdgeOptions { tokens, ..options() });
        world.say(&json!({"id": 1, "connect": {"token": signed(&nobody)}}));
        world.answer();
        assert_eq!(world.closed, closed);
        assert_eq!(joined(&world), Vec::<String>::new());
    }
}

#[test]
fn the_token_of_the_request_counts_when_the_command_has_none() {
    let of = |user: &str| signed(&claims(json!({"sub": user})));
    for (command, user) in [("", "bob"), (of("alice").as_str(), "alice")] {
        let mut world = World::new(options());
        let handshake = Handshake { token: Some(of("bob")), ..Handshake::default() };
        world.session.handshake = Some(Box::new(handshake));
        world.say(&json!({"id": 1, "connect": {"token": command}}));
        world.answer();
        assert_eq!(world.session.identity(), Some(("acme", user)));
        // It was read once: nothing stands in for a token that is missing later.
        world.say(&json!({"id": 2, "refresh": {"token": ""}}));
        assert_eq!(world.closed, Some(3500));
    }
}

#[test]
fn channels_of_ones_own_are_options() {
    let mut options = options();
    assert_eq!(joined(&connected_with(options.clone(), json!({}))), ["inbox:#alice"]);
    options.personal_channel =
        PersonalChannelOptions { enabled: true, namespace: "room".to_owned() };
    assert_eq!(
        joined(&connected_with(options.clone(), json!({}))),
        ["inbox:#alice", "room:#alice"]
    );
    options.inbox_channel = false;
    assert_eq!(joined(&connected_with(options.clone(), json!({}))), ["room:#alice"]);
    options.namespaces.push(NamespaceOptions::default());
    options.personal_channel.namespace = String::new();
    assert_eq!(joined(&connected_with(options.clone(), json!({}))), ["#alice"]);
    // Named twice, joined once.
    let world = connected_with(options, json!({"channels": ["#alice", "vip:x"]}));
    assert_eq!(joined(&world), ["#alice", "vip:x"]);
}

#[test]
fn every_claim_is_honoured() {
    let mut options = options();
    options.namespaces[2].publish = vec![Allow::Token];
    let world_claims = json!({
        "info": {"name": "Alice"}, "meta": {"secret": 1}, "jti": "j1",
        "channels": ["vip:a"],
        "subs": {"vip:b": {"info": {"role": "host"}, "data": {"hi": 1},
            "override": {"presence": {"value": true}, "force_recovery": {"value": false}}}},
        "caps": [{"channels": ["vip:*"], "match": "wildcard", "allow": ["sub", "pub"]}],
    });
    let mut world = connected_with(options, world_claims);
    let reply = world.sent[0].clone();
    assert_eq!(reply["connect"]["subs"]["vip:b"]["data"]["hi"], 1);
    assert!(!reply.to_string().contains("secret"), "meta is the server's alone");
    assert_ne!(world.uses, 0);
    let at = world.session.find("vip:b").unwrap();
    let overrides = world.session.subscriptions[at].overrides();
    assert_eq!((overrides.presence, overrides.force_recovery), (Some(true), Some(false)));
    assert_eq!(overrides.join_leave, None);
    assert_eq!(world.error(&json!({"id": 3, "subscribe": {"channel": "vip:c"}})), 0);
    world.say(&json!({"id": 4, "publish": {"channel": "vip:b", "data": 1}}));
    let Some(Operation::Publish(publish)) = world.waiting.pop() else { panic!("a message") };
    let info: Value = serde_json::from_str(&publish.info).unwrap();
    assert_eq!(
        (&info["conn_info"]["name"], &info["chan_info"]["role"]),
        (&"Alice".into(), &"host".into())
    );
    assert!(!publish.info.contains("secret"));
}

#[test]
fn a_refresh_brings_what_the_new_token_says() {
    let mut world = connected_with(options(), json!({"jti": "old", "info": {"v": 1}}));
    let token = signed(&claims(json!({"jti": "new", "info": {"v": 2}, "exp": NOW.unix + 600})));
    assert_eq!(world.error(&json!({"id": 2, "refresh": {"token": token}})), 0);
    let who = world.session.who.as_deref().unwrap();
    assert_eq!((who.info.as_deref(), who.token.id.as_deref()), (Some("{\"v\":2}"), Some("new")));
    revoke(&world, "old");
    world.at(NOW.ms + 1);
    let mut out = Vec::new();
    world.session.on_revoked(world.now, &mut out);
    assert!(out.is_empty(), "{out:?}");
    let stranger = signed(&claims(json!({"sub": "bob"})));
    world.say(&json!({"id": 3, "refresh": {"token": stranger}}));
    assert_eq!(world.closed, Some(3500));
}

fn revoke(world: &World, id: &str) {
    let (tenant, id) = ("acme".to_owned(), id.to_owned());
    let revocation = Revocation::Token { tenant, id, until: NOW.unix + 1_000 };
    world.session.rules.revoked.add(&revocation, NOW.unix).unwrap();
}

fn look(world: &mut World) {
    let mut out = Vec::new();
    world.session.on_revoked(world.now, &mut out);
    world.take(out);
}

#[test]
fn a_revoked_token_lets_nobody_in_and_nobody_stay() {
    let mut world = connected_with(options(), json!({"jti": "a"}));
    revoke(&world, "b");
    look(&mut world);
    assert_eq!(world.closed, None);
    let token = signed(&claims(json!({"jti": "b"})));
    world.say(&json!({"id": 2, "refresh": {"token": token}}));
    assert_eq!(world.closed, Some(3500));

    let mut world = connected_with(options(), json!({"jti": "a"}));
    revoke(&world, "a");
    look(&mut world);
    assert_eq!(world.closed, Some(3500));

    let mut world = World::new(options());
    revoke(&world, "a");
    world.say(&json!({"id": 1, "connect": {"token": signed(&claims(json!({"jti": "a"})))}}));
    assert_eq!(world.closed, Some(3500));
    assert!(world.reports.contains(&Report::Token("revoked")));
}

#[test]
fn all_tokens_of_a_user_can_be_revoked_up_to_a_moment() {
    for (issued, closed) in
        [(json!(NOW.unix - 5), Some(3500)), (json!(NOW.unix), None), (Value::Null, Some(3500))]
    {
        let mut world = connected_with(options(), json!({"iat": issued}));
        let (tenant, user) = ("acme".to_owned(), "alice".to_owned());
        let (issued_before, until) = (NOW.unix, NOW.unix + 1_000);
        let revocation = Revocation::User { tenant, user, issued_before, until };
        world.session.rules.revoked.add(&revocation, NOW.unix).unwrap();
        look(&mut world);
        assert_eq!(world.closed, closed, "{issued}");
    }
}

#[test]
fn a_revoked_subscription_token_ends_its_subscription_alone() {
    let mut world = World::connected();
    let token = |id: &str| signed(&claims(json!({"channel": "vip:a", "jti": id})));
    assert_eq!(
        world.error(&json!({"id": 2, "subscribe": {"channel": "vip:a", "token": token("s")}})),
        0
    );
    revoke(&world, "s");
    world.sent.clear();
    look(&mut world);
    assert_eq!(world.closed, None);
    assert_eq!(world.sent[0]["push"]["unsubscribe"]["code"], 2502);
    let again = json!({"id": 3, "subscribe": {"channel": "vip:a", "token": token("s")}});
    assert_eq!(world.error(&again), 103);
    let fresh = json!({"id": 4, "subscribe": {"channel": "vip:a", "token": token("t")}});
    assert_eq!(world.error(&fresh), 0);
    let refresh = json!({"id": 5, "sub_refresh": {"channel": "vip:a", "token": token("s")}});
    assert_eq!(world.error(&refresh), 103);
}

/// The key pair of the first test of RFC 8032 §7.1.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn by_jwks() -> EdgeOptions {
    let jwks =
        vec![JwksOptions { url: "https://id.example/keys".to_owned(), ..JwksOptions::default() }];
    EdgeOptions { tokens: TokenOptions { jwks, ..TokenOptions::default() }, ..options() }
}

fn signed_by(id: &str, claims: &Value) -> String {
    let prefix = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let key = EncodingKey::from_ed_der(&[prefix.as_slice(), &SEED].concat());
    let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

fn fetch(world: &World, id: &str) {
    let document = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": id, "x": PUBLIC}]});
    let jwks = Jwks::parse(document.to_string().as_bytes(), &TokenAlgorithm::ASYMMETRIC).unwrap();
    world.session.rules.keys.replace([&jwks.keys]).unwrap();
}

fn authenticated(world: &mut World, result: Result<(), ()>) {
    assert!(matches!(world.waiting.remove(0), Operation::Authenticate));
    world.done(Done::Authenticated(result));
}

#[test]
fn a_client_waits_for_the_key_of_its_token_and_all_it_says_waits_behind() {
    let mut world = World::new(by_jwks());
    world.say(&json!({"id": 1, "connect": {"token": signed_by("k1", &claims(json!({})))}}));
    world.say(&json!({"id": 2, "subscribe": {"channel": "room:a"}}));
    assert!(world.sent.is_empty() && world.waiting.len() == 1);
    // Nobody is sent away as silent meanwhile.
    world.at(NOW.ms + 11_000);
    fetch(&world, "k1");
    authenticated(&mut world, Ok(()));
    world.answer();
    world.answer();
    let ids: Vec<u64> = world.sent.iter().filter_map(|line| line["id"].as_u64()).collect();
    assert_eq!((ids, world.closed), (vec![1, 2], None));
}

#[test]
fn a_key_that_does_not_come_says_no_and_a_source_that_is_away_says_later() {
    for (result, closed) in [(Ok(()), 3500), (Err(()), 3004)] {
        let mut world = World::new(by_jwks());
        world.say(&json!({"id": 1, "connect": {"token": signed_by("k1", &claims(json!({})))}}));
        authenticated(&mut world, result);
        assert_eq!(world.closed, Some(closed));
        assert!(world.waiting.is_empty(), "asked once");
    }
    let subscription = |id: &str| signed_by(id, &claims(json!({"channel": "vip:a"})));
    for (result, code) in [(Ok(()), 103), (Err(()), 100)] {
        let mut world = connected_with(by_jwks(), json!({}));
        world.sent.clear();
        world
            .say(&json!({"id": 2, "subscribe": {"channel": "vip:a", "token": subscription("k9")}}));
        world.say(&json!({"id": 3, "ping": {}}));
        assert!(world.sent.is_empty());
        authenticated(&mut world, result);
        assert_eq!(world.sent[0]["error"]["code"], code);
        assert_eq!((&world.sent[1]["id"], world.closed), (&3.into(), None));
    }
    let mut world = connected_with(by_jwks(), json!({}));
    world.say(&json!({"id": 2, "refresh": {"token": signed_by("k2", &claims(json!({})))}}));
    fetch(&world, "k2");
    authenticated(&mut world, Ok(()));
    assert_eq!((&world.sent.last().unwrap()["id"], world.closed), (&2.into(), None));
}

#[test]
fn no_other_token_waits() {
    let mut world = World::new(by_jwks());
    world.say(&json!({"id": 1, "connect": {"token": token(60)}}));
    assert!(matches!(world.waiting[0], Operation::Join(_)));
    let mut world = World::new(options());
    world.say(&json!({"id": 1, "connect": {"token": signed_by("k", &claims(json!({})))}}));
    assert_eq!(world.closed, Some(3500));
    let mut world = World::new(by_jwks());
    fetch(&world, "k1");
    let mut bad = signed_by("k1", &claims(json!({})));
    bad.pop();
    world.say(&json!({"id": 1, "connect": {"token": bad}}));
    assert_eq!((world.closed, world.waiting.len()), (Some(3500), 0));
}

#[test]
fn what_waits_for_a_key_is_limited_and_pongs_pass() {
    let mut world = connected_with(by_jwks(), json!({}));
    world.at(NOW.ms + 15_000);
    world.say(&json!({"id": 2, "refresh": {"token": signed_by("k", &claims(json!({})))}}));
    world.say(&json!({}));
    world.at(NOW.ms + 15_000 + 10_000);
    assert_eq!(world.closed, None, "the pong was heard");
    for id in 3..300 {
        if world.closed.is_none() {
            world.say(&json!({"id": id, "ping": {}}));
        }
    }
    assert_eq!(world.closed, Some(3501));
}

#[test]
fn headers_for_services_come_from_the_request_before_the_command() {
    let mut options = options();
    options.proxy.headers = vec!["x-a".to_owned(), "x-b".to_owned(), "x-c".to_owned()];
    let mut world = World::new(options);
    let headers = BTreeMap::from([("x-a".to_owned(), "request".to_owned())]);
    world.session.handshake = Some(Box::new(Handshake { headers, ..Handshake::default() }));
    let long = "x".repeat(5_000);
    world.say(&json!({"id": 1, "connect": {"token": token(60),
        "headers": {"X-A": "command", "X-B": "command", "x-c": long, "cookie": "c"}}}));
    let kept = world.session.who.unwrap().headers;
    let expected = [("x-a", "request"), ("x-b", "command")];
    assert!(kept.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
}
