//! Subjects of presence: who is in which channel, on which node, and who has seen what.
//! Reads: names that users chose. Writes: nothing. Never: lets a name become more than one token.
//!
//! The keys of these two buckets have several tokens, unlike those of [`super::kv`], so that all keys of a node or
//! of a channel can be asked for at once.

use super::{ChannelName, escape, unescape};

fn in_channel(tenant: &str, channel: &ChannelName) -> String {
    let (namespace, rest) = (escape(channel.namespace()), escape(channel.rest()));
    format!("{}.{namespace}.{rest}", escape(tenant))
}

fn channel_name(namespace: &str, rest: &str) -> Option<ChannelName> {
    let (namespace, rest) = (unescape(namespace)?, unescape(rest)?);
    let full = if namespace.is_empty() { rest } else { format!("{namespace}:{rest}") };
    ChannelName::parse(&full).ok()
}

/// Everything in the bucket of presence.
pub const PRESENCE_FILTER: &str = "$KV.presence.>";
/// Leases, registrations and claims of all nodes.
pub const PRESENCE_NODES: &str = "$KV.presence.*.*";
/// The leases of all nodes.
pub const PRESENCE_LEASES: &str = "$KV.presence.l.*";
/// Users that are online.
pub const ONLINE_USERS: &str = "$KV.presence.u.>";
/// Users that are in a channel.
pub const ONLINE_MEMBERS: &str = "$KV.presence.m.>";
/// Everything in the bucket of receipts.
pub const RECEIPTS_FILTER: &str = "$KV.receipts.>";

/// What a node says of itself, or others of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKey {
    /// It lives; gone after its time.
    Lease,
    /// It has entries.
    Registration,
    /// Somebody tidies up after it; gone after its time.
    Claim,
}

/// `$KV.presence.{l|n|s}.{node}`.
#[must_use]
pub fn presence_node(kind: NodeKey, node: &str) -> String {
    let kind = match kind {
        NodeKey::Lease => 'l',
        NodeKey::Registration => 'n',
        NodeKey::Claim => 's',
    };
    format!("$KV.presence.{kind}.{}", escape(node))
}

/// What [`presence_node`] was made of.
#[must_use]
pub fn parse_presence_node(subject: &str) -> Option<(NodeKey, String)> {
    let (kind, node) = subject.strip_prefix("$KV.presence.")?.split_once('.')?;
    let kind = match kind {
        "l" => NodeKey::Lease,
        "n" => NodeKey::Registration,
        "s" => NodeKey::Claim,
        _ => return None,
    };
    Some((kind, unescape(node)?))
}

/// `$KV.presence.c.{node}.{tenant}.{namespace}.{rest}.{client}`: a client in a channel. The empty client stands
/// for those that are only counted.
#[must_use]
pub fn presence_client(node: &str, tenant: &str, channel: &ChannelName, client: &str) -> String {
    format!("$KV.presence.c.{}.{}.{}", escape(node), in_channel(tenant, channel), escape(client))
}

/// All clients of a node, in all channels.
#[must_use]
pub fn presence_of_node(node: &str) -> String {
    format!("$KV.presence.c.{}.>", escape(node))
}

/// All clients of a channel, on all nodes.
#[must_use]
pub fn presence_of_channel(tenant: &str, channel: &ChannelName) -> String {
    format!("$KV.presence.c.*.{}.*", in_channel(tenant, channel))
}

/// What the subject of a client in a channel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentClient {
    /// The node it is connected to.
    pub node: String,
    /// Whose channel it is.
    pub tenant: String,
    /// Which channel.
    pub channel: ChannelName,
    /// The client's id; empty for those that are only counted.
    pub client: String,
}

/// Reads a subject that [`presence_client`] made.
#[must_use]
pub fn parse_presence_client(subject: &str) -> Option<PresentClient> {
    let tokens: Vec<&str> = subject.strip_prefix("$KV.presence.c.")?.split('.').collect();
    let [node, tenant, namespace, rest, client] = tokens.as_slice() else {
        return None;
    };
    Some(PresentClient {
        node: unescape(node)?,
        tenant: unescape(tenant)?,
        channel: channel_name(namespace, rest)?,
        client: unescape(client)?,
    })
}

