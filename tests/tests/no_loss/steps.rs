//! The worker is killed at every step of handling and settling a message.

use std::time::Duration;

use campana_bus::testing::NatsServer;
use campana_tests::ledger::{self, Entry, Fate};
use campana_tests::random::Random;
use campana_tests::stepper::plan::{Kill, every_kill};
use campana_tests::stepper::{HANDLER_DONE, HANDLER_STARTS, Stepper};
use campana_tests::{Process, eventually};
use futures::StreamExt;
use tokio::task::JoinSet;

use crate::world::{World, entries};

const ENTRIES: u64 = 2_400;
/// Entries stored ahead of each kill, so that every step comes soon.
const PER_KILL: u64 = 40;
const CRASHES: [u64; 2] = [100, 1_500];
const ONE_WITHIN: Duration = Duration::from_secs(60);
const ALL_WITHIN: Duration = Duration::from_secs(200);
const IN_FLIGHT: usize = 16;

/// Answers the worker at once at the start and at the end of every handler.
async fn answer_probes(client: async_nats::Client, tasks: &mut JoinSet<()>) {
    for subject in [HANDLER_STARTS, HANDLER_DONE] {
        let mut asked = client.subscribe(subject).await.unwrap();
        let client = client.clone();
        tasks.spawn(async move {
            while let Some(message) = asked.next().await {
                if let Some(reply) = message.reply {
                    let _ = client.publish(reply, bytes::Bytes::new()).await;
                }
            }
        });
    }
    client.flush().await.unwrap();
}

fn fate(id: u64) -> Fate {
    match id {
        // Stored first, so that their wait is over when the rest is.
        0..10 => Fate::Later,
        _ if CRASHES.contains(&id) => Fate::Crash,
        _ => ledger::mixed(id),
    }
}

/// A worker that ended by itself (an entry ends the process) is started again, as an operator's supervisor does.
struct Supervised<'a> {
    world: &'a World,
    stepper: Stepper,
    worker: Process,
    ended: usize,
}

impl Supervised<'_> {
    fn keep_alive(&mut self) {
        if self.worker.exit_status().unwrap().is_some() {
            self.ended += 1;
            self.start();
        }
    }

    fn start(&mut self) {
        self.worker = self.world.worker(&self.stepper.url(), true);
        self.stepper.worker(self.worker.pid());
    }

    /// Waits for the planned kill to happen.
    async fn until_killed(&mut self, kill: Kill) {
        self.stepper.plan(Some(kill));
        let told = tokio::time::timeout(ONE_WITHIN, async {
            loop {
                match tokio::time::timeout(Duration::from_millis(50), self.stepper.killed()).await {
                    Ok(happened) => break happened,
                    Err(_) => self.keep_alive(),
                }
            }
        })
        .await;
        let happened = told.unwrap_or_else(|_| panic!("{kill:?} was never reached"));
        assert_eq!(happened, Some(kill));
        self.worker.kill();
        self.start();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_any_step_loses_nothing_alone() {
    let mut random = Random::seeded("steps");
    let mut kills: Vec<Kill> =
        every_kill().into_iter().cycle().take(2 * every_kill().len()).collect();
    random.shuffle(&mut kills);
    let nats = NatsServer::start().unwrap();
    let bus = nats.bus_with_topology("ledger").await.unwrap();
    let mut tasks = JoinSet::new();
    answer_probes(bus.client().clone(), &mut tasks).await;
    let port = url::Url::parse(&nats.url()).unwrap().port().unwrap();
    let world = World::new();
    let stepper = Stepper::start(port).await.unwrap();
    let worker = world.worker(&stepper.url(), true);
    stepper.worker(worker.pid());
    let mut supervised = Supervised { world: &world, stepper, worker, ended: 0 };
    let mut all: Vec<Entry> = Vec::new();
    for kill in &kills {
        let more = entries(all.len() as u64, PER_KILL, fate);
        ledger::publish(&bus, more.clone()).await.unwrap();
        all.extend(more);
        supervised.until_killed(*kill).await;
    }
    let rest = entries(all.len() as u64, ENTRIES.saturating_sub(all.len() as u64), fate);
    ledger::publish(&bus, rest.clone()).await.unwrap();
    all.extend(rest);
    eventually("the rest", ALL_WITHIN, async || {
        supervised.keep_alive();
        ledger::settled(&bus, Duration::from_millis(1)).await.map(Some)
    })
    .await
    .unwrap();
    let outcome = ledger::outcome(&bus, &world.effects()).await.unwrap();
    println!(
        "{} entries, {} kills, {} crashes, {} repeated, {} parked",
        all.len(),
        kills.len(),
        supervised.ended,
        outcome.repeated(),
        outcome.parked.len()
    );
    outcome.check(&all).unwrap();
    assert_eq!(supervised.stepper.violations(), Vec::<String>::new());
    let deaths = kills.len() + supervised.ended;
    assert!(outcome.repeated() <= deaths * IN_FLIGHT, "{} repeated", outcome.repeated());
    assert!(all.len() as u64 >= 2_000);
}
