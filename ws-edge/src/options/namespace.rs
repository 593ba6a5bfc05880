//! What an operator may choose about the channels of one namespace.
//! Reads: configuration. Writes: nothing. Never: opens a channel to anybody who is not named.

use std::time::Duration;

use campana_bus::subjects::INBOX_NAMESPACE;
use campana_identity::{AclRule, Allow, NamespaceRules};
use serde::{Deserialize, Serialize};

use super::ProxyTarget;

/// Most clients of one channel that have an entry of their own on one node.
const PRESENCE_CLIENTS_MAX: usize = 100_000;
/// Longest wait before a user left a channel, in milliseconds.
const LEAVE_DEBOUNCE_MS_MAX: u64 = 600_000;

/// Rules of the channels whose name begins with `<name>:`; the empty name stands for channels without `:`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceOptions {
    /// Text before the first `:`, without `$`.
    pub name: String,
    /// Who may subscribe: any of the ways listed. In channels whose name begins with `$`, [`Allow::Token`] is the
    /// only way. A subscription token that is brought must be good, needed or not.
    pub subscribe: Vec<Allow>,
    /// Who may publish; an empty list leaves it to services, over the bus.
    pub publish: Vec<Allow>,
    /// Who may ask for history.
    pub history: Vec<Allow>,
    /// Who may ask who is there, and sees who comes and goes.
    pub presence: Vec<Allow>,
    /// Decides who subscribes, instead of `subscribe`: asked for channels without `$` and without other users
    /// after `#`, when the client brings no subscription token.
    pub subscribe_proxy: ProxyTarget,
    /// Decides who publishes and what, instead of `publish`.
    pub publish_proxy: ProxyTarget,
    /// Says whether a subscription whose time is over may stay; clients are then not asked for new tokens.
    pub sub_refresh_proxy: ProxyTarget,
    /// What [`Allow::Acl`] means here.
    pub acl: Vec<AclRule>,
    /// Whether the text after `#` is a list of users with commas between; if not, it is one user's name.
    pub user_lists: bool,
    /// Most messages that a history answer or a recovery reaches back; 0 switches both off.
    pub history_size: usize,
    /// Oldest message in a history answer, in seconds; 0 for no limit but the stream's.
    pub history_ttl_seconds: u64,
    /// Whether clients get what they missed when they come back.
    pub recovery: bool,
    /// Whether clients may publish bytes that are not JSON. JSON clients get those that are text as a string,
    /// and are sent away (3506) by those that are not.
    pub binary: bool,
    /// Whether subscribers that ask for it get differences to the publication before (`fossil`) instead of whole
    /// payloads, wherever that is shorter.
    pub delta: bool,
    /// Whether pushes to JSON clients that offer it name the channel by a number.
    pub compaction: bool,
    /// What clients get that come back.
    pub recovery_mode: RecoveryMode,
    /// Whether a name that ends in `*` stands for all channels of the namespace that begin like it, without `#`.
    /// Other names must then not contain `*`.
    pub wildcard: bool,
    /// Whether each channel has a stream of its own, so that its offsets are 1, 2, 3, …; for few channels.
    pub dense_offsets: bool,
    /// After how many seconds without a message or a subscriber such a stream is deleted; 0 for never.
    pub dense_idle_seconds: u64,
    /// Whether it is kept who is in a channel: clients ask with `presence` and `presence_stats`.
    pub track_presence: bool,
    /// Most clients of a channel that can be listed. What a node has beyond is only counted, and nobody is told when
    /// those come and go.
    pub presence_clients_max: usize,
    /// Whether services are told on the bus when a user comes into a channel and when the user left it.
    pub presence_events: bool,
    /// Whether subscribers can be told who comes and goes: those who ask for it and may see who is there.
    pub join_leave: bool,
    /// Whether subscribers are told who comes and goes without asking for it.
    pub force_push_join_leave: bool,
    /// If not 0, users come and go instead of clients: a user left when all of the user's clients are gone for this long.
    /// Clients of nobody in particular come and go one by one.
    pub leave_debounce_ms: u64,
}

/// What clients get that come back to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryMode {
    /// Everything that they missed, or the news that something of it is gone.
    #[default]
    Stream,
    /// The latest publication, for channels that carry a state.
    Cache,
}

impl Default for NamespaceOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            subscribe: vec![Allow::Token],
            publish: Vec::new(),
            history: vec![Allow::Subscriber],
            presence: Vec::new(),
            subscribe_proxy: ProxyTarget::default(),
            publish_proxy: ProxyTarget::default(),
            sub_refresh_proxy: ProxyTarget::default(),
            acl: Vec::new(),
            user_lists: false,
            history_size: 1_000,
            history_ttl_seconds: 0,
            recovery: true,
            binary: false,
            delta: false,
            compaction: true,
            recovery_mode: RecoveryMode::Stream,
            wildcard: false,
            dense_offsets: false,
            dense_idle_seconds: 86_400,
            track_presence: false,
            presence_clients_max: 5_000,
            presence_events: false,
            join_leave: false,
            force_push_join_leave: false,
            leave_debounce_ms: 0,
        }
    }
}

impl NamespaceOptions {
    /// People's inboxes: only their own, written by the platform alone.
    #[must_use]
    pub fn inbox() -> Self {
        Self {
            name: INBOX_NAMESPACE.to_owned(),
            subscribe: vec![Allow::OwnUser],
            ..Self::default()
        }
    }

    /// Who may do what, in the form in which it is decided.
    pub(crate) fn rules(&self) -> NamespaceRules {
        NamespaceRules {
            name: self.name.clone(),
            user_lists: self.user_lists,
            subscribe: self.subscribe.clone(),
            publish: self.publish.clone(),
            history: self.history.clone(),
            presence: self.presence.clone(),
            acl: self.acl.clone(),
        }
    }

    /// Whether anything follows when a client comes or goes.
    pub(crate) fn has_presence(&self) -> bool {
        self.track_presence || self.join_leave || self.presence_events
    }

    pub(crate) fn leave_debounce(&self) -> Duration {
        Duration::from_millis(self.leave_debounce_ms)
    }

    pub(crate) fn check_presence(&self) -> Result<(), String> {
        let wrong = |why: &str| Err(format!("namespace {:?}: {why}", self.name));
        if !(1..=PRESENCE_CLIENTS_MAX).contains(&self.presence_clients_max) {
            return wrong("presence_clients_max is not in 1..=100000");
        }
        if self.leave_debounce_ms > LEAVE_DEBOUNCE_MS_MAX {
            return wrong("leave_debounce_ms is above ten minutes");
        }
        if self.force_push_join_leave && !self.join_leave {
            return wrong("force_push_join_leave needs join_leave");
        }
        Ok(())
    }

    /// Checks what types cannot.
    pub(crate) fn check_history(&self) -> Result<(), String> {
        if self.wildcard && self.dense_offsets {
            return Err(format!(
                "namespace {:?}: wildcard and dense_offsets exclude each other, because a pattern has one order of \
                 all its channels and such channels have each their own",
                self.name
            ));
        }
        Ok(())
    }

    pub(crate) fn keeps_history(&self) -> bool {
        self.history_size > 0
    }

    pub(crate) fn recovers(&self) -> bool {
        self.recovery && self.keeps_history()
    }
}
