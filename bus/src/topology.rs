//! Streams and buckets as data, and how they are applied.
//! Reads: JetStream's description of what is there. Writes: streams and buckets. Never: deletes anything
//! or changes a retention policy; a difference that cannot be updated is reported instead.
//! Consumers are created by the code that runs them, from the same [`crate::consume::ConsumerSpec`].

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Republish, RetentionPolicy, StorageType,
};
use serde::Serialize;

use crate::connect::Bus;

mod platform;

pub use platform::{
    ADVISORIES, CHANNELS, DELIVERIES, DLQ, EVENTS, HISTORY_MARKS, HISTORY_NOTES, HISTORY_STATE,
    IDEMPOTENCY, LEASES, OUTCOMES, PRESENCE, RECEIPTS, REDRIVE_CLAIMS, REDRIVES, REQUESTS,
    REVOCATIONS, TopologyOptions, platform,
};

/// One stream, in the terms that matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamSpec {
    /// Its name.
    pub name: &'static str,
    /// What it holds, for people.
    pub purpose: &'static str,
    /// What it stores.
    pub subjects: Vec<String>,
    /// `workqueue`: until acknowledged. `limits`: a log.
    pub retention: &'static str,
    /// Whether a full stream refuses instead of forgetting.
    pub refuse_when_full: bool,
    /// Messages kept per subject; -1 for no limit.
    pub max_messages_per_subject: i64,
    /// Messages kept; -1 for no limit.
    pub max_messages: i64,
    /// Bytes kept; -1 for no limit.
    pub max_bytes: i64,
    /// Seconds a message is kept; 0 for ever.
    pub max_age_seconds: u64,
    /// Seconds within which a message id is stored once.
    pub duplicate_window_seconds: u64,
    /// Copies in a cluster.
    pub replicas: usize,
    /// Whether messages can be scheduled in the stream.
    pub schedules: bool,
    /// Whether it is a key-value bucket whose keys have several tokens and may have a time to live.
    pub keys: bool,
    /// Where stored messages are republished with their sequence.
    pub republish: Option<(&'static str, &'static str)>,
}

/// One key-value bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BucketSpec {
    /// Its name.
    pub name: &'static str,
    /// What it holds, for people.
    pub purpose: &'static str,
    /// Seconds a key is kept; 0 for ever.
    pub max_age_seconds: u64,
    /// Whether single keys may have a time to live.
    pub key_ttl: bool,
    /// Copies in a cluster.
    pub replicas: usize,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// All streams.
    pub streams: Vec<StreamSpec>,
    /// All buckets.
    pub buckets: Vec<BucketSpec>,
}

impl StreamSpec {
    fn config(&self) -> Config {
        Config {
            name: self.name.to_owned(),
            description: Some(self.purpose.to_owned()),
            subjects: self.subjects.clone(),
            retention: if self.retention == "workqueue" {
                RetentionPolicy::WorkQueue
            } else {
                RetentionPolicy::Limits
            },
            discard: if self.refuse_when_full { DiscardPolicy::New } else { DiscardPolicy::Old },
            max_messages_per_subject: self.max_messages_per_subject,
            max_messages: self.max_messages,
            max_bytes: self.max_bytes,
            max_age: Duration::from_secs(self.max_age_seconds),
            duplicate_window: Duration::from_secs(self.duplicate_window_seconds),
            storage: StorageType::File,
            num_replicas: self.replicas,
            allow_direct: true,
            allow_atomic_publish: true,
            allow_message_schedules: self.schedules,
            // A schedule outlives the stream's `max_age` only by a time to live of its own.
            allow_message_ttl: self.schedules || self.keys,
            allow_rollup: self.keys,
            deny_delete: self.keys,
            republish: self.republish.map(|(source, destination)| Republish {
                source: source.to_owned(),
                destination: destination.to_owned(),
                headers_only: false,
            }),
            ..Config::default()
        }
    }

    /// The same stream as the server has it.
    fn of(&self, found: &Config) -> Self {
        Self {
            name: self.name,
            purpose: if found.description.as_deref() == Some(self.purpose) {
                self.purpose
            } else {
                "(another description)"
            },
            subjects: found.subjects.clone(),
            retention: if found.retention == RetentionPolicy::WorkQueue {
                "workqueue"
            } else {
                "limits"
            },
            refuse_when_full: found.discard == DiscardPolicy::New,
            max_messages_per_subject: if found.max_messages_per_subject == 0 {
                -1
            } else {
                found.max_messages_per_subject
            },
            max_messages: if found.max_messages == 0 { -1 } else { found.max_messages },
            max_bytes: if found.max_bytes == 0 { -1 } else { found.max_bytes },
            max_age_seconds: found.max_age.as_secs(),
            duplicate_window_seconds: found.duplicate_window.as_secs(),
            replicas: found.num_replicas,
            schedules: found.allow_message_schedules && found.allow_message_ttl,
            keys: found.deny_delete && found.allow_message_ttl,
            republish: match (&found.republish, self.republish) {
                (Some(found), Some((source, destination)))
                    if found.source == source && found.destination == destination =>
                {
                    self.republish
                }
                (None, _) => None,
                (Some(_), _) => Some(("(another source)", "(another destination)")),
            },
        }
    }
}

