//! A judged step against what others counted: rows of this run in the database, messages in
//! JetStream's streams, and what the platform itself says it accepted, ended and gave up. Reads the
//! platform's API and metrics and nats-server's monitor; the comparison is pure. Nothing here
//! changes a class but dead letters. Rows are this run's alone; everything else counts what others
//! send as well, so that a surplus there says nothing of this run.

mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock::now_ns;
use crate::intake::Channel;
use crate::ledger::Book;
use crate::model::{Classes, Reconciled, Reconciliation, Step};
use crate::sampler::{Monitor, NatsReader};
use crate::target::Target;
use rows::{Rows, RowsReader};

const METRICS_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long counts that still grow are waited for.
const LONGEST: Duration = Duration::from_secs(120);
/// Stream of what browsers see: one message for each in-app delivery.
const CHANNELS: &str = "CHANNELS";
/// Stream of what workers send: one message for each delivery, more with retries.
const DELIVERIES: &str = "DELIVERIES";
const ACCEPTED: &str = "campana_notifications_accepted_total";
const DEAD: &str = "campana_dead_letters_total";
/// When the process began; several add up, and differ as well if one was started again.
const STARTED: &str = "process_start_time_seconds";
const ENDED: &str = "campana_notification_e2e_duration_seconds_count";
/// Rows of notifications in this key's tenant that this run did not send.
pub const OTHERS: &str = "notifications of other senders";
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
    rows: Option<RowsReader>,
    stop: CancellationToken,
}

/// All counters at one moment; what could not be read is not there.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub monitor: Option<Monitor>,
    /// Sums by name, and `name/<channel>` for what has that label.
    pub metrics: Option<BTreeMap<String, f64>>,
    /// From when on rows are counted: the same moment before and after a step.
    since: String,
    /// This run's.
    rows: Option<Rows>,
    /// Everybody's of this key's tenant.
    all_rows: Option<Rows>,
}

impl Sources {
    /// Those of a target, for the run with this number.
    pub fn new(target: &Target, run: u32) -> Self {
        let client = reqwest::Client::builder().timeout(METRICS_TIMEOUT).build().ok();
        Self {
            nats: NatsReader::new(target.nats_monitor.clone()),
            metrics: client.zip(target.metrics.clone()),
            rows: RowsReader::new(target, run),
            stop: CancellationToken::new(),
        }
    }

    /// Once the run is being stopped, nothing is waited for long.
    pub fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// None at all, for one of several generators: the one that leads asks for all of them.
    pub fn none() -> Self {
        Self {
            nats: NatsReader::new(None),
            metrics: None,
            rows: None,
            stop: CancellationToken::new(),
        }
    }

    /// The counters before a step.
    pub async fn read(&self) -> Reading {
        let since = rows::since();
        let mut reading = self.read_since(since.clone(), true).await;
        reading.all_rows = self.all_rows(&since).await;
        reading
    }

    async fn all_rows(&self, since: &str) -> Option<Rows> {
        self.rows.as_ref()?.of_all(since).await
    }

    async fn read_since(&self, since: String, with_rows: bool) -> Reading {
        let metrics = async {
            let (client, url) = self.metrics.as_ref()?;
            let answer = client.get(url.clone()).send().await.ok()?.error_for_status().ok()?;
            Some(parse_metrics(&answer.text().await.ok()?))
        };
        let rows = async { self.rows.as_ref().filter(|_| with_rows)?.of_run(&since).await };
        let (monitor, metrics, rows) = tokio::join!(self.nats.read(), metrics, rows);
        Reading { monitor, metrics, since, rows, all_rows: None }
    }

