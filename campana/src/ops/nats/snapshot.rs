//! What one reading of NATS found, as lines for Prometheus.
//! Reads: the server's own JSON. Writes: the text exposition format (version 0.0.4). Never: does I/O, keeps
//! anything of an earlier reading: the series of what was deleted are gone with the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use serde_json::Value;

use super::names::{self, Number};
use crate::ops::help;

/// Streams with series of their own.
const STREAMS_MAX: usize = 1_000;

/// Where a stream or consumer was found: the labels that come before its own.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub server_id: String,
    pub server_name: String,
    pub cluster: String,
    pub domain: String,
    pub meta_leader: String,
    pub account: String,
    pub account_id: String,
}

/// Labels of a server: those that prometheus-nats-exporter gives. Empty ones are as good as absent.
fn server_labels(place: &Place) -> Vec<(&'static str, &str)> {
    // A server without a cluster leads itself, as the exporter has it.
    let leads = place.meta_leader.is_empty() || place.meta_leader == place.server_name;
    vec![
        ("server_id", &place.server_id),
        ("server_name", &place.server_name),
        ("cluster", &place.cluster),
        ("domain", &place.domain),
        ("meta_leader", &place.meta_leader),
        ("is_meta_leader", if leads { "true" } else { "false" }),
    ]
}

/// A stream or a consumer under the labels it will have.
#[derive(Debug)]
struct Thing {
    /// What others of the same kind are sorted by when there are too many: durable ones first, then by name.
    rank: (bool, String),
    labels: Arc<str>,
    values: Vec<(&'static str, f64)>,
}

/// One reading.
#[derive(Debug, Default)]
pub struct Snapshot {
    samples: BTreeMap<&'static str, Vec<(Arc<str>, f64)>>,
    streams: Vec<Thing>,
    consumers: Vec<Thing>,
    seen: BTreeSet<String>,
    led: BTreeSet<String>,
}

impl Snapshot {
    /// One value.
    pub fn gauge(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.push(name, rendered(labels), value);
    }

    fn push(&mut self, name: &'static str, labels: Arc<str>, value: f64) {
        self.samples.entry(name).or_default().push((labels, value));
    }

    /// What a server says of itself.
    pub fn server(&mut self, place: &Place, table: &[Number], answer: &Value) {
        let labels = rendered(&server_labels(place));
        for (name, value) in numbers(table, answer) {
            self.push(name, Arc::clone(&labels), value);
        }
    }

    /// What the API says of the account.
    pub fn account(&mut self, place: &Place, answer: &Value) {
        let labels = rendered(&[("account", &place.account)]);
        let limits = limits(&names::ACCOUNT_LIMITS, answer);
        for (name, value) in numbers(&names::ACCOUNT, answer).into_iter().chain(limits) {
            self.push(name, Arc::clone(&labels), value);
        }
    }

    /// A stream as the server at `place` sees it. It is kept if that server leads it, so that a stream with
    /// three copies is counted once.
    pub fn stream(&mut self, place: &Place, stream: &Value) {
        let name = text(stream, &["/name", "/config/name"]);
        self.seen.insert(format!("{}/{name}", place.account));
        let Some(leader) = leader(stream, &place.server_name) else {
            return;
        };
        self.led.insert(format!("{}/{name}", place.account));
        let mut values = numbers(&names::STREAM, stream);
        values.extend(limits(&names::STREAM_LIMITS, stream));
        values.push((names::STREAM_CURRENT.0, current_replicas(stream)));
        let labels = rendered(&stream_labels(place, name, leader));
        self.streams.push(Thing { rank: (false, name.to_owned()), labels, values });
    }

    /// A consumer of `stream`, under the same rule.
    pub fn consumer(&mut self, place: &Place, stream: &Value, consumer: &Value) {
        let Some(consumer_leader) = leader(consumer, &place.server_name) else {
            return;
        };
        let (of, name) = (text(stream, &["/name", "/config/name"]), text(consumer, &["/name"]));
        let stream_leader = stream.pointer("/cluster/leader").and_then(Value::as_str);
        let mut labels = stream_labels(place, of, stream_leader.unwrap_or(consumer_leader));
        labels.extend([
            ("consumer_name", name),
            ("consumer_leader", consumer_leader),
            ("is_consumer_leader", "true"),
        ]);
        let mut values = numbers(&names::CONSUMER, consumer);
        values.extend(limits(&names::CONSUMER_LIMITS, consumer));
        let is_durable = !text(consumer, &["/config/durable_name"]).is_empty();
        let rank = (!is_durable, format!("{of}/{name}"));
        self.consumers.push(Thing { rank, labels: rendered(&labels), values });
    }

