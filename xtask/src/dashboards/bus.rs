//! Bus and consumers: does my consumer keep up, for the author of a service.

use super::model::{Board, Panel, Row, common_variables};
use super::promql::{
    consumer, growth, max, mean, of, per_second, per_second_where, quantile, rate, sum, total, with,
};

const OPERATION: &str = "messaging_client_operation_duration_seconds";
const PROCESS: &str = "messaging_process_duration_seconds";
const SETTLED: &str = "campana_messages_settled_total";

pub fn board() -> Board {
    Board {
        slug: "bus",
        title: "Campana: bus and consumers",
        about: "Does every consumer keep up, and if not: is it slow, stopped, or failing?",
        variables: common_variables(),
        rows: vec![
            Row { title: "Keeping up", panels: keeping_up() },
            Row { title: "Handling", panels: handling() },
            Row { title: "Publishing", panels: publishing() },
            Row { title: "Retries and order", panels: retries() },
            Row { title: "Request and reply", panels: services() },
            Row { title: "Database of a service: inbox and outbox", panels: database() },
            Row { title: "Sidecar", panels: sidecar() },
        ],
        from: "now-1h",
        refresh: "10s",
    }
}

fn keeping_up() -> Vec<Panel> {
    let lag = format!(
        "{} + {}",
        consumer("nats_consumer_num_pending"),
        consumer("nats_consumer_num_ack_pending")
    );
    let by_consumer = |expr: &str| {
        format!(
            "sum by (consumer) (label_replace({expr}, \"consumer\", \"$1\", \"consumer_name\", \"(.*)\"))"
        )
    };
    let acknowledged = sum("consumer", &rate(&with(SETTLED, "result=\"ack\"")));
    vec![
        Panel::lines("Lag", "short", "Messages waiting and in hand, by consumer. This is the sum to scale workers on.")
            .query("{{stream_name}} {{consumer_name}}", lag.clone())
            .wide(12),
        Panel::lines("Time to drain", "s", "Lag over the rate of acknowledgements: how long until the consumer is done if nothing comes any more. Nothing acknowledged shows as no line.")
            .query("{{consumer}}", format!("{} / ({acknowledged} > 0)", by_consumer(&lag)))
            .wide(12),
        Panel::lines("Coming in", "mps", "Messages stored per second, by stream.")
            .query("{{stream_name}}", growth("stream_name", "nats_stream_last_seq", "is_stream_leader=\"true\"")),
        Panel::lines("Settled by result", "mps", "`nak` and `schedule` come again later, `term` ended, `ack_lost` may come again.")
            .query("{{result}}", per_second(SETTLED, "result")),
        Panel::lines("Handlers at work", "percentunit", "Of the permits of a consumer. At 100 % it is handlers that limit; with lag and far below, something else does.")
            .query("{{consumer}}", format!(
                "{} / {}",
                total("campana_consumer_in_flight_messages", "consumer"),
                total("campana_consumer_max_in_flight_messages", "consumer")
            ))
            .up_to(1.0),
        Panel::lines("In hand of what may be", "percentunit", "Messages handed out and not acknowledged, of as many as the server hands out. At 100 % it waits for acknowledgements.")
            .query("{{consumer_name}}", format!(
                "{} / {}",
                consumer("nats_consumer_num_ack_pending"),
                consumer("campana_consumer_max_ack_pending")
            ))
            .up_to(1.0)
            .wide(12),
        Panel::states("Paused", "Consumers that an operator has paused.", &[
            ("0", "at work", "green"),
            ("1", "paused", "orange"),
        ])
        .query("{{consumer_name}}", consumer("campana_consumer_paused"))
        .wide(12),
    ]
}

