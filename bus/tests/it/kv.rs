//! Buckets on a real server: any key, compare and set, times to live, watching, and other clients.

use std::time::Duration;

use bytes::Bytes;
use campana_bus::Bus;
use campana_bus::kv::{Kv, KvError, KvOptions};
use campana_bus::testing::NatsServer;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(60);

async fn bucket(bus: &Bus) -> Kv {
    bus.create_kv("carts", KvOptions { key_ttl: true, ..KvOptions::default() }).await.unwrap()
}

async fn value(kv: &Kv, key: &str) -> Option<Bytes> {
    kv.get(key).await.unwrap().map(|entry| entry.value)
}

#[tokio::test]
async fn any_text_is_a_key_and_no_two_keys_meet() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    assert_eq!(bus.kv("carts").await.unwrap_err(), KvError::NoBucket("carts".to_owned()));
    let kv = bucket(&bus).await;
    assert_eq!(kv.keys("", 10).await.unwrap(), [""; 0]);
    let long = "\u{1F514}".repeat(256);
    let keys = ["a", "a.b", "*", ">", ".", "=2E", "app||cart", "a b\r\nX: 1", "Zo\u{eb}", &long];
    for key in keys {
        kv.create(key, Bytes::from(key.to_owned())).await.unwrap();
    }
    for key in keys {
        assert_eq!(value(&kv, key).await.as_deref(), Some(key.as_bytes()));
    }
    let mut sorted = keys.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(kv.keys("", 100).await.unwrap(), sorted);
    assert_eq!(kv.keys("a", 2).await.unwrap(), ["a", "a b\r\nX: 1"]);
    kv.delete("a", None).await.unwrap();
    assert_eq!(kv.keys("a", 100).await.unwrap(), ["a b\r\nX: 1", "a.b", "app||cart"]);
    assert_eq!(kv.get("").await.unwrap_err(), KvError::Key);
    assert_eq!(kv.get(&"x".repeat(1_025)).await.unwrap_err(), KvError::Key);
    for name in ["", "a.b", "a b", ">", "$SYS"] {
        assert_eq!(bus.kv(name).await.unwrap_err().code(), "invalid_bucket", "{name}");
    }
    let other = KvOptions { bytes_max: Some(1_000_000), ..KvOptions::default() };
    let differs = bus.create_kv("carts", other).await.unwrap_err();
    assert_eq!(differs.code(), "bucket_differs", "{differs}");
    bucket(&bus).await;
}

