//! Dead letters: what was given up, why, and whether anybody looks after it.

use super::model::{Board, Panel, Row, common_variables};
use super::promql::{increase_shown, max, of, or_zero, per_second, sum};

const PILES: &str = "campana_dlq_depth_messages";

pub fn board() -> Board {
    Board {
        slug: "dead-letters",
        title: "Campana: dead letters",
        about: "What was given up, why, since when, and does sending it again help?",
        variables: common_variables(),
        rows: vec![
            Row { title: "Now", panels: now() },
            Row { title: "Coming in", panels: coming_in() },
            Row { title: "Sent again", panels: redrives() },
            Row { title: "What nobody takes", panels: stranded() },
        ],
        from: "now-6h",
        refresh: "30s",
    }
}

fn now() -> Vec<Panel> {
    let oldest = max("", &of("campana_dlq_oldest_message_timestamp_seconds"));
    vec![
        Panel::stat("Waiting", "short", "Dead letters that wait for an operator.")
            .query("waiting", max("", &of("campana_dlq_messages")))
            .wide(6)
            .colours("green", &[(1.0, "orange")]),
        Panel::stat(
            "Oldest",
            "s",
            "How long the oldest has been waiting; nothing if there is none.",
        )
        .query("oldest", format!("time() - ({oldest} > 0)"))
        .wide(6)
        .colours("green", &[(3_600.0, "yellow"), (86_400.0, "red")]),
        Panel::stat(
            "Parking blocked",
            "short",
            "Consumers that cannot store dead letters. Their messages stay where they are.",
        )
        .query("blocked", sum("", &of("campana_dlq_parking_blocked")))
        .wide(6)
        .colours("green", &[(1.0, "red")]),
        Panel::stat(
            "Lost",
            "short",
            "Messages of the time shown that left their stream unhandled and unfiled.",
        )
        .query("lost", or_zero(&sum("", &increase_shown(&of("campana_messages_lost_total")))))
        .wide(6)
        .colours("green", &[(0.5, "red")]),
        Panel::lines(
            "Waiting by consumer and class",
            "short",
            "As the keeper counted them last: it counts every few seconds.",
        )
        .query("{{consumer}} {{class}}", max("stream, consumer, class", &of(PILES)))
        .wide(12),
        Panel::lines("Age of the oldest by consumer", "s", "As the keeper saw them last.")
            .query(
                "{{consumer}}",
                format!(
                    "time() - ({} > 0)",
                    max("stream, consumer", &of("campana_dlq_depth_oldest_timestamp_seconds"))
                ),
            )
            .wide(12),
    ]
}

fn coming_in() -> Vec<Panel> {
    vec![
        Panel::lines("Parked by consumer and reason", "ops", "`permanent`: the handler said so; `max_deliver`: all attempts failed; `poison`: it cannot even be read.")
            .query("{{consumer}} {{reason}}", per_second("campana_dead_letters_total", "consumer, reason")),
        Panel::lines("Filed by the keeper", "ops", "Messages given up by consumers that are not run by the library, or that are gone.")
            .query("{{stream}} {{by}}", per_second("campana_dlq_filed_total", "stream, by")),
        Panel::lines("Could not be parked", "ops", "By reason. The message stays in its stream and is tried again.")
            .query("{{consumer}} {{reason}}", per_second("campana_dlq_park_failures_total", "consumer, reason")),
    ]
}

fn redrives() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Sent again by result",
            "ops",
            "Letters that were sent again, by what came of it.",
        )
        .query("{{result}}", per_second("campana_dlq_redrives_total", "result")),
        Panel::lines("Jobs open", "short", "Redrives at work.")
            .query("open", max("", &of("campana_redrive_jobs_open"))),
        Panel::lines("Jobs ended", "ops", "By how they ended.")
            .query("{{state}}", per_second("campana_redrive_jobs_total", "state")),
    ]
}

fn stranded() -> Vec<Panel> {
    vec![
        Panel::lines("Stranded", "short", "Messages in a stream that no consumer will take, by reason. They wait until somebody looks.")
            .query("{{stream}} {{reason}}", max("stream, reason", &of("campana_stranded_messages")))
            .wide(12),
        Panel::lines("Lost by reason", "ops", "Messages that left their stream unhandled and unfiled.")
            .query("{{stream}} {{consumer}} {{reason}}", per_second("campana_messages_lost_total", "stream, consumer, reason"))
            .wide(12),
    ]
}
