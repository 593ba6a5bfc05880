//! `campana dlq redrive|edit|jobs|cancel`: giving dead letters back.
//! Reads: dead letters, redrive jobs. Writes: the same; progress on standard error if that is a terminal.
//! Never: redrives everything without being told so.
//!
//! One letter is redriven at once. Many are a job: this process works on it, and should it end (ctrl-C, a lost
//! connection) a keeper goes on; `--detach` leaves it to the keeper from the start.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use campana_bus::Bus;
use campana_bus::clock::{self, Micros};
use campana_bus::dlq::jobs::{self, Job, RedriveRequest, State};
use campana_bus::dlq::{self, Edit};
use campana_bus::ids::RedriveId;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::super::{Global, client, output};
use super::{FilterArgs, counted};
use crate::errors::usage;

/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Steps of the progress bar.
const STEPS: f64 = 1_000.0;

/// Options of `redrive`.
#[derive(Args)]
pub struct RedriveArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only say what would be redriven
    #[arg(long)]
    dry_run: bool,
    /// Redrive without naming an id or a filter
    #[arg(long)]
    all: bool,
    /// Messages per second at most, up to 5000
    #[arg(long, default_value_t = RedriveRequest::default().rate)]
    rate: u32,
    /// Stop if more than this part of what was redriven is parked again, 0 to 1
    #[arg(long, default_value_t = RedriveRequest::default().stop_ratio)]
    stop_ratio: f64,
    /// Redriven messages before that is looked at
    #[arg(long, default_value_t = RedriveRequest::default().stop_after)]
    stop_after: u64,
    /// Only start the job; a keeper does the work
    #[arg(long)]
    detach: bool,
}

pub async fn run(global: &Global, arguments: &RedriveArgs) -> anyhow::Result<()> {
    let filter = arguments.filter.filter();
    if filter.is_empty() && !arguments.all && !arguments.dry_run {
        return Err(usage(
            "name an id or a filter, or say --all; --dry-run shows what would be redriven",
        ));
    }
    let (_, bus) = client::bus(global).await?;
    if let (Some(id), false) = (filter.id, arguments.dry_run) {
        dlq::redrive_one(&bus, id, None).await?;
        return counted(global, "redriven", 1);
    }
    let request = RedriveRequest {
        filter,
        rate: arguments.rate,
        limit: arguments.filter.limit.map(|limit| limit as u64),
        dry_run: arguments.dry_run,
        stop_ratio: arguments.stop_ratio,
        stop_after: arguments.stop_after,
        requested_by: "campana dlq redrive".to_owned(),
    };
    request.check().map_err(|error| usage(error.to_string()))?;
    let id = jobs::start(&bus, request).await?;
    if arguments.detach {
        return if global.json {
            output::json("redrive_job", &id)
        } else {
            output::text(&format!("started {id}; campana dlq jobs {id} shows how it goes"))
        };
    }
    let job = tokio::select! {
        job = jobs::work_here(&bus, id) => job?,
        never = show_progress(&bus, id) => match never {},
    };
    report(global, &job)?;
    anyhow::ensure!(
        matches!(job.state, State::Done),
        "the job {id} is {}{}",
        job.state.as_str(),
        job.message.map(|why| format!(": {why}")).unwrap_or_default()
    );
    Ok(())
}

