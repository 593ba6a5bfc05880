//! A judged step against what others counted: messages in JetStream's streams, and what the
//! platform itself says it accepted, ended and gave up. Reads nats-server's monitor and the
//! platform's metrics; the comparison is pure. Nothing here changes a class but dead letters.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use crate::intake::Channel;
use crate::ledger::Book;
use crate::model::{Classes, Reconciled, Reconciliation, Step};
use crate::sampler::{Monitor, NatsReader};

const METRICS_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Stream of what browsers see: one message for each in-app delivery.
const CHANNELS: &str = "CHANNELS";
/// Stream of what workers send: one message for each delivery, more with retries.
const DELIVERIES: &str = "DELIVERIES";
const ACCEPTED: &str = "campana_notifications_accepted_total";
const DEAD: &str = "campana_dead_letters_total";
/// When the process began; several add up, and differ as well if one was started again.
const STARTED: &str = "process_start_time_seconds";
const ENDED: &str = "campana_notification_e2e_duration_seconds_count";
/// Counters that are shown as they are.
const SHOWN: [&str; 9] = [
    DEAD,
    "campana_edge_holes_total",
    "campana_edge_recoveries_total",
    "campana_edge_slow_cuts_total",
    "campana_messages_lost_total",
    "campana_nats_connection_events_total",
    "campana_possible_duplicates_total",
    "campana_provider_requests_total",
    "campana_repeats_dropped_total",
];

/// Where counters are read.
#[derive(Clone)]
pub struct Sources {
    nats: NatsReader,
    metrics: Option<(reqwest::Client, Url)>,
}

/// All counters at one moment; what could not be read is not there.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub monitor: Option<Monitor>,
    /// Sums by name, and `name/<channel>` for what has that label.
    pub metrics: Option<BTreeMap<String, f64>>,
}

impl Sources {
    /// Addresses of nats-server's monitor and of the platform's `/metrics`.
    pub fn new(monitor: Option<Url>, metrics: Option<Url>) -> Self {
        let client = reqwest::Client::builder().timeout(METRICS_TIMEOUT).build().ok();
        Self { nats: NatsReader::new(monitor), metrics: client.zip(metrics) }
    }

    /// The counters now.
    pub async fn read(&self) -> Reading {
        let metrics = async {
            let (client, url) = self.metrics.as_ref()?;
            let answer = client.get(url.clone()).send().await.ok()?.error_for_status().ok()?;
            Some(parse_metrics(&answer.text().await.ok()?))
        };
        let (monitor, metrics) = tokio::join!(self.nats.read(), metrics);
        Reading { monitor, metrics }
    }

    /// Compares a judged step with what was counted since `before`. The platform's own count
    /// comes behind the deliveries, so it is asked again until all agrees or the time is over.
    pub async fn reconcile(
        &self,
        before: &Reading,
        book: &Book,
        within: Duration,
    ) -> Reconciliation {
        let mut found = compare(before, &self.read().await, book);
        let again = async {
            while !found.checks.iter().all(|check| check.agrees) {
                tokio::time::sleep(LOOK_EVERY).await;
                found = compare(before, &self.read().await, book);
            }
        };
        // What still differs then is told.
        let _ = tokio::time::timeout(within, again).await;
        found
    }
}