fn handling() -> Vec<Panel> {
    vec![
        Panel::lines("Time of a handler", "s", "The chosen quantile of one call, by consumer.")
            .query(
                "{{messaging_consumer_group_name}}",
                quantile(PROCESS, "messaging_consumer_group_name"),
            )
            .wide(12),
        Panel::lines(
            "Calls by how they ended",
            "ops",
            "Calls of handlers; `timeout` and `panic` are the handler's.",
        )
        .query(
            "{{messaging_consumer_group_name}} {{error_type}}",
            format!(
                "{} > 0",
                per_second_where(
                    &format!("{PROCESS}_count"),
                    "error_type!=\"\"",
                    "messaging_consumer_group_name, error_type"
                )
            ),
        )
        .query("ok", per_second_where(&format!("{PROCESS}_count"), "error_type=\"\"", ""))
        .wide(12),
        Panel::lines("Received", "mps", "Messages received, by consumer.").query(
            "{{messaging_consumer_group_name}}",
            per_second("messaging_client_consumed_messages_total", "messaging_consumer_group_name"),
        ),
        Panel::lines(
            "Attempts until settled",
            "none",
            "Mean number of attempts, by consumer: 1 is a message that worked at once.",
        )
        .query("{{consumer}}", mean("campana_message_delivery_attempts", "consumer")),
        Panel::lines(
            "Time to settle",
            "s",
            "The chosen quantile of acknowledging and giving back, until it is on its way.",
        )
        .query(
            "{{messaging_operation_name}}",
            format!(
                "histogram_quantile($quantile, sum by (le, messaging_operation_name) ({}))",
                rate(&with(
                    &format!("{OPERATION}_bucket"),
                    "messaging_operation_name!=\"publish\""
                ))
            ),
        ),
    ]
}

fn publishing() -> Vec<Panel> {
    let publish = with(&format!("{OPERATION}_bucket"), "messaging_operation_name=\"publish\"");
    vec![
        Panel::lines("Publish until acknowledged", "s", "The chosen quantile, by subject. With the durability `power` it contains a disk sync.")
            .query("{{messaging_destination_template}}", format!(
                "histogram_quantile($quantile, sum by (le, messaging_destination_template) ({}))",
                rate(&publish)
            )),
        Panel::lines("Published", "mps", "Messages published, by subject; errors apart.")
            .query("{{messaging_destination_template}} {{error_type}}", per_second("messaging_client_sent_messages_total", "messaging_destination_template, error_type")),
        Panel::lines("Messages in a group", "none", "Mean number of messages that share one wait for the disk, by publisher. It grows with load: that is what makes load cheap.")
            .query("{{publisher}}", mean("campana_publish_group_messages", "publisher")),
        Panel::lines("Groups", "ops", "Groups published, by publisher and kind.")
            .query("{{publisher}} {{kind}}", per_second("campana_publish_groups_total", "publisher, kind")),
        Panel::lines("Waiting for a group", "short", "Messages that wait for their turn, by publisher.")
            .query("{{publisher}}", total("campana_publish_waiting_messages", "publisher")),
        Panel::lines("Waiting for an answer", "short", "Publishes and requests without their answer yet, by process.")
            .query("{{instance}}", total("campana_nats_replies_waiting", "instance")),
    ]
}

fn retries() -> Vec<Panel> {
    vec![
        Panel::lines("In hand for the second time or more", "short", "Messages that were handed out more than once and are not settled, by consumer.")
            .query("{{consumer_name}}", consumer("nats_consumer_num_redelivered")),
        Panel::lines("Retried in place", "ops", "Attempts repeated by consumers that keep order.")
            .query("{{consumer}}", per_second("campana_consumer_in_place_retries_total", "consumer")),
        Panel::lines("Order by key", "short", "Ordering keys that messages in hand have, and partitions given up because a process held more than its share.")
            .query("keys of {{consumer}}", total("campana_consumer_ordered_keys", "consumer"))
            .query("let go by {{consumer}} per second", per_second("campana_consumer_partitions_let_go_total", "consumer")),
        Panel::lines("Pulls re-armed", "ops", "The server went silent and the pull was made anew, by reason.")
            .query("{{consumer}} {{reason}}", per_second("campana_consumer_pull_rearms_total", "consumer, reason")),
        Panel::lines("Cut off at a stop", "ops", "Messages given back because their handlers outlived the drain deadline.")
            .query("{{consumer}}", per_second("campana_consumer_cut_off_messages_total", "consumer")),
        Panel::lines("Spans", "ops", "Spans of traces, by what became of them.")
            .query("{{result}}", per_second("campana_trace_spans_total", "result")),
    ]
}

