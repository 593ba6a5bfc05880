//! Carries questions of sessions to the services that decide instead of the edge.
//! Reads: answers of services. Writes: requests over the bus, metrics.
//! Never: understands an answer; the session does.

use bytes::Bytes;
use campana_bus::{HeaderMap, clock, headers};

use crate::metrics;
use crate::operations::TENANT;
use crate::server::Node;
use crate::session::{Ask, Done, Unanswered};

/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Asks, and waits for the answer as long as the session allows.
pub(crate) async fn ask(node: &Node, ask: Ask) -> Done {
    let mut head = HeaderMap::new();
    headers::set(&mut head, TENANT, ask.tenant());
    let began = clock::monotonic();
    let (service, endpoint, timeout) = (ask.service(), ask.endpoint(), ask.timeout());
    let result = node.bus.call_raw(service, endpoint, head, ask.body(), timeout).await;
    metrics::proxy_took(ask.question(), began.elapsed());
    let answer: Result<Bytes, Unanswered> = match result {
        Ok((_, answer)) if answer.len() <= ANSWER_BYTES_MAX => Ok(answer),
        Ok(_) => {
            tracing::warn!(service, endpoint, "a service's answer is longer than 64 KiB");
            Err(Unanswered)
        }
        Err(why) => {
            // A service's own text may speak about people.
            tracing::warn!(service, endpoint, code = why.code(), "a service did not decide");
            Err(Unanswered)
        }
    };
    Done::Asked(Box::new(ask), answer)
}
