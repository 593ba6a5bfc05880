//! What the chat hears on the bus: who is away, who is named, which jobs there are.
//! Reads: events. Writes: `presence`, notifications, jobs. Never: notifies somebody who is there, or who has read it.

use std::sync::Arc;
use std::time::Duration;

use campana_bus::consume::{Failure, Meta};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, clock};
use serde_json::json;

use crate::events::{JobRequested, Mentioned, WentOffline, WentOnline};
use crate::http::App;
use crate::jobs;
use crate::store::StoreError;

/// For one request to the gateway.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of a message that a notification shows.
const EXCERPT_CHARS_MAX: usize = 140;
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
    online(app, bus, lifecycle);
    offline(app, bus, lifecycle);
    commands(app, bus, lifecycle);
    if app.options.api_url.is_empty() {
        tracing::warn!("no --api-url: people who are away are not told that they are mentioned");
        return Ok(());
    }
    let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let (app, bus, soft) = (Arc::clone(app), bus.clone(), lifecycle.soft.clone());
    lifecycle.spawn_essential("mentions", async move {
        let handler = move |event: Mentioned, _: Meta| {
            let (app, http) = (Arc::clone(&app), http.clone());
            async move { notify(&app, &http, event).await }
        };
        let consumer = bus.consumer::<Mentioned>("chat-mentions").max_in_flight(IN_FLIGHT);
        consumer.run(handler, soft.cancelled_owned()).await.map_err(|e| e.to_string())
    });
    Ok(())
}

fn online(app: &Arc<App>, bus: &Bus, lifecycle: &Lifecycle) {
    let (app, bus, soft) = (Arc::clone(app), bus.clone(), lifecycle.soft.clone());
    lifecycle.spawn_essential("online", async move {
        let handler = move |event: WentOnline, _: Meta| {
            let app = Arc::clone(&app);
            async move {
                if event.channel.is_some() {
                    return Ok(());
                }
                let noted = app.store.came_online(&event.user, &event.session, clock::now());
                noted.await.map_err(failure)
            }
        };
        let consumer = bus.consumer::<WentOnline>("chat-online").max_in_flight(IN_FLIGHT);
        consumer.run(handler, soft.cancelled_owned()).await.map_err(|e| e.to_string())
    });
}

fn offline(app: &Arc<App>, bus: &Bus, lifecycle: &Lifecycle) {
    let (app, bus, soft) = (Arc::clone(app), bus.clone(), lifecycle.soft.clone());
    lifecycle.spawn_essential("offline", async move {
        let handler = move |event: WentOffline, _: Meta| {
            let app = Arc::clone(&app);
            async move {
                if event.channel.is_some() {
                    return Ok(());
                }
                let noted = app.store.went_offline(&event.user, &event.session, clock::now());
                noted.await.map_err(failure)
            }
        };
        let consumer = bus.consumer::<WentOffline>("chat-offline").max_in_flight(IN_FLIGHT);
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

/// One mention: a notification, if the person is away and has not read it.
async fn notify(app: &App, http: &reqwest::Client, event: Mentioned) -> Result<(), Failure> {
    if app.store.is_online(&event.person).await.map_err(failure)? {
        return Ok(());
    }
    let Some(room) = app.store.room(&event.person, &event.room).await.map_err(failure)? else {
        return Ok(()); // left meanwhile
    };
    let Some((_, message)) = app.store.message(&event.message).await.map_err(failure)? else {
        return Ok(());
    };
    if room.read_seq >= event.seq || message.deleted_at != 0 {
        return Ok(());
    }
    let title = match room.kind.as_str() {
        "direct" => message.author.name.clone(),
        _ => format!("{} · {}", message.author.name, room.name),
    };
    let text = if message.text.is_empty() {
        message.file.as_ref().map_or("", |file| file.name.as_str())
    } else {
        &message.text
    };
    let body: String = text.chars().take(EXCERPT_CHARS_MAX).collect();
    let url = format!("{}/#{}", app.public_url, event.room);
    let request = http
        .post(format!("{}/v1/notifications", app.options.api_url.trim_end_matches('/')))
        .bearer_auth(&app.options.api_key)
        // A repeat of this event is the same notification.
        .header("Idempotency-Key", format!("chat-{}-{}", event.message, event.person))
        .json(&json!({
            "to": {"id": event.person},
            "content": {"title": title, "body": body, "url": url},
            "channels": ["in_app"],
        }));
    let status = request.send().await.map_err(Failure::retry)?.status();
    match status.as_u16() {
        200..=299 => Ok(()),
        408 | 409 | 429 | 500..=599 => {
            Err(Failure::retry(format!("the gateway answered {status}")))
        }
        _ => Err(Failure::dead("notification_refused", format!("the gateway answered {status}"))),
    }
}
