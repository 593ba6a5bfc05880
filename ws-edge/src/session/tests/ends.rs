//! Time and limits: pings, expiry, too many of anything.

use campana_identity::SubscriptionSpec;

use super::*;

#[test]
fn pings_are_answered_or_the_connection_ends() {
    let mut world = World::connected();
    assert_eq!(world.session.next_timer_ms(), NOW.ms + 15_000);
    world.at(NOW.ms + 15_000);
    assert_eq!(world.sent.pop(), Some(json!({})));
    world.text("{}");
    assert_eq!(world.closed, None);
    assert_eq!(world.session.next_timer_ms(), NOW.ms + 40_000);
    world.at(NOW.ms + 40_000);
    world.at(NOW.ms + 50_000);
    assert_eq!(world.closed, Some(3012));
    let mut stale = World::new(options());
    stale.at(NOW.ms + 10_000);
    assert_eq!(stale.closed, Some(3502));
}

#[test]
fn who_is_turned_away_and_stays_is_cut() {
    let mut world = World::new(options());
    world.now.unix += 60;
    world.say(&json!({"id": 1, "connect": {"token": token(5)}}));
    assert_eq!((&world.sent[0]["error"]["code"], world.closed), (&json!(109), None));
    let timeout = EdgeOptions::default().connect_timeout_ms;
    assert_eq!(world.session.next_timer_ms(), NOW.ms + timeout);
    world.at(NOW.ms + timeout);
    assert_eq!(world.closed, Some(3502));
    // Nothing follows.
    world.at(NOW.ms + 10 * timeout);
}

#[test]
fn a_token_must_be_refreshed_in_time_by_the_same_user() {
    let expire = |world: &mut World| {
        for at in [16_000, 41_000, 66_000, 85_000] {
            if world.closed.is_none() {
                world.at(NOW.ms + at);
                if world.closed.is_none() && world.sent.contains(&json!({})) {
                    world.sent.clear();
                    world.text("{}");
                }
            }
        }
    };
    let start = || {
        let mut world = World::new(options());
        world.say(&json!({"id": 1, "connect": {"token": token(60)}}));
        world.answer();
        world
    };
    let mut world = start();
    expire(&mut world);
    assert_eq!(world.closed, Some(3005));
    let mut world = start();
    world.say(&json!({"id": 2, "refresh": {"token": token(3_600)}}));
    assert_eq!(world.sent.last().unwrap()["refresh"]["ttl"], 3_600);
    expire(&mut world);
    assert_eq!(world.closed, None);
    let mint = |user: &str, tenant: &str, at: i64| {
        keys().mint_connection(user, tenant, 60, at, &ConnectionSpec::default()).unwrap()
    };
    for (token, code) in [
        (mint("bob", "acme", NOW.unix), 3500),
        (mint("alice", "other", NOW.unix), 3500),
        ("x".to_owned(), 3500),
        (mint("alice", "acme", NOW.unix - 900), 3005),
    ] {
        let mut world = start();
        world.say(&json!({"id": 2, "refresh": {"token": token}}));
        assert_eq!(world.closed, Some(code));
    }
}

#[test]
fn a_subscription_ends_with_its_token() {
    let mut world = World::connected();
    let mint = |ttl| {
        keys()
            .mint_subscription(
                "alice",
                "acme",
                "vip:a",
                ttl,
                NOW.unix,
                &SubscriptionSpec::default(),
            )
            .unwrap()
    };
    assert_eq!(
        world.error(&json!({"id": 2, "subscribe": {"channel": "vip:a", "token": mint(10)}})),
        0
    );
    assert_eq!(world.sent[0]["subscribe"]["ttl"], 10);
    assert_eq!(
        world.error(&json!({"id": 3, "sub_refresh": {"channel": "vip:a", "token": mint(20)}})),
        0
    );
    world.at(NOW.ms + 15_000);
    world.text("{}");
    world.at(NOW.ms + 45_000);
    assert!(world.sent.iter().any(|line| line["push"]["unsubscribe"]["code"] == 2501));
}

#[test]
fn limits_answer_and_then_close() {
    let limits = EdgeOptions {
        channels_per_client_max: 2,
        commands_burst: 5,
        commands_per_second: 1,
        operations_max: 2,
        ..options()
    };
    let mut world = World::new(limits);
    world.say(&json!({"id": 1, "connect": {"token": token(60)}}));
    world.answer();
    assert_eq!(world.error(&json!({"id": 2, "subscribe": {"channel": "room:a"}})), 0);
    assert_eq!(world.error(&json!({"id": 3, "subscribe": {"channel": "room:b"}})), 106);
    for id in 4..=6 {
        world.say(&json!({"id": id, "history": {"channel": "room:a"}}));
    }
    assert_eq!(world.sent.pop().unwrap()["error"]["code"], 111);
    world.answer();
    assert_eq!(world.error(&json!({"id": 7, "ping": {}})), 111);
    world.now.ms += 1_000;
    assert_eq!(world.error(&json!({"id": 8, "ping": {}})), 0);
    for id in 9..20 {
        if world.closed.is_none() {
            world.say(&json!({"id": id, "ping": {}}));
        }
    }
    assert_eq!(world.closed, Some(3013));
    let many = ConnectionSpec {
        channels: (0..3).map(|at| format!("room:{at}")).collect(),
        ..ConnectionSpec::default()
    };
    let mut world = World::new(EdgeOptions { channels_per_client_max: 2, ..options() });
    world.say(&json!({"id": 1, "connect": {"token": keys().mint_connection("a", "t", 60, NOW.unix, &many).unwrap()}}));
    assert_eq!(world.closed, Some(3505));
}
