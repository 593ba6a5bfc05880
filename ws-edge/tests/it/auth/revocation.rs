//! Revoked tokens: everywhere, at once, and after a restart.

use campana_bus::topology::REVOCATIONS;
use campana_ws_edge::{Revocation, revoke};
use futures::StreamExt as _;
use serde_json::json;

use super::*;
use crate::support::World;

fn of_token(id: &str) -> Revocation {
    Revocation::Token { tenant: "default".to_owned(), id: id.to_owned(), until: now() + 600 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_good_nowhere_also_after_a_restart() {
    let world = World::start().await;
    let (one, two) = (world.edge(options()).await, world.edge(options()).await);
    let stolen = token("alice", &json!({"jti": "stolen"}));
    let other = token("alice", &json!({"jti": "other"}));
    let mut thieves = [let_in(&one, &stolen).await, let_in(&two, &stolen).await];
    let mut owner = let_in(&two, &other).await;
    revoke(&world.bus, &of_token("stolen")).await.unwrap();
    for thief in &mut thieves {
        assert_eq!(thief.close_code().await, 3500);
    }
    assert!(owner.ask(&json!({"id": 2, "ping": {}})).await["ping"].is_object());
    for edge in [&one, &two] {
        assert_eq!(connect(edge, &stolen).await.1, Err(3500));
        let_in(edge, &other).await;
    }
    let mut client = let_in(&one, &other).await;
    client.send(&json!({"id": 2, "refresh": {"token": stolen}})).await;
    assert_eq!(client.close_code().await, 3500);
    one.stop().await;
    two.stop().await;
    let again = world.edge(options()).await;
    assert_eq!(connect(&again, &stolen).await.1, Err(3500));
    let_in(&again, &other).await;
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_s_tokens_can_be_revoked_up_to_a_moment() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let old = token("alice", &json!({"iat": now() - 5}));
    let mut clients = [let_in(&edge, &old).await, let_in(&edge, &old).await];
    let mut bob = let_in(&edge, &token("bob", &json!({}))).await;
    let (tenant, user) = ("default".to_owned(), "alice".to_owned());
    let moment = now();
    let revocation = Revocation::User { tenant, user, issued_before: moment, until: moment + 600 };
    revoke(&world.bus, &revocation).await.unwrap();
    for client in &mut clients {
        assert_eq!(client.close_code().await, 3500);
    }
    assert_eq!(connect(&edge, &old).await.1, Err(3500));
    let mut fresh = let_in(&edge, &token("alice", &json!({"iat": moment}))).await;
    // An older moment that arrives later takes nothing back, and sends nobody away.
    let Revocation::User { tenant, user, .. } = revocation else { panic!("a user") };
    let older = Revocation::User { tenant, user, issued_before: moment - 100, until: moment + 100 };
    revoke(&world.bus, &older).await.unwrap();
    assert_eq!(connect(&edge, &old).await.1, Err(3500));
    for client in [&mut fresh, &mut bob] {
        assert!(client.ask(&json!({"id": 2, "ping": {}})).await["ping"].is_object());
    }
    edge.stop().await;
    let again = world.edge(options()).await;
    assert_eq!(connect(&again, &old).await.1, Err(3500));
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_subscription_token_ends_its_subscriptions() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let mut client = let_in(&edge, &token("alice", &json!({"jti": "c"}))).await;
    let pass = |id: &str| token("alice", &json!({"channel": "room:a", "jti": id}));
    let subscribe = |id: u32, jti: &str| json!({"id": id, "subscribe": {"channel": "room:a", "token": pass(jti)}});
    assert!(client.ask(&subscribe(2, "s1")).await["subscribe"].is_object());
    revoke(&world.bus, &of_token("s1")).await.unwrap();
    let end = client.next().await.unwrap();
    assert_eq!(
        (&end["push"]["channel"], &end["push"]["unsubscribe"]["code"]),
        (&"room:a".into(), &2502.into())
    );
    assert_eq!(client.ask(&subscribe(3, "s1")).await["error"]["code"], 103);
    assert!(client.ask(&subscribe(4, "s2")).await["subscribe"].is_object());
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_are_checked_stored_once_and_go_when_they_are_over() {
    let world = World::start().await;
    let kv = world.bus.kv(REVOCATIONS).await.unwrap();
    for bad in ["", &"x".repeat(300)] {
        assert!(revoke(&world.bus, &of_token(bad)).await.is_err());
    }
    let over =
        Revocation::Token { tenant: "default".to_owned(), id: "o".to_owned(), until: now() - 1 };
    revoke(&world.bus, &over).await.unwrap();
    assert_eq!(kv.keys("", 10).await.unwrap(), Vec::<String>::new());
    let short =
        Revocation::Token { tenant: "default".to_owned(), id: "s".to_owned(), until: now() + 2 };
    let all = futures::future::join_all((0..8).map(|_| revoke(&world.bus, &short))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    if kv.keys("", 10).await.unwrap().is_empty() {
        // A busy machine came so late that it was over.
        return;
    }
    let mut changes = kv.watch(Some(0));
    let until_gone = async { while changes.next().await.unwrap().unwrap().value.is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(60), until_gone).await.unwrap();
    assert_eq!(kv.keys("", 10).await.unwrap(), Vec::<String>::new());
}
