//! Where the messages of channels are: the shared stream, a stream of their own, many channels at once.
//! Reads: names that users chose. Writes: nothing. Never: lets two channels, or a channel and a pattern, meet.
//!
//! A channel is one token behind its tenant and namespace, so NATS can match all channels of a namespace (`*`) and
//! nothing finer. A *pattern* is all channels of a namespace whose rest begins with a prefix; its own key ends in
//! `*`, which [`escape`] never makes, and for the empty prefix that key is the wildcard itself.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::{ChannelName, escape, unescape};
use crate::topology::CHANNELS;

/// What the subjects of channels with a stream of their own begin with.
const DENSE: &str = "chd.";

/// `ch.{tenant}.{namespace}.{rest}`: where a channel's messages are stored.
#[must_use]
pub fn channel(tenant: &str, channel: &ChannelName) -> String {
    format!("ch.{}.{}.{}", escape(tenant), escape(channel.namespace()), escape(channel.rest()))
}

/// Tenant and channel of a `ch.…` or `chd.…` subject, live or not.
#[must_use]
pub fn parse_channel(subject: &str) -> Option<(String, ChannelName)> {
    let subject = subject.strip_prefix("live.").unwrap_or(subject);
    let stored = subject.strip_prefix("ch.").or_else(|| subject.strip_prefix("chd."))?;
    let mut tokens = stored.split('.');
    let (tenant, namespace, rest) = (tokens.next()?, tokens.next()?, tokens.next()?);
    if tokens.next().is_some() {
        return None;
    }
    let (namespace, rest) = (unescape(namespace)?, unescape(rest)?);
    let full = if namespace.is_empty() { rest } else { format!("{namespace}:{rest}") };
    Some((unescape(tenant)?, ChannelName::parse(&full).ok()?))
}

/// `chd.{tenant}.{namespace}.{rest}`: where a channel is stored that has a stream of its own.
#[must_use]
pub fn dense_channel(tenant: &str, name: &ChannelName) -> String {
    format!("{DENSE}{}.{}.{}", escape(tenant), escape(name.namespace()), escape(name.rest()))
}

/// All channels that have a stream of their own: of one tenant, or of every tenant (`None`).
#[must_use]
pub fn dense_filter(tenant: Option<&str>) -> String {
    format!("{DENSE}{}.>", tenant.map_or_else(|| "*".to_owned(), escape))
}

/// Whether the channel stored here has a stream of its own.
#[must_use]
pub fn is_dense(subject: &str) -> bool {
    subject.starts_with(DENSE)
}

/// The stream that stores a channel, by its subject. The name of a stream of its own is a digest: a channel's
/// name, escaped, can be longer than a stream's may be, and is nobody's business in a list of streams.
#[must_use]
pub fn stored_in(subject: &str) -> Cow<'static, str> {
    if is_dense(subject) {
        Cow::Owned(format!("CHD_{}", hex::encode(Sha256::digest(subject.as_bytes()))))
    } else {
        Cow::Borrowed(CHANNELS)
    }
}

/// The key of all channels of a namespace whose rest begins with `prefix`: `ch.{tenant}.{namespace}.{prefix}*`.
#[must_use]
pub fn channel_pattern(tenant: &str, namespace: &str, prefix: &str) -> String {
    let prefix = if prefix.is_empty() { String::new() } else { escape(prefix) };
    format!("ch.{}.{}.{prefix}*", escape(tenant), escape(namespace))
}

/// Whether this is the key of a pattern.
#[must_use]
pub fn is_pattern(subject: &str) -> bool {
    subject.ends_with('*')
}

/// What NATS is asked for to get a channel's or a pattern's messages; a pattern gets its whole namespace.
#[must_use]
pub fn stored_filter(subject: &str) -> Cow<'_, str> {
    match subject.rsplit_once('.') {
        Some((namespace, _)) if is_pattern(subject) => Cow::Owned(format!("{namespace}.*")),
        _ => Cow::Borrowed(subject),
    }
}

/// Where what is stored under this subject or filter is republished.
#[must_use]
pub fn live_of(subject: &str) -> String {
    format!("live.{subject}")
}

/// The subject under which a republished message is stored; the inverse of [`live_of`].
#[must_use]
pub fn stored_under(live: &str) -> Option<&str> {
    live.strip_prefix("live.")
}

/// Where the stored messages of a channel are republished with their sequence.
#[must_use]
pub fn live(tenant: &str, name: &ChannelName) -> String {
    live_of(&channel(tenant, name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::matches;
    use super::*;

    proptest! {
        #[test]
        fn a_pattern_is_one_key_and_no_channel(a in "[^\\p{Cc}]{0,20}", b in "[^\\p{Cc}]{0,20}", name in "[^\\p{Cc}:]{1,20}") {
            let (one, other) = (channel_pattern("t", "n", &a), channel_pattern("t", "n", &b));
            prop_assert_eq!(a == b, one == other);
            prop_assert!(is_pattern(&one) && parse_channel(&one).is_none());
            prop_assert_eq!(one.split('.').count(), 4);
            let stored = channel("t", &ChannelName::parse(&format!("n:{name}")).unwrap());
            prop_assert!(!is_pattern(&stored));
            prop_assert!(matches(&stored_filter(&one), &stored));
            let elsewhere = channel("t", &ChannelName::parse(&format!("$n:{name}")).unwrap());
            prop_assert!(!matches(&stored_filter(&one), &elsewhere));
        }

        #[test]
        fn a_stream_of_its_own_has_one_channel(tenant in "[^\\p{Cc}]{1,20}", name in "[^\\p{Cc}:]{1,40}") {
            let name = ChannelName::parse(&name).unwrap();
            let subject = dense_channel(&tenant, &name);
            prop_assert!(is_dense(&subject) && matches(&dense_filter(Some(&tenant)), &subject));
            prop_assert!(super::super::is_stream_name(&stored_in(&subject)));
            prop_assert_eq!(stored_in(&channel(&tenant, &name)), CHANNELS);
            prop_assert_eq!(parse_channel(&live_of(&subject)), Some((tenant, name)));
        }
    }
}
