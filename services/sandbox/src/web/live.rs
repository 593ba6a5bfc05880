//! `GET /api/events`: what happens in the mailbox, as server-sent events.
//!
//! A viewer that reads too slowly is told to load the list again instead of holding memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures::{Stream, StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use crate::mailbox::Live;
use crate::state::Shared;

/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Clone)]
struct Viewers {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
}

struct Viewer {
    feed: broadcast::Receiver<Live>,
    greeted: bool,
    _slot: OwnedSemaphorePermit,
}

pub fn router(shared: Arc<Shared>, stop: CancellationToken) -> Router {
    let slots = Arc::new(Semaphore::new(shared.options.web.live_viewers));
    Router::new().route("/api/events", get(follow)).with_state(Viewers { shared, slots, stop })
}

async fn follow(
    State(viewers): State<Viewers>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let slot = Arc::clone(&viewers.slots)
        .try_acquire_owned()
        .map_err(|_| Problem::busy("too many pages follow the live stream"))?;
    let viewer = Viewer { feed: viewers.shared.mailbox.follow(), greeted: false, _slot: slot };
    let events = stream::unfold(viewer, next).take_until(viewers.stop.cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn next(mut viewer: Viewer) -> Option<(Result<Event, Infallible>, Viewer)> {
    if !viewer.greeted {
        viewer.greeted = true;
        return Some((Ok(Event::default().event("hello").data("{}")), viewer));
    }
    let event = match viewer.feed.recv().await {
        Ok(Live::Arrived(message)) => named("message", &message.summary()),
        Ok(Live::Changed(message)) => named("changed", &message.summary()),
        Ok(Live::Cleared) => Event::default().event("cleared").data("{}"),
        Ok(Live::Faults) => Event::default().event("faults").data("{}"),
        Err(RecvError::Lagged(_)) => Event::default().event("reload").data("{}"),
        Err(RecvError::Closed) => return None,
    };
    Some((Ok(event), viewer))
}

fn named(name: &'static str, body: &impl serde::Serialize) -> Event {
    let event = Event::default().event(name);
    // Text and numbers always serialize; if not, the viewer loads the list again.
    event.json_data(body).unwrap_or_else(|_| Event::default().event("reload").data("{}"))
}