    /// Streams that are known to exist although nobody told of them.
    pub fn missing(&mut self, account: &str, name: &str) {
        self.seen.insert(format!("{account}/{name}"));
    }

    /// Names of the streams that were found.
    pub fn stream_names(&self) -> impl Iterator<Item = &str> {
        self.led.iter().filter_map(|name| name.split_once('/').map(|(_, name)| name))
    }

    /// Everything as text. Of more than `consumers_max` consumers the rest is only counted.
    pub fn finish(mut self, consumers_max: usize) -> String {
        for (kind, things, max) in [
            ("streams", std::mem::take(&mut self.streams), STREAMS_MAX),
            ("consumers", std::mem::take(&mut self.consumers), consumers_max),
        ] {
            let left_out = things.len().saturating_sub(max);
            self.gauge(names::LEFT_OUT, &[("kind", kind)], left_out as f64);
            self.take(things, max);
        }
        let leaderless = self.seen.difference(&self.led).count();
        self.gauge(names::LEADERLESS, &[], leaderless as f64);
        self.text()
    }

    fn take(&mut self, mut things: Vec<Thing>, max: usize) {
        things.sort_by(|a, b| a.rank.cmp(&b.rank));
        things.truncate(max);
        for Thing { labels, values, .. } in things {
            for (name, value) in values {
                self.push(name, Arc::clone(&labels), value);
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, samples) in &self.samples {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {}", help::of(name).replace('\\', "\\\\"));
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            let _ = writeln!(text, "# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
            text.push('\n');
        }
        text
    }
}

fn stream_labels<'a>(
    place: &'a Place,
    name: &'a str,
    leader: &'a str,
) -> Vec<(&'static str, &'a str)> {
    let mut labels = server_labels(place);
    labels.extend([
        ("account", place.account.as_str()),
        ("account_id", &place.account_id),
        ("stream_name", name),
        ("stream_leader", leader),
        ("is_stream_leader", if leader == place.server_name { "true" } else { "false" }),
    ]);
    labels
}

/// Who leads, if that is the server that was asked. Without a cluster nobody is named, and it is this one.
fn leader<'a>(thing: &'a Value, asked: &'a str) -> Option<&'a str> {
    match thing.get("cluster") {
        None | Some(Value::Null) => Some(asked),
        Some(cluster) => {
            cluster.get("leader").and_then(Value::as_str).filter(|leader| *leader == asked)
        }
    }
}

fn current_replicas(stream: &Value) -> f64 {
    let others = stream.pointer(names::STREAM_CURRENT.1).and_then(Value::as_array);
    let is = |peer: &Value, what: &str| peer.get(what).and_then(Value::as_bool).unwrap_or(false);
    let current =
        others.into_iter().flatten().filter(|peer| is(peer, "current") && !is(peer, "offline"));
    1.0 + current.count() as f64
}

/// Numbers at their places; what the server leaves out is 0, as in its own answers.
fn numbers(table: &[Number], answer: &Value) -> Vec<(&'static str, f64)> {
    table.iter().map(|(name, place)| (*name, number(answer.pointer(place)))).collect()
}

fn limits(table: &[Number], answer: &Value) -> Vec<(&'static str, f64)> {
    numbers(table, answer).into_iter().filter(|(_, limit)| *limit > 0.0).collect()
}

fn number(value: Option<&Value>) -> f64 {
    match value {
        Some(Value::Bool(yes)) => f64::from(u8::from(*yes)),
        // The server writes -1 as an unsigned number in some places: no limit, so 0.
        Some(value) if value.as_u64().is_some_and(|number| number > u64::MAX / 2) => 0.0,
        Some(value) => value.as_f64().unwrap_or_default(),
        None => 0.0,
    }
}

/// The first text that is there.
pub fn text<'a>(value: &'a Value, places: &[&str]) -> &'a str {
    places.iter().find_map(|place| value.pointer(place)?.as_str()).unwrap_or_default()
}

