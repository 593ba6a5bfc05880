//! A whole external call: begin, ask if need be, send, write down.
//! Reads and writes: the ledger. Never: sends after half the lease is over, or when the outcome of an earlier
//! call is not known.

use std::time::Duration;

use campana_bus::clock;
use campana_bus::consume::{Failure, Meta};
use sqlx::Pool;

use super::{Begin, Fence, LEASE_MAX, LEASE_MIN, Ledger, LedgerError};
use crate::dialect::Dialect;
use crate::errors::failure;

/// Rounds of asking and sending for one delivery of a message.
const ROUNDS_MAX: usize = 2;

/// One external call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What the effect is called, on our side and, if it takes idempotency keys, on the other.
    pub key: &'a str,
    /// The attempt that the message is at: [`Meta::attempt`].
    pub attempt: u32,
    /// How long the call is ours, 1 s to 1 h. The call itself gets half of it; the rest is for writing down.
    pub lease: Duration,
}

impl<'a> Call<'a> {
    /// A call for the message in hand, with a lease of a minute.
    #[must_use]
    pub fn new(key: &'a str, meta: &Meta) -> Self {
        Self { key, attempt: meta.attempt, lease: Duration::from_secs(60) }
    }
}

/// What the other side says about a call that may have been made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was made, with this result.
    Yes(Vec<u8>),
    /// It certainly was not, and will not be: it may be made now. Say so as well if the other side takes the key
    /// as idempotency key and a repeat is therefore harmless.
    No,
    /// It cannot be told.
    CannotTell,
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The other side certainly did nothing: no connection, or a refusal that says so.
    NotSent(Failure),
    /// A time-out, a connection lost after the request, an answer that means nothing: it may have done it. The
    /// message comes back when the lease is over, and the other side is asked.
    Unknown(String),
}

impl Ledger {
    /// Makes a call unless it was made before, and returns its result, also when an earlier attempt got it.
    ///
    /// `send` makes the call; `ask` is called instead, with the fence, when an earlier attempt may have made it.
    /// A call that takes longer than half the lease is given up as unknown. If nobody can tell what became of it,
    /// the message is parked as `outcome_unknown`, and redriving it asks again.
    ///
    /// # Errors
    /// What the consumer should do with the message.
    pub async fn call<DB, S, SR, A, AR>(
        &self,
        pool: &Pool<DB>,
        call: Call<'_>,
        send: S,
        ask: A,
    ) -> Result<Vec<u8>, Failure>
    where
        DB: Dialect,
        S: FnOnce(Fence) -> SR,
        SR: Future<Output = Result<Vec<u8>, SendError>>,
        A: FnOnce(Fence) -> AR,
        AR: Future<Output = Sent>,
    {
        let lease = call.lease.clamp(LEASE_MIN, LEASE_MAX);
        let mut ask = Some(ask);
        for _ in 0..ROUNDS_MAX {
            let now = clock::now();
            match self.begin(pool, call.key, call.attempt, lease, now).await? {
                Begin::Done { result } => return Ok(result),
                Begin::InFlight { until } => {
                    let wait = u64::try_from(until.since(now)).unwrap_or(0);
                    return Err(Failure::defer(
                        Duration::from_micros(wait),
                        "another handler is making this call",
                    ));
                }
                Begin::Go(fence) => {
                    return self.send(pool, &fence, lease, send(fence.clone())).await;
                }
                Begin::Unknown { fence, .. } => {
                    let sent = match ask.take() {
                        Some(ask) => tokio::time::timeout(lease / 2, ask(fence.clone())).await,
                        // Somebody began it again between our question and now.
                        None => Ok(Sent::CannotTell),
                    };
                    match sent.unwrap_or(Sent::CannotTell) {
                        Sent::Yes(result) => {
                            self.finish(pool, &fence, &result).await?;
                            return Ok(result);
                        }
                        Sent::No => self.not_sent(pool, &fence).await?,
                        Sent::CannotTell => {
                            self.leave_unknown(pool, &fence).await?;
                            return Err(Failure::dead(
                                "outcome_unknown",
                                "an earlier attempt may have made this call, and nobody can tell: look at the \
                                 other side, then redrive or discard",
                            ));
                        }
                    }
                }
            }
        }
        Err(Failure::retry("another handler began the same call"))
    }

    async fn send<DB: Dialect>(
        &self,
        pool: &Pool<DB>,
        fence: &Fence,
        lease: Duration,
        send: impl Future<Output = Result<Vec<u8>, SendError>>,
    ) -> Result<Vec<u8>, Failure> {
        let sent = tokio::time::timeout(lease / 2, send).await;
        let late = || SendError::Unknown("the call took longer than half its lease".to_owned());
        match sent.unwrap_or_else(|_| Err(late())) {
            Ok(result) => {
                self.finish(pool, fence, &result).await?;
                Ok(result)
            }
            Err(SendError::NotSent(failure)) => {
                self.not_sent(pool, fence).await?;
                Err(failure)
            }
            // The lease stays: a request that is still on its way has settled when the other side is asked.
            Err(SendError::Unknown(error)) => Err(Failure::retry_after(lease, error)),
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Database(error) => failure(&error),
            LedgerError::TooLarge { .. } => Self::dead("result_too_large", error),
            LedgerError::Stale { .. } | LedgerError::Busy => Self::retry(error),
        }
    }
}
