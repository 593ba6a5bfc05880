//! Patterns: all channels of a namespace whose name begins with a prefix, followed as if they were one.
//! Reads: names. Writes: nothing. Never: takes a channel that belongs to somebody (`#`) or needs a token (`$`).
//!
//! The chain of a channel cannot reveal what was lost in another one, so a live message of a pattern is only the
//! news that there is more: messages are read from the stream, in its order, once for all subscribers, and a hole
//! cannot be. That costs one question to the stream for each burst.

use campana_bus::subjects::{self, ChannelName};

use crate::publication::ChannelKey;

/// Which channels a pattern takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    prefix: Box<str>,
}

impl Pattern {
    /// The pattern that a key stands for; `None` for a channel.
    pub(super) fn of(key: &ChannelKey) -> Option<Self> {
        if !subjects::is_pattern(&key.subject) {
            return None;
        }
        let prefix = key.name.rest().strip_suffix('*').unwrap_or_default();
        Some(Self { prefix: prefix.into() })
    }

    /// The channel stored under this subject, if it is one of the pattern's. The namespace is not looked at:
    /// the subscription does.
    pub(super) fn takes(&self, subject: &str) -> Option<ChannelName> {
        let (_, name) = subjects::parse_channel(subject)?;
        let rest = name.rest();
        let taken = rest.starts_with(&*self.prefix)
            && !rest.contains('#')
            && !name.as_str().starts_with('$');
        taken.then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ChannelKey {
        let name = ChannelName::parse(name).unwrap();
        let prefix = name.rest().trim_end_matches('*');
        let subject = subjects::channel_pattern("t", name.namespace(), prefix);
        ChannelKey::stored(name, subject)
    }

    #[test]
    fn a_pattern_takes_what_begins_like_it_and_belongs_to_nobody() {
        let stored = |name: &str| subjects::channel("t", &ChannelName::parse(name).unwrap());
        let all = Pattern::of(&key("news:*")).unwrap();
        let some = Pattern::of(&key("news:eu.*")).unwrap();
        let none = Pattern::of(&key("*")).unwrap();
        for (pattern, name, takes) in [
            (&all, "news:a", true),
            (&all, "news:*", true),
            (&all, "news:a#bob", false),
            (&all, "news:#alice", false),
            (&some, "news:eu.de", true),
            (&some, "news:eu.", true),
            (&some, "news:eu", false),
            (&some, "news:us.eu.", false),
            (&none, "plain", true),
            (&none, "$secret", false),
        ] {
            assert_eq!(pattern.takes(&stored(name)).is_some(), takes, "{name}");
        }
        let channel = ChannelKey::new("t", ChannelName::parse("news:a*").unwrap());
        assert_eq!(Pattern::of(&channel), None);
    }
}
