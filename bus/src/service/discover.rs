//! Which services run: everybody is asked, and whoever answers in time is there.
//! Reads: answers to `$SRV.STATS`. Writes: the question. Never: keeps a list of its own.

use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::protocol::{EndpointAnswer, Identity};
use crate::call::CallError;
use crate::clock;
use crate::connect::Bus;
use crate::subjects;

/// Most instances that one question lists.
const INSTANCES_MAX: usize = 10_000;

/// A running instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceInstance {
    /// The service.
    pub name: String,
    /// The instance; new at every start.
    pub id: String,
    /// The service's version.
    pub version: String,
    /// When it started, as it says (RFC 3339).
    pub started: String,
    /// What it answers, and what became of the requests so far.
    pub endpoints: Vec<EndpointStats>,
}

/// What an endpoint did since its instance started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointStats {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub subject: String,
    /// Requests answered.
    pub requests: u64,
    /// Those answered with an error.
    pub errors: u64,
    /// The last error, as the instance puts it; empty if there was none.
    pub last_error: String,
    /// Mean time from arrival to answer.
    pub average: Duration,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(flatten)]
    identity: Identity,
    #[serde(default)]
    started: String,
    #[serde(default)]
    endpoints: Option<Vec<EndpointAnswer>>,
}

impl Bus {
    /// The running instances of all services, or of one, that answer within `wait`; by name and id. Services of
    /// other libraries that speak the protocol are among them.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn services(
        &self,
        name: Option<&str>,
        wait: Duration,
    ) -> Result<Vec<ServiceInstance>, CallError> {
        let name = name.filter(|name| !name.is_empty()).map(subjects::escape);
        let closed = |_| CallError::Closed;
        let inbox = self.client().new_inbox();
        let mut answers = self.client().subscribe(inbox.clone()).await.map_err(closed)?;
        let question = subjects::service_discovery("STATS", name.as_deref(), None);
        self.client()
            .publish_with_reply(question, inbox, bytes::Bytes::new())
            .await
            .map_err(|_| CallError::Closed)?;
        let started = clock::monotonic();
        let mut found = Vec::new();
        while let Some(left) = wait.checked_sub(started.elapsed()) {
            let Ok(Some(answer)) = tokio::time::timeout(left, answers.next()).await else {
                break;
            };
            // "No responders" is an answer, too: nobody is there.
            if answer.status.is_some() || found.len() >= INSTANCES_MAX {
                break;
            }
            if let Ok(answer) = serde_json::from_slice::<Answer>(&answer.payload) {
                found.push(instance(answer));
            }
        }
        found.sort_by(|a: &ServiceInstance, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(found)
    }
}

fn instance(answer: Answer) -> ServiceInstance {
    let endpoint = |one: EndpointAnswer| EndpointStats {
        name: one.name,
        subject: one.subject,
        requests: one.num_requests,
        errors: one.num_errors,
        last_error: one.last_error,
        average: Duration::from_nanos(one.average_processing_time),
    };
    ServiceInstance {
        name: answer.identity.name,
        id: answer.identity.id,
        version: answer.identity.version,
        started: answer.started,
        endpoints: answer.endpoints.unwrap_or_default().into_iter().map(endpoint).collect(),
    }
}
