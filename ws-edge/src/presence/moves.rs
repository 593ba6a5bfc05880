//! Who came to a channel and who left it, as edges tell each other and their clients.
//! Reads: messages of core NATS. Writes: the mailboxes of clients that want to know.
//! Never: stores anything, or asks NATS for channels that nobody here wants to know about.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use async_nats::Message;
use bytes::Bytes;
use campana_bus::Bus;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::subjects;
use dashmap::DashMap;
use futures::StreamExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::encode::{self, Encoded};
use crate::mailbox::{Mailbox, Push};
use crate::options::Interest;
use crate::proto::Protocol;
use crate::publication::ChannelKey;

/// What a push has besides channel and client, at most.
const PUSH_OVERHEAD: usize = 64;
const JOINED: u8 = b'j';
const LEFT: u8 = b'l';

/// A client came to a channel, or left it.
#[derive(Debug)]
pub struct Moved {
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// Whether it came.
    pub came: bool,
    /// JSON about the client.
    info: Box<str>,
    json: OnceLock<Encoded>,
    protobuf: OnceLock<Encoded>,
}

impl Moved {
    /// `info` is JSON about the client, on one line.
    #[must_use]
    pub fn new(key: &Arc<ChannelKey>, came: bool, info: &str) -> Self {
        let (json, protobuf) = (OnceLock::new(), OnceLock::new());
        Self { key: Arc::clone(key), came, info: info.into(), json, protobuf }
    }

    /// The push for clients of this protocol.
    #[must_use]
    pub fn push(&self, protocol: Protocol) -> Encoded {
        let once = match protocol {
            Protocol::Json => &self.json,
            Protocol::Protobuf => &self.protobuf,
        };
        let name = self.key.name.as_str();
        once.get_or_init(|| encode::presence::moved(protocol, name, self.came, &self.info)).clone()
    }

    /// What it costs to keep in a queue.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.name.as_str().len() + self.info.len() + PUSH_OVERHEAD
    }
}

/// What an edge tells the others.
pub(super) fn payload(came: bool, info: &str) -> Bytes {
    let mut body = Vec::with_capacity(1 + info.len());
    body.push(if came { JOINED } else { LEFT });
    body.extend_from_slice(info.as_bytes());
    body.into()
}

fn read(key: &Arc<ChannelKey>, body: &[u8]) -> Option<Moved> {
    let (kind, info) = body.split_first()?;
    let info = std::str::from_utf8(info).ok()?;
    // Whatever arrives is put into messages for clients as it is.
    serde_json::from_str::<&serde_json::value::RawValue>(info).ok()?;
    let came = match *kind {
        JOINED => true,
        LEFT => false,
        _ => return None,
    };
    Some(Moved::new(key, came, &encode::single_line(info)))
}

struct Watched {
    key: Arc<ChannelKey>,
    mailboxes: Vec<Arc<Mailbox>>,
}

/// Who on this node wants to know, and what NATS is asked for because of it.
pub(super) struct Watchers {
    bus: Bus,
    interest: Interest,
    lifecycle: Lifecycle,
    /// By the subject on which the channel's moves are told.
    channels: Arc<DashMap<String, Watched>>,
    feeds: tokio::sync::Mutex<HashMap<String, DropGuard>>,
    stop: CancellationToken,
}

impl Watchers {
    pub(super) fn new(
        bus: Bus,
        interest: Interest,
        lifecycle: Lifecycle,
        stop: CancellationToken,
    ) -> Self {
        let (channels, feeds) = (Arc::default(), tokio::sync::Mutex::default());
        Self { bus, interest, lifecycle, channels, feeds, stop }
    }

    pub(super) fn add(&self, tenant: &str, key: &Arc<ChannelKey>, mailbox: &Arc<Mailbox>) {
        let mut watched = self
            .channels
            .entry(subjects::joins(tenant, &key.name))
            .or_insert_with(|| Watched { key: Arc::clone(key), mailboxes: Vec::new() });
        if !watched.mailboxes.iter().any(|one| Arc::ptr_eq(one, mailbox)) {
            watched.mailboxes.push(Arc::clone(mailbox));
        }
    }

    pub(super) fn remove(&self, tenant: &str, key: &ChannelKey, mailbox: &Arc<Mailbox>) {
        self.channels.remove_if_mut(&subjects::joins(tenant, &key.name), |_, watched| {
            watched.mailboxes.retain(|one| !Arc::ptr_eq(one, mailbox));
            watched.mailboxes.is_empty()
        });
    }

    fn filter(&self, tenant: &str, key: &ChannelKey) -> String {
        match self.interest {
            Interest::Channel => subjects::joins(tenant, &key.name),
            Interest::Namespace => subjects::joins_of_namespace(tenant, &key.name),
        }
    }

    /// Asks NATS for the channel's moves, if it was not asked yet. What this connection publishes afterwards comes back.
    pub(super) async fn follow(&self, tenant: &str, key: &ChannelKey) {
        let filter = self.filter(tenant, key);
        let mut feeds = self.feeds.lock().await;
        if feeds.contains_key(&filter) {
            return;
        }
        let mut messages = match self.bus.client().subscribe(filter.clone()).await {
            Ok(messages) => messages,
            // Only a closed client refuses.
            Err(error) => return tracing::debug!(%error, "moves cannot be followed"),
        };
        let end = CancellationToken::new();
        let (ended, stopped, channels) =
            (end.clone(), self.stop.clone(), Arc::clone(&self.channels));
        self.lifecycle.spawn("edge moves", async move {
            loop {
                let message = tokio::select! {
                    message = messages.next() => message,
                    () = ended.cancelled() => None,
                    () = stopped.cancelled() => None,
                };
                match message {
                    Some(message) => dispatch(&channels, &message),
                    None => return,
                }
            }
        });
        feeds.insert(filter, end.drop_guard());
    }

    /// Ends what nobody wants any more.
    pub(super) async fn sweep(&self) {
        let mut feeds = self.feeds.lock().await;
        if feeds.is_empty() {
            return;
        }
        let wanted: HashSet<String> = match self.interest {
            Interest::Channel => self.channels.iter().map(|one| one.key().clone()).collect(),
            Interest::Namespace => self
                .channels
                .iter()
                .filter_map(|one| Some(format!("{}.*", one.key().rsplit_once('.')?.0)))
                .collect(),
        };
        feeds.retain(|filter, _| wanted.contains(filter));
    }
}

fn dispatch(channels: &DashMap<String, Watched>, message: &Message) {
    let Some(watched) = channels.get(message.subject.as_str()) else {
        return;
    };
    let Some(moved) = read(&watched.key, &message.payload) else {
        return;
    };
    let moved = Arc::new(moved);
    for mailbox in &watched.mailboxes {
        mailbox.push(Push::Moved(Arc::clone(&moved)));
    }
}

#[cfg(test)]
mod tests {
    use campana_bus::subjects::ChannelName;

    use super::*;

    #[test]
    fn what_is_told_comes_back_and_nonsense_does_not() {
        let key = Arc::new(ChannelKey::new("t", ChannelName::parse("room:a").unwrap()));
        let info = r#"{"user":"a","client":"c"}"#;
        let moved = read(&key, &payload(true, info)).unwrap();
        assert!(moved.came && &*moved.info == info);
        assert!(!read(&key, &payload(false, info)).unwrap().came);
        for body in [&b""[..], b"j", b"j{", b"x{}", b"{}", &[b'l', 0xff]] {
            assert!(read(&key, body).is_none(), "{body:?}");
        }
    }
}
