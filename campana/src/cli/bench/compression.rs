//! `campana bench compression`: what differences and permessage-deflate (RFC 7692) would save and cost at the edge.
//! Reads: nothing. Writes: nothing. Never: opens a socket; only encoders are measured.
//!
//! Two series of messages: an inbox, where every message is about something else, and a board, where little changes
//! from one message to the next. "Shared" encoders work once for all clients of a channel; a deflate context that is
//! kept between messages is one per connection.

use std::time::{Duration, Instant};

use campana_bus::clock;
use clap::Args;
use flate2::{Compress, Compression, FlushCompress};
use serde::Serialize;
use serde_json::json;

use super::edge::proc::rss_kib;
use crate::cli::{Global, output};

/// How to measure compression.
#[derive(Args)]
pub struct CompressionArgs {
    /// Messages of a series
    #[arg(long, default_value_t = 300)]
    messages: usize,
    /// Deflate contexts that are kept at the same time to see their memory
    #[arg(long, default_value_t = 1_000)]
    contexts: usize,
}

#[derive(Debug, Serialize)]
struct Row {
    series: &'static str,
    encoding: &'static str,
    /// Bytes of a message, on average.
    bytes: f64,
    /// Part of the plain message's bytes.
    ratio: f64,
    /// Time to encode one message once, in microseconds.
    encode_us: f64,
    /// Whether one encoding serves all clients of a channel.
    shared: bool,
}

pub async fn run(global: &Global, arguments: CompressionArgs) -> anyhow::Result<()> {
    let CompressionArgs { messages, contexts } = arguments;
    anyhow::ensure!(
        messages > 1 && contexts > 0,
        "messages must be at least 2, contexts at least 1"
    );
    let mut rows = Vec::new();
    for (series, list) in [("inbox", inbox(messages)), ("board", board(messages))] {
        rows.extend(measure(series, &list));
    }
    let context_kib = context_kib(contexts)?;
    if global.json {
        let report = json!({"rows": rows, "deflate_context_kib": context_kib});
        return output::json("bench_compression", &report);
    }
    let table = rows.iter().map(|row| {
        vec![
            row.series.to_owned(),
            row.encoding.to_owned(),
            format!("{:.0}", row.bytes),
            format!("{:.2}", row.ratio),
            format!("{:.1}", row.encode_us),
            if row.shared { "once" } else { "for each connection" }.to_owned(),
        ]
    });
    output::table(&["series", "encoding", "bytes", "ratio", "us", "encoded"], table.collect(), "")?;
    output::text(&format!(
        "a deflate context that is kept costs {context_kib:.0} KiB a connection ({contexts} measured)"
    ))
}

/// Notifications of a person: the same members, other values.
fn inbox(count: usize) -> Vec<String> {
    let subjects = ["Invoice", "Appointment", "Message", "Delivery", "Reminder", "Comment"];
    let message = |at: usize| {
        let subject = subjects[at * 7 % subjects.len()];
        let text =
            format!("{subject} number {} of today needs your attention, dear reader.", at * 7_919);
        json!({
            "type": "notification", "id": format!("dlv_{:032x}", at * 2_654_435_761),
            "notification_id": format!("ntf_{:032x}", at * 40_503), "title": subject, "body": text,
            "url": format!("/{}/{at}", subject.to_lowercase()),
            "created_at": format!("2026-11-21T12:{:02}:{:02}.123456Z", at / 60 % 60, at % 60),
        })
        .to_string()
    };
    (0..count).map(message).collect()
}

/// A board of forty players of whom two change.
fn board(count: usize) -> Vec<String> {
    let message = |at: usize| {
        let player = |number: usize| {
            let score = 100 + number * 13 + (at + number) / 20;
            json!({"name": format!("player {number}"), "score": score, "country": "Atlantis"})
        };
        json!({"round": at, "players": (0..40).map(player).collect::<Vec<_>>()}).to_string()
    };
    (0..count).map(message).collect()
}

fn measure(series: &'static str, list: &[String]) -> Vec<Row> {
    let plain = list.iter().map(String::len).sum::<usize>() as f64 / list.len() as f64;
    let mut kept = context();
    let mut previous = list[0].as_str();
    let row = |encoding, shared, (bytes, time): (usize, Duration)| {
        let bytes = bytes as f64 / list.len() as f64;
        let encode_us = time.as_secs_f64() * 1e6 / list.len() as f64;
        Row { series, encoding, bytes, ratio: bytes / plain, encode_us, shared }
    };
    vec![
        row("plain", true, each(list, |text| text.len())),
        row("deflate, new context", true, each(list, |text| deflate(&mut context(), text))),
        row("deflate, kept context", false, each(list, |text| deflate(&mut kept, text))),
        row(
            "difference (fossil)",
            true,
            each(list, |text| {
                let patch = fossil_delta::delta(text, previous).len();
                previous = text;
                patch.min(text.len())
            }),
        ),
    ]
}

fn each<'a>(list: &'a [String], mut encode: impl FnMut(&'a str) -> usize) -> (usize, Duration) {
    let started: Instant = clock::monotonic();
    let bytes = list.iter().map(|text| encode(text)).sum();
    (bytes, started.elapsed())
}

fn context() -> Compress {
    // No zlib header, as RFC 7692 says.
    Compress::new(Compression::fast(), false)
}

/// Bytes of one message, its end flushed and the last four bytes left out as RFC 7692 §7.2.1 says.
fn deflate(context: &mut Compress, text: &str) -> usize {
    let mut out = Vec::with_capacity(text.len() + 64);
    // The buffer is larger than the message: one call takes all of it.
    let _ = context.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync);
    out.len().saturating_sub(4)
}

/// Resident memory in KiB of one context that has seen messages.
fn context_kib(count: usize) -> anyhow::Result<f64> {
    let texts = inbox(4);
    let me = std::process::id();
    let before = rss_kib(me)?;
    let mut contexts: Vec<Compress> = (0..count).map(|_| context()).collect();
    for context in &mut contexts {
        for text in &texts {
            deflate(context, text);
        }
    }
    Ok((rss_kib(me)? - before).max(0.0) / count as f64)
}
