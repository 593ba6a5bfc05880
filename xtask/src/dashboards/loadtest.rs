//! The load test: the generator and the system on one time axis.

use super::model::{Board, Panel, Row, Variable, common_variables};
use super::promql::{
    consumer, increase_shown, max, of, per_second, per_second_where, quantile_of, rate, sum, total,
    with,
};

const RUN: &str = "run=~\"$run\"";
const BOTH: &str = "run=~\"$run|$compare\"";
const E2E: &str = "campana_loadtest_e2e_duration_seconds";
const RECEIVED: &str = "campana_loadtest_notifications_total";
const VOID: &str = "**Results are void while the generator was saturated.** Look at *Generator* and at the row *Is the generator to be trusted?* first: when its lag grows or its CPU is used up, latency and rate tell about the generator and not about the platform. The harness says so itself: `run.json` and the report call such a step SUSPECT or INVALID. Scrape every second during a run (`dashboards/prometheus/prometheus.yml`), or a short step is smeared over the scrape interval.";

pub fn board() -> Board {
    let mut variables = common_variables();
    for (name, label, about) in [
        ("run", "Run", "The run that is shown"),
        ("compare", "Compare with", "The run beside it in the panels that show two"),
    ] {
        let query =
            "label_values(campana_loadtest_info{job=~\"$job\",instance=~\"$instance\"}, run)";
        variables.push(Variable::Labels { name, label, about, query, many: false });
    }
    Board {
        slug: "loadtest",
        title: "Campana: load test",
        about: "What does the platform do under this load, and may the figures be believed?",
        variables,
        rows: vec![
            Row { title: "Verdict", panels: verdict() },
            Row { title: "Offered and achieved", panels: rates() },
            Row { title: "Time from the intended send to the receipt", panels: latency() },
            Row { title: "The system at the same time", panels: system() },
            Row { title: "Where the time goes", panels: stages() },
            Row { title: "Is the generator to be trusted?", panels: generator() },
            Row { title: "Two runs beside each other", panels: compare() },
        ],
        from: "now-15m",
        refresh: "5s",
    }
}

fn shown(name: &str, more: &str) -> String {
    increase_shown(&with(name, more))
}

fn verdict() -> Vec<Panel> {
    let lost = "outcome=~\"lost|duplicate|phantom|corrupt|reordered\"";
    let intended = format!("{RUN},basis=\"intended\"");
    vec![
        Panel::text("Read this first", "When the figures mean nothing.", VOID),
        Panel::stat("Generator", "none", "Whether the generator kept its schedule; if not, all other figures are void.")
            .query("generator", format!("min({})", with("campana_loadtest_generator_valid", RUN)))
            .wide(4)
            .named(&[("0", "SATURATED: void", "red"), ("1", "ok", "green")]),
        Panel::stat("p99, intended", "s", "Over the time shown, all channels, from the moment a notification was meant to be sent.")
            .query("p99", quantile_of("0.99", &shown(&format!("{E2E}_bucket"), &intended), ""))
            .wide(4)
            .colours("green", &[(0.2, "yellow"), (0.5, "red")]),
        Panel::stat("Received exactly once, in time", "percentunit", "Of the notifications that came to an end in the time shown, without those refused.")
            .query("in time", format!(
                "sum({}) / sum({})",
                shown(RECEIVED, &format!("{RUN},outcome=\"delivered\"")),
                shown(RECEIVED, &format!("{RUN},outcome!~\"shed|rejected\""))
            ))
            .up_to(1.0)
            .decimals(3)
            .wide(4)
            .colours("red", &[(0.99, "yellow"), (0.9999, "green")]),
        Panel::stat("Lost, twice, wrong", "short", "Lost, duplicate, phantom, corrupt and reordered ones of the time shown.")
            .query("wrong", sum("", &shown(RECEIVED, &format!("{RUN},{lost}"))))
            .wide(4)
            .colours("green", &[(0.5, "red")]),
        Panel::stat("CPU, most", "none", "Cores in use by all processes under test, at most in the time shown.")
            .query("cores", sum("", &format!("max_over_time({}[$__range])", with("campana_loadtest_process_cpu_cores", &format!("{RUN},process!=\"loadtest\"")))))
            .wide(4)
            .decimals(2),
        Panel::table("Runs", "What was run in the time shown.", &[("run", "Run"), ("scenario", "Scenario")])
            .query("", max("run, scenario", &of("campana_loadtest_info")))
            .wide(4)
            .high(4),
    ]
}

fn rates() -> Vec<Panel> {
    vec![
        Panel::lines("Offered, sent, accepted, received", "ops", "What the schedule asks for, what was sent, what the platform accepted, what arrived. The place where they part is the knee.")
            .query("offered", sum("", &with("campana_loadtest_target_rate", RUN)))
            .query("sent ({{kind}})", per_second_where("campana_loadtest_sent_total", RUN, "kind"))
            .query("accepted", per_second("campana_notifications_accepted_total", ""))
            .query("received", per_second_where(RECEIVED, &format!("{RUN},outcome=~\"delivered|late\""), "")),
        Panel::lines("In flight", "short", "Notifications sent and not received yet; the line is at 500, the wave of the paper.")
            .query("in flight", sum("", &with("campana_loadtest_in_flight_notifications", RUN)))
            .colours("transparent", &[(500.0, "orange")]),
        Panel::stacked("Receipts by outcome", "ops", "Every notification and channel ends in exactly one of these.")
            .query("{{outcome}}", per_second_where(RECEIVED, RUN, "outcome")),
    ]
}

