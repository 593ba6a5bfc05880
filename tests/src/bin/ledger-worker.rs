//! A worker on the bus that does with each entry of a ledger what the entry says, and writes down that it did.
//! Reads: `NATS_URL`, `LEDGER_EFFECTS` (a file), the entries. Writes: that file, one line per effect, before
//! anything is settled; a line survives `kill -9` of this process. Never: keeps anything in memory.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use campana_bus::consume::{Backoff, ConsumerSpec, Failure, Meta, from_fn, run};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, subjects, topology};
use campana_tests::ledger::{DURABLE, EVENT, Entry, Fate, MAX_ATTEMPTS, SERVICE};
use campana_tests::stepper::{HANDLER_DONE, HANDLER_STARTS};

/// Short, so that what a killed worker held comes back soon; long enough for a busy machine.
const ACK_WAIT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bus = Bus::from_env("ledger-worker").await?;
    let effects = PathBuf::from(std::env::var("LEDGER_EFFECTS")?);
    let probed = std::env::var("LEDGER_PROBED").is_ok();
    let spec = ConsumerSpec {
        max_in_flight: 16,
        max_attempts: MAX_ATTEMPTS,
        ack_wait: ACK_WAIT,
        backoff: Backoff { first: Duration::from_millis(20), max: Duration::from_millis(200) },
        ..ConsumerSpec::new(topology::EVENTS, DURABLE, subjects::app_event_filter(SERVICE, EVENT))
    };
    let client = bus.clone();
    let handler = from_fn(move |entry: Entry, meta: Meta| {
        let (bus, effects) = (client.clone(), effects.clone());
        async move {
            probe(&bus, probed, HANDLER_STARTS).await;
            let result = act(&entry, &meta, &effects).await;
            probe(&bus, probed, HANDLER_DONE).await;
            result
        }
    });
    run(&bus, spec, handler, Lifecycle::new()).await?;
    Ok(())
}

/// Stands still until the test has seen the step.
async fn probe(bus: &Bus, probed: bool, subject: &'static str) {
    if probed {
        let _ = bus.client().request(subject, bytes::Bytes::new()).await;
    }
}

async fn act(entry: &Entry, meta: &Meta, effects: &PathBuf) -> Result<(), Failure> {
    let came_back = meta.subject.starts_with("_retry.");
    match entry.fate {
        Fate::Retry if meta.attempt == 1 => {
            return Err(Failure::retry_after(Duration::from_millis(30), "the first attempt"));
        }
        Fate::Defer if !came_back => {
            return Err(Failure::defer(Duration::from_millis(100), "not yet"));
        }
        Fate::Later if !came_back => {
            return Err(Failure::retry_after(Duration::from_millis(10_500), "much later"));
        }
        Fate::Dead => return Err(Failure::dead("as_told", "this entry is to be parked")),
        Fate::Crash => std::process::abort(),
        // Longer than the time between two heartbeats.
        Fate::Slow => tokio::time::sleep(ACK_WAIT / 2).await,
        Fate::Retry | Fate::Defer | Fate::Later | Fate::Done => {}
    }
    let written = std::fs::File::options()
        .create(true)
        .append(true)
        .open(effects)
        .and_then(|mut file| file.write_all(format!("{}\n", entry.id).as_bytes()));
    written.map_err(Failure::retry)
}
