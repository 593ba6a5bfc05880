//! Services: endpoints that answer requests, found, counted and stopped in an orderly way.
//! Reads: requests. Writes: answers. Never: queues without a limit, leaves a caller without an answer while the
//! process lives, drops a request that it took.
//!
//! The protocol is that of NATS services (ADR-32), so `nats service ls` and services in other languages see and
//! call them: `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` are answered, errors travel in the headers
//! `Nats-Service-Error-Code` and `Nats-Service-Error`, and all instances of a service share its requests in one
//! queue group. The codes are HTTP's.
//!
//! ```no_run
//! use campana_bus::service::{CallMeta, Service, ServiceError};
//! use campana_bus::{Bus, stop_on_signal};
//!
//! # async fn example(bus: Bus) -> anyhow::Result<()> {
//! Service::new(&bus, "pricing", "1.0.0")
//!     .endpoint("quote", |sku: String, _: CallMeta| async move {
//!         match sku.as_str() {
//!             "bell" => Ok(4_200_u64),
//!             _ => Err(ServiceError::new(404, "no such sku")),
//!         }
//!     })
//!     .run(stop_on_signal())
//!     .await?;
//! # Ok(())
//! # }
//! ```

mod discover;
mod endpoint;
mod protocol;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Micros;
use crate::connect::Bus;
use crate::ids::NodeId;
use crate::trace::TraceParent;

pub use discover::{EndpointStats, ServiceInstance};

/// The queue group in which all instances of a service share its requests.
const QUEUE_GROUP: &str = "q";

/// What is known about a request besides its body.
#[derive(Clone, Debug)]
pub struct CallMeta {
    /// Where it came in.
    pub subject: String,
    /// All its headers.
    pub headers: HeaderMap,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
    /// Until when the caller waits, if it said so.
    pub deadline: Option<Micros>,
}

/// An answer with headers of its own.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Headers of the answer.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Bytes,
}

impl<B: Into<Bytes>> From<B> for Reply {
    fn from(payload: B) -> Self {
        Self { headers: HeaderMap::new(), payload: payload.into() }
    }
}

/// What the caller is told instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// As in HTTP; 4xx is the caller's fault, 5xx the service's.
    pub code: u16,
    /// For people, and the same for everybody: no secrets.
    pub message: String,
}

impl ServiceError {
    /// An error with this code and text.
    #[must_use]
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// How one endpoint behaves.
#[derive(Clone, Copy, Debug)]
pub struct EndpointOptions {
    /// Handlers at work at the same time (64).
    pub concurrency: usize,
    /// Requests that may wait for a handler (64); one more is answered with 503 at once.
    pub queue: usize,
    /// How long one call of the handler may take, its wait included (30 s); then the answer is 504.
    pub timeout: Duration,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        Self { concurrency: 64, queue: 64, timeout: Duration::from_secs(30) }
    }
}

/// Why a service cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// The protocol allows letters, digits, `-` and `_`.
    #[error("\"{0}\" is no name for a service or an endpoint: use letters, digits, - and _")]
    Name(String),
    /// The protocol asks for semantic versioning.
    #[error("\"{0}\" is no version: write it as 1.2.3")]
    Version(String),
    /// Two endpoints of one name would share their requests by chance.
    #[error("the endpoint \"{0}\" is there twice")]
    Twice(String),
    /// A service answers something.
    #[error("a service needs at least one endpoint")]
    Empty,
    /// The connection is gone for good.
    #[error("the connection to NATS is closed")]
    Closed,
}

type Handler =
    Arc<dyn Fn(Bytes, CallMeta) -> BoxFuture<'static, Result<Reply, ServiceError>> + Send + Sync>;

/// One endpoint before it runs.
struct Endpoint {
    name: String,
    options: EndpointOptions,
    handler: Handler,
}

/// A service to be given endpoints and run.
#[must_use = "a service does nothing until it is run"]
pub struct Service {
    bus: Bus,
    name: String,
    version: String,
    description: String,
    endpoints: Vec<Endpoint>,
}

