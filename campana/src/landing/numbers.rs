//! Pure: what the metrics say at one moment, and what two moments say of the time between them.
//! Reads: texts in Prometheus' exposition format, as this process renders them. Writes: nothing. Never: asks
//! anybody, reads a clock, or keeps a label that it does not know: what comes out is bounded by the lists here.

use std::collections::BTreeMap;
use std::time::Duration;

use campana_bus::topology::{DELIVERIES, OUTCOMES, REQUESTS};
use campana_notify::contracts::Channel;
use campana_notify::gateway::metrics::{ACCEPTED, REJECTED};
use campana_notify::recorder::{COMPLETED, E2E_SECONDS};
use campana_ws_edge::metrics::{CONNECTIONS, PUBLISH_LAG};
use serde::Serialize;

use crate::nats::CHILD_UP;
use crate::ops::nats::names::{
    ACCOUNT_STORAGE, COLLECTOR_UP, CONSUMER_ACK_PENDING, CONSUMER_PENDING, VARZ_JS_STORAGE,
};
use crate::ops::{DATABASE_UP, DLQ_MESSAGES};

/// Upper edges of a histogram's buckets and how many values lie below each, all labels together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets(BTreeMap<Edge, u64>);

/// An upper edge in seconds, as bits: positive doubles sort like their bits, infinity last.
type Edge = u64;

/// One channel since the start of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelTotals {
    /// Delivered, or taken by a provider.
    pub delivered: u64,
    /// Given up, and in the dead letters.
    pub failed: u64,
    /// From acceptance to that end.
    pub took: Buckets,
}

/// What the metrics say at one moment; counters are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Notifications answered with 202.
    pub accepted: u64,
    /// Notifications refused.
    pub refused: u64,
    /// In the order of `Channel::ALL`.
    pub channels: [ChannelTotals; Channel::ALL.len()],
    /// From the stream to the socket.
    pub push: Buckets,
    /// Browsers and other clients of the edge.
    pub clients: u64,
    /// Parked messages.
    pub dead_letters: u64,
    /// Not settled yet, by stream; empty while nobody measures NATS.
    pub waiting: BTreeMap<&'static str, u64>,
    /// Bytes that JetStream has on disk.
    pub stored_bytes: Option<u64>,
    /// Whether nats-server runs and answered the last reading.
    pub nats_up: bool,
    /// Whether the database answered the last health check.
    pub database_up: bool,
}

impl Totals {
    /// Everything that the process's own text and the collector's say.
    pub fn read(own: &str, collected: &str) -> Self {
        let mut totals = Self { nats_up: true, database_up: true, ..Self::default() };
        for sample in samples(own) {
            totals.own(&sample);
        }
        for sample in samples(collected) {
            totals.collected(&sample);
        }
        totals
    }

    fn own(&mut self, sample: &Sample<'_>) {
        let count = sample.count();
        match sample.name {
            ACCEPTED => self.accepted += count,
            REJECTED => self.refused += count,
            CONNECTIONS => self.clients += count,
            DLQ_MESSAGES => self.dead_letters += count,
            CHILD_UP => self.nats_up &= count > 0,
            DATABASE_UP => self.database_up &= count > 0,
            COMPLETED => {
                let outcome = sample.label("outcome");
                let Some(channel) = self.channel(sample) else { return };
                match outcome {
                    Some("delivered" | "sent") => channel.delivered += count,
                    Some("failed") => channel.failed += count,
                    _ => {}
                }
            }
            name if name.strip_suffix("_bucket") == Some(E2E_SECONDS) => {
                if let Some(channel) = self.channel(sample) {
                    channel.took.add(sample);
                }
            }
            name if name.strip_suffix("_bucket") == Some(PUBLISH_LAG) => self.push.add(sample),
            _ => {}
        }
    }

    fn collected(&mut self, sample: &Sample<'_>) {
        let count = sample.count();
        match sample.name {
            CONSUMER_PENDING | CONSUMER_ACK_PENDING => {
                let known = [REQUESTS, DELIVERIES, OUTCOMES];
                let stream = sample.label("stream_name");
                if let Some(&name) = known.iter().find(|known| Some(**known) == stream) {
                    *self.waiting.entry(name).or_default() += count;
                }
            }
            VARZ_JS_STORAGE | ACCOUNT_STORAGE => {
                self.stored_bytes = Some(self.stored_bytes.unwrap_or_default() + count);
            }
            COLLECTOR_UP => self.nats_up &= count > 0,
            _ => {}
        }
    }

    fn channel(&mut self, sample: &Sample<'_>) -> Option<&mut ChannelTotals> {
        let name = sample.label("channel")?;
        let at = Channel::ALL.iter().position(|channel| channel.as_str() == name)?;
        self.channels.get_mut(at)
    }

    /// All channels together.
    pub fn delivered(&self) -> u64 {
        self.channels.iter().map(|channel| channel.delivered).sum()
    }
}

/// Half of the deliveries took no longer than the first, all but one in a hundred no longer than the second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Buckets {
    fn add(&mut self, sample: &Sample<'_>) {
        let edge = sample.label("le").and_then(|text| match text {
            "+Inf" => Some(f64::INFINITY),
            number => number.parse().ok(),
        });
        if let Some(edge) = edge.filter(|edge| *edge > 0.0) {
            *self.0.entry(edge.to_bits()).or_default() += sample.count();
        }
    }

    /// What was counted since an earlier moment: estimates, linear within a bucket, as Prometheus makes them.
    pub fn since(&self, earlier: &Self) -> Option<Quantiles> {
        let counts: Vec<(f64, u64)> = self
            .0
            .iter()
            .map(|(edge, count)| {
                let before = earlier.0.get(edge).copied().unwrap_or_default();
                (f64::from_bits(*edge), count.saturating_sub(before))
            })
            .collect();
        let p50_ms = quantile(&counts, 0.5)?;
        Some(Quantiles { p50_ms, p99_ms: quantile(&counts, 0.99)? })
    }
}

