//! The queue between spans that end anywhere and the one task that sends them.
//! Reads: ended spans. Writes: the collector, counters, at most one log line a minute. Never: waits where a span
//! ends, grows without limit, or ends the process for a collector's sake.

use std::time::{Duration, Instant};

use campana_bus::clock;
use metrics::counter;
use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Spans by what became of them: `exported`, `dropped` (the queue was full), `failed` (the collector did not take
/// them).
pub const SPANS: &str = "campana_trace_spans_total";

/// Failures in between are counted, not logged.
const FAILURE_LOG_PAUSE: Duration = Duration::from_secs(60);

/// Where spans go when they end.
#[derive(Debug)]
pub struct Queue {
    spans: Sender<SpanData>,
}

impl Queue {
    /// A queue for so many spans, and its other end.
    pub fn new(spans_max: usize) -> (Self, Receiver<SpanData>) {
        let (spans, ended) = mpsc::channel(spans_max);
        (Self { spans }, ended)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            counter!(SPANS, "result" => "dropped").increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        // The task sends all there is when the process ends; nobody else asks.
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends spans in batches.
pub struct Exporting {
    exporter: SpanExporter,
    spans: Receiver<SpanData>,
    batch_max: usize,
    interval: Duration,
    complained: Option<Instant>,
    stop: CancellationToken,
}

/// The task that sends.
pub struct Running {
    task: JoinSet<()>,
    stop: CancellationToken,
}

impl Exporting {
    /// `batch_max` spans at once; the first waits for company for at most `interval`.
    pub fn new(
        exporter: SpanExporter,
        spans: Receiver<SpanData>,
        batch_max: usize,
        interval: Duration,
    ) -> Self {
        let stop = CancellationToken::new();
        Self { exporter, spans, batch_max, interval, complained: None, stop }
    }

    /// Starts the task.
    pub fn start(self) -> Running {
        let stop = self.stop.clone();
        let mut task = JoinSet::new();
        task.spawn(self.run());
        Running { task, stop }
    }

    async fn run(mut self) {
        while !self.stop.is_cancelled() {
            let mut batch = Vec::new();
            let full = tokio::select! {
                _ = self.spans.recv_many(&mut batch, self.batch_max) => tokio::time::sleep(self.interval),
                () = self.stop.cancelled() => break,
            };
            tokio::pin!(full);
            while batch.len() < self.batch_max {
                let room = self.batch_max - batch.len();
                tokio::select! {
                    _ = self.spans.recv_many(&mut batch, room) => {}
                    () = &mut full => break,
                    () = self.stop.cancelled() => break,
                }
            }
            self.export(batch).await;
        }
        self.spans.close();
        loop {
            let mut rest = Vec::new();
            if self.spans.recv_many(&mut rest, self.batch_max).await == 0 {
                return;
            }
            self.export(rest).await;
        }
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        for result in ["exported", "dropped", "failed"] {
            // All of them from the first export on, so that panels are not empty before the first failure.
            counter!(SPANS, "result" => result).increment(0);
        }
        let count = batch.len() as u64;
        match self.exporter.export(batch).await {
            Ok(()) => counter!(SPANS, "result" => "exported").increment(count),
            Err(error) => {
                counter!(SPANS, "result" => "failed").increment(count);
                if self.complained.is_none_or(|at| at.elapsed() >= FAILURE_LOG_PAUSE) {
                    self.complained = Some(clock::monotonic());
                    tracing::warn!(
                        spans = count,
                        "the collector did not take the spans; check tracing.otlp_endpoint: {error}"
                    );
                }
            }
        }
    }
}

impl Running {
    /// Sends what is left; gives up after the time-out.
    pub async fn finish(mut self, timeout: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(timeout, self.task.join_next()).await.is_err() {
            tracing::warn!("the last spans could not be sent in time");
        }
    }
}