/// Draws until it is dropped; draws nothing if standard error is no terminal.
async fn show_progress(bus: &Bus, id: RedriveId) -> std::convert::Infallible {
    let bar = ProgressBar::new(STEPS as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    // Cleared when the work is done and this is dropped.
    let bar = bar.with_finish(indicatif::ProgressFinish::AndClear);
    loop {
        tokio::time::sleep(LOOK).await;
        if let Ok(Some(job)) = jobs::get(bus, id).await {
            bar.set_position((job.progress() * STEPS) as u64);
            bar.set_message(line(&job));
        }
    }
}

fn line(job: &Job) -> String {
    let counts = job.counts;
    let mut text = if job.request.dry_run {
        format!("found {}", counts.matched)
    } else {
        format!("redriven {}, parked again {}", counts.redriven, counts.refailed)
    };
    if let Some(left) = job.remaining(clock::now()) {
        text.push_str(&format!(", {} s left", left.as_secs()));
    }
    if let Some(why) = &job.message {
        text.push_str(&format!(", {why}"));
    }
    text
}

fn report(global: &Global, job: &Job) -> anyhow::Result<()> {
    if global.json {
        return output::json("redrive_job", &summary(job));
    }
    if job.request.dry_run {
        let rows = job
            .groups
            .iter()
            .map(|group| {
                let group = group.clone();
                vec![group.count.to_string(), group.stream, group.consumer, group.class]
            })
            .collect();
        output::table(&["COUNT", "STREAM", "CONSUMER", "CLASS"], rows, "no dead letters")?;
        return output::text(&format!("would be redriven: {}", job.counts.matched));
    }
    let counts = job.counts;
    output::text(&format!("redriven: {}", counts.redriven))?;
    for (count, what) in [
        (counts.claimed_by_others, "left to another job or operator"),
        (counts.failed, "refused by their stream, still parked"),
        (counts.refailed, "parked again meanwhile"),
    ] {
        if count > 0 {
            output::text(&format!("{what}: {count}"))?;
        }
    }
    Ok(())
}

/// What scripts see of a job.
fn summary(job: &Job) -> serde_json::Value {
    let time = |at: Option<Micros>| at.map(Micros::to_rfc3339);
    json!({
        "id": job.id,
        "state": job.state,
        "message": job.message,
        "dry_run": job.request.dry_run,
        "rate": job.request.rate,
        "filter": job.request.filter,
        "requested_by": job.request.requested_by,
        "created_at": job.created_at.to_rfc3339(),
        "started_at": time(job.started_at),
        "ended_at": time(job.ended_at),
        "progress": job.progress(),
        "remaining_seconds": job.remaining(clock::now()).map(|left| left.as_secs_f64()),
        "counts": job.counts,
        "groups": job.groups,
        "sample": job.sample,
    })
}

pub async fn edit(global: &Global, id: u64, body: &Path, note: String) -> anyhow::Result<()> {
    let bytes = if body == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)?;
        bytes
    } else {
        std::fs::read(body).with_context(|| format!("cannot read {}", body.display()))?
    };
    let (_, bus) = client::bus(global).await?;
    dlq::redrive_one(&bus, id, Some(Edit { body: Bytes::from(bytes), note })).await?;
    counted(global, "redriven", 1)
}

pub async fn jobs(global: &Global, id: Option<RedriveId>, limit: usize) -> anyhow::Result<()> {
    let (_, bus) = client::bus(global).await?;
    let found = match id {
        Some(id) => vec![jobs::get(&bus, id).await?.ok_or(dlq::DlqError::NoJob(id))?],
        None => jobs::list(&bus, limit).await?,
    };
    if global.json {
        return output::json("redrive_jobs", &found.iter().map(summary).collect::<Vec<_>>());
    }
    let rows = found
        .iter()
        .map(|job| {
            vec![
                job.id.to_string(),
                job.state.as_str().to_owned(),
                job.created_at.to_rfc3339(),
                format!("{:.0} %", job.progress() * 100.0),
                line(job),
            ]
        })
        .collect();
    output::table(&["ID", "STATE", "CREATED", "DONE", "RESULT"], rows, "no redrive jobs")
}

pub async fn cancel(global: &Global, id: RedriveId) -> anyhow::Result<()> {
    let (_, bus) = client::bus(global).await?;
    let job = jobs::cancel(&bus, id).await?;
    if global.json {
        return output::json("redrive_job", &summary(&job));
    }
    output::text(match job.state {
        State::Pending | State::Running => "canceling: the messages in hand are finished first",
        State::Canceled => "canceled",
        _ => "it has ended before",
    })
}
