//! The program. Reads: the command line. Writes: logs on standard error; with `--hash-password` a hash on standard
//! output. Never: does work of its own; the library does.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use campana_bus::lifecycle::Lifecycle;
use campana_bus::stop_on_signal;
use campana_clinic::options::Options;
use campana_clinic::{Clinic, passwords};
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

/// How long what is in hand may take after the signal to stop.
const GRACE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.hash_password {
        let mut password = String::new();
        std::io::stdin().take(1_024).read_to_string(&mut password)?;
        let hash = passwords::hash(password.trim_end_matches(['\r', '\n']))?;
        writeln!(std::io::stdout(), "{hash}")?;
        return Ok(());
    }
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let lifecycle = Lifecycle::new();
    Clinic::start(options, lifecycle.clone()).await?;
    tokio::select! {
        () = stop_on_signal() => {}
        () = lifecycle.soft.cancelled() => {}
    }
    lifecycle.stop(GRACE).await;
    match lifecycle.failure() {
        Some(why) => anyhow::bail!(why),
        None => Ok(()),
    }
}
