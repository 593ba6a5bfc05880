//! Notifications and channels: what became of them, and how providers behave.

use super::model::{Board, Panel, Row, common_variables};
use super::promql::{mean, of, per_second, per_second_where, quantile, rate, sum, total, with};

const COMPLETED: &str = "campana_notifications_completed_total";
const HTTP: &str = "http_server_request_duration_seconds";

pub fn board() -> Board {
    Board {
        slug: "notifications",
        title: "Campana: notifications and channels",
        about: "Which channel has trouble, and is it ours or the provider's?",
        variables: common_variables(),
        rows: vec![
            Row { title: "Outcomes", panels: outcomes() },
            Row { title: "Providers", panels: providers() },
            Row { title: "HTTP API", panels: api() },
            Row { title: "Stages and the record", panels: stages() },
            Row { title: "Later", panels: later() },
            Row { title: "Sandbox", panels: sandbox() },
        ],
        from: "now-1h",
        refresh: "10s",
    }
}

fn outcomes() -> Vec<Panel> {
    let share = |more: &str| sum("channel", &rate(&with(COMPLETED, more)));
    vec![
        Panel::stacked("Ended well, by channel", "ops", "Deliveries that were delivered, or that a provider took.")
            .query("{{channel}}", share("outcome=~\"delivered|sent\"")),
        Panel::lines("Ended badly, by channel and outcome", "ops", "Failed and expired are trouble. Suppressed and canceled are decisions, of people and of callers.")
            .query("{{channel}} {{outcome}}", sum("channel, outcome", &rate(&with(COMPLETED, "outcome!~\"delivered|sent\"")))),
        Panel::bars("Share that ended well", "percentunit", "Of the deliveries of the time shown, by channel, without suppressed and canceled ones.")
            .query("{{channel}}", format!(
                "sum by (channel) (increase({}[$__range])) / sum by (channel) (increase({}[$__range]))",
                with(COMPLETED, "outcome=~\"delivered|sent\""),
                with(COMPLETED, "outcome!~\"suppressed|canceled\""),
            ))
            .up_to(1.0)
            .decimals(2)
            .colours("red", &[(0.95, "yellow"), (0.99, "green")]),
        Panel::lines("From acceptance to the end", "s", "The chosen quantile, by channel.")
            .query("{{channel}}", quantile("campana_notification_e2e_duration_seconds", "channel")),
        Panel::lines("Confirmed later", "ops", "What providers told after they took it, by channel and outcome.")
            .query("{{channel}} {{outcome}}", per_second("campana_notifications_confirmed_total", "channel, outcome")),
        Panel::lines("Maybe twice, surely not twice", "ops", "Attempts that may have repeated an earlier one whose end is not known, and repeats that the ledger stopped.")
            .query("possible duplicate {{channel}}", per_second("campana_possible_duplicates_total", "channel"))
            .query("stopped {{channel}}", per_second("campana_repeats_dropped_total", "channel")),
    ]
}

fn providers() -> Vec<Panel> {
    vec![
        Panel::lines("Requests by outcome", "reqps", "Answers of providers, in the platform's words: ok, retryable, permanent, timeout, rate_limited.")
            .query("{{provider}} {{outcome}}", per_second("campana_provider_requests_total", "provider, outcome")),
        Panel::lines("Time of a request", "s", "The chosen quantile, by provider.")
            .query("{{provider}}", quantile("campana_provider_request_duration_seconds", "provider")),
        Panel::states("Circuit", "Whether requests are let through. While it is open, messages wait; nothing is lost.", &[
            ("0", "closed", "green"),
            ("1", "half open", "yellow"),
            ("2", "open", "red"),
        ])
        .query("{{provider}}", format!("max by (provider) ({})", of("campana_provider_circuit_state"))),
        Panel::lines("Addresses refused for good", "ops", "Recipients whose address a provider refused for good, by channel.")
            .query("{{channel}}", per_second("campana_suppress_signals_total", "channel")),
        Panel::lines("SMTP connections", "ops", "Connections to the relay, by what happened. Many opened for few mails means that none can be reused.")
            .query("{{event}}", per_second("campana_smtp_connections_total", "event")),
        Panel::lines("SMS segments", "ops", "What providers count and charge for.")
            .query("{{provider}}", per_second("campana_sms_segments_total", "provider")),
    ]
}

