//! The sending side: what one simulated user does, whoever runs it. A user has its own
//! keep-alive connection, waits at the gate, writes one notification to its own recipient, and
//! notes what came back. It never retries: a notification is sent once or reported as unknown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Mutex as AsyncMutex, watch};

use crate::clock::Origin;
use crate::gate::{Gate, Signal};
use crate::http1::{self, Connection};
use crate::ledger::{Outcome, Sent};

/// What all users of a run share.
pub struct Crew {
    origin: Origin,
    authority: String,
    timeout: Duration,
    users: Vec<AsyncMutex<User>>,
    done: Mutex<Vec<Sent>>,
}

/// Kept from step to step, so that every wave finds warm connections.
struct User {
    connection: Option<Connection>,
    request: Vec<u8>,
}

/// The only member of a 202 that matters here.
#[derive(Deserialize)]
struct AcceptedBody<'a> {
    id: &'a str,
}

impl Crew {
    /// One user per recipient.
    pub fn new(
        origin: Origin,
        authority: &str,
        api_key: &str,
        channel: &str,
        timeout: Duration,
        recipients: &[String],
    ) -> Self {
        let user = |recipient: &String| {
            let body = serde_json::json!({
                "to": {"id": recipient},
                "content": {"title": "Load test", "body": "One of a wave of notifications released together."},
                "channels": [channel],
            });
            let request = http1::post(authority, "/v1/notifications", api_key, &body.to_string());
            AsyncMutex::new(User { connection: None, request })
        };
        Self {
            origin,
            authority: authority.to_owned(),
            timeout,
            users: recipients.iter().map(user).collect(),
            done: Mutex::default(),
        }
    }

    /// Takes the notes of finished requests.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One user's part in one wave. Returns the wave, or nothing when the step is over.
    pub async fn take_part(
        &self,
        index: usize,
        gate: &Gate,
        watch: &mut watch::Receiver<Signal>,
        last: Option<u32>,
    ) -> Option<u32> {
        let wave = gate.called(watch, last).await?;
        let mut user = self.users[index].lock().await;
        // Servers close idle connections, so it is looked at right before it is used.
        let refusal = self.make_ready(&mut user).await.err();
        let intended_ns = gate.released(watch).await?;
        let sent_ns = self.origin.ns();
        let outcome = match refusal {
            Some(error) => Outcome::Unknown { reason: format!("connect: {error}") },
            None => self.send(&mut user).await,
        };
        drop(user);
        let recipient = u32::try_from(index).unwrap_or(u32::MAX);
        let sent = Sent { wave, recipient, intended_ns, sent_ns, outcome };
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
        Some(wave)
    }

    async fn make_ready(&self, user: &mut User) -> std::io::Result<()> {
        if !user.connection.as_ref().is_some_and(Connection::is_idle) {
            user.connection = None;
            user.connection = Some(Connection::open(&self.authority).await?);
        }
        Ok(())
    }

    async fn send(&self, user: &mut User) -> Outcome {
        let Some(connection) = user.connection.as_mut() else {
            return Outcome::Unknown { reason: "no connection".to_owned() };
        };
        let exchange = connection.exchange(&user.request);
        let answer = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                user.connection = None;
                return Outcome::Unknown { reason: error.to_string() };
            }
            Err(_) => {
                user.connection = None;
                return Outcome::Unknown { reason: "time-out".to_owned() };
            }
        };
        let at_ns = self.origin.ns();
        if !answer.keep_alive {
            user.connection = None;
        }
        if answer.status != 202 {
            return Outcome::Refused { status: answer.status };
        }
        match serde_json::from_slice::<AcceptedBody<'_>>(&answer.body) {
            Ok(body) => Outcome::Accepted { id: body.id.into(), at_ns },
            Err(error) => Outcome::Unknown { reason: format!("202 without an id: {error}") },
        }
    }
}

/// One user's loop over the waves of a step, for the control run without goose.
pub async fn run_user(crew: Arc<Crew>, gate: Arc<Gate>, index: usize) {
    let mut watch = gate.watch();
    let mut last = None;
    while let Some(wave) = crew.take_part(index, &gate, &mut watch, last).await {
        last = Some(wave);
    }
}
