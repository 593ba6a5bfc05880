//! Services that decide: what they are asked, and what follows from every kind of answer.

use campana_identity::TokenOptions;

use super::*;
use crate::options::{PersonalChannelOptions, ProxyTarget};

fn target(endpoint: &str) -> ProxyTarget {
    let (service, endpoint) = ("gate".to_owned(), endpoint.to_owned());
    ProxyTarget { service, endpoint, timeout_ms: 1_000 }
}

fn proxied() -> EdgeOptions {
    let mut options = options();
    options.proxy.connect = target("connect");
    options.proxy.headers = vec!["x-trace".to_owned()];
    options.namespaces.push(NamespaceOptions {
        name: "desk".to_owned(),
        subscribe: vec![Allow::OwnUser],
        publish: vec![Allow::Subscriber],
        subscribe_proxy: target("subscribe"),
        publish_proxy: target("publish"),
        sub_refresh_proxy: target("sub_refresh"),
        ..NamespaceOptions::default()
    });
    options
}

fn body(ask: &Ask) -> Value {
    serde_json::from_slice(&ask.body()).unwrap()
}

impl World {
    /// A service answers the oldest question.
    fn decide(&mut self, answer: &str) {
        let ask = self.asks.remove(0);
        self.done(Done::Asked(Box::new(ask), Ok(Bytes::copy_from_slice(answer.as_bytes()))));
    }

    fn leave_open(&mut self) {
        let ask = self.asks.remove(0);
        self.done(Done::Asked(Box::new(ask), Err(Unanswered)));
    }
}

/// A client that a service let in as alice.
fn let_in(options: EdgeOptions, result: &Value) -> World {
    let mut world = World::new(options);
    world.say(&json!({"id": 1, "connect": {}}));
    world.decide(&json!({"result": result}).to_string());
    world.answer();
    assert_eq!(world.closed, None);
    world
}

fn alice() -> Value {
    json!({"user": "alice", "tenant": "acme", "meta": {"plan": "pro"}})
}

fn inside() -> World {
    let mut world = let_in(proxied(), &alice());
    world.sent.clear();
    world
}

#[test]
fn a_service_says_who_a_client_without_a_token_is() {
    for protocol in [Protocol::Json, Protocol::Protobuf] {
        let mut world = World::speaking(protocol, proxied());
        world.say(&json!({"id": 1, "connect": {"data": {"ticket": 7}, "name": "js", "version": "5",
            "headers": {"x-trace": "t1", "x-other": "no"}, "subs": {"vip:a": {"recover": true, "offset": 4}}}}));
        world.say(&json!({"id": 2, "subscribe": {"channel": "room:a"}}));
        let ask = &world.asks[0];
        assert_eq!((ask.service(), ask.endpoint(), ask.tenant()), ("gate", "connect", ""));
        assert_eq!(ask.timeout().as_millis(), 1_000);
        assert_eq!(
            body(ask),
            json!({"client": "cli_1", "transport": "websocket", "protocol": protocol.label(),
                "encoding": "json", "name": "js", "version": "5", "channels": ["vip:a"],
                "data": {"ticket": 7}, "headers": {"x-trace": "t1"}})
        );
        let result = json!({"user": "alice", "tenant": "acme", "expire_at": NOW.unix + 100,
            "info": {"n": 1}, "data": {"welcome": true}, "channels": ["vip:a"],
            "subs": {"vip:b": {"data": 3}}, "meta": {"secret": 1}});
        world.decide(&json!({"result": result}).to_string());
        let Operation::Join(joins) = &world.waiting[0] else { panic!("joins") };
        let since =
            joins.iter().find(|one| one.key.name.as_str() == "vip:a").unwrap().since.clone();
        assert_eq!(since.unwrap().offset, 4);
        world.answer();
        world.answer();
        let connect = &world.sent[0]["connect"];
        assert_eq!((&connect["data"]["welcome"], &connect["ttl"]), (&true.into(), &100.into()));
        assert_eq!(connect["subs"]["vip:b"]["data"], 3);
        assert!(connect["subs"]["inbox:#alice"].is_object());
        assert!(!world.sent[0].to_string().contains("secret"));
        assert_eq!(world.sent[1]["id"], 2, "what waited goes on");
        assert_eq!(world.session.identity(), Some(("acme", "alice")));
        assert!(world.reports.contains(&Report::Asked("connect", "granted")));
    }
}

