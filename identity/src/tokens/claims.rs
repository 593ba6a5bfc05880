//! What good tokens say: the claims of Centrifugo's connection and subscription tokens, parsed strictly.
//! Reads: the body of a token whose signature is known to be good. Writes: nothing.
//! Never: accepts a known claim of the wrong type or given twice; unknown claims are ignored (RFC 7519 §4).
//! A claim that is `null` counts as absent.

use std::collections::BTreeMap;

use super::fault::TokenFault;
use super::object::Object;
use super::verifier::ClaimRules;
use crate::names::{Tenant, check_user};
use crate::permissions::{Action, CHANNEL_BYTES_MAX, Capability};

/// Most server-side channels that one token may name.
const CHANNELS_MAX: usize = 128;

/// Longest `jti` and `client` in bytes.
const ID_BYTES_MAX: usize = 256;

/// What a good connection token says.
#[derive(Debug, Clone)]
pub struct ConnectionClaims {
    /// Who connects; empty for nobody in particular, if that is allowed.
    pub user: String,
    /// Whose data they see; from the token and from nowhere else.
    pub tenant: Tenant,
    /// When the connection must have been refreshed, in seconds since the Unix epoch.
    pub expires_at: Option<i64>,
    /// JSON shown with what the user publishes.
    pub info: Option<String>,
    /// Channels to subscribe at connect.
    pub channels: Vec<String>,
    /// Channels to subscribe at connect, with options.
    pub subs: BTreeMap<String, TokenSubscription>,
    /// JSON that stays with the connection on the server and is never shown to clients.
    pub meta: Option<String>,
    /// What the user may do in which channels, in this order; see [`Capability`].
    pub caps: Vec<Capability>,
    /// The token's own id (`jti`), by which it can be revoked.
    pub id: Option<String>,
    /// When the token was issued (`iat`), in seconds since the Unix epoch.
    pub issued_at: Option<i64>,
}

/// Options of one server-side channel of a token.
#[derive(Debug, Clone, Default)]
pub struct TokenSubscription {
    /// JSON shown with what the user publishes there.
    pub info: Option<String>,
    /// JSON handed to the client with the subscription.
    pub data: Option<String>,
    /// Options of the namespace that are otherwise for this subscription.
    pub overrides: Overrides,
}

/// Options of a namespace that a token sets otherwise for one subscription; nothing for as configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Whether the subscriber is seen in the channel's presence.
    pub presence: Option<bool>,
    /// Whether the channel is told when the subscriber comes and goes.
    pub join_leave: Option<bool>,
    /// Whether the subscriber is told who comes and goes without asking for it.
    pub force_push_join_leave: Option<bool>,
    /// Whether the subscription is recoverable without the client asking for it.
    pub force_recovery: Option<bool>,
    /// Whether the subscription is positioned without the client asking for it.
    pub force_positioning: Option<bool>,
}

/// What a good subscription token says.
#[derive(Debug, Clone)]
pub struct SubscriptionClaims {
    /// Must equal the connection's user.
    pub user: String,
    /// Must equal the connection's tenant.
    pub tenant: Tenant,
    /// Must equal the channel asked for.
    pub channel: String,
    /// If set (an older form), must equal the connection's client id.
    pub client: Option<String>,
    /// When the subscription must have been refreshed, in seconds since the Unix epoch.
    pub expires_at: Option<i64>,
    /// JSON shown with what the user publishes there.
    pub info: Option<String>,
    /// JSON handed to the client with the subscription.
    pub data: Option<String>,
    /// Options of the namespace that are otherwise for this subscription.
    pub overrides: Overrides,
    /// What the user may do in the channel beside subscribing.
    pub allow: Vec<Action>,
    /// The token's own id (`jti`), by which it can be revoked.
    pub id: Option<String>,
    /// When the token was issued (`iat`), in seconds since the Unix epoch.
    pub issued_at: Option<i64>,
}

impl SubscriptionClaims {
    /// Whether the token is for this connection and this channel. If not, Centrifugo disconnects with 3500.
    #[must_use]
    pub fn is_for(&self, user: &str, tenant: &Tenant, client: &str, channel: &str) -> bool {
        self.user == user
            && self.tenant == *tenant
            && self.channel == channel
            && self.client.as_deref().is_none_or(|id| id == client)
    }
}

/// The times of a token in whole seconds.
pub(super) struct Times {
    pub(super) expires: Option<i64>,
    pub(super) not_before: Option<i64>,
    pub(super) issued_at: Option<i64>,
    /// `expire_at`: when the connection or subscription ends, apart from the token; 0 for never.
    pub(super) ends: Option<i64>,
}

