//! The overview: is it working, for an operator, on one screen.

use super::model::{Board, Panel, Row, common_variables};
use super::promql::{
    cells, consumer, max, of, or_zero, per_second, per_second_where, quantile, quantile_of, rate,
    share_below, sum, total, with,
};

const COMPLETED: &str = "campana_notifications_completed_total";
const E2E: &str = "campana_notification_e2e_duration_seconds";
const GOOD: &str = "outcome=~\"delivered|sent\"";
/// The promise that the error budget is counted against.
const OBJECTIVE: &str = "0.999";

pub fn board() -> Board {
    Board {
        slug: "overview",
        title: "Campana: overview",
        about: "Is it working? Accepted, delivered, how fast, what waits, what failed.",
        variables: common_variables(),
        rows: vec![
            Row { title: "Now", panels: now() },
            Row { title: "Traffic", panels: traffic() },
            Row { title: "Time until delivered", panels: durations() },
            Row { title: "What waits, what failed", panels: trouble() },
            Row { title: "Processes", panels: processes() },
        ],
        from: "now-1h",
        refresh: "10s",
    }
}

fn now() -> Vec<Panel> {
    vec![
        Panel::stat("Accepted", "reqps", "Notifications answered with 202, per second.")
            .query("accepted", per_second("campana_notifications_accepted_total", "")),
        Panel::stat(
            "Delivered or sent",
            "percentunit",
            "Share of deliveries that ended well. Suppressed and canceled ones are left out: they ended as they should.",
        )
        .query("good", format!("{} / {}", good("$__rate_interval"), ended("$__rate_interval")))
        .up_to(1.0)
        .decimals(2)
        .colours("red", &[(0.99, "yellow"), (0.999, "green")]),
        Panel::stat("In-app, p99", "s", "99 % of in-app notifications are on the person's channel within this time, counted from acceptance.")
            .query("p99", quantile_of("0.99", &rate(&with(&format!("{E2E}_bucket"), "channel=\"in_app\"")), ""))
            .colours("green", &[(0.2, "yellow"), (0.5, "red")]),
        Panel::stat("In-app within 200 ms", "percentunit", "Share of in-app notifications that were on the person's channel within 200 ms. Exact: a bucket ends there.")
            .query("share", share_below(E2E, "channel=\"in_app\"", "0.2"))
            .up_to(1.0)
            .decimals(2)
            .colours("red", &[(0.9, "yellow"), (0.99, "green")]),
        Panel::stat("Waiting", "short", "Messages stored and not handed to a consumer yet.")
            .query("waiting", sum("", &consumer("nats_consumer_num_pending")))
            .colours("green", &[(1_000.0, "yellow"), (10_000.0, "red")]),
        Panel::stat("Dead letters", "short", "Messages that were given up and wait for an operator.")
            .query("dead letters", max("", &of("campana_dlq_messages")))
            .colours("green", &[(1.0, "orange")]),
        Panel::stat("Clients connected", "short", "Connections of browsers and apps to all edges.")
            .query("clients", total("campana_edge_connections", "")),
        Panel::stat("Alerts firing", "short", "Alerts of the rules in `dashboards/prometheus/rules` that fire now, without the watchdog, which always does.")
            .query("firing", or_zero("count(ALERTS{alertstate=\"firing\",alertname!=\"Watchdog\"})"))
            .colours("green", &[(1.0, "red")]),
    ]
}

/// Deliveries that ended well, over a window.
fn good(window: &str) -> String {
    format!("sum(rate({}[{window}]))", with(COMPLETED, GOOD))
}

/// Deliveries that should have ended well, over a window.
fn ended(window: &str) -> String {
    format!("sum(rate({}[{window}]))", with(COMPLETED, "outcome!~\"suppressed|canceled\""))
}