/// In milliseconds. `counts` are cumulative; beyond the last finite edge that edge is all that is known.
fn quantile(counts: &[(f64, u64)], share: f64) -> Option<f64> {
    let all = counts.last()?.1;
    if all == 0 {
        return None;
    }
    let rank = share * all as f64;
    let (mut low, mut below) = (0.0, 0);
    for &(high, count) in counts {
        if count as f64 >= rank && count > below {
            let inside = (rank - below as f64) / (count - below) as f64;
            let seconds = if high.is_finite() { low + (high - low) * inside } else { low };
            return Some(rounded(seconds * 1_000.0));
        }
        (low, below) = (high, count);
    }
    None
}

/// Two digits behind the point are more than any estimate deserves.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Counted in between, for each second.
pub fn rate(later: u64, earlier: u64, between: Duration) -> f64 {
    if between.is_zero() {
        return 0.0;
    }
    rounded(later.saturating_sub(earlier) as f64 / between.as_secs_f64())
}

/// One line of the format: `name{label="value",…} 12`.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    /// A label's value; what would have to be unescaped is none of ours.
    fn label(&self, wanted: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        while let Some((name, after)) = rest.split_once("=\"") {
            let end = closing_quote(after)?;
            if name.trim_start_matches(',') == wanted {
                return Some(&after[..end]);
            }
            rest = &after[end + 1..];
        }
        None
    }

    /// A value that counts things.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "negative and broken numbers are 0, and nothing here counts beyond 2^53"
    )]
    fn count(&self) -> u64 {
        self.value.max(0.0) as u64
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.strip_suffix('}').unwrap_or(labels);
        Some(Sample { name, labels, value: value.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r#"# HELP campana_notifications_accepted_total notifications
campana_notifications_accepted_total{priority="normal"} 40
campana_notifications_accepted_total{priority="bulk"} 2
campana_notifications_rejected_total{reason="auth"} 3
campana_notifications_completed_total{channel="in_app",outcome="delivered"} 41
campana_notifications_completed_total{channel="email",outcome="sent"} 7
campana_notifications_completed_total{channel="email",outcome="failed"} 1
campana_notifications_completed_total{channel="pigeon",outcome="sent"} 9
campana_notification_e2e_duration_seconds_bucket{channel="in_app",le="0.001"} 10
campana_notification_e2e_duration_seconds_bucket{channel="in_app",le="0.002"} 90
campana_notification_e2e_duration_seconds_bucket{channel="in_app",le="+Inf"} 100
campana_notification_e2e_duration_seconds_sum{channel="in_app"} 1
campana_edge_connections{transport="websocket"} 5
campana_edge_connections{transport="sse"} 1
campana_dlq_messages{stream="DLQ"} 4
campana_nats_child_up 1
campana_database_up 0
campana_something_else{a="b \" channel=\"in_app\"} c"} 77
"#;
    const COLLECTED: &str = r#"nats_consumer_num_pending{stream_name="REQUESTS",consumer_name="dispatcher"} 12
nats_consumer_num_ack_pending{stream_name="REQUESTS",consumer_name="dispatcher"} 3
nats_consumer_num_pending{stream_name="EVENTS",consumer_name="shop"} 100
nats_varz_jetstream_stats_storage{server_name="n"} 4096
campana_nats_collector_up 1
"#;

    #[test]
    fn both_texts_are_read_and_strangers_are_not() {
        let totals = Totals::read(OWN, COLLECTED);
        assert_eq!((totals.accepted, totals.refused, totals.clients), (42, 3, 6));
        assert_eq!((totals.delivered(), totals.channels[1].failed), (48, 1));
        assert_eq!((totals.dead_letters, totals.stored_bytes), (4, Some(4096)));
        assert_eq!((totals.nats_up, totals.database_up), (true, false));
        assert_eq!(totals.waiting, BTreeMap::from([(REQUESTS, 15)]));
        let blind = Totals::read("campana_nats_child_up 0\n", "");
        assert!(!blind.nats_up && blind.waiting.is_empty() && blind.stored_bytes.is_none());
    }

    #[test]
    fn quantiles_are_of_what_came_in_between() {
        let totals = Totals::read(OWN, "");
        let took = &totals.channels[0].took;
        // 40 of the 80 in the second bucket are half of all: its middle.
        let all = took.since(&Buckets::default()).unwrap();
        assert_eq!(all, Quantiles { p50_ms: 1.5, p99_ms: 2.0 });
        assert_eq!(took.since(took), None, "nothing came");
        assert_eq!(Buckets::default().since(took), None);
    }

    #[test]
    fn rates_never_divide_by_nothing_and_never_fall_below_it() {
        assert_eq!(rate(30, 10, Duration::from_secs(8)), 2.5);
        assert_eq!(rate(30, 10, Duration::ZERO), 0.0);
        assert_eq!(rate(10, 30, Duration::from_secs(1)), 0.0);
    }

    #[test]
    fn a_label_is_found_behind_one_with_quotes() {
        let text = r#"m{a="x\\",b="y\"z",c="d"} 1"#;
        let sample = samples(text).next().unwrap();
        assert_eq!(sample.label("c"), Some("d"));
        assert_eq!(sample.label("z"), None);
    }
}