fn services() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Requests by code",
            "reqps",
            "Requests that services answered; 200 if it worked.",
        )
        .query(
            "{{service}}.{{endpoint}} {{code}}",
            per_second("campana_service_requests_total", "service, endpoint, code"),
        ),
        Panel::lines("Time until the answer", "s", "The chosen quantile, by service and endpoint.")
            .query(
                "{{service}}.{{endpoint}}",
                quantile("campana_service_request_duration_seconds", "service, endpoint"),
            ),
        Panel::lines("Requests in hand", "short", "By service and endpoint.").query(
            "{{service}}.{{endpoint}}",
            total("campana_service_in_flight_requests", "service, endpoint"),
        ),
    ]
}

fn database() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Outbox: waiting",
            "short",
            "Messages that wait to be published, and those that an operator must decide about.",
        )
        .query("waiting", max("", &of("campana_outbox_pending_messages")))
        .query("set aside", max("", &of("campana_outbox_set_aside_messages")))
        .wide(6),
        Panel::lines("Outbox: oldest", "s", "Age of the oldest message that waits.")
            .query("oldest", max("", &of("campana_outbox_oldest_seconds")))
            .wide(6),
        Panel::lines("Outbox: published", "mps", "By result, and failures by reason.")
            .query("{{result}}", per_second("campana_outbox_published_total", "result"))
            .query("failed: {{reason}}", per_second("campana_outbox_failures_total", "reason"))
            .wide(6),
        Panel::lines(
            "Inbox and attempt ledger",
            "mps",
            "Messages by whether they were seen before, and answers of the ledger.",
        )
        .query(
            "{{consumer}} {{result}}",
            per_second("campana_inbox_messages_total", "consumer, result"),
        )
        .query("ledger: {{answer}}", per_second("campana_ledger_answers_total", "answer"))
        .wide(6),
    ]
}

fn sidecar() -> Vec<Panel> {
    vec![
        Panel::lines("Deliveries to the app", "mps", "By subscription and what became of them; answers of the app by status.")
            .query("{{subscription}} {{result}}", per_second("campana_sidecar_deliveries_total", "subscription, result"))
            .query("{{subscription}} answered {{status}}", per_second("campana_sidecar_app_answers_total", "subscription, status")),
        Panel::lines("Time until the app's verdict", "s", "The chosen quantile, by subscription.")
            .query("{{subscription}}", quantile("campana_sidecar_delivery_duration_seconds", "subscription")),
        Panel::lines("Requests of the app", "reqps", "By route and status, and calls that it served.")
            .query("{{route}} {{status}}", per_second("campana_sidecar_requests_total", "route, status"))
            .query("served {{service}}.{{endpoint}} {{status}}", per_second("campana_sidecar_served_calls_total", "service, endpoint, status")),
        Panel::lines("Time of the app's requests", "s", "The chosen quantile, by route.")
            .query("{{route}}", quantile("campana_sidecar_request_duration_seconds", "route")),
        Panel::lines("In hand", "short", "Deliveries that the app has, requests of the app at work, subscriptions whose consumer runs.")
            .query("deliveries", total("campana_sidecar_deliveries_in_hand", ""))
            .query("requests", total("campana_sidecar_requests_at_work", ""))
            .query("subscriptions", total("campana_sidecar_subscriptions_running", "")),
        Panel::states("App", "Whether the sidecar reaches the app.", &[
            ("0", "away", "red"),
            ("1", "reachable", "green"),
        ])
        .query("{{instance}}", of("campana_sidecar_app_up"))
        .wide(4),
        Panel::lines("App lost, declarations", "ops", "Times the app went away, and readings of its declaration by result.")
            .query("lost", per_second("campana_sidecar_app_lost_total", ""))
            .query("declaration {{result}}", per_second("campana_sidecar_declarations_total", "result"))
            .wide(4),
    ]
}