#[tokio::test]
async fn writes_compare_before_they_set() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let kv = bucket(&bus).await;
    let first = kv.create("k", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(kv.create("k", Bytes::from_static(b"x")).await, Err(KvError::Exists));
    let second = kv.update("k", Bytes::from_static(b"2"), first).await.unwrap();
    assert_eq!(kv.update("k", Bytes::from_static(b"x"), first).await, Err(KvError::WrongRevision));
    assert_eq!(kv.update("new", Bytes::from_static(b"x"), 7).await, Err(KvError::WrongRevision));
    assert_eq!(kv.delete("k", Some(first)).await, Err(KvError::WrongRevision));
    let entry = kv.get("k").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (Bytes::from_static(b"2"), second));
    kv.delete("k", Some(second)).await.unwrap();
    assert_eq!(kv.get("k").await.unwrap(), None);
    kv.create("k", Bytes::from_static(b"3")).await.unwrap();
    assert_eq!(kv.create("k", Bytes::from_static(b"x")).await, Err(KvError::Exists));

    // Many writers of one number: nobody's step is lost.
    let counter = kv.of::<u64>();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let counter = counter.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    loop {
                        let (count, revision) =
                            counter.get("count").await.unwrap().unwrap_or((0, 0));
                        match counter.update("count", &(count + 1), revision).await {
                            Ok(_) => break,
                            Err(KvError::WrongRevision) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(counter.get("count").await.unwrap().unwrap().0, 100);
    let text = kv.of::<String>().get("count").await;
    assert!(matches!(text, Err(KvError::Decode(_))), "{text:?}");
}

#[tokio::test]
async fn a_time_to_live_ends() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let kv = bucket(&bus).await;
    let second = Duration::from_secs(1);
    kv.create_with_ttl("lock", Bytes::from_static(b"me"), second).await.unwrap();
    assert_eq!(kv.create("lock", Bytes::new()).await, Err(KvError::Exists));
    kv.put("stays", Bytes::new()).await.unwrap();
    let taken = async {
        while kv.create("lock", Bytes::from_static(b"you")).await == Err(KvError::Exists) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("the lock is free again");
    assert_eq!(value(&kv, "lock").await.as_deref(), Some(&b"you"[..]));
    assert!(kv.get("stays").await.unwrap().is_some());
    let short = kv.put_with_ttl("k", Bytes::new(), Duration::from_millis(999)).await;
    assert_eq!(short, Err(KvError::Ttl));
    let plain = bus.create_kv("plain", KvOptions::default()).await.unwrap();
    assert_eq!(plain.put_with_ttl("k", Bytes::new(), second).await, Err(KvError::Ttl));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
}

#[tokio::test]
async fn changes_are_seen_in_order_also_over_a_restart() {
    let mut server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let kv = bucket(&bus).await;
    let carts = kv.of::<Cart>();
    let first = carts.put("alice", &Cart { items: vec!["bell".to_owned()] }).await.unwrap();
    let mut all = kv.watch(Some(0));
    let mut later = kv.watch(Some(first));
    let change = all.try_next().await.unwrap().unwrap();
    assert_eq!((change.key.as_str(), change.revision), ("alice", first));
    let server = tokio::task::spawn_blocking(move || {
        server.restart().unwrap();
        server
    })
    .await
    .unwrap();
    carts.put("b.o.b", &Cart { items: Vec::new() }).await.unwrap();
    carts.delete("alice", None).await.unwrap();
    for watch in [&mut all, &mut later] {
        let mut next = async || {
            let next = tokio::time::timeout(PATIENCE, watch.try_next()).await.expect("a change");
            next.unwrap().unwrap()
        };
        let bob = next().await;
        assert_eq!((bob.key.as_str(), bob.value.is_some()), ("b.o.b", true));
        let gone = next().await;
        assert_eq!((gone.key.as_str(), gone.value), ("alice", None));
    }
    drop(server);
}

/// Requests that the server's JetStream has answered.
async fn asked(bus: &Bus) -> u64 {
    let account = bus.jetstream().query_account().await.unwrap();
    account.requests.total
}

#[tokio::test]
async fn a_quiet_bucket_is_left_alone_and_what_nobody_tells_is_seen_all_the_same() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let kv = bucket(&bus).await;
    let mut changes = kv.watch(None);
    let watching = tokio::spawn(async move {
        let mut next = async || changes.try_next().await.unwrap().unwrap();
        let (put, over) = (next().await, next().await);
        (put.value.is_some(), over.value.is_some())
    });
    let before = asked(&bus).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    // Pauses that double, to two seconds: a dozen. A follower that asks all the time would come to fifty.
    let times = asked(&bus).await - before;
    assert!(times <= 20, "asked {times} times");
    // The server deletes the key by itself and publishes nothing.
    kv.put_with_ttl("brief", Bytes::from_static(b"1"), Duration::from_secs(1)).await.unwrap();
    let seen = tokio::time::timeout(PATIENCE, watching).await.expect("both changes").unwrap();
    assert_eq!(seen, (true, false));
}

#[tokio::test]
async fn other_clients_read_and_write_the_same_bucket() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let kv = bucket(&bus).await;
    let theirs = bus.jetstream().get_key_value("carts").await.unwrap();
    let revision = kv.put("a.b", Bytes::from_static(b"1")).await.unwrap();
    let entry = theirs.entry("a=2Eb").await.unwrap().unwrap();
    assert_eq!((entry.revision, entry.value), (revision, Bytes::from_static(b"1")));
    theirs.update("a=2Eb", Bytes::from_static(b"2"), revision).await.unwrap();
    assert_eq!(value(&kv, "a.b").await.as_deref(), Some(&b"2"[..]));
    theirs.purge("a=2Eb").await.unwrap();
    assert_eq!(kv.get("a.b").await.unwrap(), None);
    kv.create("a.b", Bytes::from_static(b"3")).await.unwrap();
    kv.delete("a.b", None).await.unwrap();
    assert_eq!(theirs.get("a=2Eb").await.unwrap(), None);
    theirs.put("not.ours", Bytes::new()).await.unwrap();
    assert_eq!(kv.keys("", 10).await.unwrap(), [""; 0], "no key of ours");
}

#[tokio::test]
async fn a_time_to_live_is_rounded_up_to_whole_seconds() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let kv = bucket(&bus).await;
    for (ttl, stored) in [(60_000, "60s"), (60_001, "61s"), (60_999, "61s")] {
        let ttl = Duration::from_millis(ttl);
        let revision = kv.put_with_ttl("k", Bytes::new(), ttl).await.unwrap();
        let message = bus.message("KV_carts", revision).await.unwrap().unwrap();
        assert_eq!(campana_bus::headers::get(&message.headers, "Nats-TTL"), Some(stored));
    }
}
