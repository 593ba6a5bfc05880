//! What follows a dead letter has a bug: no consumer ends by it.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use campana_bus::consume::{self, BatchHandler, BatchOptions, Failure, Meta};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::testing::NatsServer;
use tokio::sync::mpsc;

use crate::consuming::{publish_orders, spec};

const PATIENCE: Duration = Duration::from_secs(60);

/// Refuses everything; what follows a dead letter has a bug the first time.
struct Clumsy(mpsc::UnboundedSender<u64>, Mutex<u32>);

impl BatchHandler for Clumsy {
    async fn handle(&self, _: Vec<(Bytes, Meta)>) -> Result<(), Failure> {
        Err(Failure::dead("no_stock", "none"))
    }

    async fn on_dead(&self, _: &Bytes, meta: &Meta, _: &str) -> Result<(), Failure> {
        let calls = {
            let mut calls = self.1.lock().unwrap();
            *calls += 1;
            *calls
        };
        assert!(calls > 1, "a bug in the handler of dead letters");
        let _ = self.0.send(meta.sequence);
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_after_a_dead_letter_ends_no_consumer_of_batches() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    publish_orders(&bus, 0..1).await;
    let (lifecycle, (send, mut seen)) = (Lifecycle::new(), mpsc::unbounded_channel());
    let running = tokio::spawn({
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        let options = BatchOptions { max: 10, wait: Duration::from_millis(1) };
        let handler = Clumsy(send, Mutex::new(0));
        async move { consume::run_batches(&bus, spec("clumsy"), options, handler, mine).await }
    });
    let again = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("it comes again");
    assert_eq!(again, Some(1), "the consumer goes on");
    lifecycle.soft.cancel();
    running.await.unwrap().unwrap();
}
