//! What the platform needs: its streams and buckets.
//! Reads: the choices that deployments differ in. Writes: nothing. Never: talks to a server.

use std::time::Duration;

use super::{BucketSpec, StreamSpec, Topology};
use crate::subjects;

/// Commands: notifications to plan.
pub const REQUESTS: &str = "REQUESTS";
/// Commands: messages to send over a channel.
pub const DELIVERIES: &str = "DELIVERIES";
/// Events: what became of notifications.
pub const OUTCOMES: &str = "OUTCOMES";
/// Events: what browsers see.
pub const CHANNELS: &str = "CHANNELS";
/// Events: service authors' own.
pub const EVENTS: &str = "EVENTS";
/// Parked messages.
pub const DLQ: &str = "DLQ";
/// What the server says about messages that consumers of others gave up.
pub const ADVISORIES: &str = "ADVISORIES";
/// The stream of the bucket that says who is online where.
pub const PRESENCE: &str = "KV_presence";
/// The stream of the bucket that says who has seen what.
pub const RECEIPTS: &str = "KV_receipts";
/// Bucket of redrive jobs.
pub const REDRIVES: &str = "redrives";
/// Bucket of claims: which job or operator redrives which dead letter.
pub const REDRIVE_CLAIMS: &str = "redrive_claims";
/// Bucket of idempotency keys.
pub const IDEMPOTENCY: &str = "idempotency";
/// Bucket of tokens that were revoked before their end.
pub const REVOCATIONS: &str = "revocations";
/// Bucket of what was removed from channels on purpose, see [`crate::history`].
pub const HISTORY_MARKS: &str = "history_marks";
/// Bucket of what edges saw of the channels' stream last, so that a removal while none ran is noticed.
pub const HISTORY_STATE: &str = "history_state";
/// The stream of the bucket that says what a channel's last message was, for channels of which nothing is left.
pub const HISTORY_NOTES: &str = "KV_history_notes";
/// Bucket of leases: which process does what only one may do.
pub const LEASES: &str = "leases";

/// Publishers repeat an unknown answer within this window; it also outlives a dispatcher's restart.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(10 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the platform needs, with the choices that deployments differ in.
#[derive(Clone, Copy, Debug)]
pub struct TopologyOptions {
    /// 1 on one node, 3 in a cluster.
    pub replicas: usize,
    /// Messages kept per channel for history and recovery.
    pub channel_history: i64,
    /// How long channel messages and outcomes are kept.
    pub channel_age: Duration,
    /// How long it is known afterwards which message of a channel was the last one; zero for ever.
    pub channel_meta_age: Duration,
    /// Dead letters kept; -1 for no limit. A full stream refuses, and messages stay where they are.
    pub dlq_messages: i64,
    /// Bytes of dead letters kept; -1 for no limit.
    pub dlq_bytes: i64,
}

impl Default for TopologyOptions {
    fn default() -> Self {
        Self {
            replicas: 1,
            channel_history: 10_000,
            channel_age: 30 * DAY,
            channel_meta_age: 90 * DAY,
            dlq_messages: -1,
            dlq_bytes: -1,
        }
    }
}

/// The platform's streams and buckets.
#[must_use]
pub fn platform(options: TopologyOptions) -> Topology {
    let mut streams = commands(options);
    streams.extend(events(options));
    streams.extend(given_up(options));
    streams.extend(people(options));
    Topology { streams, buckets: buckets(options) }
}

fn commands(options: TopologyOptions) -> Vec<StreamSpec> {
    vec![
        StreamSpec::queue(
            options,
            REQUESTS,
            "notify.request.*",
            "notifications to plan, one envelope of requests a message",
        ),
        StreamSpec::queue(
            options,
            DELIVERIES,
            "notify.deliver.*.*",
            "messages to send over a channel",
        ),
    ]
}

fn events(options: TopologyOptions) -> Vec<StreamSpec> {
    let channels = "what browsers see: history, recovery and the live feed";
    vec![
        StreamSpec {
            schedules: true,
            subjects: vec![
                // One of a notification, to be found by its id, or those of many in one envelope.
                "notify.outcome.*.*".to_owned(),
                "notify.outcomes.*".to_owned(),
                format!("_delay.{OUTCOMES}.>"),
                format!("_retry.{OUTCOMES}.>"),
                format!("_schedule.{OUTCOMES}.>"),
            ],
            ..StreamSpec::log(options, OUTCOMES, "", "what became of notifications")
        },
        StreamSpec {
            subjects: vec!["ch.*.*.*".to_owned()],
            max_messages_per_subject: options.channel_history,
            republish: Some(("ch.>", "live.ch.>")),
            ..StreamSpec::log(options, CHANNELS, "", channels)
        },
        StreamSpec {
            schedules: true,
            ..StreamSpec::log(options, EVENTS, "app.>", "service authors' own events")
        },
    ]
}

