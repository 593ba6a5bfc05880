//! One declared subscription or service, run while the app is there.
//! Reads and writes: the bus, through its consumer or service. Never: takes new work for an app that is
//! away.

use std::sync::Arc;
use std::time::Duration;

use campana_bus::Bus;
use campana_bus::consume::{Backoff, ConsumerSpec, Ordering, run_raw};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::subjects;
use campana_bus::topology::EVENTS;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::declare::{Endpoint, Subscription};
use crate::deliver::Deliverer;
use crate::in_hand::InHand;
use crate::serve;

/// Pauses before what failed is started again.
const RESTART_MIN: Duration = Duration::from_millis(500);
const RESTART_MAX: Duration = Duration::from_secs(30);
/// The library's limit for one call of the handler. The sidecar ends each delivery by limits of its own;
/// this one only has to lie behind them, and behind the longest outage of an app that is worth sitting out.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(48 * 3600);
/// Time that a delivery has beyond the hold to be settled.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// Messages of an ordered subscription that are taken for each delivery at work: those that wait for another
/// one with their key do not keep further keys out.
const WAITING_ROOM: usize = 4;

/// What every unit needs.
#[derive(Clone)]
pub(crate) struct Shared {
    pub bus: Bus,
    pub app: App,
    pub in_hand: InHand,
    pub lifecycle: Lifecycle,
    pub drain: Duration,
    pub answer_bytes_max: usize,
}

/// What is declared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    Subscription(Subscription),
    Service(Vec<Endpoint>),
}

/// How a unit runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnitState {
    Waiting,
    Running,
    Failed(String),
    Stopping,
}

impl UnitState {
    pub fn is_running(&self) -> bool {
        *self == Self::Running
    }

    pub fn shown(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Waiting => ("waiting_for_app", None),
            Self::Running => ("running", None),
            Self::Failed(why) => ("failed", Some(why.clone())),
            Self::Stopping => ("stopping", None),
        }
    }
}

/// A unit that runs.
pub(crate) struct Unit {
    pub wanted: Wanted,
    lifecycle: Lifecycle,
    task: JoinHandle<()>,
}

impl Unit {
    pub fn start(
        shared: &Shared,
        wanted: Wanted,
        report: impl Fn(UnitState) + Send + Sync + 'static,
    ) -> Self {
        let lifecycle = shared.lifecycle.child();
        let (mut own, what) = (shared.clone(), wanted.clone());
        own.lifecycle = lifecycle.clone();
        let task = shared.lifecycle.spawn("sidecar unit", async move {
            run(&own, &what, &report).await;
            report(UnitState::Stopping);
        });
        Self { wanted, lifecycle, task }
    }

    /// Takes no new work from now on.
    pub fn stop(&self) {
        self.lifecycle.soft.cancel();
    }

    /// Ready when nothing is in hand any more.
    pub async fn ended(self) {
        let _ = self.task.await;
    }
}

async fn run(shared: &Shared, wanted: &Wanted, report: &(impl Fn(UnitState) + Send + Sync)) {
    let soft = &shared.lifecycle.soft;
    let mut pause = RESTART_MIN;
    while !soft.is_cancelled() {
        report(UnitState::Waiting);
        tokio::select! {
            () = soft.cancelled() => return,
            () = shared.app.wait_up() => {}
        }
        report(UnitState::Running);
        let result = match wanted {
            Wanted::Subscription(one) => consume(shared, one).await,
            Wanted::Service(endpoints) => serve::run(shared, endpoints).await,
        };
        let Err(why) = result else {
            pause = RESTART_MIN;
            continue;
        };
        tracing::error!("{why}; it is started again");
        report(UnitState::Failed(why));
        tokio::select! {
            () = soft.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(RESTART_MAX),
        }
    }
}

/// Until the stop, or until the app is away for longer than messages in hand wait for it.
async fn consume(shared: &Shared, subscription: &Subscription) -> Result<(), String> {
    let run = shared.lifecycle.child();
    let deliverer = Deliverer {
        name: Arc::from(subscription.name.as_str()),
        subscription: subscription.clone(),
        app: shared.app.clone(),
        in_hand: shared.in_hand.clone(),
        lifecycle: shared.lifecycle.clone(),
    };
    let spec = spec(subscription, shared);
    let consumer = run_raw(&shared.bus, spec, deliverer, run.clone());
    tokio::pin!(consumer);
    tokio::select! {
        result = &mut consumer => return result.map_err(|error| error.to_string()),
        () = away(shared, subscription) => run.soft.cancel(),
    }
    consumer.await.map_err(|error| error.to_string())
}

/// Ready when the app is away and pulling should stop. In an ordered subscription the messages in hand wait
/// for the app in their places, and that they fill all of them stops the pulling by itself.
async fn away(shared: &Shared, subscription: &Subscription) {
    if subscription.ordered {
        return std::future::pending().await;
    }
    loop {
        shared.app.wait_down().await;
        let back = tokio::time::timeout(shared.app.hold(), shared.app.wait_up()).await;
        if back.is_err() {
            return;
        }
    }
}

fn spec(subscription: &Subscription, shared: &Shared) -> ConsumerSpec {
    let mut filters = Vec::new();
    for one in &subscription.events {
        filters.extend(subjects::app_event_filters(
            one.tenant.as_deref(),
            &one.service,
            &one.event,
        ));
    }
    let mut spec = ConsumerSpec::new(EVENTS, &subscription.name, "");
    spec.filters = filters;
    spec.max_in_flight = subscription.max_in_flight;
    spec.max_attempts = subscription.max_attempts;
    spec.handler_timeout = HANDLER_TIMEOUT;
    spec.drain_deadline = shared.drain.max(shared.app.hold() + SETTLE_TIME);
    spec.backoff = Backoff {
        first: Duration::from_secs_f64(subscription.backoff_seconds),
        max: Duration::from_secs_f64(subscription.backoff_max_seconds),
    };
    if subscription.ordered {
        spec.ordering = Ordering::ByKey { lanes: subscription.max_in_flight };
        spec.max_in_flight = subscription.max_in_flight.saturating_mul(WAITING_ROOM);
    }
    spec
}
