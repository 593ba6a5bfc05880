//! The one answer to "may they?".
//! Reads: rules, a channel, who asks. Writes: nothing.
//! Never: takes two half permissions for a whole one: each way in stands alone.

use super::{Action, Allow, Channel, Denied, NamespaceRules, Rules, Who};

/// Whether `who` may do `action` in `channel`.
///
/// # Errors
/// [`Denied`] with code 102 if no namespace has the channel, else 103.
pub fn allowed(
    rules: &Rules,
    who: &Who<'_>,
    action: Action,
    channel: &Channel<'_>,
) -> Result<(), Denied> {
    let Some(namespace) = rules.namespace(channel.namespace) else {
        return Err(Denied { code: 102, why: "no namespace of this name is configured" });
    };
    let ways = namespace.ways(action);
    let denied = |why| Err(Denied { code: 103, why });
    if ways.is_empty() {
        return denied("the namespace leaves this action to the server");
    }
    let asked = Asked { who, action, channel, namespace };
    let fits = |way: &Allow| asked.fits(*way);
    let personal = |way: &&Allow| matches!(way, Allow::Token | Allow::Subscriber);
    let stranger = channel.owners.is_some() && !channel.is_of(who.user, namespace);
    if stranger {
        let named = ways.iter().filter(personal).any(|way| asked.named_by_token(*way));
        return if named { Ok(()) } else { denied("the channel belongs to other users") };
    }
    if channel.private && action == Action::Subscribe {
        let named = ways.iter().filter(personal).any(|way| asked.named_by_token(*way));
        return if named { Ok(()) } else { denied("a private channel needs a subscription token") };
    }
    if channel.private {
        let named = ways.iter().filter(personal).any(fits);
        return if named {
            Ok(())
        } else {
            denied("a private channel needs a token that allows it")
        };
    }
    if ways.iter().any(fits) { Ok(()) } else { denied("no rule of the namespace allows it") }
}

struct Asked<'a> {
    who: &'a Who<'a>,
    action: Action,
    channel: &'a Channel<'a>,
    namespace: &'a NamespaceRules,
}

impl Asked<'_> {
    fn fits(&self, way: Allow) -> bool {
        let who = self.who;
        match way {
            Allow::Token => self.named_by_token(way) || self.by_caps(),
            Allow::OwnUser => self.channel.is_of(who.user, self.namespace),
            Allow::Subscriber => self.subscriber(),
            Allow::Authenticated => !who.user.is_empty(),
            Allow::Anonymous => true,
            Allow::Acl => self.by_acl(),
        }
    }

    /// A permission that is about this very channel, not about many.
    fn named_by_token(&self, way: Allow) -> bool {
        let who = self.who;
        let token = who
            .token
            .filter(|token| token.is_for(who.user, who.tenant, who.client, self.channel.name));
        match way {
            Allow::Token => token.is_some_and(|token| {
                self.action == Action::Subscribe || token.allow.contains(&self.action)
            }),
            Allow::Subscriber => self.subscriber(),
            _ => false,
        }
    }

    fn subscriber(&self) -> bool {
        self.who.subscribed && self.action != Action::Subscribe
    }

    /// The first capability that matches decides.
    fn by_caps(&self) -> bool {
        let name = self.channel.name;
        let first =
            self.who.caps.iter().find(|cap| cap.channels.iter().any(|one| one.matches(name)));
        first.is_some_and(|cap| cap.allow.contains(&self.action))
    }

    fn by_acl(&self) -> bool {
        let (user, name) = (self.who.user, self.channel.name);
        !user.is_empty()
            && self.namespace.acl.iter().any(|rule| {
                rule.actions.contains(&self.action)
                    && rule.channels.iter().any(|one| one.matches(name))
                    && rule.users.iter().any(|one| one.matches(user))
            })
    }
}
