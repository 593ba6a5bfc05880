//! The parts of a channel's name: `[$][namespace:]rest[#users]`.
//! Reads: what a client sent. Writes: nothing. Never: changes a name; two names that differ are two channels.

use super::{Denied, NamespaceRules};

/// Longest name in bytes, as in Centrifugo.
pub const CHANNEL_BYTES_MAX: usize = 255;

/// A channel's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel<'a> {
    /// The whole name.
    pub name: &'a str,
    /// Whether it begins with `$`: to subscribe, a token is a must.
    pub private: bool,
    /// Text before the first `:`, without `$`; empty if there is none.
    pub namespace: &'a str,
    /// Text after the first `#` of the rest, if there is one: whose channel it is. The first one, because a
    /// user's name may have further ones in it, and `#a#b` must not become the channel of `b`.
    pub owners: Option<&'a str>,
}

impl<'a> Channel<'a> {
    /// Takes a name apart.
    ///
    /// # Errors
    /// With code 107 if it is empty, too long, has control characters, or nothing on one side of its `:`.
    pub fn parse(name: &'a str) -> Result<Self, Denied> {
        let wrong = |why| Err(Denied { code: 107, why });
        if name.is_empty() || name.len() > CHANNEL_BYTES_MAX {
            return wrong("a channel's name has 1 to 255 bytes");
        }
        if name.chars().any(char::is_control) {
            return wrong("a channel's name has no control characters");
        }
        let private = name.starts_with('$');
        let (namespace, rest) = name.split_once(':').unwrap_or(("", name));
        let namespace = namespace.strip_prefix('$').unwrap_or(namespace);
        if name.contains(':') && (namespace.is_empty() || rest.is_empty()) {
            return wrong("a channel's name has a text before and after its first `:`");
        }
        let owners = rest.split_once('#').map(|(_, owners)| owners);
        Ok(Self { name, private, namespace, owners })
    }

    /// Whether the channel is this user's. Names are compared byte by byte: nothing is folded or normalised,
    /// as issuers do not do it either. Nobody in particular owns nothing.
    #[must_use]
    pub fn is_of(&self, user: &str, namespace: &NamespaceRules) -> bool {
        let Some(owners) = self.owners.filter(|_| !user.is_empty()) else {
            return false;
        };
        if namespace.user_lists {
            // A user with a comma would be taken apart into others.
            !user.contains(',') && owners.split(',').any(|owner| owner == user)
        } else {
            owners == user
        }
    }
}