#[test]
fn a_token_needs_no_service() {
    let mut world = World::new(proxied());
    world.say(&json!({"id": 1, "connect": {"token": token(60)}}));
    assert!(world.asks.is_empty() && world.waiting.len() == 1);
}

#[test]
fn every_other_answer_to_connect_keeps_the_client_out() {
    for (answer, closed) in [
        (r#"{"disconnect":{"code":4501,"reason":"banned"}}"#, 4501),
        (r#"{"disconnect":{"code":3000,"reason":"x"}}"#, 3501),
        (r#"{}"#, 3501),
        ("nonsense", 3004),
        (r#"{"result":{"user":5}}"#, 3004),
        (r#"{"result":{"user":"a","channels":["a","b"],"subs":[]}}"#, 3004),
    ] {
        let mut world = World::new(proxied());
        world.say(&json!({"id": 1, "connect": {}}));
        world.decide(answer);
        assert_eq!(world.closed, Some(closed), "{answer}");
    }
    let mut world = World::new(proxied());
    world.say(&json!({"id": 1, "connect": {}}));
    world.leave_open();
    assert_eq!(world.closed, Some(3004));
    for (code, told) in [(1_000, 1_000), (109, 100)] {
        let mut world = World::new(proxied());
        world.say(&json!({"id": 1, "connect": {}}));
        world.decide(&json!({"error": {"code": code, "message": "no"}}).to_string());
        assert_eq!((&world.sent[0]["error"]["code"], world.closed), (&told.into(), None));
        world.say(&json!({"id": 2, "ping": {}}));
        assert_eq!(world.closed, Some(3501), "the session is over");
    }
    let mut world = World::new(EdgeOptions { anonymous_connect: true, ..proxied() });
    world.say(&json!({"id": 1, "connect": {}}));
    world.decide("{}");
    world.answer();
    assert_eq!(world.session.identity(), Some(("default", "")));
}

#[test]
fn a_slow_service_is_not_the_client_s_silence() {
    let mut world = World::new(proxied());
    world.say(&json!({"id": 1, "connect": {}}));
    world.at(NOW.ms + 30_000);
    assert_eq!(world.closed, None);
}

#[test]
fn a_service_decides_who_subscribes() {
    let mut world = inside();
    world.say(&json!({"id": 2, "subscribe": {"channel": "desk:1", "data": {"pin": 1}}}));
    assert!(world.waiting.is_empty());
    assert_eq!(world.error(&json!({"id": 3, "subscribe": {"channel": "desk:1"}})), 105);
    let ask = &world.asks[0];
    assert_eq!((ask.endpoint(), ask.tenant()), ("subscribe", "acme"));
    assert_eq!(
        body(ask),
        json!({"client": "cli_1", "transport": "websocket", "protocol": "json", "encoding": "json",
            "user": "alice", "tenant": "acme", "channel": "desk:1", "data": {"pin": 1},
            "meta": {"plan": "pro"}})
    );
    world.sent.clear();
    let result = json!({"info": {"role": "agent"}, "data": {"q": 3}, "expire_at": NOW.unix + 50,
        "override": {"join_leave": {"value": true}}});
    world.decide(&json!({"result": result}).to_string());
    world.answer();
    let subscribe = &world.sent[0]["subscribe"];
    assert_eq!(subscribe["data"]["q"], 3);
    assert!(subscribe["expires"].is_null(), "a service is asked, not the client");
    let at = world.session.find("desk:1").unwrap();
    assert_eq!(world.session.subscriptions[at].overrides().join_leave, Some(true));
    assert_eq!(world.session.next_timer_ms(), NOW.ms + 15_000);
}

#[test]
fn a_subscription_that_is_not_granted_is_none() {
    let subscribe = json!({"id": 2, "subscribe": {"channel": "desk:1"}});
    for (answer, code, temporary) in [
        (r#"{"error":{"code":1001,"message":"full"}}"#, 1_001, false),
        (r#"{"error":{"code":403,"message":"no","temporary":true}}"#, 403, true),
        (r#"{"error":{"code":103,"message":"no"}}"#, 100, true),
        ("nonsense", 100, true),
        (r#"{"result":{"expire_at":"soon"}}"#, 100, true),
    ] {
        let mut world = inside();
        world.say(&subscribe);
        world.decide(answer);
        let error = &world.sent[0]["error"];
        assert_eq!(error["code"], code, "{answer}");
        assert_eq!(error["temporary"].as_bool().unwrap_or(false), temporary, "{answer}");
        assert!(world.session.find("desk:1").is_none());
        assert_eq!(world.session.operations, 0);
    }
    let mut world = inside();
    world.say(&subscribe);
    world.leave_open();
    assert_eq!(world.sent[0]["error"]["code"], 100);
    let mut world = inside();
    world.say(&subscribe);
    world.decide(r#"{"disconnect":{"code":4100,"reason":"out"}}"#);
    assert_eq!(world.closed, Some(4100));
}

#[test]
fn a_client_that_left_meanwhile_is_not_subscribed() {
    let mut world = inside();
    world.say(&json!({"id": 2, "subscribe": {"channel": "desk:1"}}));
    world.say(&json!({"id": 3, "unsubscribe": {"channel": "desk:1"}}));
    world.waiting.clear();
    world.decide(r#"{"result":{}}"#);
    assert!(world.waiting.is_empty() && world.session.find("desk:1").is_none());
    assert_eq!(world.session.operations, 0);
}

#[test]
fn a_name_s_promises_hold_whatever_a_service_would_say() {
    let mut world = inside();
    for channel in ["$desk:1", "desk:#bob", "desk:1#bob"] {
        assert_eq!(
            world.error(&json!({"id": 2, "subscribe": {"channel": channel}})),
            103,
            "{channel}"
        );
        assert_eq!(
            world.error(&json!({"id": 3, "publish": {"channel": channel, "data": 1}})),
            103,
            "{channel}"
        );
    }
    assert_eq!(world.error(&json!({"id": 4, "subscribe": {"channel": "desk:#alice"}})), 0);
    assert!(world.asks.is_empty());
    // A token speaks for itself.
    let token = keys()
        .mint_subscription("alice", "acme", "desk:2", 60, NOW.unix, &Default::default())
        .unwrap();
    let subscribe = json!({"id": 5, "subscribe": {"channel": "desk:2", "token": token}});
    assert_eq!(world.error(&subscribe), 103, "the namespace takes none");
    assert!(world.asks.is_empty());
}

#[test]
fn nothing_is_allowed_before_the_service_said_so() {
    let mut options = proxied();
    options.namespaces.last_mut().unwrap().publish_proxy = ProxyTarget::default();
    let mut world = let_in(options, &alice());
    world.say(&json!({"id": 2, "subscribe": {"channel": "desk:1"}}));
    assert_eq!(world.error(&json!({"id": 3, "publish": {"channel": "desk:1", "data": 1}})), 103);
    world.decide(r#"{"result":{}}"#);
    world.answer();
    assert_eq!(world.error(&json!({"id": 4, "publish": {"channel": "desk:1", "data": 1}})), 0);
}

#[test]
fn a_service_decides_what_is_published() {
    let mut world = inside();
    for id in 2..5 {
        world.say(&json!({"id": id, "publish": {"channel": "desk:1", "data": {"n": id}}}));
    }
    world.answer();
    assert_eq!(world.asks.len(), 3);
    assert_eq!(body(&world.asks[0])["data"], json!({"n": 2}));
    world.decide(r#"{"result":{"data":{"n":"changed"}}}"#);
    world.decide(r#"{"error":{"code":400,"message":"rude"}}"#);
    world.decide(r#"{"result":{}}"#);
    assert_eq!(world.sent[0]["error"]["message"], "rude");
    let stored: Vec<_> = world
        .waiting
        .iter()
        .map(|one| match one {
            Operation::Publish(publish) => (publish.command, publish.data.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(stored, [(2, "{\"n\":\"changed\"}".into()), (4, "{\"n\":4}".into())]);
    world.answer();
    assert_eq!(world.session.operations, 0);
}

#[test]
fn what_a_service_makes_of_a_message_must_fit_the_namespace() {
    for answer in [r#"{"result":{"b64data":"AP8="}}"#, r#"{"result":{"b64data":"%"}}"#, "nonsense"]
    {
        let mut world = inside();
        world.say(&json!({"id": 2, "publish": {"channel": "desk:1", "data": 1}}));
        world.answer();
        world.decide(answer);
        assert_eq!(world.sent[0]["error"]["code"], 100, "{answer}");
        assert!(world.waiting.is_empty() && world.session.operations == 0);
        assert!(world.reports.contains(&Report::Asked("publish", "failed")));
    }
}

fn expiring(expire_at: i64) -> World {
    let mut options = proxied();
    options.proxy.refresh = target("refresh");
    let mut result = alice();
    result["expire_at"] = expire_at.into();
    let mut world = let_in(options, &result);
    assert!(world.sent[0]["connect"]["expires"].is_null());
    world.sent.clear();
    world
}

#[test]
fn a_service_says_whether_a_connection_stays() {
    let mut world = expiring(NOW.unix + 10);
    assert_eq!(world.session.next_timer_ms(), NOW.ms + 10_000);
    world.at(NOW.ms + 10_000);
    world.at(NOW.ms + 10_001);
    assert_eq!((world.asks.len(), world.asks[0].endpoint()), (1, "refresh"));
    assert_eq!(body(&world.asks[0])["meta"]["plan"], "pro");
    world.decide(&json!({"result": {"expire_at": NOW.unix + 12, "info": {"v": 2}}}).to_string());
    assert_eq!(world.session.who.as_ref().unwrap().info.as_deref(), Some("{\"v\":2}"));
    world.at(NOW.ms + 12_001);
    world.decide(r#"{"result":{}}"#);
    world.at(NOW.ms + 14_000);
    assert!(world.asks.is_empty() && world.closed.is_none(), "for ever");
    for (answer, closed) in [
        (r#"{"result":{"expired":true}}"#, 3005),
        ("{}", 3005),
        (r#"{"disconnect":{"code":4200}}"#, 4200),
    ] {
        let mut world = expiring(NOW.unix + 10);
        world.at(NOW.ms + 10_000);
        world.decide(answer);
        assert_eq!(world.closed, Some(closed), "{answer}");
    }
}

#[test]
fn a_service_that_names_an_end_in_the_past_is_not_asked_without_a_pause() {
    let mut world = expiring(NOW.unix + 10);
    world.at(NOW.ms + 10_000);
    world.decide(&json!({"result": {"expire_at": NOW.unix - 1}}).to_string());
    assert_eq!((world.closed, world.session.next_timer_ms()), (None, NOW.ms + 15_000));
    world.at(NOW.ms + 14_999);
    assert!(world.asks.is_empty());
    world.at(NOW.ms + 15_000);
    assert_eq!(world.asks.len(), 1);
}

#[test]
fn nobody_is_asked_about_a_client_that_was_turned_away() {
    let mut options = proxied();
    options.proxy.refresh = target("refresh");
    let mut world = World::new(options);
    world.say(&json!({"id": 1, "connect": {}}));
    let mut result = alice();
    (result["expire_at"], result["channels"]) = ((NOW.unix - 1).into(), json!(["nowhere:x"]));
    world.decide(&json!({"result": result}).to_string());
    assert_eq!(world.sent[0]["error"]["code"], 102);
    // A timer that is due again at once would keep the connection's task busy.
    world.at(NOW.ms + 1);
    assert!(world.session.next_timer_ms() > NOW.ms + 1 && world.asks.is_empty());
}

#[test]
fn a_service_that_is_away_is_asked_again_until_the_grace_is_over() {
    let mut world = expiring(NOW.unix + 10);
    let mut asked = 0;
    for second in 10..35 {
        world.at(NOW.ms + second * 1_000);
        if second == 16 {
            // Pings go on.
            world.say(&json!({}));
        }
        if let Some(ask) = world.asks.pop() {
            asked += 1;
            let answer = match asked % 3 {
                0 => Err(Unanswered),
                1 => Ok(Bytes::from_static(b"nonsense")),
                _ => Ok(Bytes::from_static(br#"{"error":{"code":1000}}"#)),
            };
            world.done(Done::Asked(Box::new(ask), answer));
        }
        assert_eq!(world.closed, None, "{second}");
    }
    assert_eq!(asked, 5);
    world.at(NOW.ms + 35_000);
    assert_eq!(world.closed, Some(3005));
}

#[test]
fn a_service_says_whether_a_subscription_stays() {
    let subscribed = || {
        let mut world = inside();
        world.say(&json!({"id": 2, "subscribe": {"channel": "desk:1"}}));
        world.decide(&json!({"result": {"expire_at": NOW.unix + 10}}).to_string());
        world.answer();
        world.sent.clear();
        world.at(NOW.ms + 10_000);
        world
    };
    let mut world = subscribed();
    let question = body(&world.asks[0]);
    assert_eq!((&question["channel"], &question["user"]), (&"desk:1".into(), &"alice".into()));
    world.decide(&json!({"result": {"expire_at": NOW.unix + 14}}).to_string());
    world.at(NOW.ms + 14_000);
    world.decide(r#"{"result":{"expired":true}}"#);
    assert_eq!(world.sent[0]["push"]["unsubscribe"]["code"], 2501);
    let mut world = subscribed();
    world.leave_open();
    world.at(NOW.ms + 15_000);
    assert_eq!(world.asks.len(), 1);
    world.leave_open();
    world.say(&json!({}));
    world.at(NOW.ms + 34_000);
    world.at(NOW.ms + 35_000);
    let end = world.sent.iter().find(|line| line["push"]["unsubscribe"]["code"] == 2501);
    assert!(end.is_some(), "{:?}", world.sent);
}

#[test]
fn anonymous_clients_are_asked_about_like_others() {
    let mut options = EdgeOptions { anonymous_connect: true, ..proxied() };
    options.proxy.connect = ProxyTarget::default();
    options.tokens = TokenOptions::default();
    options.personal_channel = PersonalChannelOptions::default();
    let mut world = World::new(options);
    world.say(&json!({"id": 1, "connect": {}}));
    world.answer();
    world.say(&json!({"id": 2, "subscribe": {"channel": "desk:1"}}));
    assert_eq!(body(&world.asks[0])["user"], "");
    world.decide(r#"{"result":{}}"#);
    assert_eq!(world.waiting.len(), 1);
}

#[test]
fn nothing_is_acknowledged_in_a_channel_before_its_service_says_yes() {
    let mut world = inside();
    world.say(&json!({"id": 2, "subscribe": {"channel": "desk:x"}}));
    assert_eq!(world.asks.len(), 1);
    let ack = json!({"id": 3, "rpc": {"method": "campana.ack",
        "data": {"channel": "desk:x", "offset": 7}}});
    assert_eq!(world.error(&ack), 103);
    assert!(world.calls.is_empty());
    world.decide(r#"{"result":{}}"#);
    world.answer();
    world.say(&ack);
    assert_eq!(world.calls.len(), 1);
}
