//! The Python client's own test suite, from its source distribution, against an edge.
//! Reads: `.tools/suites`, where `cargo xtask tools venv` puts it; fetched from the registry if it is not there.
//! Writes: temporary folders. Never: expects a test to fail.

use std::time::Duration;

use campana_tests::{Home, Process, command};
use serde_json::Value;

use super::{must_be_installed, python, sdk};

/// Every test by itself is ended sooner.
const ENDS_WITHIN: Duration = Duration::from_secs(300);
/// What the suite consists of: tests that talk to the edge, and modules that do not.
const UNITS: u64 = 85;

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_s_own_tests_pass() {
    must_be_installed();
    let home = Home::new().unwrap();
    let mut suite = Process::start("suite", &python(), home.path(), |suite| {
        suite.arg(sdk().join("official_python.py"));
        suite.arg("--campana").arg(command::campana().unwrap());
    })
    .unwrap();
    let status = suite.ended(ENDS_WITHIN).await;
    let said = || format!("{}\n{}", suite.output(), suite.log());
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{status:?}: {}", said());
    let output = suite.output();
    let sum: Value = serde_json::from_str(output.trim().lines().last().unwrap()).unwrap();
    assert_eq!((&sum["units"], &sum["passed"]), (&UNITS.into(), &UNITS.into()), "{output}");
}
