//! nats-server is killed, alone and as the leader of a cluster, while a ledger is worked off.

use std::time::Duration;

use campana_bus::testing::NatsServer;
use campana_bus::{Bus, topology};
use campana_tests::cluster::Cluster;
use campana_tests::ledger::{self, Fate};
use campana_tests::random::Random;

use crate::world::{World, entries};

const ENTRIES: u64 = 2_000;
const KILLS: u64 = 4;
const LEADER_KILLS: u64 = 2;
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

fn fate(id: u64) -> Fate {
    match ledger::mixed(id) {
        // A consumer's state is written some ten times a second: what was acknowledged last may come again.
        Fate::Slow => Fate::Done,
        other => other,
    }
}

/// Stores the entries in parts and does something harmful at a random place in each part.
async fn in_parts(bus: &Bus, parts: u64, random: &mut Random, mut harm: impl AsyncFnMut(u64)) {
    let each = ENTRIES / parts;
    for part in 0..parts {
        let at = random.between(1, each);
        let first = part * each;
        ledger::publish(bus, entries(first, at, fate)).await.unwrap();
        let rest = ledger::publish(bus, entries(first + at, each - at, fate));
        // The server dies and comes back while the rest is being published.
        let (published, ()) = tokio::join!(rest, harm(part));
        published.unwrap();
    }
}

async fn check(bus: &Bus, world: &World) {
    ledger::settled(bus, SETTLED_WITHIN).await.unwrap();
    let outcome = ledger::outcome(bus, &world.effects()).await.unwrap();
    println!("{} repeated, {} parked", outcome.repeated(), outcome.parked.len());
    outcome.check(&entries(0, ENTRIES, fate)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_nothing_alone() {
    let mut random = Random::seeded("server kills");
    let mut nats = NatsServer::start().unwrap();
    let bus = nats.bus_with_topology("ledger").await.unwrap();
    let world = World::new();
    let mut worker = world.worker(&nats.url(), false);
    ledger::begun(&bus, SETTLED_WITHIN).await.unwrap();
    in_parts(&bus, KILLS, &mut random, async |_| nats.restart().unwrap()).await;
    check(&bus, &world).await;
    worker.must_run().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_its_leader_loses_nothing_alone() {
    let mut random = Random::seeded("leader kills");
    let mut cluster = Cluster::start().await.unwrap();
    let bus = cluster.bus("ledger").await.unwrap();
    let world = World::new();
    let mut worker = world.worker(&cluster.url(), false);
    ledger::begun(&bus, SETTLED_WITHIN).await.unwrap();
    in_parts(&bus, LEADER_KILLS, &mut random, async |_| {
        cluster.whole(&bus, topology::EVENTS).await.unwrap();
        let leader = cluster.leader(&bus, topology::EVENTS).await.unwrap();
        cluster.kill(leader);
        // Not before the others took over: otherwise nobody would have missed it.
        campana_tests::eventually("another leader", SETTLED_WITHIN, async || {
            Ok((cluster.leader(&bus, topology::EVENTS).await? != leader).then_some(()))
        })
        .await
        .unwrap();
        cluster.restart(leader).unwrap();
    })
    .await;
    check(&bus, &world).await;
    worker.must_run().unwrap();
}