/// `$KV.presence.u.{tenant}.{user}` or `$KV.presence.m.{tenant}.{namespace}.{rest}.{user}`: on which nodes a user is
/// online, or is in a channel.
#[must_use]
pub fn online(tenant: &str, channel: Option<&ChannelName>, user: &str) -> String {
    match channel {
        None => format!("$KV.presence.u.{}.{}", escape(tenant), escape(user)),
        Some(channel) => {
            format!("$KV.presence.m.{}.{}", in_channel(tenant, channel), escape(user))
        }
    }
}

/// Tenant, channel and user of a subject that [`online`] made.
#[must_use]
pub fn parse_online(subject: &str) -> Option<(String, Option<ChannelName>, String)> {
    let (kind, rest) = subject.strip_prefix("$KV.presence.")?.split_once('.')?;
    let tokens: Vec<&str> = rest.split('.').collect();
    match (kind, tokens.as_slice()) {
        ("u", [tenant, user]) => Some((unescape(tenant)?, None, unescape(user)?)),
        ("m", [tenant, namespace, rest, user]) => {
            let channel = channel_name(namespace, rest)?;
            Some((unescape(tenant)?, Some(channel), unescape(user)?))
        }
        _ => None,
    }
}

/// `joins.{tenant}.{namespace}.{rest}`: where edges tell each other who came to a channel and who left it. Not stored.
#[must_use]
pub fn joins(tenant: &str, channel: &ChannelName) -> String {
    format!("joins.{}", in_channel(tenant, channel))
}

/// The same for all channels of the channel's namespace.
#[must_use]
pub fn joins_of_namespace(tenant: &str, channel: &ChannelName) -> String {
    format!("joins.{}.{}.*", escape(tenant), escape(channel.namespace()))
}

/// `$KV.receipts.{tenant}.{namespace}.{rest}.{user}`: up to where a user has seen a channel.
#[must_use]
pub fn receipt(tenant: &str, channel: &ChannelName, user: &str) -> String {
    format!("$KV.receipts.{}.{}", in_channel(tenant, channel), escape(user))
}

/// The receipts of all users of a channel.
#[must_use]
pub fn receipts_of_channel(tenant: &str, channel: &ChannelName) -> String {
    format!("$KV.receipts.{}.*", in_channel(tenant, channel))
}

/// The user of a subject that [`receipt`] made.
#[must_use]
pub fn receipt_user(subject: &str) -> Option<String> {
    unescape(subject.strip_prefix("$KV.receipts.")?.rsplit('.').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subjects::matches;

    #[test]
    fn keys_come_back_as_they_went_in() {
        for (tenant, name, client) in
            [("t.1", "room:a.b >", "cli_1"), ("acme", "plain", "*"), ("a", "inbox:#x", "")]
        {
            let channel = ChannelName::parse(name).unwrap();
            let subject = presence_client("node.1", tenant, &channel, client);
            let found = parse_presence_client(&subject).unwrap();
            assert_eq!((found.node.as_str(), found.tenant.as_str()), ("node.1", tenant));
            assert_eq!((&found.channel, found.client.as_str()), (&channel, client));
            assert!(matches(&presence_of_channel(tenant, &channel), &subject));
            assert!(matches(&presence_of_node("node.1"), &subject));
            assert!(!matches(PRESENCE_NODES, &subject) && parse_online(&subject).is_none());
            for scope in [None, Some(&channel)] {
                let subject = online(tenant, scope, "o'neil #1");
                let found = parse_online(&subject).unwrap();
                assert_eq!(found, (tenant.to_owned(), scope.cloned(), "o'neil #1".to_owned()));
                assert!(parse_presence_client(&subject).is_none());
            }
            let subject = receipt(tenant, &channel, "a.b");
            assert!(matches(&receipts_of_channel(tenant, &channel), &subject));
            assert_eq!(receipt_user(&subject).as_deref(), Some("a.b"));
            assert!(matches(&joins_of_namespace(tenant, &channel), &joins(tenant, &channel)));
        }
        for kind in [NodeKey::Lease, NodeKey::Registration, NodeKey::Claim] {
            let subject = presence_node(kind, "n_1");
            assert!(matches(PRESENCE_NODES, &subject));
            assert_eq!(parse_presence_node(&subject), Some((kind, "n_1".to_owned())));
        }
    }
}
