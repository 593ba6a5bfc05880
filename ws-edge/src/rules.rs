//! Who may do what in which channel.
//! Reads: configuration, tokens and names, with the time given. Writes: nothing.
//! Never: lets a client name a tenant; the tenant comes from the connection's token and from nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use campana_bus::subjects::{self, ChannelName};
use campana_identity::{
    Action, Capability, Channel, KeySet, SubscriptionClaims, Tenant, TokenFault, Verifier, Who,
    allowed,
};
use campana_jwks::LiveKeys;

use crate::auth::revoked::{Known, TokenMark};
use crate::codes::{Disconnect, ReplyError, disconnect, error};
use crate::options::{EdgeOptions, NamespaceOptions, RpcOptions};
use crate::publication::ChannelKey;

/// Everything that a session decides by; shared by all sessions of a node.
#[derive(Debug)]
pub struct Rules {
    pub(crate) keys: Arc<LiveKeys>,
    pub(crate) revoked: Known,
    pub(crate) options: EdgeOptions,
    /// What the connect reply calls the server.
    pub(crate) version: String,
    namespaces: Vec<NamespaceOptions>,
    permissions: campana_identity::Rules,
}

/// Who is connected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) tenant: Tenant,
    /// JSON shown with what the user publishes.
    pub(crate) info: Option<String>,
    /// What the token allows in many channels at once.
    pub(crate) caps: Vec<Capability>,
    /// JSON for services, never shown to clients.
    pub(crate) meta: Option<Box<str>>,
    /// What a revocation knows the token by.
    pub(crate) token: TokenMark,
    /// JSON for the client, sent with the answer to its connect command.
    pub(crate) greeting: Option<Box<str>>,
    /// How the client is connected, for services.
    pub(crate) transport: &'static str,
    /// Headers of its request, for services.
    pub(crate) headers: BTreeMap<String, String>,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    Reply(ReplyError),
    Close(Disconnect),
}

impl From<ReplyError> for Denial {
    fn from(error: ReplyError) -> Self {
        Self::Reply(error)
    }
}

impl Rules {
    /// The rules of a node.
    #[must_use]
    pub fn new(options: EdgeOptions, keys: KeySet) -> Self {
        let namespaces = options.all_namespaces();
        let version = format!("campana {}", env!("CARGO_PKG_VERSION"));
        let permissions = options.permissions();
        let keys = Arc::new(LiveKeys::new(keys, &options.tokens));
        Self { keys, revoked: Known::default(), options, version, namespaces, permissions }
    }

    /// What tokens are checked with at this moment.
    pub(crate) fn verifier(&self) -> Arc<Verifier> {
        self.keys.verifier()
    }

    /// A channel that exists by its name, and its namespace's rules.
    pub(crate) fn channel(
        &self,
        name: &str,
    ) -> Result<(ChannelName, &NamespaceOptions), ReplyError> {
        let parsed = ChannelName::parse(name).map_err(|_| error::BAD_REQUEST)?;
        let (namespace, rest) = (parsed.namespace(), parsed.rest());
        let named = namespace.strip_prefix('$').unwrap_or(namespace);
        // ":x" would meet "x" on one subject.
        if rest.is_empty() || (name.contains(':') && named.is_empty()) {
            return Err(error::BAD_REQUEST);
        }
        let namespace = self.namespace(named).ok_or(error::UNKNOWN_CHANNEL)?;
        if namespace.wildcard && name.contains('*') && !is_pattern(&parsed) {
            return Err(error::BAD_REQUEST);
        }
        Ok((parsed, namespace))
    }

    /// Where the messages of a channel are that [`Rules::channel`] let in.
    pub(crate) fn key(&self, tenant: &str, name: ChannelName) -> Arc<ChannelKey> {
        let namespace = name.namespace();
        let namespace = self.namespace(namespace.strip_prefix('$').unwrap_or(namespace));
        let subject = match namespace {
            Some(one) if one.dense_offsets => subjects::dense_channel(tenant, &name),
            Some(one) if one.wildcard && is_pattern(&name) => {
                let prefix = name.rest().strip_suffix('*').unwrap_or_default();
                subjects::channel_pattern(tenant, name.namespace(), prefix)
            }
            _ => return Arc::new(ChannelKey::new(tenant, name)),
        };
        Arc::new(ChannelKey::stored(name, subject))
    }

