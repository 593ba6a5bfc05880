//! Presence: who is in which channel, on all nodes; and what others and services are told when that changes.
//! Reads: what sessions report, the bucket of presence, moves told by other nodes. Writes: the same; events.
//! Never: writes anything for channels whose namespace does not ask for it, or again what did not change.
//!
//! Each client of a channel with presence has one entry, written once when it comes and removed when it goes. Entries
//! have no time to live of their own: the node that wrote them has a lease, and entries of a node without one do not
//! count. So a node with 20,000 clients writes three times a minute while nothing changes. See
//! `docs/adr/0027-presence.md`.

pub mod events;
mod keeper;
pub(crate) mod moves;
mod online;
mod read;
mod record;
mod rooms;
mod store;
mod users;
mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use campana_bus::Bus;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::subjects::{self, ChannelName};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::mailbox::Mailbox;
use crate::metrics;
use crate::options::{NamespaceOptions, PresenceOptions};
use crate::publication::ChannelKey;
use crate::rules::Rules;
use crate::session::{Report, Session};
use moves::Watchers;
pub(crate) use read::{list, stats};
use rooms::{Member, Rooms};
use store::Store;
use users::{Manner, Users, Who};
use worker::Change;

/// Changes that may wait to be written.
const CHANGES_MAX: usize = 65_536;

/// What others may know of a client in a channel, and what it wants to know of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attendance {
    pub(crate) user: Box<str>,
    /// JSON about the client, on one line.
    pub(crate) info: Box<str>,
    /// It belongs to the channel's presence.
    pub(crate) tracked: bool,
    /// The channel is told that it comes and goes.
    pub(crate) told: bool,
    /// It is told who comes and goes.
    pub(crate) wants: bool,
}

/// The user in JSON about a client.
#[derive(Deserialize)]
struct UserOf {
    #[serde(default)]
    user: String,
}

/// The presence of a node.
pub(crate) struct Presence {
    inner: Arc<Inner>,
    task: Mutex<Task>,
}

/// The task that writes.
enum Task {
    /// Nothing to write so far.
    Waiting(mpsc::Receiver<Change>, mpsc::UnboundedReceiver<Arc<Who>>),
    Running(JoinHandle<()>),
    Ended,
}

pub(crate) struct Inner {
    bus: Bus,
    store: Store,
    rules: Arc<Rules>,
    options: PresenceOptions,
    /// Configuration asks for presence somewhere.
    wanted: bool,
    lifecycle: Lifecycle,
    rooms: Rooms,
    watchers: Watchers,
    users: Users,
    changes: mpsc::Sender<Change>,
    /// This node's name in the bucket: another one after each lease that ran out.
    node: RwLock<Arc<str>>,
    /// Entries may differ from what is so.
    unsynced: AtomicBool,
    /// Somebody on this node tidies up already.
    sweeping: AtomicBool,
    /// How long users of a node that stopped may be on their way.
    patience: Duration,
    stop: CancellationToken,
}

impl Presence {
    /// The presence of a node; its task runs only if configuration asks for anything.
    pub(crate) fn start(bus: &Bus, lifecycle: &Lifecycle, rules: &Arc<Rules>) -> Self {
        let options = rules.options.presence.clone();
        let namespaces = rules.options.all_namespaces();
        let wanted = options.user_events || namespaces.iter().any(NamespaceOptions::has_presence);
        let slowest = namespaces.iter().map(NamespaceOptions::leave_debounce).max();
        let patience = slowest.unwrap_or_default().max(options.offline_after());
        let (changes, changed) = mpsc::channel(CHANGES_MAX);
        let (users, queued) = Users::new();
        let stop = CancellationToken::new();
        let interest = rules.options.interest;
        let inner = Arc::new(Inner {
            watchers: Watchers::new(bus.clone(), interest, lifecycle.clone(), stop.clone()),
            store: Store::start(bus, lifecycle),
            bus: bus.clone(),
            rules: Arc::clone(rules),
            options,
            wanted,
            lifecycle: lifecycle.clone(),
            rooms: Rooms::default(),
            users,
            changes,
            node: RwLock::new("".into()),
            unsynced: AtomicBool::new(false),
            sweeping: AtomicBool::new(false),
            patience,
            stop,
        });
        let presence = Self { inner, task: Mutex::new(Task::Waiting(changed, queued)) };
        if wanted {
            presence.begin();
        }
        presence
    }

