//! Faults of known size, and what the ledger must say about each.

use std::time::Duration;

use serde_json::Value;

use crate::fake::{Fake, Faults};
use crate::program::{Finished, sweep};

/// One warm-up wave and five measured ones of 100, with 1 % faults: 5 of 500 are measured.
async fn hundred(faults: Faults) -> (Finished, Value) {
    let fake = Fake::start(faults).await;
    let done = sweep(&fake, &["--waves", "100", "--repeat", "5"]).await;
    let step = done.run["steps"][0].clone();
    (done, step)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_percent_lost_reads_one_percent() {
    let (done, step) = hundred(Faults { lose_every: Some(100), ..Faults::default() }).await;
    let classes = &step["classes"];
    assert_eq!(
        (&classes["sent"], &classes["accepted"]),
        (&500.into(), &500.into()),
        "{}",
        done.stderr
    );
    assert_eq!((&classes["lost"], &classes["delivered"]), (&5.into(), &495.into()));
    assert_eq!(&step["by_channel"]["in_app"]["lost"], 5);
    assert_eq!(done.code, 0, "without a threshold a loss is a finding, not a failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_in_a_hundred_doubled_reads_so() {
    let (_, step) = hundred(Faults { double_every: Some(100), ..Faults::default() }).await;
    let classes = &step["classes"];
    assert_eq!((&classes["duplicate"], &classes["delivered"]), (&5.into(), &495.into()));
    assert_eq!(
        (&classes["lost"], &classes["reordered"], &classes["phantom"]),
        (&0.into(), &0.into(), &0.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_in_a_hundred_spoilt_reads_so() {
    let (_, step) = hundred(Faults { corrupt_every: Some(100), ..Faults::default() }).await;
    let classes = &step["classes"];
    assert_eq!((&classes["corrupt"], &classes["delivered"]), (&5.into(), &495.into()));
    assert_eq!(step["verdict"]["status"], "SUSPECT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_of_fifty_milliseconds_is_in_the_latency() {
    let delay = Duration::from_millis(50);
    let (_, step) = hundred(Faults { delay, ..Faults::default() }).await;
    let p50 = step["latency"]["in_app"]["intended"]["p50_ms"].as_f64().unwrap();
    let accepted = step["accept"]["intended"]["p50_ms"].as_f64().unwrap();
    assert!(p50 >= 50.0, "{p50}");
    assert!(p50 >= accepted, "the 202 ({accepted} ms) did not wait for the push ({p50} ms)");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_counted_by_status_and_503_apart() {
    let (_, step) = hundred(Faults { refuse_every: Some((50, 422)), ..Faults::default() }).await;
    assert_eq!((&step["classes"]["rejected"], &step["statuses"]["422"]), (&10.into(), &10.into()));
    assert_eq!(step["verdict"]["status"], "SUSPECT", "the warm-up had refusals, too");
    let (_, step) = hundred(Faults { refuse_every: Some((50, 503)), ..Faults::default() }).await;
    let classes = &step["classes"];
    assert_eq!((&classes["shed"], &classes["rejected"]), (&10.into(), &0.into()));
    assert_eq!(classes["delivered"], 490);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_disorder_are_seen() {
    let (_, step) = hundred(Faults { misdeliver_every: Some(100), ..Faults::default() }).await;
    assert_eq!(step["classes"]["delivered"], 500);
    let phantom = step["classes"]["phantom"].as_u64().unwrap();
    // The warm-up's stranger may be counted as well.
    assert!((5..=6).contains(&phantom), "{phantom}");
    assert_eq!(step["verdict"]["status"], "SUSPECT");
    let (_, step) = hundred(Faults { reorder_every: Some(100), ..Faults::default() }).await;
    let classes = &step["classes"];
    assert_eq!((&classes["delivered"], &classes["lost"]), (&500.into(), &0.into()));
    // A recipient's first publication cannot be out of order; the warm-up took care of that.
    assert_eq!(classes["reordered"], 5);
}
