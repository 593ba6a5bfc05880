//! Asking all nodes to trace, and collecting what they see.
//! Reads: answers on an inbox. Writes: one request, lines for the caller, one order to stop.
//! Never: leaves nodes tracing when the caller is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::StatusCode;
use campana_bus::ids::MessageId;
use campana_bus::{Bus, clock, subjects};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

/// How long nodes may take to say that they trace, and to say their last word after the time is over.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Longest time of a trace.
const SECONDS_MAX: u64 = 600;
/// Most frames of a trace.
const FRAMES_MAX: u64 = 1_000_000;

/// Whom to watch, and how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// The user's tenant.
    pub tenant: String,
    /// A user with all connections; empty if one connection is meant.
    pub user: String,
    /// One connection, by the id that its client knows; empty if a user is meant.
    pub client: String,
    /// Ends after this time, at most ten minutes.
    pub seconds: u64,
    /// Ends after so many frames.
    pub frames: u64,
    /// Whether what clients and services say is shown, not only how much.
    pub payloads: bool,
    /// Who asks, for the nodes' logs.
    pub by: String,
}

impl TraceRequest {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.user.is_empty() == self.client.is_empty() {
            return Err("name either a user or a client".to_owned());
        }
        if !(1..=SECONDS_MAX).contains(&self.seconds) {
            return Err(format!("seconds is not in 1..={SECONDS_MAX}"));
        }
        if !(1..=FRAMES_MAX).contains(&self.frames) {
            return Err(format!("frames is not in 1..={FRAMES_MAX}"));
        }
        Ok(())
    }
}

/// What nodes are told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(super) enum Order {
    Start {
        id: String,
        #[serde(flatten)]
        request: TraceRequest,
    },
    Stop {
        id: String,
    },
}

/// Asks all nodes and hands on their lines until every node that began has ended, the time is over, or nobody
/// takes the lines any more.
///
/// # Errors
/// If the request is not good, NATS does not answer, or no edge runs.
pub async fn run(
    bus: &Bus,
    request: TraceRequest,
    lines: mpsc::Sender<String>,
) -> Result<(), String> {
    request.check()?;
    let client = bus.client();
    let inbox = client.new_inbox();
    let unavailable = |error: &dyn std::fmt::Display| format!("NATS does not answer: {error}");
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| unavailable(&error))?;
    let id = MessageId::fresh().to_string();
    let until = clock::monotonic() + Duration::from_secs(request.seconds) + ANSWERS_WITHIN;
    let frames = request.frames;
    let order = encode(&Order::Start { id: id.clone(), request })?;
    client
        .publish_with_reply(subjects::EDGE_TRACE, inbox, order.into())
        .await
        .map_err(|error| unavailable(&error))?;
    let mut nodes = Nodes { frames_left: frames, ..Nodes::default() };
    nodes.collect(&mut answers, &lines, until.into()).await?;
    if nodes.is_over() {
        return Ok(());
    }
    // Those that saw less must not go on for nobody; their last words are waited for.
    nodes.frames_left = 0;
    let stop = encode(&Order::Stop { id })?;
    if let Err(error) = client.publish(subjects::EDGE_TRACE, stop.into()).await {
        tracing::debug!(%error, "nodes were not told to stop tracing: they do so by themselves");
        return Ok(());
    }
    let _ = client.flush().await;
    let until = clock::monotonic() + ANSWERS_WITHIN;
    nodes.collect(&mut answers, &lines, until.into()).await
}

/// The nodes that trace, and how much may still come of them.
#[derive(Debug, Default)]
struct Nodes {
    began: bool,
    tracing: BTreeSet<String>,
    frames_left: u64,
}

impl Nodes {
    /// Whether every node that began has ended.
    fn is_over(&self) -> bool {
        self.began && self.tracing.is_empty()
    }

    /// Hands on lines until there were enough, all nodes have ended, the time is over, or nobody takes them.
    async fn collect(
        &mut self,
        answers: &mut async_nats::Subscriber,
        lines: &mpsc::Sender<String>,
        until: tokio::time::Instant,
    ) -> Result<(), String> {
        let waits_for_frames = self.frames_left > 0;
        loop {
            let message = tokio::select! {
                message = answers.next() => message.ok_or("the connection to NATS is closed")?,
                () = lines.closed() => return Ok(()),
                () = tokio::time::sleep_until(until) => return Ok(()),
            };
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                return Err("no edge is running".to_owned());
            }
            let Ok(line) = serde_json::from_slice::<Value>(&message.payload) else { continue };
            if self.wants(&line) && lines.send(line.to_string()).await.is_err() {
                return Ok(());
            }
            if self.is_over() || (waits_for_frames && self.frames_left == 0) {
                return Ok(());
            }
        }
    }

    /// Notes what a line says; false if it is one too many.
    fn wants(&mut self, line: &Value) -> bool {
        let node = line["node"].as_str().unwrap_or_default();
        match line["kind"].as_str() {
            Some("started") => {
                self.began = true;
                self.tracing.insert(node.to_owned())
            }
            Some("ended") => {
                // A node that saw enough has said so for all of them.
                if line["reason"] == "frames" {
                    self.frames_left = 0;
                }
                self.tracing.remove(node)
            }
            _ if self.frames_left > 0 => {
                self.frames_left -= 1;
                true
            }
            _ => false,
        }
    }
}

fn encode(order: &Order) -> Result<Vec<u8>, String> {
    serde_json::to_vec(order).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_of_one_user_or_one_client_and_ends() {
        let ok = TraceRequest {
            tenant: "t".to_owned(),
            user: "alice".to_owned(),
            client: String::new(),
            seconds: 600,
            frames: 1,
            payloads: false,
            by: "root".to_owned(),
        };
        assert_eq!(ok.check(), Ok(()));
        let (client, nobody) = ("cli_1".to_owned(), String::new());
        assert!(TraceRequest { client, ..ok.clone() }.check().is_err());
        assert!(TraceRequest { user: nobody, ..ok.clone() }.check().is_err());
        assert!(TraceRequest { seconds: 601, ..ok.clone() }.check().is_err());
        assert!(TraceRequest { frames: 0, ..ok.clone() }.check().is_err());
        let order = Order::Start { id: "1".to_owned(), request: ok };
        let text = encode(&order).unwrap();
        assert!(matches!(serde_json::from_slice(&text).unwrap(), Order::Start { .. }));
    }
}