fn api() -> Vec<Panel> {
    vec![
        Panel::lines("Answers by route", "reqps", "Requests that were answered, by route.")
            .query("{{http_request_method}} {{http_route}}", per_second(&format!("{HTTP}_count"), "http_request_method, http_route")),
        Panel::lines("Time of an answer", "s", "The chosen quantile, by route. A 202 waits for the disk.")
            .query("{{http_request_method}} {{http_route}}", quantile(HTTP, "http_request_method, http_route")),
        Panel::lines("Answers by status", "reqps", "5xx are ours, 4xx the callers'.")
            .query("{{http_response_status_code}}", per_second(&format!("{HTTP}_count"), "http_response_status_code")),
        Panel::lines("Accepted, replayed, refused", "reqps", "Replayed: answered from an earlier request with the same idempotency key.")
            .query("accepted", per_second("campana_notifications_accepted_total", ""))
            .query("replayed", per_second("campana_notifications_replayed_total", ""))
            .query("refused: {{reason}}", per_second("campana_notifications_rejected_total", "reason")),
        Panel::lines("Behind the gateway", "short", "Messages that wait for the dispatcher as the admission check sees them; above its limit callers get 503.")
            .query("{{instance}}", total("campana_gateway_backlog_messages", "instance"))
            .wide(4),
        Panel::lines("Bytes behind the gateway", "bytes", "The same in bytes.")
            .query("{{instance}}", total("campana_gateway_backlog_bytes", "instance"))
            .wide(4),
        Panel::lines("HTTP connections", "short", "Open connections of callers.")
            .query("{{instance}}", total("campana_gateway_connections", "instance"))
            .wide(4),
        Panel::lines("Stale answers replaced", "ops", "Answers of the store that a cache had to replace.")
            .query("{{cache}}", per_second("campana_gateway_stale_answers_total", "cache"))
            .wide(4),
    ]
}

fn stages() -> Vec<Panel> {
    vec![
        Panel::stacked("Mean time by stage", "s", "Where the time of a notification goes. Means, because means of stages add up and quantiles do not.")
            .query("{{stage}}", mean("campana_stage_duration_seconds", "stage")),
        Panel::lines("Time by stage", "s", "The chosen quantile, by stage and channel.")
            .query("{{stage}} {{channel}}", quantile("campana_stage_duration_seconds", "stage, channel")),
        Panel::lines("Recorded", "ops", "Outcomes written into the status tables, by whether they were new.")
            .query("{{result}}", per_second("campana_recorder_outcomes_total", "result")),
        Panel::lines("Transactions of the recorder", "s", "The chosen quantile of a batch's transaction.")
            .query("transaction", quantile("campana_recorder_batch_duration_seconds", "")),
    ]
}

fn later() -> Vec<Panel> {
    vec![
        Panel::lines("Put off", "ops", "Requests that were put off until their time.")
            .query("put off", per_second("campana_scheduled_total", "")),
        Panel::lines(
            "Too late",
            "s",
            "How much later than its time a scheduled message came: the chosen quantile.",
        )
        .query("dispatched", quantile("campana_scheduled_dispatch_lateness_seconds", ""))
        .query("stored", quantile("campana_schedule_lateness_seconds", "")),
        Panel::lines(
            "Waiting for their time",
            "short",
            "Schedules that have not fired, by stream.",
        )
        .query(
            "{{stream}}",
            format!("max by (stream) ({})", of("campana_schedule_pending_messages")),
        ),
    ]
}

fn sandbox() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Arrived at the sandbox",
            "ops",
            "Messages that its receivers kept, by channel.",
        )
        .query("{{channel}}", per_second("campana_sandbox_messages_total", "channel")),
        Panel::lines(
            "Faults and callbacks",
            "ops",
            "Scripted faults that were applied, and status callbacks by how they ended.",
        )
        .query("fault {{channel}}", per_second("campana_sandbox_faults_applied_total", "channel"))
        .query("callback {{result}}", per_second("campana_sandbox_callbacks_total", "result")),
        Panel::lines("SMTP replies", "ops", "Replies of its SMTP receiver, by class.")
            .query("{{class}}", per_second("campana_sandbox_smtp_replies_total", "class")),
        Panel::lines(
            "Kept",
            "short",
            "Messages kept for its page, and how many per second had to go.",
        )
        .query("kept", total("campana_sandbox_messages_kept", ""))
        .query("evicted per second", per_second("campana_sandbox_evicted_total", "")),
        Panel::lines("Kept bytes", "bytes", "Bytes of the messages kept.")
            .query("bytes", total("campana_sandbox_kept_bytes", "")),
        Panel::lines(
            "Connections to the sandbox",
            "short",
            "Open now, and SMTP connections accepted or refused per second.",
        )
        .query("SMTP", total("campana_sandbox_smtp_connections", ""))
        .query("HTTP", total("campana_sandbox_web_connections", ""))
        .query(
            "SMTP {{result}} per second",
            per_second_where("campana_sandbox_smtp_connections_total", "result!=\"\"", "result"),
        ),
    ]
}