fn given_up(options: TopologyOptions) -> Vec<StreamSpec> {
    let letters = "messages that were given up, for operators to redrive or discard";
    let advisories = "what the server says about messages that consumers of others gave up";
    vec![
        StreamSpec {
            subjects: vec!["dlq.*.*.*".to_owned()],
            refuse_when_full: true,
            max_messages: options.dlq_messages,
            max_bytes: options.dlq_bytes,
            max_age_seconds: 0,
            ..StreamSpec::log(options, DLQ, "", letters)
        },
        StreamSpec {
            subjects: vec![
                subjects::ADVISORIES_MAX_DELIVERIES.to_owned(),
                subjects::ADVISORIES_TERMINATED.to_owned(),
                format!("_retry.{ADVISORIES}.>"),
            ],
            max_age_seconds: (7 * DAY).as_secs(),
            ..StreamSpec::log(options, ADVISORIES, "", advisories)
        },
    ]
}

/// What the edges know of people. Buckets in all but their keys; see `subjects::presence_client`.
fn people(options: TopologyOptions) -> Vec<StreamSpec> {
    let bucket = |name, subject: &str, max_age_seconds, purpose| StreamSpec {
        subjects: vec![subject.to_owned()],
        refuse_when_full: true,
        max_messages_per_subject: 1,
        max_age_seconds,
        keys: true,
        ..StreamSpec::log(options, name, "", purpose)
    };
    let present = "who is in which channel, on which edge; who is online";
    let age = options.channel_age.as_secs();
    vec![
        bucket(PRESENCE, subjects::PRESENCE_FILTER, 0, present),
        bucket(RECEIPTS, subjects::RECEIPTS_FILTER, age, "up to where people have seen a channel"),
        bucket(
            HISTORY_NOTES,
            subjects::HISTORY_NOTES_FILTER,
            options.channel_meta_age.as_secs(),
            "which message of a channel was the last one, from half of its age on",
        ),
    ]
}

fn buckets(options: TopologyOptions) -> Vec<BucketSpec> {
    let bucket = |name, days: u32, purpose| BucketSpec {
        name,
        purpose,
        max_age_seconds: (days * DAY).as_secs(),
        key_ttl: false,
        replicas: options.replicas,
    };
    vec![
        bucket(IDEMPOTENCY, 1, "answers to requests that carried an Idempotency-Key"),
        bucket(REDRIVES, 30, "jobs that redrive dead letters, and what became of them"),
        bucket(REDRIVE_CLAIMS, 7, "who redrives which dead letter, so that it happens once"),
        // Longer than what is kept of channels: afterwards age alone says that the messages are gone.
        BucketSpec {
            max_age_seconds: match options.channel_age.as_secs() {
                0 => 0,
                seconds => seconds + DAY.as_secs(),
            },
            ..bucket(HISTORY_MARKS, 0, "up to where messages were removed from channels on purpose")
        },
        BucketSpec {
            key_ttl: true,
            ..bucket(REVOCATIONS, 0, "tokens that were revoked, until they would have ended")
        },
        bucket(HISTORY_STATE, 0, "what edges saw of the channels' stream last"),
        BucketSpec {
            key_ttl: true,
            ..bucket(LEASES, 0, "which process does what only one of them may do")
        },
    ]
}

impl StreamSpec {
    /// A log: many readers, replay, limits. Its consumers' delayed and redriven copies live in it, too.
    fn log(
        options: TopologyOptions,
        name: &'static str,
        subject: &str,
        purpose: &'static str,
    ) -> Self {
        Self {
            name,
            purpose,
            subjects: vec![
                subject.to_owned(),
                format!("_delay.{name}.>"),
                format!("_retry.{name}.>"),
                format!("_schedule.{name}.>"),
            ],
            retention: "limits",
            refuse_when_full: false,
            max_messages_per_subject: -1,
            max_messages: -1,
            max_bytes: -1,
            max_age_seconds: options.channel_age.as_secs(),
            duplicate_window_seconds: DUPLICATE_WINDOW.as_secs(),
            replicas: options.replicas,
            schedules: false,
            keys: false,
            republish: None,
        }
    }

    /// A command queue: each message is kept until it is acknowledged. A stream that carries schedules may
    /// not refuse by itself (error 10052); the server's storage limit does.
    fn queue(
        options: TopologyOptions,
        name: &'static str,
        subject: &str,
        purpose: &'static str,
    ) -> Self {
        Self {
            retention: "workqueue",
            max_age_seconds: 0,
            schedules: true,
            ..Self::log(options, name, subject, purpose)
        }
    }
}
