//! What a service tells about itself (NATS ADR-32): `$SRV.PING`, `$SRV.INFO`, `$SRV.STATS`.
//! Reads: questions, the counters of the endpoints. Writes: answers. Never: says anything of a request's content.
//!
//! async-nats has these answers too, but its endpoints cannot be drained: a request that is on its way when one
//! stops is dropped. The protocol is small enough to speak it here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures::StreamExt;
use futures::stream::{SelectAll, select_all};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{QUEUE_GROUP, ServeError, ServiceError};
use crate::clock;
use crate::connect::Bus;
use crate::subjects;

const PING: &str = "io.nats.micro.v1.ping_response";
const INFO: &str = "io.nats.micro.v1.info_response";
const STATS: &str = "io.nats.micro.v1.stats_response";

/// One running service.
pub(super) struct Instance {
    identity: Identity,
    description: String,
    started: String,
    endpoints: Mutex<Vec<(EndpointInfo, Arc<Counters>)>>,
}

/// What every answer begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    pub name: String,
    pub id: String,
    pub version: String,
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct Answer<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    identity: &'a Identity,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Info<'a> {
    description: &'a str,
    endpoints: Vec<EndpointInfo>,
}

#[derive(Serialize)]
struct Stats<'a> {
    started: &'a str,
    endpoints: Vec<EndpointAnswer>,
}

#[derive(Clone, Debug, Serialize)]
struct EndpointInfo {
    name: String,
    subject: String,
    queue_group: &'static str,
    metadata: BTreeMap<String, String>,
}

/// One endpoint in an answer to `$SRV.STATS`; times in nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EndpointAnswer {
    pub name: String,
    pub subject: String,
    #[serde(default)]
    pub queue_group: String,
    pub num_requests: u64,
    pub num_errors: u64,
    #[serde(default)]
    pub last_error: String,
    #[serde(default)]
    pub processing_time: u64,
    #[serde(default)]
    pub average_processing_time: u64,
}

/// What an endpoint counts.
#[derive(Default)]
pub(super) struct Counters(Mutex<Counted>);

#[derive(Clone, Default)]
struct Counted {
    requests: u64,
    errors: u64,
    last_error: String,
    time: Duration,
}

impl Counters {
    pub fn count(&self, took: Duration, error: Option<ServiceError>) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.requests += 1;
        counted.time = counted.time.saturating_add(took);
        if let Some(error) = error {
            counted.errors += 1;
            // The code only: a text may name what somebody asked for.
            counted.last_error = error.code.to_string();
        }
    }

    fn answer(&self, info: &EndpointInfo) -> EndpointAnswer {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let nanos = u64::try_from(counted.time.as_nanos()).unwrap_or(u64::MAX);
        EndpointAnswer {
            name: info.name.clone(),
            subject: info.subject.clone(),
            queue_group: info.queue_group.to_owned(),
            num_requests: counted.requests,
            num_errors: counted.errors,
            last_error: counted.last_error,
            processing_time: nanos,
            average_processing_time: nanos.checked_div(counted.requests).unwrap_or_default(),
        }
    }
}

impl Instance {
    pub fn new(name: &str, version: &str, description: &str, id: String) -> Self {
        Self {
            identity: Identity {
                name: name.to_owned(),
                id,
                version: version.to_owned(),
                metadata: Some(BTreeMap::new()),
            },
            description: description.to_owned(),
            started: clock::now().to_rfc3339(),
            endpoints: Mutex::default(),
        }
    }

    /// Where this instance, and no other, says that it is there.
    pub fn ping_subject(&self) -> String {
        let Identity { name, id, .. } = &self.identity;
        subjects::service_discovery("PING", Some(name), Some(id))
    }

    pub fn name(&self) -> &str {
        &self.identity.name
    }

    pub fn add_endpoint(&self, name: &str, subject: String) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        let info = EndpointInfo {
            name: name.to_owned(),
            subject,
            queue_group: QUEUE_GROUP,
            metadata: BTreeMap::new(),
        };
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.push((info, Arc::clone(&counters)));
        counters
    }

    /// The answer to one question; `None` for a verb that the protocol does not have.
    fn answer(&self, verb: &str) -> Option<Vec<u8>> {
        let identity = &self.identity;
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        match verb {
            "PING" => serde_json::to_vec(&Answer { kind: PING, identity, rest: Nothing {} }),
            "INFO" => {
                let endpoints = endpoints.iter().map(|(info, _)| info.clone()).collect();
                let rest = Info { description: &self.description, endpoints };
                serde_json::to_vec(&Answer { kind: INFO, identity, rest })
            }
            "STATS" => {
                let endpoints =
                    endpoints.iter().map(|(info, counters)| counters.answer(info)).collect();
                let rest = Stats { started: &self.started, endpoints };
                serde_json::to_vec(&Answer { kind: STATS, identity, rest })
            }
            _ => return None,
        }
        .ok()
    }
}

/// Subscribes to the questions to everybody, to this service, and to this instance.
pub(super) async fn subscribe(
    bus: &Bus,
    instance: &Instance,
) -> Result<SelectAll<Subscriber>, ServeError> {
    let (name, id) = (Some(instance.identity.name.as_str()), Some(instance.identity.id.as_str()));
    let mut all = Vec::new();
    for (name, id) in [(None, None), (name, None), (name, id)] {
        let subject = subjects::service_discovery("*", name, id);
        all.push(bus.client().subscribe(subject).await.map_err(|_| ServeError::Closed)?);
    }
    Ok(select_all(all))
}

/// Answers questions until `stop`.
pub(super) async fn answer(
    bus: Bus,
    instance: Arc<Instance>,
    mut questions: SelectAll<Subscriber>,
    stop: CancellationToken,
) {
    loop {
        let question: Message = tokio::select! {
            () = stop.cancelled() => return,
            question = questions.next() => match question {
                Some(question) => question,
                None => return,
            },
        };
        let verb = question.subject.split('.').nth(1).unwrap_or_default();
        if let (Some(to), Some(body)) = (question.reply.clone(), instance.answer(verb)) {
            // Whoever asks asks again; a lost answer harms nobody.
            let _ = bus.client().publish(to, body.into()).await;
        }
    }
}

/// Whether a version follows semver.org: three numbers without leading zeros, then optional `-` and `+` parts.
pub(super) fn is_version(version: &str) -> bool {
    let (version, build) = version.split_once('+').map_or((version, None), |(v, b)| (v, Some(b)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(v, p)| (v, Some(p)));
    let is_number = |part: &str| {
        !part.is_empty()
            && part.len() <= 9
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_identifier = |part: &str| {
        is_word(part) && (!part.bytes().all(|b| b.is_ascii_digit()) || is_number(part))
    };
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| pre.split('.').all(is_identifier))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_semantic() {
        for version in ["0.1.0", "1.2.3", "1.0.0-rc.1", "1.0.0-alpha+build.01", "1.0.0+5"] {
            assert!(is_version(version), "{version}");
        }
        for version in
            ["", "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0 "]
        {
            assert!(!is_version(version), "{version}");
        }
    }
}