    /// Compares a judged step with what was counted since `before`. The platform's own count
    /// comes behind the deliveries, so it is asked again until all agrees, until nothing has come
    /// for so long, or until [`LONGEST`] (`within`, once the run is being stopped).
    pub async fn reconcile(
        &self,
        before: &Reading,
        book: &Book,
        within: Duration,
    ) -> Reconciliation {
        let started_ns = now_ns();
        let since = |moment: u64| Duration::from_nanos(now_ns().saturating_sub(moment));
        let (mut least, mut moved_ns) = (u64::MAX, started_ns);
        let mut growing;
        // Counting rows is work for the platform's database: not before all else has agreed.
        let mut with_rows = false;
        let (mut after, mut found);
        loop {
            after = self.read_since(before.since.clone(), with_rows).await;
            found = compare(before, &after, book);
            let missing = missing(&found);
            if missing < least {
                (least, moved_ns) = (missing, now_ns());
            }
            let most = if self.stop.is_cancelled() { within } else { LONGEST };
            growing = missing > 0 && since(moved_ns) <= within && since(started_ns) > most;
            if missing == 0 || growing || since(moved_ns) > within {
                if with_rows {
                    break;
                }
                (with_rows, least, moved_ns) = (true, u64::MAX, now_ns());
                continue;
            }
            // What is long in coming is a lot, and counting it takes the platform's time.
            tokio::time::sleep(LOOK_EVERY.max(since(started_ns) / 10)).await;
        }
        if found.checks.iter().any(Reconciled::others) {
            after.all_rows = self.all_rows(&before.since).await;
            found = compare(before, &after, book);
        }
        for check in &mut found.checks {
            check.growing = growing && !check.agrees && !check.others();
        }
        found
    }
}

/// What has not been counted yet. A surplus is none: it does not become less by waiting.
fn missing(found: &Reconciliation) -> u64 {
    let waited = found.checks.iter().filter(|check| !check.agrees && !check.others());
    // One more, because a check can disagree although its numbers are the same.
    waited.map(|check| check.ledger.abs_diff(check.other).saturating_add(1)).sum()
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
    rows_of_run(before, after, book, &lanes, &mut found);
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
    if let (Some((mine, open)), Some(other)) = (requests(book, lanes), grown(ACCEPTED)) {
        found.checks.push(check("notifications accepted", mine, other, open));
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
            ..Reconciled::default()
        });
    }
    for name in SHOWN {
        if let Some(count) = grown(name).filter(|count| *count > 0) {
            found.counters.insert(name.to_owned(), count as f64);
        }
    }
}

/// Requests that were accepted, and those of which nobody knows: deliveries of one channel, divided by the
/// size of a fan-out.
fn requests(book: &Book, lanes: &[(Channel, Classes)]) -> Option<(u64, u64)> {
    let requests = book.requests + book.warm_up_requests;
    let (_, first) = lanes.first().filter(|_| requests > 0)?;
    let each = (first.sent / requests).max(1);
    Some((first.accepted / each, first.unknown / each))
}

/// What this run left in the database, and what others did meanwhile.
fn rows_of_run(
    before: &Reading,
    after: &Reading,
    book: &Book,
    lanes: &[(Channel, Classes)],
    found: &mut Reconciliation,
) {
    let (Some(was), Some(now)) = (&before.rows, &after.rows) else { return };
    let mut push = |what: &str, ledger: u64, (was, now): (u64, u64), unknown: u64| {
        let other = now.saturating_sub(was);
        found.checks.push(Reconciled { of_run: true, ..check(what, ledger, other, unknown) });
    };
    if let Some((mine, open)) = requests(book, lanes) {
        push("rows of notifications", mine, (was.notifications(), now.notifications()), open);
    }
    for (channel, classes) in lanes {
        let name = channel.name();
        let both = |of: fn(&Rows, &str) -> u64| (of(was, name), of(now, name));
        let what = format!("rows of {name} deliveries");
        push(&what, classes.accepted, both(Rows::deliveries), classes.unknown);
        // What was not received may all the same have been handed over.
        let received = classes.delivered + classes.late + classes.duplicate + classes.corrupt;
        let open = (classes.accepted + classes.unknown).saturating_sub(received);
        push(&format!("{what} that arrived"), received, both(Rows::arrived), open);
        for (status, count) in now.deliveries.get(name).into_iter().flatten() {
            let was = was.deliveries.get(name).and_then(|all| all.get(status)).copied();
            let grown = count.saturating_sub(was.unwrap_or(0));
            if grown > 0 {
                found.counters.insert(format!("rows of {name}: {status}"), grown as f64);
            }
        }
    }
    if let (Some(all_was), Some(all_now)) = (&before.all_rows, &after.all_rows) {
        let others =
            |all: &Rows, mine: &Rows| all.notifications().saturating_sub(mine.notifications());
        let sent = others(all_now, now).saturating_sub(others(all_was, was));
        found.counters.insert(OTHERS.to_owned(), sent as f64);
    }
}

fn check(what: &str, ledger: u64, other: u64, unknown: u64) -> Reconciled {
    let agrees = other >= ledger && other <= ledger.saturating_add(unknown);
    Reconciled { what: what.to_owned(), ledger, other, agrees, ..Reconciled::default() }
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
