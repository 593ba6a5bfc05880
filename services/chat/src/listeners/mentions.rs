//! Mentions of people who are away become notifications.
//! Reads: events, the message as it is now. Writes: notifications. Never: notifies somebody who is there, or who has
//! read it; loses a mention because the gateway is away.

use std::sync::Arc;
use std::time::Duration;

use campana_bus::consume::{Failure, Meta};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, clock};
use reqwest::Client;
use serde_json::{Value, json};

use super::{IN_FLIGHT, failure};
use crate::events::Mentioned;
use crate::http::App;
use crate::store::rooms::Room;
use crate::store::timeline::Message;

/// For one request to the gateway.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of a message that a notification shows.
const EXCERPT_CHARS_MAX: usize = 140;
/// Pause while the gateway is away, or an operator must mend something; no attempt is lost by it.
const OUTAGE_PAUSE: Duration = Duration::from_secs(15);
/// Longest pause that the gateway may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(600);

pub(super) fn start(
    app: &Arc<App>,
    bus: &Bus,
    lifecycle: &Lifecycle,
) -> Result<(), reqwest::Error> {
    let http = Client::builder().timeout(TIMEOUT).build()?;
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

/// One mention: a notification, if the person is away and has not read it.
async fn notify(app: &App, http: &Client, event: Mentioned) -> Result<(), Failure> {
    let Some(room) = app.store.room(&event.person, &event.room).await.map_err(failure)? else {
        return Ok(()); // left meanwhile
    };
    let Some((_, message)) = app.store.message(&event.message).await.map_err(failure)? else {
        return Ok(());
    };
    if room.read_seq >= event.seq || message.deleted_at != 0 {
        return Ok(());
    }
    if app.store.is_online(&event.person).await.map_err(failure)? {
        return match known_after(&message, app.options.away_after_ms) {
            // Still there when it would be known that they had left before: they saw it, or will.
            None => Ok(()),
            Some(wait) => Err(Failure::defer(wait, "perhaps they left a moment ago")),
        };
    }
    let request = http
        .post(format!("{}/v1/notifications", app.options.api_url.trim_end_matches('/')))
        .bearer_auth(&app.options.api_key)
        // A repeat of this event is the same notification.
        .header("Idempotency-Key", format!("chat-{}-{}", event.message, event.person))
        .json(&notification(app, &room, &message, &event));
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => {
            return Err(Failure::defer(OUTAGE_PAUSE, error.without_url()));
        }
        Err(error) => return Err(Failure::retry(error.without_url())),
    };
    let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let wait = wait.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    judge(answer.status().as_u16(), wait)
}

/// How long until it is certain whether the person was there when the message came; `None` if it is.
fn known_after(message: &Message, away_after_ms: u32) -> Option<Duration> {
    let left = message.created_at + i64::from(away_after_ms) * 1_000 - clock::now().0;
    u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_micros)
}

fn notification(app: &App, room: &Room, message: &Message, event: &Mentioned) -> Value {
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
    json!({
        "to": {"id": event.person},
        "content": {"title": title, "body": body, "url": format!("{}/#{}", app.public_url, room.id)},
        "channels": ["in_app"],
    })
}

/// What an answer means for the event in hand.
fn judge(status: u16, wait: Option<Duration>) -> Result<(), Failure> {
    let why = format!("the gateway answered {status}");
    match status {
        200..=299 => Ok(()),
        // A key that was revoked, a gateway that is full or starts: nothing is wrong with the event.
        401 | 403 | 409 | 429 | 503 => {
            Err(Failure::defer(wait.unwrap_or(OUTAGE_PAUSE).min(PAUSE_MAX), why))
        }
        408 | 500..=599 => Err(Failure::retry(why)),
        _ => Err(Failure::dead("notification_refused", why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_costs_no_attempt() {
        assert_eq!(judge(202, None), Ok(()));
        let pause = |status, wait| match judge(status, wait) {
            Err(Failure::Defer { after, .. }) => after.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!(pause(429, Some(Duration::from_secs(7))), 7);
        assert_eq!(pause(503, Some(Duration::from_secs(7_000))), 600);
        assert_eq!(pause(401, None), 15);
        assert!(matches!(judge(502, None), Err(Failure::Retry { .. })));
        assert!(matches!(judge(422, None), Err(Failure::Dead { .. })));
    }
}
