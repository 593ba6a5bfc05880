//! NATS: the servers, their streams and consumers, as prometheus-nats-exporter names them.

use super::model::{Board, Panel, Row, common_variables};
use super::promql::{
    consumer, growth, increase_shown, max, of, per_second, server, stream, sum, with,
};

const LEADER: &str = "is_stream_leader=\"true\"";

pub fn board() -> Board {
    Board {
        slug: "nats",
        title: "Campana: NATS",
        about: "Have the servers room, and does every stream and consumer move?",
        variables: common_variables(),
        rows: vec![
            Row { title: "Servers", panels: servers() },
            Row { title: "JetStream", panels: jetstream() },
            Row { title: "Streams", panels: streams() },
            Row { title: "Consumers", panels: consumers() },
            Row { title: "Cluster, and the readings themselves", panels: cluster() },
        ],
        from: "now-1h",
        refresh: "10s",
    }
}

fn servers() -> Vec<Panel> {
    let varz = |title, unit, about, name| {
        Panel::lines(title, unit, about).query("{{server_name}}", server(name)).wide(6)
    };
    vec![
        varz(
            "CPU",
            "percent",
            "In percent of one core, as the server sees itself.",
            "nats_varz_cpu",
        ),
        varz("Memory", "bytes", "Resident memory of the server.", "nats_varz_mem"),
        varz("Connections", "short", "Clients of the server.", "nats_varz_connections"),
        varz("Subscriptions", "short", "Subscriptions of its clients.", "nats_varz_subscriptions"),
        Panel::lines("Messages in and out", "mps", "Into and out of the server, by its clients.")
            .query("in {{server_name}}", growth("server_name", "nats_varz_in_msgs", ""))
            .query("out {{server_name}}", growth("server_name", "nats_varz_out_msgs", "")),
        Panel::lines("Bytes in and out", "Bps", "Into and out of the server.")
            .query("in {{server_name}}", growth("server_name", "nats_varz_in_bytes", ""))
            .query("out {{server_name}}", growth("server_name", "nats_varz_out_bytes", "")),
        Panel::lines(
            "Slow consumers",
            "short",
            "Connections that the server cut because they read too slowly or went silent, since its start.",
        )
        .query("slow {{server_name}}", server("nats_varz_slow_consumers"))
        .query("stale {{server_name}}", server("nats_varz_stale_connections")),
        Panel::lines(
            "Connections of the platform",
            "ops",
            "What happened to them: connected, disconnected, slow and so on.",
        )
        .query("{{event}}", per_second("campana_nats_connection_events_total", "event")),
        Panel::states(
            "Embedded server",
            "The nats-server child of `campana up`.",
            &[("0", "down", "red"), ("1", "runs", "green")],
        )
        .query("{{instance}}", of("campana_nats_child_up")),
        Panel::stat(
            "Restarts of the embedded server",
            "short",
            "Starts of the child after the first, in the time shown.",
        )
        .query("restarts", sum("", &increase_shown(&of("campana_nats_restarts_total"))))
        .wide(8)
        .high(8)
        .colours("green", &[(0.5, "red")]),
    ]
}

fn jetstream() -> Vec<Panel> {
    let used = |part: &str| {
        format!(
            "max({} / {})",
            server(&format!("nats_varz_jetstream_stats_{part}")),
            server(&format!("nats_varz_jetstream_config_max_{part}"))
        )
    };
    vec![
        Panel::gauge(
            "Disk used",
            "percentunit",
            "Of what JetStream may use, on the fullest server. At 100 % publishes are refused.",
        )
        .query("used", used("storage"))
        .up_to(1.0)
        .wide(4)
        .colours("green", &[(0.7, "yellow"), (0.8, "red")]),
        Panel::gauge(
            "Memory used",
            "percentunit",
            "Of what JetStream may use for streams in memory.",
        )
        .query("used", used("memory"))
        .up_to(1.0)
        .wide(4)
        .colours("green", &[(0.7, "yellow"), (0.8, "red")]),
        Panel::lines("Disk", "bytes", "Bytes of all streams, by server.")
            .query("used {{server_name}}", server("nats_varz_jetstream_stats_storage"))
            .query(
                "reserved {{server_name}}",
                server("nats_varz_jetstream_stats_reserved_storage"),
            ),
        Panel::lines(
            "Questions to JetStream",
            "ops",
            "Calls of its API, and those that it answered with an error.",
        )
        .query(
            "calls {{server_name}}",
            growth("server_name", "nats_varz_jetstream_stats_api_total", ""),
        )
        .query(
            "errors {{server_name}}",
            growth("server_name", "nats_varz_jetstream_stats_api_errors", ""),
        ),
    ]
}