    /// The rules of the namespace with this name.
    pub(crate) fn namespace(&self, name: &str) -> Option<&NamespaceOptions> {
        self.namespaces.iter().find(|one| one.name == name)
    }

    /// The rules of a channel that was let in before.
    pub(crate) fn namespace_of(&self, key: &ChannelKey) -> Option<&NamespaceOptions> {
        let name = key.name.namespace();
        self.namespace(name.strip_prefix('$').unwrap_or(name))
    }

    /// Whether this user may do it in this channel. `token` is the subscription token brought for the channel,
    /// now or when subscribing.
    pub(crate) fn permit(
        &self,
        action: Action,
        who: &Identity,
        client: &str,
        channel: &ChannelName,
        token: Option<&SubscriptionClaims>,
        subscribed: bool,
    ) -> Result<(), ReplyError> {
        let Ok(channel) = Channel::parse(channel.as_str()) else {
            return Err(error::BAD_REQUEST);
        };
        let (user, tenant, caps) = (who.user.as_str(), &who.tenant, who.caps.as_slice());
        let who = Who { user, tenant, client, caps, token, subscribed };
        allowed(&self.permissions, &who, action, &channel).map_err(|denied| match denied.code {
            102 => error::UNKNOWN_CHANNEL,
            107 => error::BAD_REQUEST,
            _ => error::PERMISSION_DENIED,
        })
    }

    /// Whether this user may subscribe; gives what the token says, if one was brought.
    pub(crate) fn subscribe(
        &self,
        who: &Identity,
        client: &str,
        channel: &ChannelName,
        token: &str,
        now: i64,
    ) -> Result<Option<SubscriptionClaims>, Denial> {
        let claims = match token {
            "" => None,
            token => Some(self.subscription_token(who, client, channel.as_str(), token, now)?),
        };
        self.permit(Action::Subscribe, who, client, channel, claims.as_ref(), false)?;
        Ok(claims)
    }

    /// Checks a subscription token against the connection and the channel.
    pub(crate) fn subscription_token(
        &self,
        who: &Identity,
        client: &str,
        channel: &str,
        token: &str,
        now: i64,
    ) -> Result<SubscriptionClaims, Denial> {
        let claims = self.verifier().subscription(token, now).map_err(|why| match why {
            TokenFault::Expired => error::TOKEN_EXPIRED,
            _ => error::PERMISSION_DENIED,
        })?;
        if !claims.is_for(&who.user, &who.tenant, client, channel) {
            return Err(Denial::Close(disconnect::INVALID_TOKEN));
        }
        if self.revoked.subscription(&claims, now) {
            return Err(error::PERMISSION_DENIED.into());
        }
        Ok(claims)
    }

    /// The channel that a good subscription token names.
    pub(crate) fn token_channel(&self, token: &str, now: i64) -> Option<String> {
        self.verifier().subscription(token, now).ok().map(|claims| claims.channel)
    }

    /// Who answers this method.
    pub(crate) fn rpc(&self, method: &str) -> Result<&RpcOptions, ReplyError> {
        if self.options.rpc.is_empty() {
            return Err(error::NOT_AVAILABLE);
        }
        let found = self.options.rpc.iter().find(|one| one.method == method);
        found.ok_or(error::METHOD_NOT_FOUND)
    }
}

/// Whether a name in a namespace with wildcards stands for many channels: it ends in its only `*`, and could not
/// belong to somebody (`#`) or need a token (`$`).
fn is_pattern(name: &ChannelName) -> bool {
    let name = name.as_str();
    name.find('*') == Some(name.len() - 1) && !name.contains('#') && !name.starts_with('$')
}