fn traffic() -> Vec<Panel> {
    vec![
        Panel::lines("Accepted by priority", "reqps", "Notifications answered with 202.")
            .query("{{priority}}", per_second("campana_notifications_accepted_total", "priority")),
        Panel::lines("Refused by reason", "reqps", "Notifications that were refused. `backpressure` means that the platform protects itself.")
            .query("{{reason}}", per_second("campana_notifications_rejected_total", "reason")),
        Panel::stacked("Deliveries that ended, by outcome", "ops", "All channels together; the dashboard of notifications and channels tells them apart.")
            .query("{{outcome}}", per_second(COMPLETED, "outcome")),
    ]
}

fn durations() -> Vec<Panel> {
    vec![
        Panel::lines("From acceptance to the end, by channel", "s", "The chosen quantile. In-app ends when the message is on the person's channel, the others when a provider took it or refused for good.")
            .query("{{channel}}", quantile(E2E, "channel"))
            .wide(12)
            .high(9),
        Panel::heatmap("In-app, all of them", "s", "How many in-app notifications took how long: two humps are two different ways through the system, which no quantile shows.")
            .query("{{le}}", cells(E2E, "channel=\"in_app\"")),
    ]
}

fn trouble() -> Vec<Panel> {
    vec![
        Panel::lines("Waiting by consumer", "short", "Messages stored and not handed to the consumer yet. What grows is slower than what comes in.")
            .query("{{consumer_name}}", consumer("nats_consumer_num_pending")),
        Panel::lines("New dead letters by consumer", "ops", "Messages given up. Something has to be decided about each.")
            .query("{{consumer}}", per_second("campana_dead_letters_total", "consumer")),
        Panel::lines("Error budget burnt", "none", "How many times faster than allowed (99.9 % in 30 days) deliveries fail: at 1 the budget lasts exactly the 30 days, at 14.4 it is gone in 50 hours.")
            .query("over 1 h", burn("1h"))
            .query("over 6 h", burn("6h"))
            .colours("transparent", &[(1.0, "orange"), (14.4, "red")])
            .fixed_window("a budget is burnt over 1 h and 6 h, whatever is shown"),
    ]
}

fn burn(window: &str) -> String {
    format!("(1 - {} / {}) / (1 - {OBJECTIVE})", good(window), ended(window))
}

fn processes() -> Vec<Panel> {
    vec![
        Panel::lines("CPU", "none", "Cores in use, by process.")
            .query("{{instance}}", per_second("process_cpu_seconds_total", "instance"))
            .wide(6),
        Panel::lines("Memory", "bytes", "Resident memory, by process.")
            .query("{{instance}}", total("process_resident_memory_bytes", "instance"))
            .wide(6),
        Panel::lines("HTTP answers by status", "reqps", "Answers of the gateway. 5xx are ours, 4xx the callers'.")
            .query(
                "{{http_response_status_code}}",
                per_second_where("http_server_request_duration_seconds_count", "http_route!=\"\"", "http_response_status_code"),
            )
            .wide(6),
        Panel::states("Database", "Whether the database answered the last health check. Nothing that was accepted waits for it; status does.", &[
            ("0", "does not answer", "red"),
            ("1", "answers", "green"),
        ])
        .query("{{instance}}", of("campana_database_up"))
        .wide(6),
        Panel::table("Versions", "What runs where, since when.", &[
            ("instance", "Instance"),
            ("version", "Version"),
            ("rustc", "Rust"),
            ("Value #B", "Up for (s)"),
        ])
        .query("", of("campana_build_info"))
        .query("", format!("time() - {}", of("process_start_time_seconds")))
        .high(6),
        Panel::lines("Open files", "short", "File descriptors in use by process, and how many there may be.")
            .query("{{instance}}", total("process_open_fds", "instance"))
            .query("limit of {{instance}}", total("process_max_fds", "instance"))
            .wide(6)
            .high(6),
        Panel::lines("Threads", "short", "Threads by process.")
            .query("{{instance}}", total("process_threads", "instance"))
            .wide(6)
            .high(6),
    ]
}
