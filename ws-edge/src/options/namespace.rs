//! What an operator may choose about the channels of one namespace.
//! Reads: configuration. Writes: nothing. Never: opens a channel to anybody who is not named.

use campana_bus::subjects::INBOX_NAMESPACE;
use campana_identity::{AclRule, Allow, NamespaceRules};
use serde::{Deserialize, Serialize};

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
}

impl Default for NamespaceOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            subscribe: vec![Allow::Token],
            publish: Vec::new(),
            history: vec![Allow::Subscriber],
            presence: Vec::new(),
            acl: Vec::new(),
            user_lists: false,
            history_size: 1_000,
            history_ttl_seconds: 0,
            recovery: true,
            binary: false,
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

    pub(crate) fn keeps_history(&self) -> bool {
        self.history_size > 0
    }

    pub(crate) fn recovers(&self) -> bool {
        self.recovery && self.keeps_history()
    }
}