/// `{name="value",…}`, escaped.
fn rendered(labels: &[(&'static str, &str)]) -> Arc<str> {
    let mut text = String::new();
    for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    if text.is_empty() { Arc::from("") } else { Arc::from(format!("{{{text}}}")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(server: &str) -> Place {
        Place { server_name: server.to_owned(), account: "$G".to_owned(), ..Place::default() }
    }

    fn replicated(leader: &str) -> Value {
        json!({
            "name": "S", "config": {"num_replicas": 3, "max_bytes": -1, "max_msgs": 10},
            "state": {"messages": 7, "last_seq": 9},
            "cluster": {"leader": leader, "replicas": [
                {"name": "n1", "current": true}, {"name": "n2", "current": true, "offline": true}]},
        })
    }

    fn lines(text: &str, start: &str) -> Vec<String> {
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    #[test]
    fn a_stream_with_three_copies_is_counted_once_and_where_it_is_led() {
        let mut snapshot = Snapshot::default();
        for server in ["n0", "n1", "n2"] {
            snapshot.stream(&place(server), &replicated("n1"));
        }
        assert_eq!(snapshot.stream_names().collect::<Vec<_>>(), ["S"]);
        let text = snapshot.finish(10);
        let found = lines(&text, "nats_stream_total_messages{");
        assert_eq!(found.len(), 1, "{text}");
        assert!(found[0].ends_with("} 7") && found[0].contains("stream_leader=\"n1\""), "{text}");
        assert!(text.contains("campana_stream_max_messages{"));
        assert!(!text.contains("campana_stream_max_bytes"), "no limit, no series");
        assert!(lines(&text, "campana_stream_current_replicas{")[0].ends_with(" 2"));
        assert_eq!(
            lines(&text, "campana_nats_leaderless_streams"),
            ["campana_nats_leaderless_streams 0"]
        );
    }

    #[test]
    fn a_stream_that_nobody_leads_is_told() {
        let mut snapshot = Snapshot::default();
        for server in ["n0", "n1"] {
            let mut stream = replicated("");
            stream["cluster"].as_object_mut().unwrap().remove("leader");
            snapshot.stream(&place(server), &stream);
        }
        let text = snapshot.finish(10);
        assert!(text.contains("\ncampana_nats_leaderless_streams 1\n"), "{text}");
        assert!(!text.contains("nats_stream_total_messages"));
    }

    #[test]
    fn of_too_many_consumers_the_durable_ones_are_kept_and_the_rest_counted() {
        let mut snapshot = Snapshot::default();
        let stream = json!({"name": "S"});
        for n in 0..4 {
            let durable = if n == 3 { "d" } else { "" };
            let consumer = json!({
                "name": format!("c{n}"), "config": {"durable_name": durable, "max_ack_pending": 5},
                "num_pending": n, "paused": n == 3,
            });
            snapshot.consumer(&place("n0"), &stream, &consumer);
        }
        let text = snapshot.finish(2);
        let kept = lines(&text, "nats_consumer_num_pending{");
        assert_eq!(kept.len(), 2, "{text}");
        assert!(kept[0].contains("consumer_name=\"c3\"") && kept[1].contains("c0"), "{text}");
        assert!(text.contains("campana_nats_collector_left_out{kind=\"consumers\"} 2"));
        assert!(lines(&text, "campana_consumer_paused{")[0].ends_with(" 1"));
        assert!(lines(&text, "campana_consumer_max_ack_pending{")[0].ends_with(" 5"));
    }

    #[test]
    fn labels_are_escaped_and_unsigned_minus_one_is_no_number() {
        let labels = rendered(&[("a", "x\"y\\z\n"), ("b", "")]);
        assert_eq!(&*labels, "{a=\"x\\\"y\\\\z\\n\"}");
        assert_eq!(number(Some(&json!(u64::MAX))), 0.0);
        assert_eq!(number(Some(&json!(12))), 12.0);
    }
}
