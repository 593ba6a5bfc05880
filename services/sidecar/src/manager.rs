//! Keeps what runs the same as what the app declares.
//! Reads: the declaration, from the app or a file. Writes: its own status. Never: replaces a good
//! declaration by a bad one, or stops a subscription without finishing what it has in hand.
//!
//! The declaration is read at the start, when an app that declares by itself comes (back) up, at SIGHUP, and
//! on request. A reading that fails is repeated with growing pauses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::declare::{DECLARATION_BYTES_MAX, Declaration};
use crate::options::Source;
use crate::telemetry;
use crate::unit::{Shared, Unit, UnitState, Wanted};

/// Pauses between readings that fail.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long an app may take to declare itself.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests for a new reading that may wait.
const REQUESTS_MAX: usize = 16;

/// One subscription or service and how it runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnitView {
    /// The subscription's or service's name.
    pub name: String,
    /// `subscription` or `service`.
    pub kind: &'static str,
    /// `waiting_for_app`, `running`, `failed` or `stopping`.
    pub state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is declared and how it runs.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Status {
    /// Whether a declaration is in force.
    pub declared: bool,
    /// Why the last reading failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Subscriptions and services.
    pub units: Vec<UnitView>,
}

#[derive(Default)]
struct Known {
    declared: bool,
    error: Option<String>,
    units: BTreeMap<(&'static str, String), UnitState>,
}

type Reply = oneshot::Sender<Result<(), String>>;

/// A handle on the manager; cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    known: Arc<Mutex<Known>>,
    requests: mpsc::Sender<Reply>,
}

impl Handle {
    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere leaves it whole: every change is one assignment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How everything runs.
    pub fn status(&self) -> Status {
        let known = self.known();
        let units = known.units.iter().map(|((kind, name), state)| {
            let (state, error) = state.shown();
            UnitView { name: name.clone(), kind, state, error }
        });
        Status { declared: known.declared, error: known.error.clone(), units: units.collect() }
    }

    /// Whether a declaration is in force and everything in it runs.
    pub fn all_run(&self) -> bool {
        let known = self.known();
        known.declared && known.error.is_none() && known.units.values().all(UnitState::is_running)
    }

    /// Whether a subscription of this name is declared.
    pub fn declares(&self, subscription: &str) -> bool {
        self.known().units.contains_key(&("subscription", subscription.to_owned()))
    }

    /// Reads the declaration again.
    pub async fn reload(&self) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let stopping = || "the sidecar is stopping".to_owned();
        self.requests.try_send(reply).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => "another reading is under way".to_owned(),
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

/// The part that acts.
pub(crate) struct Manager {
    shared: Shared,
    source: Source,
    handle: Handle,
    requests: mpsc::Receiver<Reply>,
    units: BTreeMap<(&'static str, String), Unit>,
}

impl Manager {
    pub fn new(shared: Shared, source: Source) -> (Self, Handle) {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let handle = Handle { known: Arc::default(), requests: sender };
        let manager =
            Self { shared, source, handle: handle.clone(), requests, units: BTreeMap::new() };
        (manager, handle)
    }

    /// Runs until the soft stop; returns when every delivery in hand is settled.
    pub async fn run(mut self) {
        let soft = self.shared.lifecycle.soft.clone();
        let mut hangup = signal(SignalKind::hangup()).ok();
        let asks_app = matches!(self.source, Source::App(_));
        let (mut due, mut pause) = ((!asks_app).then(Instant::now), RETRY_MIN);
        let mut seen = 0;
        loop {
            let app = self.shared.app.clone();
            let came = async move {
                if asks_app { app.arrived(seen).await } else { std::future::pending().await }
            };
            let mut reply = None;
            tokio::select! {
                biased;
                () = soft.cancelled() => break,
                Some(request) = self.requests.recv() => reply = Some(request),
                () = hung_up(&mut hangup) => tracing::info!("SIGHUP: the declaration is read again"),
                arrival = came => seen = arrival,
                () = at(due) => {}
            }
            let result = tokio::select! {
                () = soft.cancelled() => break,
                result = self.read() => result,
            };
            (due, pause) = match &result {
                Ok(_) => (None, RETRY_MIN),
                Err(_) => (Some(Instant::now() + pause), (pause * 2).min(RETRY_MAX)),
            };
            let result = self.take(result).await;
            if let Some(reply) = reply {
                let _ = reply.send(result);
            }
        }
        self.stop_all().await;
    }