    /// Starts the task if it does not run; a token may ask for presence where no namespace does.
    fn begin(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*task, Task::Waiting(..)) {
            return;
        }
        if let Task::Waiting(changed, queued) = std::mem::replace(&mut *task, Task::Ended) {
            let work = worker::run(Arc::clone(&self.inner), changed, queued);
            *task = Task::Running(self.inner.lifecycle.spawn("edge presence", work));
        }
    }

    /// A session reported something: somebody may have come or gone.
    pub(crate) fn on_report(&self, report: &Report, session: &Session, mailbox: &Arc<Mailbox>) {
        match report {
            Report::Connected(_) => self.connected(session),
            Report::Subscribed(key) => {
                if let Some(attendance) = session.attendance(key) {
                    if !self.inner.wanted {
                        self.begin();
                    }
                    self.inner.arrive(key, session.client(), attendance, mailbox);
                }
            }
            Report::Unsubscribed(key) => self.inner.depart(key, session.client(), mailbox),
            _ => {}
        }
    }

    fn connected(&self, session: &Session) {
        if let Some((tenant, user)) = session.identity()
            && self.inner.options.user_events
            && subjects::check_name(user).is_ok()
        {
            let who = Who { tenant: tenant.to_owned(), channel: None, user: user.to_owned() };
            let manner = self.inner.manner(&who);
            self.inner.users.arrive(who, session.client(), manner, "{}");
        }
    }

    /// The connection of a session is gone.
    pub(crate) fn gone(&self, session: &Session, mailbox: &Arc<Mailbox>) {
        for (key, began) in session.channels() {
            if began {
                self.inner.depart(key, session.client(), mailbox);
            }
        }
        if let Some((tenant, user)) = session.identity().filter(|_| self.inner.options.user_events)
        {
            let who = Who { tenant: tenant.to_owned(), channel: None, user: user.to_owned() };
            self.inner.users.depart(&who, session.client());
        }
    }

    /// After the last connection: the entries of this node go, unless it has to end at once.
    pub(crate) async fn stop(&self) {
        self.inner.stop.cancel();
        let task = {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *task, Task::Ended)
        };
        if let Task::Running(task) = task {
            let _ = task.await;
        }
    }
}

impl Inner {
    fn node(&self) -> Arc<str> {
        Arc::clone(&self.node.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn rename(&self, node: String) {
        *self.node.write().unwrap_or_else(PoisonError::into_inner) = node.into();
    }

    fn namespace(&self, channel: &ChannelName) -> Option<&NamespaceOptions> {
        let name = channel.namespace();
        self.rules.namespace(name.strip_prefix('$').unwrap_or(name))
    }

    /// Whether the channel is told when this user comes and goes, not each of the user's clients.
    fn debounces(&self, channel: &ChannelName, user: &str) -> bool {
        self.namespace(channel).is_some_and(|one| one.leave_debounce_ms > 0)
            && subjects::check_name(user).is_ok()
    }

    /// What follows when a user comes and goes.
    fn manner(&self, who: &Who) -> Manner {
        let patience = self.options.offline_after();
        let Some(channel) = &who.channel else {
            return Manner { patience, events: self.options.user_events, moves: false };
        };
        let Some(namespace) = self.namespace(channel) else {
            return Manner { patience, events: false, moves: false };
        };
        let debounced = namespace.leave_debounce_ms > 0;
        Manner {
            patience: if debounced { namespace.leave_debounce() } else { patience },
            events: namespace.presence_events,
            moves: namespace.join_leave && debounced,
        }
    }

    fn arrive(
        &self,
        key: &Arc<ChannelKey>,
        client: &str,
        attendance: Attendance,
        mailbox: &Arc<Mailbox>,
    ) {
        let Some((tenant, channel)) = subjects::parse_channel(&key.subject) else { return };
        let Attendance { user, info, tracked, told, wants } = attendance;
        if wants {
            self.watchers.add(&tenant, key, mailbox);
        }
        let told = told && !self.debounces(&channel, &user);
        let mut change = Change::new(key, &tenant, client);
        change.follow = wants;
        let who = Who { tenant, channel: Some(channel), user: user.to_string() };
        let manner = self.manner(&who);
        let recorded = (manner.events || manner.moves) && subjects::check_name(&user).is_ok();
        if tracked || told || recorded {
            let most = self.namespace(&key.name).map_or(0, |one| one.presence_clients_max);
            let member = Member { user, info: info.clone(), tracked, listed: false, told };
            if let Some(entered) = self.rooms.enter(key, client, member, most) {
                change.entry = entered.tracked;
                change.counted = entered.tracked && !entered.listed;
                change.moved = entered.told.then(|| (true, info.clone()));
            }
        }
        self.change(change);
        if recorded {
            self.users.arrive(who, client, manner, &info);
        }
    }

    fn depart(&self, key: &Arc<ChannelKey>, client: &str, mailbox: &Arc<Mailbox>) {
        let member = self.rooms.exit(&key.subject, client);
        let watched = self.namespace(&key.name).is_some_and(|one| one.join_leave);
        if member.is_none() && !watched {
            return;
        }
        let Some((tenant, channel)) = subjects::parse_channel(&key.subject) else { return };
        self.watchers.remove(&tenant, key, mailbox);
        let Some(member) = member else { return };
        let mut change = Change::new(key, &tenant, client);
        change.entry = member.tracked;
        change.counted = member.tracked && !member.listed;
        change.moved = member.told.then_some((false, member.info));
        self.change(change);
        let who = Who { tenant, channel: Some(channel), user: member.user.into() };
        self.users.depart(&who, client);
    }

    fn change(&self, change: Change) {
        if change.is_empty() {
            return;
        }
        if self.changes.try_send(change).is_err() {
            // Too many wait: what is so is compared with what was written instead.
            self.unsynced.store(true, Ordering::Release);
            metrics::presence_write("skipped", false);
        }
    }

    /// Tells other nodes, and this one.
    async fn tell(&self, subject: &str, body: Bytes) {
        if let Err(error) = self.bus.client().publish(subject.to_owned(), body).await {
            tracing::debug!(%error, "who came or went was not told");
        }
    }
}
