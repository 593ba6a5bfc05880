//! What is done to connections of a user, on whichever node they are.
//! Reads: requests. Writes: orders to all nodes. Never: answers before every node that lives has done it.

use campana_identity::Revocation;
use serde_json::value::RawValue;

use super::answer::{Answer, DONE, Failure};
use super::commands::{self, Caller, json_payload};
use crate::auth::{RevokeFailure, revoke};
use crate::codes::{disconnect as ends, error, unsubscribe as unsubscribes};
use crate::control::wire::{self, SinceText};
use crate::control::{self, Action, Ask, Command, Target, texts};

/// Most clients that a `whitelist` names.
const WHITELIST_MAX: usize = 1_000;
/// Bytes of data or information that go along with a subscription or a message.
const DATA_BYTES_MAX: usize = 64 * 1024;

/// Whom a request means.
struct Whom {
    user: String,
    client: String,
    session: String,
    keep: Vec<String>,
}

impl Whom {
    fn new(user: String, client: String, session: String) -> Self {
        Self { user, client, session, keep: Vec::new() }
    }

    fn target(self, caller: Caller<'_>) -> Result<Target, Failure> {
        if self.user.is_empty() && self.client.is_empty() && self.session.is_empty() {
            return Err(Failure::because(
                error::BAD_REQUEST,
                "user is missing; an anonymous client is named by client or session",
            ));
        }
        if self.keep.len() > WHITELIST_MAX {
            return Err(Failure::because(error::LIMIT_EXCEEDED, "whitelist is too long"));
        }
        Ok(Target {
            tenant: caller.grant.tenant.clone(),
            user: self.user,
            client: Some(self.client).filter(|client| !client.is_empty()),
            session: Some(self.session).filter(|session| !session.is_empty()),
            keep: self.keep,
        })
    }
}

async fn order(caller: Caller<'_>, whom: Whom, action: Action) -> Answer {
    let target = whom.target(caller)?;
    let answers = caller.node.control.ask(Ask::Do(Command { target, action })).await?;
    if answers.contains(&control::Answer::Late) {
        return Err(Failure::because(
            error::INTERNAL,
            "some connections have not done it yet; those that could have: try again",
        ));
    }
    let refused: u32 = answers
        .iter()
        .map(|answer| match answer {
            control::Answer::Done { refused, .. } => *refused,
            _ => 0,
        })
        .sum();
    match refused {
        0 => Ok(DONE.to_owned()),
        count => Err(Failure::because(
            error::LIMIT_EXCEEDED,
            format!("{count} connections could not do it: they have too many channels"),
        )),
    }
}

fn short(text: Option<String>, what: &'static str) -> Result<Option<String>, Failure> {
    match text {
        Some(text) if text.len() > DATA_BYTES_MAX => {
            Err(Failure::because(error::LIMIT_EXCEEDED, format!("{what} is too long")))
        }
        text => Ok(text),
    }
}

/// A moment in seconds since the Unix epoch; 0 stands for none.
fn moment(unix: i64) -> Result<Option<i64>, Failure> {
    match unix {
        0 => Ok(None),
        unix if unix < 0 => Err(Failure::because(error::BAD_REQUEST, "expire_at is no time")),
        unix => Ok(Some(unix)),
    }
}

pub(super) async fn subscribe(caller: Caller<'_>, request: commands::Subscribe) -> Answer {
    let (_, namespace) = caller.channel(&request.channel)?;
    let flag = |flag: Option<commands::Flag>| flag.map(|flag| flag.value);
    let overrides = wire::OverridesText {
        presence: flag(request.overrides.presence),
        join_leave: flag(request.overrides.join_leave),
        force_push_join_leave: flag(request.overrides.force_push_join_leave),
        force_recovery: flag(request.overrides.force_recovery),
        force_positioning: flag(request.overrides.force_positioning),
    };
    let forced = [
        (overrides.force_recovery, namespace.recovers()),
        (overrides.force_positioning, namespace.keeps_history()),
    ];
    if forced.iter().any(|(wanted, is)| wanted.is_some_and(|wanted| wanted != *is)) {
        return Err(Failure::because(
            error::NOT_AVAILABLE,
            "force_recovery and force_positioning are the namespace's: its options say otherwise",
        ));
    }
    let since = request.recover_since;
    let order_of = wire::Subscribe {
        channel: request.channel,
        info: short(json_payload(request.info.as_deref(), &request.b64info)?, "info")?,
        data: short(json_payload(request.data.as_deref(), &request.b64data)?, "data")?,
        expires_at: moment(request.expire_at)?,
        since: since.map(|since| SinceText { offset: since.offset, epoch: since.epoch }),
        overrides,
    };
    let whom = Whom::new(request.user, request.client, request.session);
    order(caller, whom, Action::Subscribe(Box::new(order_of))).await
}

pub(super) async fn unsubscribe(caller: Caller<'_>, request: commands::Unsubscribe) -> Answer {
    if !request.channel.is_empty() {
        caller.node.rules.channel(&request.channel)?;
    }
    let (code, reason) = match request.unsubscribe {
        None => (unsubscribes::SERVER.code, unsubscribes::SERVER.reason.to_owned()),
        Some(why) => (checked(&why, &texts::UNSUBSCRIBE_CODES)?, why.reason),
    };
    let channel = Some(request.channel).filter(|channel| !channel.is_empty());
    let whom = Whom::new(request.user, request.client, request.session);
    order(caller, whom, Action::Unsubscribe { channel, code, reason }).await
}

