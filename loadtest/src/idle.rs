//! What an idle connection costs the edge: opens many, waits until the memory of the edge's
//! process stands still, and divides. The harness's own memory is not part of the figure. The
//! platform must be fresh: what it freed earlier it would use again, at no visible cost.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::args::IdleArgs;
use crate::engine::session::seats;
use crate::failure::Failure;
use crate::intake::Intake;
use crate::limits;
use crate::procs;
use crate::progress;
use crate::receivers::Receivers;
use crate::target;
use crate::tokens;

const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOKS_MAX: u32 = 20;
/// Memory stands still when two looks differ by less than this share.
const STILL: f64 = 0.002;

/// The result, printed as JSON or text.
#[derive(Debug, Serialize)]
pub struct Idle {
    pub schema_version: u32,
    pub connections: u32,
    pub edge_pid: u32,
    pub rss_before_bytes: u64,
    pub rss_after_bytes: u64,
    pub rss_closed_bytes: u64,
    pub bytes_per_connection: u64,
    pub dropped: usize,
    pub open_files_limit: u64,
    /// Whether --max-bytes held; nothing if it was not given.
    pub pass: Option<bool>,
}

/// Opens, measures, closes.
pub async fn idle(arguments: &IdleArgs, stop: CancellationToken) -> Result<Idle, Failure> {
    let limit = limits::open_files();
    limits::require(u64::from(arguments.connections), limit)?;
    let target = target::find(&arguments.target)?;
    let pid = target.edge_pid().ok_or_else(|| {
        Failure::Usage("no process named campana runs on this machine to be measured".to_owned())
    })?;
    let run: u32 = rand::random();
    let users: Vec<String> =
        (0..arguments.connections).map(|index| format!("lt-idle-{run:08x}-{index}")).collect();
    let bar = progress::bar("tokens", users.len() as u64, false);
    let minted = tokio::select! {
        minted = tokens::mint(&target, &users, || bar.inc(1)) => minted?,
        () = stop.cancelled() => return Err(Failure::Failed("stopped".to_owned())),
    };
    bar.finish_and_clear();
    // Minting warms the gateway, which shares the process: measured after it, not before.
    let before = still(pid).await?;
    let bar = progress::bar("connections", users.len() as u64, false);
    let seats = seats(&target, minted)?;
    let intake = Arc::new(Intake::default());
    let receivers = Receivers::open(target.protocol, run, seats, intake, || bar.inc(1)).await?;
    bar.finish_and_clear();
    let after = still(pid).await?;
    let dropped = receivers.lost() as usize;
    receivers.close().await;
    let closed = still(pid).await?;
    let each = after.saturating_sub(before) / u64::from(arguments.connections);
    Ok(Idle {
        schema_version: 1,
        connections: arguments.connections,
        edge_pid: pid,
        rss_before_bytes: before,
        rss_after_bytes: after,
        rss_closed_bytes: closed,
        bytes_per_connection: each,
        dropped,
        open_files_limit: limit,
        pass: arguments.max_bytes.map(|bound| each <= bound && dropped == 0),
    })
}

/// Resident memory once it has stopped moving, or after ten seconds.
async fn still(pid: u32) -> Result<u64, Failure> {
    let read = || {
        procs::rss_bytes_of(pid)
            .ok_or_else(|| Failure::Connect(format!("process {pid} of the edge has ended")))
    };
    let mut last = read()?;
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = read()?;
        if now.abs_diff(last) as f64 <= last as f64 * STILL {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

impl Idle {
    /// As text.
    pub fn render(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let mut text = format!(
            "{} idle connections, each subscribed to its personal channel\n\
             edge memory (process {}): {:.1} MiB before, {:.1} MiB with them, {:.1} MiB after closing\n\
             {} bytes per connection ({:.1} KiB)\n\
             open files: limit {} here (ulimit -n)\n\
             Memory that the process had freed before is used again and makes the figure too small:\n\
             measure a platform that was just started.\n",
            self.connections,
            self.edge_pid,
            mib(self.rss_before_bytes),
            mib(self.rss_after_bytes),
            mib(self.rss_closed_bytes),
            self.bytes_per_connection,
            self.bytes_per_connection as f64 / 1024.0,
            self.open_files_limit,
        );
        if self.dropped > 0 {
            text += &format!("{} connections were lost meanwhile\n", self.dropped);
        }
        if let Some(pass) = self.pass {
            text += if pass { "the bound held\n" } else { "the bound was MISSED\n" };
        }
        text
    }
}
