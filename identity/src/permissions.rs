//! Who may do what in which channel: rules as data, and one pure answer.
//! Reads: rules, a name, and who asks. Writes: nothing.
//! Never: lets a user into the channel of another because of a rule that is about many. A channel with `#` is
//! for the users named after it; only a subscription token for exactly this channel opens it to others.

mod access;
mod channel;
mod pattern;

use serde::{Deserialize, Serialize};

use crate::names::Tenant;
use crate::tokens::SubscriptionClaims;
pub use access::allowed;
pub use channel::{CHANNEL_BYTES_MAX, Channel};
pub use pattern::{PATTERN_BYTES_MAX, PATTERN_STARS_MAX, Pattern, PatternError};

/// Most namespaces, and most ACL entries of one namespace.
const NAMESPACES_MAX: usize = 1_000;
const ACL_MAX: usize = 256;
/// Most patterns of one list of an ACL entry.
const PATTERNS_MAX: usize = 128;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// To get what is published.
    Subscribe,
    /// To publish.
    Publish,
    /// To read what was published before.
    History,
    /// To see who is there, and who comes and goes.
    Presence,
}

impl Action {
    /// Every action there is.
    pub const ALL: [Self; 4] = [Self::Subscribe, Self::Publish, Self::History, Self::Presence];

    /// Its name in the claims `caps` and `allow`.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::Subscribe => "sub",
            Self::Publish => "pub",
            Self::History => "hst",
            Self::Presence => "prs",
        }
    }

    /// The action with this name in the claims `caps` and `allow`.
    #[must_use]
    pub fn from_short(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.short() == name)
    }
}

/// One entry of a connection token's `caps`: in these channels, these actions. The first entry that matches a
/// channel decides, as in Centrifugo; entries after it are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// In which channels.
    pub channels: Vec<Pattern>,
    /// Which actions.
    pub allow: Vec<Action>,
}

/// One way in. Each action has a list of them, and one that fits is enough; an empty list is for nobody but
/// the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allow {
    /// Who brings a signed permission: to subscribe, a subscription token for the channel; for the rest, its
    /// `allow`; or `caps` of the connection token.
    Token,
    /// The users named after the `#` of the channel.
    OwnUser,
    /// Who is subscribed to the channel.
    Subscriber,
    /// Every connected user of the tenant whose token names one.
    Authenticated,
    /// Everyone connected, named or not.
    Anonymous,
    /// Whom the namespace's `acl` names.
    Acl,
}

/// One entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AclRule {
    /// Whole names of channels, namespace included, with `*` for any text.
    pub channels: Vec<Pattern>,
    /// Names of users, with `*` for any text; never matches a connection without a user.
    pub users: Vec<Pattern>,
    /// What they may do there.
    pub actions: Vec<Action>,
}

/// Rules of the channels whose name begins with `<name>:`; the empty name stands for channels without `:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceRules {
    /// Text before the first `:`, without `$`.
    pub name: String,
    /// Whether the text after `#` is a list of users with commas between (`dialog#42,43`). Users with a comma
    /// in their name are then in no list. If not, it is one user's name as it stands, commas and all.
    pub user_lists: bool,
    /// Who may subscribe. In channels whose name begins with `$`, [`Allow::Token`] is the only way.
    pub subscribe: Vec<Allow>,
    /// Who may publish.
    pub publish: Vec<Allow>,
    /// Who may read history.
    pub history: Vec<Allow>,
    /// Who may see who is there.
    pub presence: Vec<Allow>,
    /// What [`Allow::Acl`] means here.
    pub acl: Vec<AclRule>,
}

impl Default for NamespaceRules {
    fn default() -> Self {
        Self {
            name: String::new(),
            user_lists: false,
            subscribe: vec![Allow::Token],
            publish: vec![Allow::Token],
            history: vec![Allow::Token, Allow::Subscriber],
            presence: vec![Allow::Token],
            acl: Vec::new(),
        }
    }
}

impl NamespaceRules {
    /// The ways in for this action.
    #[must_use]
    pub fn ways(&self, action: Action) -> &[Allow] {
        match action {
            Action::Subscribe => &self.subscribe,
            Action::Publish => &self.publish,
            Action::History => &self.history,
            Action::Presence => &self.presence,
        }
    }
}

/// The rules of all namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rules {
    /// One per name.
    pub namespaces: Vec<NamespaceRules>,
}

impl Rules {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// Names the namespace and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.namespaces.len() > NAMESPACES_MAX {
            return Err(format!("more than {NAMESPACES_MAX} namespaces"));
        }
        for (at, one) in self.namespaces.iter().enumerate() {
            let wrong = |why: &str| Err(format!("namespace {:?}: {why}", one.name));
            if one.name.contains([':', '#', '$', ',']) || one.name.chars().any(char::is_control) {
                return wrong("a name has no `:`, `#`, `$`, `,` or control characters");
            }
            if one.name.len() > 64 {
                return wrong("a name has at most 64 bytes");
            }
            if self.namespaces[..at].iter().any(|other| other.name == one.name) {
                return wrong("it is there twice");
            }
            if one.acl.len() > ACL_MAX {
                return wrong("its acl has more than 256 entries");
            }
            let long = |list: &Vec<Pattern>| list.len() > PATTERNS_MAX;
            if one.acl.iter().any(|rule| long(&rule.channels) || long(&rule.users)) {
                return wrong("an acl entry has at most 128 channels and 128 users");
            }
            let uses_acl = Action::ALL.iter().any(|action| one.ways(*action).contains(&Allow::Acl));
            if uses_acl == one.acl.is_empty() {
                return wrong("`acl` as a way in and a list `acl` belong together");
            }
            if one.subscribe.contains(&Allow::Subscriber) {
                return wrong("`subscriber` cannot be a way to subscribe");
            }
        }
        Ok(())
    }

    /// The rules of the namespace with this name.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<&NamespaceRules> {
        self.namespaces.iter().find(|one| one.name == name)
    }
}

/// Who asks, and what speaks for them. Everything in it was checked before: the user is the connection's.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The connection's user; empty for nobody in particular.
    pub user: &'a str,
    /// The connection's tenant.
    pub tenant: &'a Tenant,
    /// The connection's client id.
    pub client: &'a str,
    /// The connection token's `caps`.
    pub caps: &'a [Capability],
    /// The subscription token brought for this channel, now or when subscribing.
    pub token: Option<&'a SubscriptionClaims>,
    /// Whether the connection is subscribed to the channel.
    pub subscribed: bool,
}

/// Why not: a code of the Centrifuge protocol, and words for the operator that hold no names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Denied {
    /// 102 unknown channel, 103 permission denied, 107 bad request.
    pub code: u16,
    /// What is missing.
    pub why: &'static str,
}

#[cfg(test)]
mod tests;
