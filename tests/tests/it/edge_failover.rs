//! Two edges behind a plain load balancer: one is drained, later the other is killed, both come back, while
//! messages are published all the time. Every client has every message exactly once, in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::Bus;
use campana_tests::edges::{self, Edges};
use campana_tests::eventually;
use campana_tests::follower::{Crowd, Follower};
use campana_tests::process::Signal;
use campana_tests::proxy::Proxy;
use campana_tests::random::Random;
use tokio::sync::watch;
use tokio::task::JoinSet;

const CLIENTS: usize = 150;
const CHANNELS: usize = 6;
const CHANNELS_OF_A_CLIENT: usize = 2;
const SOON: Duration = Duration::from_secs(60);
/// The whole story.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two messages of a channel: so few that a busy machine keeps up.
const PACE: Duration = Duration::from_millis(25);

const CONFIGURATION: &str = r#"
[edge]
drain_delay_ms = 1_500
drain_window_ms = 2_000
interest = "channel"
[[edge.namespaces]]
name = "room"
subscribe = ["authenticated"]
history_size = 100_000
"#;

fn channel(number: usize) -> String {
    format!("room:{}", number % CHANNELS)
}

/// Publishes to all channels until told to stop; gives how many messages each got.
async fn publish(bus: &Bus, stop: &watch::Receiver<bool>) -> Result<usize> {
    let mut number = 0;
    while !*stop.borrow() {
        for one in 0..CHANNELS {
            edges::publish(bus, &channel(one), &number.to_string(), number).await?;
        }
        number += 1;
        tokio::time::sleep(PACE).await;
    }
    Ok(usize::try_from(number)?)
}

/// Waits until so many connections went through the proxy to a backend, more than before.
async fn taken(proxy: &Proxy, number: usize, more_than: usize) -> Result<()> {
    eventually("clients on the other edge", SOON, async || {
        Ok((proxy.carried()[number] > more_than).then_some(()))
    })
    .await
}

/// Somebody asks the load balancer's question: is this edge ready?
async fn is_ready(edges: &Edges, number: usize) -> Result<bool> {
    Ok(edges.ops(number, "/readyz").await?.0 == 200)
}

async fn tell_the_story(
    edges: &mut Edges,
    proxy: &Proxy,
    crowd: &Crowd,
    random: &mut Random,
) -> Result<()> {
    let pause = |random: &mut Random| Duration::from_millis(random.between(200, 1_200));
    tokio::time::sleep(pause(random)).await;
    // Drained: not ready first, open still, and then all its clients are sent away.
    let before = (proxy.carried(), edges.metric(0, CONNECTIONS).await?);
    ensure!(before.1 > 0.0, "no client is on the first edge");
    edges.nodes[0].process.signal(Signal::TERM)?;
    eventually("an edge that is not ready", SOON, async || {
        Ok((!is_ready(edges, 0).await?).then_some(()))
    })
    .await?;
    ensure!(edges.metric(0, "campana_edge_draining").await? > 0.0, "it says that it drains");
    edges.ended(0).await?;
    let away = crowd.sent_away.load(Ordering::Relaxed);
    eventually("everybody who was on it", SOON, async || {
        Ok((crowd.sent_away.load(Ordering::Relaxed) as f64 >= before.1).then_some(()))
    })
    .await
    .with_context(|| format!("{away} of {} were sent away", before.1))?;
    taken(proxy, 1, before.0[1]).await?;
    edges.restart(0).await?;
    tokio::time::sleep(pause(random)).await;
    // Killed: nobody is told anything.
    let before = proxy.carried();
    edges.kill(1);
    taken(proxy, 0, before[0]).await?;
    tokio::time::sleep(pause(random)).await;
    edges.restart(1).await?;
    tokio::time::sleep(pause(random)).await;
    // Both again, the other way round and at once.
    edges.kill(0);
    edges.restart(0).await?;
    tokio::time::sleep(pause(random)).await;
    Ok(())
}

const CONNECTIONS: &str = "campana_edge_connections{transport=\"websocket\"}";

#[tokio::test(flavor = "multi_thread")]
async fn every_client_has_every_message_once_whatever_happens_to_the_edges() {
    let mut random = Random::seeded("two edges behind a proxy");
    let mut edges = Edges::start(2, CONFIGURATION).await.unwrap();
    let addresses = edges.nodes.iter().map(|edge| edge.address).collect();
    let proxy = Proxy::start(addresses).await.unwrap();
    let (crowd, (total, known)) = (Arc::new(Crowd::default()), watch::channel(None));
    let mut followers = JoinSet::new();
    for number in 0..CLIENTS {
        let channels: Vec<String> =
            (0..CHANNELS_OF_A_CLIENT).map(|more| channel(number + more)).collect();
        let token = Edges::token(&format!("user-{number}")).unwrap();
        let url = Edges::url(proxy.address);
        let follower = Follower::new(&url, token, &channels, &crowd, random.clone());
        random.next_number();
        followers.spawn(follower.follow(known.clone()));
    }
    let everybody = CLIENTS * CHANNELS_OF_A_CLIENT;
    eventually("all subscriptions", SOON, async || {
        Ok((crowd.ready.load(Ordering::Relaxed) == everybody).then_some(()))
    })
    .await
    .unwrap();
    let (stop, stopped) = watch::channel(false);
    // The story changes the edges; who publishes needs only the bus.
    let bus = edges.bus.clone();
    let story = async {
        let told = tell_the_story(&mut edges, &proxy, &crowd, &mut random).await;
        let _ = stop.send(true);
        told
    };
    let (told, count) =
        tokio::time::timeout(LIMIT, async { tokio::join!(story, publish(&bus, &stopped)) })
            .await
            .unwrap();
    told.unwrap();
    let count = count.unwrap();
    total.send(Some(count)).unwrap();
    let everything: Vec<u64> = (0..count as u64).collect();
    let ends = async {
        while let Some(followed) = followers.join_next().await {
            let followed = followed.unwrap().unwrap();
            assert_eq!(followed.len(), CHANNELS_OF_A_CLIENT);
            for (channel, data) in followed {
                assert_eq!(data, everything, "{channel}");
            }
        }
    };
    tokio::time::timeout(LIMIT, ends).await.unwrap();
    assert!(count > 50 && crowd.ends.load(Ordering::Relaxed) > CLIENTS);
    edges.stop().await.unwrap();
}
