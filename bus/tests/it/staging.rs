//! Batches staged in memory by a real server: used, tended after a restart, and never needed.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use campana_bus::Bus;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{GroupPublisher, Outgoing};
use campana_bus::staging::Staging;
use campana_bus::testing::NatsServer;
use campana_bus::topology::CHANNELS;
use futures::future::join_all;

struct Bench {
    server: NatsServer,
    bus: Bus,
    publisher: GroupPublisher,
    staging: Staging,
    _lifecycle: Lifecycle,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.kill();
        self.staging.remove(&[CHANNELS]);
    }
}

async fn bench() -> Bench {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let lifecycle = Lifecycle::new();
    let publisher = GroupPublisher::start(&bus, CHANNELS, &lifecycle);
    let staging = Staging::of(&server.store_dir()).expect("a machine with /dev/shm");
    Bench { server, bus, publisher, staging, _lifecycle: lifecycle }
}

impl Bench {
    fn place(&self) -> PathBuf {
        self.server.store_dir().join("jetstream/$G/streams/CHANNELS/batches")
    }

    /// Publishes a group that goes as a batch; how many of it were stored.
    async fn publish(&self, round: usize) -> usize {
        let messages = (0..100).map(|index| {
            let subject = format!("ch.default.test.n{index}");
            self.publisher.publish(Outgoing::new(
                subject,
                format!("{round}-{index}"),
                Bytes::from("{}"),
            ))
        });
        join_all(messages).await.into_iter().filter(Result::is_ok).count()
    }

    async fn stored(&self) -> u64 {
        self.bus.position(CHANNELS).await.unwrap().messages
    }
}

/// Changes when something is made or removed in it.
fn touched(folder: &Path) -> std::time::SystemTime {
    fs::metadata(folder).unwrap().modified().unwrap()
}

#[tokio::test]
async fn batches_are_staged_in_memory_and_leave_nothing_there() {
    let bench = bench().await;
    assert_eq!(bench.staging.tend(&[CHANNELS]), 1);
    let memory = fs::read_link(bench.place()).unwrap();
    assert!(memory.starts_with("/dev/shm"), "{}", memory.display());
    let before = touched(&memory);
    assert_eq!((bench.publish(1).await, bench.stored().await), (100, 100));
    assert!(touched(&memory) > before, "no batch was there");
    assert_eq!(fs::read_dir(&memory).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_in_a_batch_is_tended_again_and_stores_everything_once() {
    let mut bench = bench().await;
    assert_eq!(bench.staging.tend(&[CHANNELS]), 1);
    assert_eq!(bench.publish(0).await, 100);
    for round in 1..=3 {
        let publisher = bench.publisher.clone();
        let publishing = tokio::spawn(async move {
            let messages = (0..2_000).map(|index| {
                let subject = format!("ch.default.test.n{index}");
                publisher.publish(Outgoing::new(
                    subject,
                    format!("{round}-{index}"),
                    Bytes::from("{}"),
                ))
            });
            join_all(messages).await.into_iter().filter(Result::is_ok).count()
        });
        tokio::time::sleep(std::time::Duration::from_millis(20 * round)).await;
        tokio::task::block_in_place(|| bench.server.restart()).unwrap();
        assert_eq!(publishing.await.unwrap(), 2_000);
        assert_eq!(bench.stored().await, 100 + 2_000 * round, "every message once");
        assert_eq!(bench.staging.tend(&[CHANNELS]), 1);
        assert!(fs::symlink_metadata(bench.place()).unwrap().is_symlink());
    }
}

#[tokio::test]
async fn without_the_folder_in_memory_messages_are_stored_all_the_same() {
    let bench = bench().await;
    assert_eq!(bench.staging.tend(&[CHANNELS]), 1);
    let memory = fs::read_link(bench.place()).unwrap();
    fs::remove_dir_all(memory.parent().unwrap()).unwrap();
    assert_eq!((bench.publish(1).await, bench.stored().await), (100, 100));
    assert_eq!(bench.staging.tend(&[CHANNELS]), 1);
    let before = touched(&memory);
    assert_eq!((bench.publish(2).await, bench.stored().await), (100, 200));
    assert!(touched(&memory) > before, "tending brings it back");
}
