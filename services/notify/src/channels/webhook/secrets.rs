//! The secrets that sign webhooks.
//! Reads: the store (each recipient's own secret), options (the default). Writes: memory. Never: logs a
//! secret, sends a webhook unsigned, puts a secret on the bus.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use campana_bus::clock;
use secrecy::{ExposeSecret, SecretString};
use standardwebhooks::Webhook;

use crate::cache::Cache;
use crate::channels::classify::Signal;
use crate::channels::reply::Refusal;
use crate::contracts::Delivery;
use crate::store::Store;

/// How long a secret is used without asking the store.
const TTL: Duration = Duration::from_secs(30);
/// How old a secret may be when the store does not answer.
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);
const ENTRIES_MAX: usize = 20_000;
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// A secret that is used to sign.
#[derive(Clone)]
pub struct Signer(pub(super) SecretString);

#[derive(Clone)]
struct Entry {
    secret: Option<SecretString>,
    read_at: Instant,
}

/// All secrets.
pub struct Secrets {
    default: Option<SecretString>,
    store: Option<Store>,
    known: Mutex<Cache<(String, String), Entry>>,
}

impl Secrets {
    /// Checks the default secret.
    ///
    /// # Errors
    /// If it is there and cannot be used.
    pub fn new(default: &SecretString, store: Option<Store>) -> Result<Self, String> {
        let default = (!default.expose_secret().is_empty()).then(|| default.clone());
        if let Some(secret) = &default {
            Webhook::new(secret.expose_secret())
                .map_err(|_| "default_secret is not `whsec_` and base64".to_owned())?;
        }
        Ok(Self { default, store, known: Mutex::new(Cache::new(ENTRIES_MAX)) })
    }

    /// The secret for this delivery: the recipient's own, or the default.
    ///
    /// # Errors
    /// If there is none, or the store does not answer and nothing is remembered.
    pub async fn of(&self, delivery: &Delivery) -> Result<Signer, Refusal> {
        let own = match &self.store {
            Some(store) => self.own(store, delivery).await?,
            None => None,
        };
        own.or_else(|| self.default.clone()).map(Signer).ok_or_else(|| {
            Refusal::new(
                Signal::Refused("webhook_no_secret"),
                "neither the recipient nor the platform has a webhook secret",
            )
        })
    }

    async fn own(
        &self,
        store: &Store,
        delivery: &Delivery,
    ) -> Result<Option<SecretString>, Refusal> {
        let key = (delivery.tenant.clone(), delivery.recipient.clone());
        let now = clock::monotonic();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key);
        if let Some(entry) = known.as_ref().filter(|entry| now - entry.read_at < TTL) {
            return Ok(entry.secret.clone());
        }
        let read = tokio::time::timeout(
            LOOKUP_TIMEOUT,
            store.recipient(&delivery.tenant, &delivery.recipient),
        )
        .await;
        match read {
            Ok(Ok(recipient)) => {
                let secret = recipient
                    .and_then(|recipient| recipient.webhook_secret)
                    .map(SecretString::from);
                let entry = Entry { secret: secret.clone(), read_at: now };
                self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, entry);
                Ok(secret)
            }
            Ok(Err(_)) | Err(_) => match known.filter(|entry| now - entry.read_at < STALE_MAX) {
                Some(entry) => Ok(entry.secret),
                None => {
                    Err(Refusal::new(Signal::NotReady("store_away"), "the store does not answer"))
                }
            },
        }
    }
}