    async fn read(&self) -> Result<Declaration, String> {
        match &self.source {
            Source::File(path) => {
                let shown = path.display();
                let size = tokio::fs::metadata(path).await.map(|found| found.len());
                if size.is_ok_and(|bytes| bytes > DECLARATION_BYTES_MAX as u64) {
                    return Err(format!("{shown} has more than {DECLARATION_BYTES_MAX} bytes"));
                }
                let text = tokio::fs::read_to_string(path)
                    .await
                    .map_err(|error| format!("{shown} cannot be read: {error}"))?;
                Declaration::from_toml(&text).map_err(|error| format!("{shown}: {error}"))
            }
            Source::App(path) => {
                let asked = self.shared.app.get(path, DECLARATION_BYTES_MAX);
                match tokio::time::timeout(ASK_TIMEOUT, asked).await {
                    Ok(Ok(said)) if said.status.is_success() => Declaration::from_json(&said.body)
                        .map_err(|error| format!("GET {path} of the app: {error}")),
                    // An app that only publishes declares nothing.
                    Ok(Ok(said)) if said.status == http::StatusCode::NOT_FOUND => {
                        Ok(Declaration::default())
                    }
                    Ok(Ok(said)) => Err(format!("GET {path} of the app answered {}", said.status)),
                    Ok(Err(_)) | Err(_) => Err(format!("GET {path} of the app has no answer")),
                }
            }
        }
    }

    async fn take(&mut self, result: Result<Declaration, String>) -> Result<(), String> {
        match result {
            Ok(declaration) => {
                telemetry::declaration("ok");
                self.apply(declaration).await;
                let mut known = self.handle.known();
                known.declared = true;
                known.error = None;
                Ok(())
            }
            Err(why) => {
                telemetry::declaration("error");
                tracing::error!("the declaration is not taken, what ran before runs on: {why}");
                self.handle.known().error = Some(why.clone());
                Err(why)
            }
        }
    }

    /// Stops what is gone or changed, starts what is new or changed.
    async fn apply(&mut self, declaration: Declaration) {
        let mut wanted: BTreeMap<(&'static str, String), Wanted> = BTreeMap::new();
        for one in declaration.subscriptions {
            wanted.insert(("subscription", one.name.clone()), Wanted::Subscription(one));
        }
        for one in declaration.endpoints {
            let service = wanted
                .entry(("service", one.service.clone()))
                .or_insert_with(|| Wanted::Service(Vec::new()));
            if let Wanted::Service(endpoints) = service {
                endpoints.push(one);
            }
        }
        let keys: Vec<_> = self.units.keys().cloned().collect();
        let mut ending = Vec::new();
        for key in keys {
            if self.units.get(&key).is_some_and(|unit| wanted.get(&key) != Some(&unit.wanted))
                && let Some(unit) = self.units.remove(&key)
            {
                unit.stop();
                ending.push((key, unit));
            }
        }
        for (key, unit) in ending {
            unit.ended().await;
            self.handle.known().units.remove(&key);
        }
        for (key, wanted) in wanted {
            if self.units.contains_key(&key) {
                continue;
            }
            let (handle, named) = (self.handle.clone(), key.clone());
            self.handle.known().units.insert(key.clone(), UnitState::Waiting);
            let report = move |state: UnitState| {
                let mut known = handle.known();
                if let Some(slot) = known.units.get_mut(&named) {
                    *slot = state;
                }
                let running = known.units.values().filter(|state| state.is_running()).count();
                telemetry::running(running);
            };
            self.units.insert(key, Unit::start(&self.shared, wanted, report));
        }
    }

    async fn stop_all(self) {
        for unit in self.units.values() {
            unit.stop();
        }
        for unit in self.units.into_values() {
            unit.ended().await;
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