/// One difference between what should be and what is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Stream or bucket.
    pub object: String,
    /// What differs; `missing` if all of it.
    pub field: String,
    /// What should be.
    pub wanted: String,
    /// What is.
    pub found: String,
}

/// Why the topology could not be read or applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {reason}")]
pub struct TopologyError {
    /// Stream or bucket.
    pub object: String,
    /// What the server said.
    pub reason: String,
}

fn failed(object: &str, reason: impl std::fmt::Display) -> TopologyError {
    TopologyError { object: object.to_owned(), reason: reason.to_string() }
}

/// What differs between the topology and the server; empty if nothing.
///
/// # Errors
/// If the server does not answer.
pub async fn diff(bus: &Bus, topology: &Topology) -> Result<Vec<Difference>, TopologyError> {
    let mut differences = Vec::new();
    for spec in &topology.streams {
        match bus.jetstream().get_stream(spec.name).await {
            Ok(mut stream) => {
                let info = stream.info().await.map_err(|error| failed(spec.name, error))?;
                differences.extend(compare(
                    &format!("stream {}", spec.name),
                    spec,
                    &spec.of(&info.config),
                ));
            }
            Err(error) if is_missing(&error) => {
                differences.push(missing(&format!("stream {}", spec.name)))
            }
            Err(error) => return Err(failed(spec.name, error)),
        }
    }
    for spec in &topology.buckets {
        if bus.jetstream().get_key_value(spec.name).await.is_err() {
            differences.push(missing(&format!("bucket {}", spec.name)));
        }
    }
    Ok(differences)
}

fn is_missing(error: &async_nats::jetstream::context::GetStreamError) -> bool {
    use async_nats::jetstream::{ErrorCode, context::GetStreamErrorKind};
    matches!(error.kind(), GetStreamErrorKind::JetStream(inner) if inner.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn missing(object: &str) -> Difference {
    Difference {
        object: object.to_owned(),
        field: "missing".to_owned(),
        wanted: "present".to_owned(),
        found: "absent".to_owned(),
    }
}

/// Field by field over the serialised form, so that a new field cannot be forgotten.
fn compare<T: Serialize>(object: &str, wanted: &T, found: &T) -> Vec<Difference> {
    let fields = |value: &T| -> BTreeMap<String, serde_json::Value> {
        serde_json::to_value(value)
            .ok()
            .and_then(|value| serde_json::from_value(value).ok())
            .unwrap_or_default()
    };
    let (wanted, found) = (fields(wanted), fields(found));
    wanted
        .into_iter()
        .filter_map(|(field, wanted)| {
            let found = found.get(&field).cloned().unwrap_or_default();
            (wanted != found).then(|| Difference {
                object: object.to_owned(),
                field,
                wanted: wanted.to_string(),
                found: found.to_string(),
            })
        })
        .collect()
}

/// Creates what is missing and updates what differs; repeating it changes nothing.
///
/// # Errors
/// If the server refuses, for example because a retention policy cannot be changed.
pub async fn apply(bus: &Bus, topology: &Topology) -> Result<(), TopologyError> {
    for spec in &topology.streams {
        match bus.jetstream().get_stream(spec.name).await {
            Ok(mut stream) => {
                let info = stream.info().await.map_err(|error| failed(spec.name, error))?;
                if compare(spec.name, spec, &spec.of(&info.config)).is_empty() {
                    continue;
                }
                let updated =
                    Config { first_sequence: info.config.first_sequence, ..spec.config() };
                bus.jetstream()
                    .update_stream(updated)
                    .await
                    .map_err(|error| failed(spec.name, error))?;
            }
            Err(error) if is_missing(&error) => {
                bus.jetstream()
                    .create_stream(spec.config())
                    .await
                    .map_err(|error| failed(spec.name, error))?;
            }
            Err(error) => return Err(failed(spec.name, error)),
        }
    }
    for spec in &topology.buckets {
        let config = kv::Config {
            bucket: spec.name.to_owned(),
            description: spec.purpose.to_owned(),
            history: 1,
            max_age: Duration::from_secs(spec.max_age_seconds),
            storage: StorageType::File,
            num_replicas: spec.replicas,
            limit_markers: spec.key_ttl.then_some(crate::kv::MARKER_AGE),
            ..kv::Config::default()
        };
        bus.jetstream()
            .create_or_update_key_value(config)
            .await
            .map_err(|error| failed(spec.name, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_view_of_a_stream_compares_equal() {
        for spec in platform(TopologyOptions::default()).streams {
            assert_eq!(compare(spec.name, &spec, &spec.of(&spec.config())), Vec::new());
        }
    }

    #[test]
    fn a_changed_limit_is_one_difference() {
        let topology = platform(TopologyOptions::default());
        let spec = &topology.streams[3];
        let found = Config { max_messages_per_subject: 5, ..spec.config() };
        let differences = compare("stream CHANNELS", spec, &spec.of(&found));
        assert_eq!(differences.len(), 1);
        assert_eq!(
            (differences[0].field.as_str(), differences[0].found.as_str()),
            ("max_messages_per_subject", "5")
        );
    }

    #[test]
    fn streams_with_schedules_do_not_refuse_by_themselves() {
        for spec in platform(TopologyOptions::default()).streams {
            assert!(!(spec.schedules && spec.refuse_when_full), "{}", spec.name);
        }
    }
}
