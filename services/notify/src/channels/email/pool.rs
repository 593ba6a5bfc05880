//! The connections to the relay: few, reused, replaced in time.
//! Reads: the monotonic clock. Writes: sockets, through `dialogue`. Never: opens more connections than the
//! limit (lettre's own pool limits parked ones only), parks one whose last transaction did not end well.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use campana_bus::clock;
use tokio::sync::Semaphore;

use super::dialogue::{Connector, Envelope, Session, SmtpFailure, Stage};
use crate::channels::EmailOptions;
use crate::channels::reply::Place;
use crate::telemetry;

/// A connection that rested longer than this is asked whether it still lives.
const PROBE_AFTER: Duration = Duration::from_secs(5);

/// Connections to one relay.
pub struct Pool {
    connector: Connector,
    /// One for each connection that may be open.
    pub(super) places: Arc<Semaphore>,
    parked: Mutex<Vec<Parked>>,
    messages_max: u32,
    age_max: Duration,
    idle_max: Duration,
}

struct Parked {
    session: Session,
    opened: Instant,
    parked: Instant,
    messages: u32,
}

impl Pool {
    pub(super) fn new(connector: Connector, options: &EmailOptions) -> Self {
        Self {
            connector,
            places: Arc::new(Semaphore::new(options.max_connections.max(1))),
            parked: Mutex::new(Vec::new()),
            messages_max: options.messages_per_connection.max(1),
            age_max: Duration::from_secs(options.connection_seconds),
            idle_max: Duration::from_secs(options.idle_seconds),
        }
    }

    /// Sends one message and returns the relay's words; the place is free again then.
    ///
    /// # Errors
    /// Says at which step it ended.
    pub async fn send(
        &self,
        _place: Place,
        envelope: &Envelope,
        body: &[u8],
    ) -> Result<String, SmtpFailure> {
        if let Some(parked) = self.take().await {
            match self.transact(parked, envelope, body).await {
                // The relay closed a resting connection: nothing of the message was said yet.
                Err(
                    SmtpFailure::Silent { stage: Stage::Mail, .. }
                    | SmtpFailure::Reply { stage: Stage::Mail, code: 421, .. },
                ) => {
                    telemetry::smtp_connection("stale");
                }
                settled => return settled,
            }
        }
        let session = self.connector.open().await?;
        telemetry::smtp_connection("opened");
        let now = clock::monotonic();
        self.transact(Parked { session, opened: now, parked: now, messages: 0 }, envelope, body)
            .await
    }

    async fn transact(
        &self,
        used: Parked,
        envelope: &Envelope,
        body: &[u8],
    ) -> Result<String, SmtpFailure> {
        let Parked { session, opened, messages, .. } = used;
        // On any error, and when this future is dropped, the session is dropped with its socket.
        let (session, words) = session.transact(envelope, body).await?;
        let parked = Parked { session, opened, parked: clock::monotonic(), messages: messages + 1 };
        if parked.messages < self.messages_max {
            self.parked.lock().unwrap_or_else(PoisonError::into_inner).push(parked);
        }
        Ok(words)
    }

    /// The connection that was used last, if it is still good; older ones time out unused.
    async fn take(&self) -> Option<Parked> {
        loop {
            let now = clock::monotonic();
            let candidate = {
                let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
                parked.retain(|one| {
                    now - one.opened < self.age_max && now - one.parked < self.idle_max
                });
                parked.pop()?
            };
            if now - candidate.parked < PROBE_AFTER {
                return Some(candidate);
            }
            let Parked { session, opened, parked, messages } = candidate;
            match session.probe().await {
                Ok(session) => {
                    return Some(Parked { session, opened, parked, messages });
                }
                Err(_) => telemetry::smtp_connection("stale"),
            }
        }
    }
}