pub(super) fn times(body: &Object<'_>) -> Result<Times, TokenFault> {
    Ok(Times {
        expires: body.seconds("exp")?,
        not_before: body.seconds("nbf")?,
        issued_at: body.seconds("iat")?,
        ends: body.seconds("expire_at")?,
    })
}

pub(super) fn connection(
    body: &Object<'_>,
    rules: &ClaimRules,
    expires_at: Option<i64>,
) -> Result<ConnectionClaims, TokenFault> {
    let (user, tenant) = who(body, rules)?;
    let channels = body.texts("channels", "channels")?;
    let raw_subs = body.object("subs", "subs")?;
    if channels.len() + raw_subs.len() > CHANNELS_MAX {
        return Err(TokenFault::claim("channels", "at most 128 channels together with `subs`"));
    }
    for name in &channels {
        check_channel(name, "channels")?;
    }
    let mut subs = BTreeMap::new();
    for (channel, raw) in raw_subs.members() {
        check_channel(channel, "subs")?;
        let sub = Object::parse(raw.get().as_bytes())
            .map_err(|_| TokenFault::claim("subs.*", "an object with no member given twice"))?;
        subs.insert(channel.to_owned(), subscription_options(&sub)?);
    }
    Ok(ConnectionClaims {
        user,
        tenant,
        expires_at,
        info: body.json("info", "b64info", "info")?,
        channels,
        subs,
        meta: body.json("meta", "", "meta")?,
        caps: super::caps::parse(body)?,
        id: id(body, "jti")?,
        issued_at: body.seconds("iat")?,
    })
}

pub(super) fn subscription(
    body: &Object<'_>,
    rules: &ClaimRules,
    expires_at: Option<i64>,
) -> Result<SubscriptionClaims, TokenFault> {
    let (user, tenant) = who(body, rules)?;
    let channel = body.text("channel", "channel")?.unwrap_or_default();
    check_channel(&channel, "channel")?;
    Ok(SubscriptionClaims {
        user,
        tenant,
        channel,
        client: id(body, "client")?,
        expires_at,
        info: body.json("info", "b64info", "info")?,
        data: body.json("data", "b64data", "data")?,
        overrides: overrides(body, "override")?,
        allow: super::caps::actions(body, "allow")?,
        id: id(body, "jti")?,
        issued_at: body.seconds("iat")?,
    })
}

fn who(body: &Object<'_>, rules: &ClaimRules) -> Result<(String, Tenant), TokenFault> {
    const NAME: &str = "a name of at most 240 bytes without control characters";
    let claim = rules.user_claim.as_str();
    let user = body.text(claim, claim)?.unwrap_or_default();
    if !(user.is_empty() && rules.anonymous) {
        check_user(&user).map_err(|_| TokenFault::claim(claim.to_owned(), NAME))?;
    }
    let claim = rules.tenant_claim.as_str();
    let tenant = match body.text(claim, claim)? {
        None => Tenant::default(),
        Some(name) => Tenant::parse(&name).map_err(|_| {
            let expected = "a name of at most 64 bytes without control characters";
            TokenFault::claim(claim.to_owned(), expected)
        })?,
    };
    Ok((user, tenant))
}

fn check_channel(name: &str, claim: &'static str) -> Result<(), TokenFault> {
    if name.is_empty() || name.len() > CHANNEL_BYTES_MAX {
        return Err(TokenFault::claim(claim, "names of channels of 1 to 255 bytes"));
    }
    Ok(())
}

fn id(body: &Object<'_>, claim: &'static str) -> Result<Option<String>, TokenFault> {
    let id = body.text(claim, claim)?.filter(|id| !id.is_empty());
    if id.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) {
        return Err(TokenFault::claim(claim, "a text of at most 256 bytes"));
    }
    Ok(id)
}

fn subscription_options(sub: &Object<'_>) -> Result<TokenSubscription, TokenFault> {
    Ok(TokenSubscription {
        info: sub.json("info", "b64info", "subs.*.info")?,
        data: sub.json("data", "b64data", "subs.*.data")?,
        overrides: overrides(sub, "subs.*.override")?,
    })
}

pub(super) fn overrides(object: &Object<'_>, path: &str) -> Result<Overrides, TokenFault> {
    let raw = object.object("override", path)?;
    let flag = |name: &str| raw.flag(name, &format!("{path}.{name}"));
    Ok(Overrides {
        presence: flag("presence")?,
        join_leave: flag("join_leave")?,
        force_push_join_leave: flag("force_push_join_leave")?,
        force_recovery: flag("force_recovery")?,
        force_positioning: flag("force_positioning")?,
    })
}