/// Compares; the warm-up counts as well, because others do not know of it.
pub fn compare(before: &Reading, after: &Reading, book: &Book) -> Reconciliation {
    let mut found = Reconciliation::default();
    let lanes: Vec<(Channel, Classes)> = book
        .lanes
        .iter()
        .map(|lane| {
            let mut all = lane.classes.clone();
            all.add(&lane.warm_up);
            (lane.channel, all)
        })
        .collect();
    let sum = |pick: fn(&Classes) -> u64, of: fn(Channel) -> bool| -> u64 {
        lanes.iter().filter(|(channel, _)| of(*channel)).map(|(_, classes)| pick(classes)).sum()
    };
    let in_app = |channel| channel == Channel::InApp;
    if let (Some(before), Some(after)) = (&before.monitor, &after.monitor) {
        let grown = |stream: &str| {
            let at = |monitor: &Monitor| monitor.streams.get(stream).map(|one| one.last_seq);
            Some(at(after)?.saturating_sub(at(before)?))
        };
        let (mine, open) = (sum(|c| c.accepted, in_app), sum(|c| c.unknown, in_app));
        if let Some(other) = grown(CHANNELS).filter(|_| mine + open > 0) {
            found.checks.push(check("messages in CHANNELS", mine, other, open));
        }
        let sent = |channel| channel != Channel::InApp;
        let mine = sum(|c| c.accepted, sent);
        if let Some(other) = grown(DELIVERIES).filter(|_| mine > 0) {
            // Retries are messages, too.
            found.checks.push(check("messages in DELIVERIES, at least", mine, other, u64::MAX));
        }
        for (name, consumer) in &after.consumers {
            let was = before.consumers.get(name).copied().unwrap_or_default();
            let count = |one: &crate::sampler::Consumer| {
                one.delivered_consumer_seq.saturating_sub(one.delivered_stream_seq)
            };
            let again = count(consumer).saturating_sub(count(&was));
            if consumer.redelivered > 0 {
                found.counters.insert(format!("redelivering:{name}"), consumer.redelivered as f64);
            }
            if again > 0 && consumer.delivered_consumer_seq > consumer.delivered_stream_seq {
                found.counters.insert(format!("delivered again:{name}"), again as f64);
            }
        }
    }
    if let (Some(before), Some(after)) = (&before.metrics, &after.metrics) {
        metrics(before, after, book, &lanes, &mut found);
    }
    found
}

fn metrics(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    book: &Book,
    lanes: &[(Channel, Classes)],
    found: &mut Reconciliation,
) {
    // Counters of a process that was started again begin anew and say nothing.
    if before.get(STARTED) != after.get(STARTED) {
        return;
    }
    let grown = |name: &str| -> Option<u64> {
        let now = after.get(name)?;
        Some((now - before.get(name).copied().unwrap_or(0.0)).max(0.0).round() as u64)
    };
    // Requests are deliveries of one channel, divided by the size of a fan-out.
    let requests = book.requests + book.warm_up_requests;
    if let Some((_, first)) = lanes.first().filter(|_| requests > 0) {
        let each = (first.sent / requests).max(1);
        if let Some(other) = grown(ACCEPTED) {
            let (mine, open) = (first.accepted / each, first.unknown / each);
            found.checks.push(check("notifications accepted", mine, other, open));
        }
    }
    for (channel, classes) in lanes {
        let name = format!("{ENDED}/{}", channel.name());
        if let Some(other) = grown(&name) {
            let what = format!("{} deliveries ended", channel.name());
            found.checks.push(check(&what, classes.accepted, other, classes.unknown));
        }
    }
    if let Some(dead) = grown(DEAD) {
        let lost: u64 = lanes.iter().map(|(_, classes)| classes.lost + classes.unknown).sum();
        found.checks.push(Reconciled {
            what: "dead letters among the lost".to_owned(),
            ledger: lost,
            other: dead,
            agrees: dead <= lost,
        });
    }
    for name in SHOWN {
        if let Some(count) = grown(name).filter(|count| *count > 0) {
            found.counters.insert(name.to_owned(), count as f64);
        }
    }
}

fn check(what: &str, ledger: u64, other: u64, unknown: u64) -> Reconciled {
    let agrees = other >= ledger && other <= ledger.saturating_add(unknown);
    Reconciled { what: what.to_owned(), ledger, other, agrees }
}

/// Moves deliveries that the platform gave up from lost to dead: it has them and says so. By
/// channel only where one channel alone has lost any.
pub fn move_dead(step: &mut Step) {
    let dead = step.reconciliation.counters.get(DEAD).copied().unwrap_or(0.0) as u64;
    let count = dead.min(step.classes.lost);
    let mut losing: Vec<&mut Classes> =
        step.by_channel.values_mut().filter(|classes| classes.lost > 0).collect();
    let [one] = losing.as_mut_slice() else { return };
    let count = count.min(one.lost);
    for classes in [&mut **one, &mut step.classes] {
        classes.lost -= count;
        classes.dead += count;
    }
}