pub(super) async fn disconnect(caller: Caller<'_>, request: commands::Disconnect) -> Answer {
    let mut whom = Whom::new(request.user, request.client, request.session);
    whom.keep = request.whitelist;
    let (code, reason) = match request.disconnect {
        None => (ends::FORCE_DISCONNECT.code, ends::FORCE_DISCONNECT.reason.to_owned()),
        Some(why) => (checked(&why, &texts::DISCONNECT_CODES)?, why.reason),
    };
    order(caller, whom, Action::Disconnect { code, reason }).await
}

/// The caller's code, if it and its reason are such as clients can be given.
fn checked<T>(why: &commands::Why, codes: &std::ops::RangeInclusive<T>) -> Result<T, Failure>
where
    T: TryFrom<u32> + PartialOrd + std::fmt::Display,
{
    let code = T::try_from(why.code).ok().filter(|code| codes.contains(code));
    let code = code.ok_or_else(|| {
        let (first, last) = (codes.start(), codes.end());
        Failure::because(error::BAD_REQUEST, format!("code must be in {first} to {last}"))
    })?;
    if !texts::is_reason(&why.reason) {
        return Err(Failure::because(
            error::BAD_REQUEST,
            "reason must have at most 123 bytes, no control characters, and not be JSON",
        ));
    }
    Ok(code)
}

pub(super) async fn refresh(caller: Caller<'_>, request: commands::Refresh) -> Answer {
    if request.info.is_some() {
        return Err(Failure::because(error::NOT_AVAILABLE, "info is not supported"));
    }
    let action = match request.expired {
        true => {
            let end = ends::EXPIRED;
            Action::Disconnect { code: end.code, reason: end.reason.to_owned() }
        }
        false => Action::Refresh { expires_at: moment(request.expire_at)? },
    };
    order(caller, Whom::new(request.user, request.client, request.session), action).await
}

/// A message outside of all channels. Ours: Centrifugo sends these by its library only.
pub(super) async fn send(caller: Caller<'_>, request: commands::Send) -> Answer {
    let data = short(json_payload(request.data.as_deref(), &request.b64data)?, "data")?;
    let data = data.ok_or_else(|| Failure::because(error::BAD_REQUEST, "data is missing"))?;
    let data = serde_json::from_str::<&RawValue>(&data).map_or("", RawValue::get).to_owned();
    let whom = Whom::new(request.user, request.client, request.session);
    order(caller, whom, Action::Message { data }).await
}

/// A token is no longer good, by its id.
pub(super) async fn revoke_token(caller: Caller<'_>, request: commands::RevokeToken) -> Answer {
    let tenant = caller.grant.tenant.clone();
    let until = end_of_tokens(caller, request.expire_at)?;
    store(caller, &Revocation::Token { tenant, id: request.uid, until }).await
}

/// No token of a user that was issued until now is good any more.
pub(super) async fn invalidate_user_tokens(
    caller: Caller<'_>,
    request: commands::InvalidateUserTokens,
) -> Answer {
    if !request.channel.is_empty() {
        let why = "channel is not supported: subscription tokens end with the user's others";
        return Err(Failure::because(error::NOT_AVAILABLE, why));
    }
    let issued_before = moment(request.issued_before)?.unwrap_or_else(|| caller.node.now().unix);
    let revocation = Revocation::User {
        tenant: caller.grant.tenant.clone(),
        user: request.user,
        issued_before,
        until: end_of_tokens(caller, request.expire_at)?,
    };
    store(caller, &revocation).await
}

/// Until when a revocation matters: as the caller says, or as long as a token of now can be good.
fn end_of_tokens(caller: Caller<'_>, expire_at: i64) -> Result<i64, Failure> {
    let longest = caller.node.rules.options.tokens.ttl_seconds_max;
    Ok(moment(expire_at)?.unwrap_or_else(|| caller.node.now().unix.saturating_add(longest)))
}

async fn store(caller: Caller<'_>, revocation: &Revocation) -> Answer {
    match revoke(&caller.node.bus, revocation).await {
        Ok(()) => Ok(DONE.to_owned()),
        Err(RevokeFailure::Invalid(why)) => {
            Err(Failure::because(error::BAD_REQUEST, why.to_string()))
        }
        Err(RevokeFailure::Unavailable(why)) => {
            tracing::warn!(error = %why, "a revocation was not stored");
            Err(error::INTERNAL.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reasons_are_such_as_clients_can_be_given() {
        let why = |code, reason: &str| commands::Why { code, reason: reason.to_owned() };
        for (code, good) in
            [(3_000, true), (4_999, true), (2_999, false), (5_000, false), (70_000, false)]
        {
            let checked = checked::<u16>(&why(code, "out"), &texts::DISCONNECT_CODES);
            assert_eq!(checked.is_ok(), good, "{code}");
        }
        assert!(checked::<u16>(&why(4_000, "{}"), &texts::DISCONNECT_CODES).is_err());
        assert!(checked::<u32>(&why(2_500, ""), &texts::UNSUBSCRIBE_CODES).is_ok());
        assert!(checked::<u32>(&why(3_000, ""), &texts::UNSUBSCRIBE_CODES).is_err());
    }
}