impl Service {
    /// A service without endpoints. `name` may have letters, digits, `-` and `_`; `version` is semantic.
    pub fn new(bus: &Bus, name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            bus: bus.clone(),
            name: name.into(),
            version: version.into(),
            description: String::new(),
            endpoints: Vec::new(),
        }
    }

    /// What the service does, for people who look at `$SRV.INFO`.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// An endpoint with the default numbers that takes and gives JSON. A request that is not what the handler
    /// takes is answered with 400.
    pub fn endpoint<Q, R, F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        Q: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        F: Fn(Q, CallMeta) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ServiceError>> + Send + 'static,
    {
        self.endpoint_with(name, EndpointOptions::default(), handler)
    }

    /// An endpoint that takes and gives JSON, with numbers of its own.
    pub fn endpoint_with<Q, R, F, Fut>(
        self,
        name: impl Into<String>,
        options: EndpointOptions,
        handler: F,
    ) -> Self
    where
        Q: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        F: Fn(Q, CallMeta) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ServiceError>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.endpoint_raw_with(name, options, move |body: Bytes, meta| {
            let handler = Arc::clone(&handler);
            async move {
                let request = serde_json::from_slice(&body).map_err(|error| {
                    ServiceError::new(400, format!("the request cannot be read: {error}"))
                })?;
                let answer = handler(request, meta).await?;
                let answer = serde_json::to_vec(&answer)
                    .map_err(|_| ServiceError::new(500, "the answer cannot be written as JSON"))?;
                Ok(Reply::from(answer))
            }
        })
    }

    /// An endpoint with the default numbers that takes and gives bodies as they are.
    pub fn endpoint_raw<F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Bytes, CallMeta) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply, ServiceError>> + Send + 'static,
    {
        self.endpoint_raw_with(name, EndpointOptions::default(), handler)
    }

    /// An endpoint that takes and gives bodies as they are, with numbers of its own.
    pub fn endpoint_raw_with<F, Fut>(
        mut self,
        name: impl Into<String>,
        options: EndpointOptions,
        handler: F,
    ) -> Self
    where
        F: Fn(Bytes, CallMeta) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply, ServiceError>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |body, meta| handler(body, meta).boxed());
        self.endpoints.push(Endpoint { name: name.into(), options, handler });
        self
    }

    /// Answers requests until `stop` is ready; then takes no new ones, answers those it has, and returns.
    /// Other instances of the service get what comes meanwhile. Dropping the future instead drops what is in
    /// hand, and its callers run into their time-outs.
    ///
    /// # Errors
    /// If a name, the version or the set of endpoints breaks a rule, or the connection is closed.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        self.check()?;
        let instance = Arc::new(protocol::Instance::new(
            &self.name,
            &self.version,
            &self.description,
            NodeId::fresh().to_string(),
        ));
        let stopping = CancellationToken::new();
        let drained = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for endpoint in self.endpoints {
            let running = endpoint::Running::subscribe(&self.bus, &instance, endpoint).await?;
            tasks.spawn(running.run(stopping.clone()));
        }
        let discovery = protocol::subscribe(&self.bus, &instance).await?;
        let mut answering = JoinSet::new();
        answering.spawn(protocol::answer(
            self.bus.clone(),
            Arc::clone(&instance),
            discovery,
            drained.clone(),
        ));
        // What was subscribed must have reached the server before anybody is told that the service runs.
        let _ = self.bus.client().flush().await;
        tokio::select! {
            () = stop => stopping.cancel(),
            // An endpoint ends by itself only if the connection is closed for good.
            _ = tasks.join_next() => {
                stopping.cancel();
                while tasks.join_next().await.is_some() {}
                return Err(ServeError::Closed);
            }
        }
        while tasks.join_next().await.is_some() {}
        drained.cancel();
        while answering.join_next().await.is_some() {}
        let _ = self.bus.client().flush().await;
        Ok(())
    }

    fn check(&self) -> Result<(), ServeError> {
        let mut seen = std::collections::BTreeSet::new();
        let names = self.endpoints.iter().map(|endpoint| &endpoint.name);
        for name in names.clone().chain([&self.name]) {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
                return Err(ServeError::Name(name.chars().take(64).collect()));
            }
        }
        for name in names {
            if !seen.insert(name) {
                return Err(ServeError::Twice(name.clone()));
            }
        }
        if self.endpoints.is_empty() {
            return Err(ServeError::Empty);
        }
        if !protocol::is_version(&self.version) {
            return Err(ServeError::Version(self.version.chars().take(64).collect()));
        }
        Ok(())
    }
}
