//! The edge: what browsers and apps feel.

use super::model::{Board, Panel, Row, common_variables};
use super::promql::{cells, max, of, per_second, per_second_where, quantile, sum, total};

const CONNECTIONS: &str = "campana_edge_connections";

pub fn board() -> Board {
    Board {
        slug: "edge",
        title: "Campana: edge",
        about: "Do browsers and apps get what is theirs, at once and in order?",
        variables: common_variables(),
        rows: vec![
            Row { title: "Connections", panels: connections() },
            Row { title: "Publications", panels: publications() },
            Row { title: "Coming back", panels: recovery() },
            Row { title: "Queues and limits", panels: limits() },
            Row { title: "Commands and tokens", panels: commands() },
            Row { title: "Presence and receipts", panels: presence() },
            Row { title: "Server API and other nodes", panels: api() },
        ],
        from: "now-1h",
        refresh: "10s",
    }
}

fn connections() -> Vec<Panel> {
    vec![
        Panel::stacked("By transport", "short", "Open connections.")
            .query("{{transport}}", total(CONNECTIONS, "transport")),
        Panel::lines("Coming", "ops", "Clients let in, by transport and protocol.")
            .query("{{transport}} {{protocol}}", per_second_where("campana_edge_connects_total", "protocol!=\"\"", "transport, protocol")),
        Panel::lines("Going, by reason", "ops", "`client` left by itself; `slow` was cut because it does not read; `drain` because the node stops.")
            .query("{{reason}} ({{code}})", per_second("campana_edge_disconnects_total", "reason, code")),
        Panel::lines("Refused", "ops", "Connections refused before they were one, by reason, and tokens that were refused.")
            .query("{{reason}}", per_second("campana_edge_refused_connections_total", "reason"))
            .query("token: {{reason}}", per_second("campana_edge_tokens_refused_total", "reason")),
        Panel::lines("Balance", "none", "Connections of the fullest node over the mean of all: 1 is even.")
            .query("fullest / mean", {
                let nodes = total(CONNECTIONS, "instance");
                format!("max({nodes}) / avg({nodes} > 0)")
            }),
        Panel::gauge("Full", "percentunit", "Connections of the fullest node, of those there may be.")
            .query("{{instance}}", format!("max({} / {})", total(CONNECTIONS, "instance"), total("campana_edge_max_connections", "instance")))
            .up_to(1.0)
            .wide(4)
            .colours("green", &[(0.8, "yellow"), (0.95, "red")]),
        Panel::stat("Nodes", "short", "Edges that hear each other, as the one with the fewest sees it.")
            .query("nodes", format!("min({})", of("campana_edge_nodes")))
            .wide(4)
            .high(8),
    ]
}

fn publications() -> Vec<Panel> {
    vec![
        Panel::heatmap("From the stream to the socket", "s", "How many publications took how long from the stream's time stamp to the write. Clocks of different machines show here.")
            .query("{{le}}", cells("campana_edge_publish_lag_seconds", "")),
        Panel::lines("From the stream to the socket", "s", "The chosen quantile, by node.")
            .query("{{instance}}", quantile("campana_edge_publish_lag_seconds", "instance"))
            .wide(12)
            .high(9),
        Panel::lines("Messages written", "mps", "Protocol messages, by transport.")
            .query("{{transport}}", per_second("campana_edge_messages_sent_total", "transport")),
        Panel::lines("Bytes", "Bps", "Written and read, by transport.")
            .query("out {{transport}}", per_second("campana_edge_sent_bytes_total", "transport"))
            .query("in {{transport}}", per_second("campana_edge_received_bytes_total", "transport")),
        Panel::lines("Subscriptions and channels", "short", "Subscriptions by namespace; channels followed; channels that wait to be joined.")
            .query("{{channel_namespace}}", total("campana_edge_subscriptions", "channel_namespace"))
            .query("channels", total("campana_edge_channels", ""))
            .query("waiting to be joined", total("campana_edge_joins_waiting", "")),
        Panel::lines("Ping", "s", "From a ping to its answer: the chosen quantile.")
            .query("ping", quantile("campana_edge_ping_duration_seconds", "")),
        Panel::lines("Holes in the live path", "ops", "Found, repaired, and lost: `lost` means that a client was told to read anew.")
            .query("{{result}}", per_second("campana_edge_holes_total", "result")),
        Panel::lines("Questions to the stream", "ops", "Direct gets, by purpose.")
            .query("{{purpose}}", per_second("campana_edge_direct_gets_total", "purpose")),
    ]
}

fn recovery() -> Vec<Panel> {
    vec![
        Panel::lines("Recoveries by result", "ops", "`recovered`: everything missed was given; `gap`: the client was told that some is gone; `epoch_changed`: the history began anew.")
            .query("{{result}}", per_second("campana_edge_recoveries_total", "result"))
            .query("of them from memory", per_second("campana_edge_recoveries_from_memory_total", "")),
        Panel::lines("Memory for recoveries", "bytes", "Bytes kept of recent publications.")
            .query("{{instance}}", total("campana_edge_recovery_memory_bytes", "instance")),
        Panel::lines("Operations on the bus", "s", "The chosen quantile of what needs the bus, by operation.")
            .query("{{operation}}", quantile("campana_edge_operation_duration_seconds", "operation")),
    ]
}