#[cfg(test)]
mod tests {
    use campana_identity::{Allow, TokenKeys};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn rules(subscribe: &[Allow]) -> Rules {
        let ns = |name: &str| NamespaceOptions {
            name: name.to_owned(),
            subscribe: subscribe.to_vec(),
            ..NamespaceOptions::default()
        };
        let options =
            EdgeOptions { namespaces: vec![ns("news"), ns("")], ..EdgeOptions::default() };
        Rules::new(options, TokenKeys::new(&[7; 32], None).unwrap().key_set().clone())
    }

    fn alice() -> Identity {
        Identity { user: "alice".to_owned(), ..Identity::default() }
    }

    fn ask(rules: &Rules, channel: &str, token: &str) -> Result<(), Denial> {
        let (name, _) = rules.channel(channel)?;
        rules.subscribe(&alice(), "cli_1", &name, token, NOW).map(|_| ())
    }

    #[test]
    fn names_are_refused_or_harmless() {
        let rules = rules(&[Allow::Token, Allow::Authenticated]);
        let long = "x".repeat(10_000);
        for name in ["", "a\nb", "news:\u{0}", ":x", "$:x", "news:", long.as_str()] {
            assert_eq!(ask(&rules, name, ""), Err(error::BAD_REQUEST.into()), "{name:?}");
        }
        assert_eq!(ask(&rules, "other:x", ""), Err(error::UNKNOWN_CHANNEL.into()));
        for name in ["*", ">", "a.b", "news:>", "news:*.x", "🔔", "news:a b", "news::x"] {
            assert_eq!(ask(&rules, name, ""), Ok(()), "{name:?}");
            let key = ChannelKey::new("acme", ChannelName::parse(name).unwrap());
            assert_eq!(key.subject.split('.').count(), 4, "{}", key.subject);
            assert!(!key.subject.contains(['*', '>', ' ']), "{}", key.subject);
        }
    }

    #[test]
    fn an_inbox_is_open_to_its_owner_alone() {
        let rules = rules(&[Allow::Token, Allow::Authenticated]);
        assert_eq!(ask(&rules, "inbox:#alice", ""), Ok(()));
        for other in [
            "inbox:#bob",
            "inbox:alice",
            "inbox:#alice,bob",
            "inbox:#alice#x",
            "$inbox:#alice",
            "inbox:#Alice",
        ] {
            assert_eq!(ask(&rules, other, ""), Err(error::PERMISSION_DENIED.into()), "{other}");
        }
    }

    #[test]
    fn each_kind_of_access_lets_in_whom_it_says() {
        let keys = TokenKeys::new(&[7; 32], None).unwrap();
        let mint = |user: &str, tenant: &str, channel: &str, at: i64| {
            keys.mint_subscription(user, tenant, channel, 60, at, &Default::default()).unwrap()
        };
        let good = mint("alice", "default", "news:a", NOW);
        let denied = Err(error::PERMISSION_DENIED.into());
        let by_token = rules(&[Allow::Token]);
        assert_eq!(ask(&by_token, "news:a", ""), denied);
        assert_eq!(ask(&by_token, "news:a", &good), Ok(()));
        assert_eq!(ask(&by_token, "news:a", "garbage"), denied);
        assert_eq!(
            ask(&by_token, "news:a", &mint("alice", "default", "news:a", NOW - 90)),
            Err(error::TOKEN_EXPIRED.into())
        );
        let closed = Err(Denial::Close(disconnect::INVALID_TOKEN));
        assert_eq!(ask(&by_token, "news:b", &good), closed);
        assert_eq!(ask(&by_token, "news:a", &mint("bob", "default", "news:a", NOW)), closed);
        assert_eq!(ask(&by_token, "news:a", &mint("alice", "other", "news:a", NOW)), closed);
        let anyone = rules(&[Allow::Token, Allow::Authenticated]);
        assert_eq!(ask(&anyone, "$news:a", ""), denied);
        assert_eq!(ask(&anyone, "$news:a", &mint("alice", "default", "$news:a", NOW)), Ok(()));
        assert_eq!(ask(&rules(&[]), "news:a", &good), denied);
    }
}
