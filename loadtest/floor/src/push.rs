//! From the second stream's republished messages to WebSockets, in as much of the Centrifuge protocol as a
//! receiver of the load test needs: the connect reply, publications, pings.
//! Reads: one core subscription for all inboxes. Writes: frames. Never: recovers, and never lets a slow client
//! hold up the others: it is cut.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::subjects::{self, INBOX_NAMESPACE};
use campana_bus::{Bus, headers};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::wire::{self, Command};

/// Frames that may wait for one client.
const OUTBOX_MAX: usize = 4_096;
const PING_EVERY: Duration = Duration::from_secs(25);

/// Who listens, by the subject of the inbox.
#[derive(Clone, Default)]
pub struct Listeners(Arc<Mutex<HashMap<String, Inbox>>>);

struct Inbox {
    channel_json: String,
    outboxes: Vec<mpsc::Sender<Arc<str>>>,
}

/// The personal channel of a user.
pub fn channel_of(user: &str) -> String {
    format!("{INBOX_NAMESPACE}:#{user}")
}

/// Subscribes and starts the task that distributes.
pub async fn start(bus: &Bus, lifecycle: &Lifecycle) -> anyhow::Result<Listeners> {
    let listeners = Listeners::default();
    let mut messages = bus.client().subscribe(wire::live_filter()).await?;
    let all = listeners.clone();
    lifecycle.spawn_essential("push", async move {
        while let Some(message) = messages.next().await {
            all.distribute(&message);
        }
        Err("the subscription of the live feed ended".to_owned())
    });
    Ok(listeners)
}

impl Listeners {
    /// A poisoned lock holds a map that is still whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Inbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn distribute(&self, message: &async_nats::Message) {
        let Some(subject) = subjects::stored_under(&message.subject) else { return };
        let offset = message
            .headers
            .as_ref()
            .and_then(|head| headers::get_number::<u64>(head, "Nats-Sequence"));
        let mut all = self.lock();
        let (Some(inbox), Some(offset)) = (all.get_mut(subject), offset) else { return };
        // Only what the relay wrote is there, and that is JSON.
        let Ok(payload) = std::str::from_utf8(&message.payload) else { return };
        let frame: Arc<str> = wire::push(&inbox.channel_json, payload, offset).into();
        inbox.outboxes.retain(|outbox| outbox.try_send(Arc::clone(&frame)).is_ok());
    }

    fn join(&self, user: &str) -> Option<(String, mpsc::Receiver<Arc<str>>)> {
        let subject = wire::subject(user).ok()?;
        let channel = channel_of(user);
        let channel_json = serde_json::to_string(&channel).ok()?;
        let (outbox, frames) = mpsc::channel(OUTBOX_MAX);
        let mut all = self.lock();
        let inbox = all
            .entry(subject)
            .or_insert_with(|| Inbox { channel_json, outboxes: Vec::with_capacity(1) });
        inbox.outboxes.retain(|outbox| !outbox.is_closed());
        inbox.outboxes.push(outbox);
        Some((channel, frames))
    }
}

/// One client, until it goes or is too slow.
pub async fn serve(listeners: Listeners, mut socket: WebSocket) {
    let Some(Ok(Message::Text(first))) = socket.recv().await else { return };
    let Ok(command) = serde_json::from_str::<Command<'_>>(&first) else { return };
    let Some((channel, mut frames)) = listeners.join(&command.connect.token) else { return };
    let reply = wire::connected(command.id, &channel, PING_EVERY.as_secs());
    if socket.send(Message::Text(reply.into())).await.is_err() {
        return;
    }
    let start = tokio::time::Instant::now() + PING_EVERY;
    let mut pings = tokio::time::interval_at(start, PING_EVERY);
    loop {
        let text = tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => batch(&frame, &mut frames),
                None => return,
            },
            // Pongs are of no interest: a client that is gone closes.
            message = socket.recv() => match message {
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
            _ = pings.tick() => "{}".to_owned(),
        };
        if socket.send(Message::Text(text.into())).await.is_err() {
            return;
        }
    }
}

/// Everything that is ready, one frame a line: one write.
fn batch(first: &str, frames: &mut mpsc::Receiver<Arc<str>>) -> String {
    let mut text = first.to_owned();
    while let Ok(next) = frames.try_recv() {
        text.push('\n');
        text.push_str(&next);
    }
    text
}
