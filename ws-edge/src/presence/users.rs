//! Users of this node: whether their records say that they are here, and when they count as gone.
//! Reads: who comes and goes, records. Writes: records; events and moves that follow from them.
//! Never: tells of somebody who is away for a moment only, or lets two tasks work on one record of this node.
//!
//! What should be is compared with what was written, and the difference is written; if that fails, it is tried again. So
//! it does not matter in which order connections come and go while a write is on its way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use campana_bus::clock;
use campana_bus::subjects::ChannelName;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};

use super::Inner;
use super::online::{self, Failed};

/// Records that are worked on at the same time.
const IN_FLIGHT_MAX: usize = 64;
/// Pause after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// Whose record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Who {
    pub(super) tenant: String,
    /// None for whether the user is online at all.
    pub(super) channel: Option<ChannelName>,
    pub(super) user: String,
}

/// What follows when the record changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// How long somebody may be away.
    pub(super) patience: Duration,
    /// Services are told.
    pub(super) events: bool,
    /// Clients are told.
    pub(super) moves: bool,
}

struct Local {
    clients: HashSet<Box<str>>,
    manner: Manner,
    /// JSON about the client that came first.
    info: Box<str>,
    /// When the last client left, patience is over then.
    gone_at: Option<Instant>,
    /// Whether the record says that the user is here; unknown after a failure.
    written: Option<bool>,
    /// Somebody works on the record.
    busy: bool,
    /// The session whose beginning could not be told.
    untold: Option<String>,
}

impl Local {
    fn wanted(&self, now: Instant) -> bool {
        !self.clients.is_empty()
            || (self.written != Some(false) && self.gone_at.is_some_and(|at| at > now))
    }
}

#[derive(Default)]
struct State {
    all: HashMap<Arc<Who>, Local>,
    due: BTreeMap<(Instant, u64), Arc<Who>>,
    next: u64,
}

pub(super) struct Users {
    state: Mutex<State>,
    queue: mpsc::UnboundedSender<Arc<Who>>,
    wake: Notify,
}

impl Users {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Arc<Who>>) {
        // A user stands in the queue at most once.
        let (queue, queued) = mpsc::unbounded_channel();
        (Self { state: Mutex::default(), queue, wake: Notify::new() }, queued)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arrive(&self, who: Who, client: &str, manner: Manner, info: &str) {
        let mut state = self.lock();
        let who = Arc::new(who);
        let local = state.all.entry(Arc::clone(&who)).or_insert_with(|| Local {
            clients: HashSet::new(),
            manner,
            info: info.into(),
            gone_at: None,
            written: Some(false),
            busy: false,
            untold: None,
        });
        local.clients.insert(client.into());
        local.gone_at = None;
        if local.written != Some(true) && !local.busy {
            local.busy = true;
            let _ = self.queue.send(who);
        }
    }

    pub(super) fn depart(&self, who: &Who, client: &str) {
        let mut state = self.lock();
        let Some((who, _)) = state.all.get_key_value(who) else { return };
        let who = Arc::clone(who);
        let Some(local) = state.all.get_mut(&who) else { return };
        if !local.clients.remove(client) || !local.clients.is_empty() {
            return;
        }
        let at = clock::monotonic() + local.manner.patience;
        local.gone_at = Some(at);
        state.plan(at, who);
        self.wake.notify_one();
    }

    /// The records no longer name this node: all must be written again.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        for (who, local) in &mut state.all {
            local.written = Some(false);
            if !local.busy {
                local.busy = true;
                let _ = self.queue.send(Arc::clone(who));
            }
        }
    }

    /// Whether any record may name this node.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().all.is_empty()
    }

    /// Queues everybody whose time has come; says when the next one's comes.
    fn due(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        while let Some((&(at, number), _)) = state.due.first_key_value() {
            if at > now {
                return Some(at);
            }
            let Some(who) = state.due.remove(&(at, number)) else { continue };
            if let Some(local) = state.all.get_mut(&who)
                && !local.busy
            {
                local.busy = true;
                let _ = self.queue.send(who);
            }
        }
        None
    }

    pub(super) async fn run(&self, inner: &Inner, mut queued: mpsc::UnboundedReceiver<Arc<Who>>) {
        let mut working = FuturesUnordered::new();
        loop {
            let next = self.due(clock::monotonic());
            let until = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(who) = queued.recv(), if working.len() < IN_FLIGHT_MAX => {
                    working.push(self.settle(inner, who));
                }
                Some(()) = working.next(), if !working.is_empty() => {}
                () = until => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Makes the record say what is so.
    async fn settle(&self, inner: &Inner, who: Arc<Who>) {
        loop {
            let (wanted, manner, info, untold) = {
                let mut state = self.lock();
                let Some(local) = state.all.get_mut(&who) else { return };
                let wanted = local.wanted(clock::monotonic());
                if local.written == Some(wanted) && (local.untold.is_none() || !wanted) {
                    local.busy = false;
                    if !wanted && local.clients.is_empty() {
                        state.all.remove(&who);
                    }
                    return;
                }
                (wanted, local.manner, local.info.clone(), local.untold.take())
            };
            let node = inner.node();
            let result = match wanted {
                true => online::up(inner, &who, manner, &node, &info, untold).await,
                false => online::down(inner, &who, manner, &node, &node).await,
            };
            let mut state = self.lock();
            let Some(local) = state.all.get_mut(&who) else { return };
            match result {
                // Written under a name that this node no longer has, it does not count.
                Ok(()) => local.written = Some(wanted && inner.node() == node),
                Err(Failed { why, untold, written }) => {
                    tracing::debug!(error = %why, "a user's record is not as it should be");
                    local.untold = untold;
                    local.written = written.then_some(true);
                    local.busy = false;
                    state.plan(clock::monotonic() + AGAIN, Arc::clone(&who));
                    drop(state);
                    self.wake.notify_one();
                    return;
                }
            }
        }
    }
}

impl State {
    fn plan(&mut self, at: Instant, who: Arc<Who>) {
        self.next += 1;
        self.due.insert((at, self.next), who);
    }
}