fn limits() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Cut for reading too slowly",
            "ops",
            "By what noticed it: the client's queue, the node's, or a write that took too long.",
        )
        .query("{{cause}}", per_second("campana_edge_slow_cuts_total", "cause")),
        Panel::lines(
            "Bytes that wait",
            "bytes",
            "For all clients of a node, and for the client with the most (the chosen quantile).",
        )
        .query("{{instance}}", total("campana_edge_queue_bytes", "instance"))
        .query("largest", quantile("campana_edge_queue_largest_bytes", "")),
        Panel::lines("Refused because of a limit", "ops", "By limit.")
            .query("{{limit}}", per_second("campana_edge_limited_total", "limit")),
        Panel::states(
            "Stopping",
            "Nodes that shall stop send their clients away in groups.",
            &[("0", "at work", "green"), ("1", "draining", "orange")],
        )
        .query("{{instance}}", of("campana_edge_draining")),
        Panel::lines("Left to send away", "short", "Connections that a node that stops still has.")
            .query("{{instance}}", total("campana_edge_drain_remaining_connections", "instance")),
        Panel::lines(
            "Lines of traces",
            "ops",
            "Of traces that somebody asked for; `dropped` because there were too many.",
        )
        .query("{{result}}", per_second("campana_edge_trace_lines_total", "result")),
    ]
}

fn commands() -> Vec<Panel> {
    vec![
        Panel::lines("Commands by method", "ops", "Of connected clients.")
            .query("{{method}}", per_second("campana_edge_commands_total", "method")),
        Panel::lines("Answered with an error", "ops", "By the protocol's code.")
            .query("{{code}}", per_second("campana_edge_command_errors_total", "code")),
        Panel::lines(
            "Keys and revocations",
            "short",
            "Keys that tokens are checked with, and revocations that a node knows.",
        )
        .query("keys {{instance}}", total("campana_token_keys", "instance"))
        .query("revocations {{instance}}", total("campana_edge_revocations", "instance")),
        Panel::lines("Age of the key documents", "s", "Of the oldest JWKS document in use.")
            .query("{{instance}}", total("campana_jwks_age_seconds", "instance"))
            .wide(6),
        Panel::lines("Fetches of key documents", "ops", "By result.")
            .query("{{result}}", per_second("campana_jwks_fetches_total", "result"))
            .wide(6),
        Panel::lines("Services that decide", "ops", "Their answers, by question and result.")
            .query(
                "{{question}} {{result}}",
                per_second("campana_edge_proxy_answers_total", "question, result"),
            )
            .wide(6),
        Panel::lines("How long they take", "s", "The chosen quantile, by question.")
            .query("{{question}}", quantile("campana_edge_proxy_duration_seconds", "question"))
            .wide(6),
    ]
}

fn presence() -> Vec<Panel> {
    vec![
        Panel::lines("Entries", "short", "Clients with an entry in a channel's presence, by node.")
            .query("{{instance}}", total("campana_edge_presence_entries", "instance"))
            .wide(6),
        Panel::lines(
            "Told to channels and services",
            "ops",
            "Joins and leaves told in channels, and events stored for services.",
        )
        .query("{{kind}}", per_second("campana_edge_presence_moves_total", "kind"))
        .query(
            "{{kind}} {{scope}}",
            per_second("campana_edge_presence_events_total", "kind, scope"),
        )
        .wide(6),
        Panel::lines(
            "Writes of presence",
            "ops",
            "By kind and result; nodes that were gone and after which another tidied up.",
        )
        .query(
            "{{kind}} {{result}}",
            per_second("campana_edge_presence_writes_total", "kind, result"),
        )
        .query("nodes swept", per_second("campana_edge_presence_swept_nodes_total", ""))
        .wide(6),
        Panel::lines("Receipts", "ops", "By what became of them.")
            .query("{{result}}", per_second("campana_edge_receipts_total", "result"))
            .wide(6),
    ]
}

fn api() -> Vec<Panel> {
    vec![
        Panel::lines("Commands of the server API", "ops", "By method.")
            .query("{{method}}", per_second("campana_edge_api_commands_total", "method")),
        Panel::lines("Not done", "ops", "Commands of the server API that were refused or failed, and requests turned away before they were read.")
            .query("{{result}}", per_second_where("campana_edge_api_commands_total", "result!=\"ok\"", "result"))
            .query("turned away: {{reason}}", per_second("campana_edge_api_refused_total", "reason")),
        Panel::lines("Time of a command", "s", "The chosen quantile, by method.")
            .query("{{method}}", quantile("campana_edge_api_duration_seconds", "method")),
        Panel::lines("Asked of all nodes", "ops", "`incomplete` means that not every node answered.")
            .query("{{command}} {{result}}", sum("command, result", &super::promql::rate(&of("campana_edge_control_commands_total"))))
            .wide(12),
        Panel::table("Nodes and their ids", "The ids that clients of the emulated transports and traces see.", &[
            ("instance", "Instance"),
            ("node", "Node"),
            ("Value #B", "Connections"),
        ])
        .query("", max("instance, node", &of("campana_edge_node_info")))
        .query("", total(CONNECTIONS, "instance"))
        .high(8),
    ]
}