fn streams() -> Vec<Panel> {
    vec![
        Panel::lines("Coming in", "mps", "Messages stored per second, by stream.")
            .query("{{stream_name}}", growth("stream_name", "nats_stream_last_seq", LEADER)),
        Panel::lines(
            "Messages",
            "short",
            "Messages stored, by stream. Work queues should be near zero.",
        )
        .query("{{stream_name}}", stream("nats_stream_total_messages")),
        Panel::lines("Bytes", "bytes", "Bytes stored, by stream.")
            .query("{{stream_name}}", stream("nats_stream_total_bytes")),
        Panel::table(
            "Streams",
            "As their leaders tell it.",
            &[
                ("stream_name", "Stream"),
                ("server_name", "Leader"),
                ("Value #A", "Messages"),
                ("Value #B", "Bytes"),
                ("Value #C", "First"),
                ("Value #D", "Last"),
                ("Value #E", "Consumers"),
            ],
        )
        .query("", by_leader("nats_stream_total_messages"))
        .query("", by_leader("nats_stream_total_bytes"))
        .query("", by_leader("nats_stream_first_seq"))
        .query("", by_leader("nats_stream_last_seq"))
        .query("", by_leader("campana_stream_consumers"))
        .wide(24),
    ]
}

fn by_leader(name: &str) -> String {
    max("stream_name, server_name", &with(name, LEADER))
}

fn consumers() -> Vec<Panel> {
    let both = "{{stream_name}} {{consumer_name}}";
    vec![
        Panel::lines("Waiting", "short", "Messages not handed out yet.")
            .query(both, consumer("nats_consumer_num_pending")),
        Panel::lines("In hand", "short", "Messages handed out and not acknowledged.")
            .query(both, consumer("nats_consumer_num_ack_pending")),
        Panel::lines("Acknowledged", "mps", "How fast everything up to some message is done. A flat line at zero beside a lag is a consumer that stands still.")
            .query(both, growth("stream_name, consumer_name", "nats_consumer_ack_floor_stream_seq", "is_consumer_leader=\"true\"")),
        Panel::table("Consumers", "As their leaders tell it.", &[
            ("stream_name", "Stream"),
            ("consumer_name", "Consumer"),
            ("Value #A", "Waiting"),
            ("Value #B", "In hand"),
            ("Value #C", "Redelivered"),
            ("Value #D", "Pulls waiting"),
            ("Value #E", "Delivered"),
        ])
        .query("", consumer("nats_consumer_num_pending"))
        .query("", consumer("nats_consumer_num_ack_pending"))
        .query("", consumer("nats_consumer_num_redelivered"))
        .query("", consumer("nats_consumer_num_waiting"))
        .query("", consumer("nats_consumer_delivered_stream_seq"))
        .wide(24)
        .high(10),
    ]
}

fn cluster() -> Vec<Panel> {
    vec![
        Panel::lines("Copies missing", "short", "Copies of a stream that are not there, or are behind. With one missing of three nothing is lost yet.")
            .query("{{stream_name}}", format!(
                "{} - {}",
                max("stream_name", &of("campana_stream_replicas")),
                max("stream_name", &of("campana_stream_current_replicas"))
            )),
        Panel::lines("Streams without a leader", "short", "Nothing can be stored in them.")
            .query("streams", max("", &of("campana_nats_leaderless_streams"))),
        Panel::lines("Advisories", "ops", "What the servers say of their own accord, by kind.")
            .query("{{kind}}", per_second("campana_nats_advisories_total", "kind")),
        Panel::states("Readings", "Whether the last reading of NATS worked. If not, every panel above stands still.", &[
            ("0", "failed", "red"),
            ("1", "worked", "green"),
        ])
        .query("{{instance}}", of("campana_nats_collector_up"))
        .wide(6),
        Panel::states("Monitoring ports", "Whether they answer. Only servers that do are in the first row.", &[
            ("0", "silent", "red"),
            ("1", "answers", "green"),
        ])
        .query("{{url}}", of("campana_nats_monitor_up"))
        .wide(6),
        Panel::lines("Time of a reading", "s", "How long the last one took.")
            .query("{{instance}}", of("campana_nats_collector_last_duration_seconds"))
            .wide(6),
        Panel::lines("Left out", "short", "Streams and consumers without series of their own, because there are too many.")
            .query("left out", max("", &of("campana_nats_collector_left_out")))
            .wide(6),
    ]
}