fn latency() -> Vec<Panel> {
    let over_time = |q: &str, basis: &str| {
        let buckets = rate(&with(&format!("{E2E}_bucket"), &format!("{RUN},basis=\"{basis}\"")));
        quantile_of(q, &buckets, "")
    };
    let by_channel = rate(&with(&format!("{E2E}_bucket"), &format!("{RUN},basis=\"intended\"")));
    vec![
        Panel::lines("Percentiles, intended and actual", "s", "Intended: from the moment it was meant to be sent, so a stalled system cannot hide behind a waiting generator. Where the two part, requests waited to be sent.")
            .query("p50 intended", over_time("0.5", "intended"))
            .query("p95 intended", over_time("0.95", "intended"))
            .query("p99 intended", over_time("0.99", "intended"))
            .query("p50 actual", over_time("0.5", "actual"))
            .query("p99 actual", over_time("0.99", "actual"))
            .wide(12)
            .high(9),
        Panel::heatmap("All of them, intended", "s", "How many took how long, from the intended send.")
            .query("{{le}}", format!("sum by (le) (increase({}[$__rate_interval]))", with(&format!("{E2E}_bucket"), &format!("{RUN},basis=\"intended\"")))),
        Panel::lines("By channel", "s", "The chosen quantile, from the intended send.")
            .query("{{channel}}", quantile_of("$quantile", &by_channel, "channel")),
        Panel::lines("The platform's own figure", "s", "The chosen quantile from acceptance to the end, as the platform measures it.")
            .query("{{channel}}", super::promql::quantile("campana_notification_e2e_duration_seconds", "channel")),
        Panel::lines("Waiting in the bus", "short", "Messages stored and not handed to a consumer.")
            .query("{{consumer_name}}", consumer("nats_consumer_num_pending")),
    ]
}

fn system() -> Vec<Panel> {
    let seconds = sum("", &rate(&of("process_cpu_seconds_total")));
    let ended = sum("", &rate(&of("campana_notifications_completed_total")));
    vec![
        Panel::stacked("CPU by process", "none", "Cores in use, from the kernel's nanosecond clocks. The generator is one of them.")
            .query("{{process}}", max("process", &with("campana_loadtest_process_cpu_cores", RUN))),
        Panel::lines("Memory by process", "bytes", "Resident memory.")
            .query("{{process}}", max("process", &with("campana_loadtest_process_resident_bytes", RUN))),
        Panel::lines("CPU seconds per 1,000 deliveries", "s", "Of the platform's own processes, without nats-server.")
            .query("platform", format!("1000 * {seconds} / ({ended} > 0)")),
        Panel::lines("Refused", "ops", "By reason. `backpressure` is the platform that protects itself: nothing of that is lost.")
            .query("{{reason}}", per_second("campana_notifications_rejected_total", "reason")),
        Panel::lines("Connected clients", "short", "As the edges count them.")
            .query("{{transport}}", total("campana_edge_connections", "transport")),
        Panel::lines("Messages in one disk sync", "none", "Mean size of a group, by publisher.")
            .query("{{publisher}}", super::promql::mean("campana_publish_group_messages", "publisher")),
    ]
}

fn stages() -> Vec<Panel> {
    // Stages of other channels than the first are named `email/worker`, and are another way from the same start.
    let first = format!("{RUN},stage!~\".*/.*\"");
    let part = |suffix: &str| {
        let name = format!("campana_loadtest_stage_duration_seconds_{suffix}");
        per_second_where(&name, &first, "stage")
    };
    let buckets = rate(&with("campana_loadtest_stage_duration_seconds_bucket", RUN));
    vec![
        Panel::stacked(
            "Mean time by stage",
            "s",
            "Stamps of one notification on its way. Means, because they add up.",
        )
        .query("{{stage}}", format!("{} / {}", part("sum"), part("count")))
        .wide(12),
        Panel::lines("Time by stage", "s", "The chosen quantile.")
            .query("{{stage}}", quantile_of("$quantile", &buckets, "stage"))
            .wide(12),
    ]
}

fn generator() -> Vec<Panel> {
    let buckets = rate(&with("campana_loadtest_lag_seconds_bucket", RUN));
    vec![
        Panel::lines("Behind its schedule", "s", "How much later than intended requests were sent. Above a millisecond or two the generator is the bottleneck.")
            .query("p50", quantile_of("0.5", &buckets, ""))
            .query("p99", quantile_of("0.99", &buckets, "")),
        Panel::lines("CPU of the generator", "none", "Cores in use.")
            .query("{{process}}", max("process", &with("campana_loadtest_process_cpu_cores", &format!("{RUN},process=\"loadtest\"")))),
        Panel::states("Valid", "Whether the generator kept its schedule.", &[
            ("0", "saturated", "red"),
            ("1", "ok", "green"),
        ])
        .query("{{run}}", with("campana_loadtest_generator_valid", RUN)),
    ]
}

fn compare() -> Vec<Panel> {
    let buckets = shown(&format!("{E2E}_bucket"), &format!("{BOTH},basis=\"intended\""));
    vec![
        Panel::bars("Quantile, intended", "s", "The chosen quantile over the time shown, by run. `campana loadtest compare` says whether a difference means anything; two bars do not.")
            .query("{{run}}", quantile_of("$quantile", &buckets, "run")),
        Panel::bars("Received", "short", "Notifications received in the time shown, by run.")
            .query("{{run}}", sum("run", &shown(RECEIVED, &format!("{BOTH},outcome=~\"delivered|late\"")))),
        Panel::bars("Lost, twice, wrong, by run", "short", "By run and outcome.")
            .query("{{run}} {{outcome}}", sum("run, outcome", &shown(RECEIVED, &format!("{BOTH},outcome=~\"lost|duplicate|phantom|corrupt|reordered\""))))
            .colours("green", &[(0.5, "red")]),
    ]
}