/// Sums a Prometheus text by name, and by name and channel.
fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    let wanted = |name: &str| [ACCEPTED, ENDED, STARTED].contains(&name) || SHOWN.contains(&name);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (labelled, value) = match line.rsplit_once(' ') {
            Some((labelled, value)) => (labelled, value.parse::<f64>()),
            None => continue,
        };
        let (name, labels) = labelled.split_once('{').unwrap_or((labelled, ""));
        let Ok(value) = value else { continue };
        if !wanted(name) {
            continue;
        }
        *sums.entry(name.to_owned()).or_default() += value;
        let channel = Channel::ALL
            .into_iter()
            .find(|channel| labels.contains(&format!("channel=\"{}\"", channel.name())));
        if let Some(channel) = channel {
            *sums.entry(format!("{name}/{}", channel.name())).or_default() += value;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{Event, Outcome};
    use crate::ledger::{Ledger, StepBooks, WarmUp};
    use crate::model::Kind;
    use crate::sampler::Stream;

    /// Three requests on two channels: one accepted and received, one accepted and lost by
    /// e-mail, one without an answer.
    fn book() -> Book {
        let mut ledger = Ledger::new(0);
        ledger.open_step(StepBooks {
            kind: Kind::Open,
            channels: vec![Channel::InApp, Channel::Email],
            fan_out: 1,
            deadline_ns: 1_000,
            warm_up: WarmUp::Until(3),
        });
        for slot in 0..3 {
            ledger.enter(Event::Sent {
                slot,
                wave: 0,
                recipient: 0,
                intended_ns: slot * 4,
                sent_ns: slot * 4,
            });
            let outcome = if slot == 2 {
                Outcome::Unknown { reason: "reset".to_owned() }
            } else {
                Outcome::Accepted { stamps: None }
            };
            ledger.enter(Event::Answered { slot, at_ns: 10, outcome });
        }
        for (slot, channel) in [(0, Channel::InApp), (0, Channel::Email), (1, Channel::InApp)] {
            ledger.enter(Event::Receipt {
                slot,
                channel,
                recipient: 0,
                at_ns: 20,
                offset: None,
                intact: true,
                recovered: false,
                stamps: None,
            });
        }
        ledger.close_step()
    }

    fn reading(channels: u64, deliveries: u64, text: &str) -> Reading {
        let stream = |last_seq| Stream { last_seq, ..Stream::default() };
        let streams = BTreeMap::from([
            (CHANNELS.to_owned(), stream(channels)),
            (DELIVERIES.to_owned(), stream(deliveries)),
        ]);
        let monitor = Monitor { streams, ..Monitor::default() };
        Reading { monitor: Some(monitor), metrics: Some(parse_metrics(text)) }
    }

    fn text(accepted: u64, ended: u64, dead: u64) -> String {
        format!(
            "# HELP x y\n{ACCEPTED}{{priority=\"high\"}} 1\n{ACCEPTED}{{priority=\"low\"}} {accepted}\n\
             {ENDED}{{channel=\"email\"}} {ended}\n{DEAD} {dead}\nother 7\n"
        )
    }

    #[test]
    fn what_agrees_and_what_does_not() {
        let before = reading(100, 50, &text(10, 4, 0));
        let book = book();
        assert!(book.sound(), "{book:?}");
        let good = compare(&before, &reading(103, 52, &text(12, 6, 1)), &book);
        assert_eq!(good.checks.len(), 5, "{good:?}");
        assert!(good.checks.iter().all(|check| check.agrees), "{good:?}");
        assert_eq!(good.counters[DEAD], 1.0);
        let bad = compare(&before, &reading(101, 51, &text(14, 8, 4)), &book);
        assert!(bad.checks.iter().all(|check| !check.agrees), "{bad:?}");
        let silent = compare(&Reading::default(), &reading(1, 1, ""), &book);
        assert!(silent.checks.is_empty());
        let mut step = Step { reconciliation: good, ..Step::default() };
        book.fill(&mut step);
        assert_eq!((step.classes.lost, step.by_channel["email"].lost), (1, 1));
        move_dead(&mut step);
        assert_eq!((step.classes.lost, step.classes.dead), (0, 1));
        assert_eq!(step.by_channel["email"].dead, 1);
        assert!(step.classes.balanced());
    }
}
