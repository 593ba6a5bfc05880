//! What the chat hears on the bus: who is there, whose tokens are over, who is named, which jobs there are.
//! Reads: events. Writes: `presence`, the edge's revocations, jobs. Never: acknowledges what was not done.

mod mentions;

use std::sync::Arc;
use std::time::Duration;

use campana_bus::consume::{Failure, Meta};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, Event, clock};
use serde::de::DeserializeOwned;

use crate::events::{AccessEnded, JobRequested, WentOffline, WentOnline};
use crate::http::App;
use crate::jobs;
use crate::store::{Store, StoreError};

/// Whose users the chat's people are.
const TENANT: &str = "default";
/// Handlers of one kind at work; SQLite has one writer.
const IN_FLIGHT: usize = 4;
/// Jobs at work at the same time.
const JOBS_IN_FLIGHT: usize = 2;
/// How long one job may take.
const JOB_TIMEOUT: Duration = Duration::from_secs(300);

/// The chat lost its database, or something like it: the message comes again.
pub(crate) fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::Database(error) => campana_bus_sqlx::failure(&error),
        StoreError::Outbox(error) => error.into(),
        error => Failure::retry(error),
    }
}

/// Starts the consumers.
///
/// # Errors
/// If there is no TLS backend.
pub(crate) fn start(
    app: &Arc<App>,
    bus: &Bus,
    lifecycle: &Lifecycle,
) -> Result<(), reqwest::Error> {
    presence::<WentOnline>("online", "chat-online", app, bus, lifecycle);
    presence::<WentOffline>("offline", "chat-offline", app, bus, lifecycle);
    commands(app, bus, lifecycle);
    access(app, bus, lifecycle);
    if app.options.api_url.is_empty() {
        tracing::warn!("no --api-url: people who are away are not told that they are mentioned");
        return Ok(());
    }
    mentions::start(app, bus, lifecycle)
}

/// One end of a stay at the edge.
trait Stay: Event + DeserializeOwned + Send + 'static {
    fn note(self, store: &Store) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Stay for WentOnline {
    async fn note(self, store: &Store) -> Result<(), StoreError> {
        if self.tenant != TENANT || self.channel.is_some() {
            return Ok(());
        }
        store.came_online(&self.user, &self.session, clock::now()).await
    }
}

impl Stay for WentOffline {
    async fn note(self, store: &Store) -> Result<(), StoreError> {
        if self.tenant != TENANT || self.channel.is_some() {
            return Ok(());
        }
        store.went_offline(&self.user, &self.session, clock::now()).await
    }
}

fn presence<S: Stay>(
    task: &'static str,
    consumer: &'static str,
    app: &Arc<App>,
    bus: &Bus,
    lifecycle: &Lifecycle,
) {
    let (app, bus, soft) = (Arc::clone(app), bus.clone(), lifecycle.soft.clone());
    lifecycle.spawn_essential(task, async move {
        let handler = move |event: S, _: Meta| {
            let app = Arc::clone(&app);
            async move { event.note(&app.store).await.map_err(failure) }
        };
        let consumer = bus.consumer::<S>(consumer).max_in_flight(IN_FLIGHT);
        consumer.run(handler, soft.cancelled_owned()).await.map_err(|e| e.to_string())
    });
}

/// Asks the edge to take tokens back. They end by themselves soon, so this is not tried for ever.
fn access(app: &Arc<App>, bus: &Bus, lifecycle: &Lifecycle) {
    let (app, bus, soft) = (Arc::clone(app), bus.clone(), lifecycle.soft.clone());
    lifecycle.spawn_essential("access", async move {
        let handler = move |event: AccessEnded, _: Meta| {
            let app = Arc::clone(&app);
            async move { app.edge.revoke(&event.token, clock::now()).await.map_err(Failure::retry) }
        };
        let consumer = bus.consumer::<AccessEnded>("chat-access").max_in_flight(IN_FLIGHT);
        consumer.run(handler, soft.cancelled_owned()).await.map_err(|e| e.to_string())
    });
}

fn commands(app: &Arc<App>, bus: &Bus, lifecycle: &Lifecycle) {
    let (app, bus, soft) = (Arc::clone(app), bus.clone(), lifecycle.soft.clone());
    lifecycle.spawn_essential("commands", async move {
        let handler = move |event: JobRequested, meta: Meta| {
            let app = Arc::clone(&app);
            async move { jobs::run(&app, event, meta.is_last).await }
        };
        let consumer = bus.consumer::<JobRequested>("chat-jobs");
        let consumer = consumer.max_in_flight(JOBS_IN_FLIGHT).handler_timeout(JOB_TIMEOUT);
        consumer.run(handler, soft.cancelled_owned()).await.map_err(|e| e.to_string())
    });
}
