//! What a node does when it is asked: finds the connections that are meant and tells them.
//! Reads: the registry. Writes: mailboxes. Never: touches a connection of another tenant or user.

use std::sync::Arc;
use std::time::Duration;

use super::order::{self, Control, Order, Outcome};
use super::texts;
use super::wire::{Action, Answer, Command, Target};
use crate::mailbox::Push;
use crate::registry::{Connected, Registry};

/// How long sessions may take; a client that reads nothing holds its session up and is cut soon.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A command that connections were told of.
pub(super) struct Begun {
    reached: u32,
    outcome: Option<Outcome>,
    /// Told is not done: what comes later may come too early.
    takes_time: bool,
}

/// Tells the connections that are meant, in their mailboxes: what comes to them later comes after it.
pub(super) fn begin(registry: &Registry, command: Command) -> Begun {
    let found = find(registry, &command.target);
    let reached = u32::try_from(found.len()).unwrap_or(u32::MAX);
    let session = command.target.session.map(Into::into);
    let order = match command.action {
        Action::Disconnect { code, reason } if session.is_some() => {
            Order::End(texts::disconnect(code, &reason))
        }
        Action::Disconnect { code, reason } => {
            // Past what waits, also while the session waits for a slow client.
            let why = texts::disconnect(code, &reason);
            found.iter().for_each(|one| one.mailbox.end(why));
            return Begun { reached, outcome: None, takes_time: false };
        }
        Action::Subscribe(one) => Order::Subscribe(order::Subscribe {
            channel: one.channel.into(),
            info: one.info.map(Into::into),
            data: one.data.map(Into::into),
            expires_at: one.expires_at,
            since: one.since.map(Into::into),
            overrides: one.overrides.into(),
        }),
        Action::Unsubscribe { channel, code, reason } => Order::Unsubscribe {
            channel: channel.map(Into::into),
            why: texts::unsubscribe(code, &reason),
        },
        Action::Refresh { expires_at } => Order::Refresh { expires_at },
        Action::Message { data } => Order::Message(data.into()),
    };
    let takes_time = matches!(order, Order::Subscribe(_));
    let (control, outcome) = Control::new(order, session);
    for one in &found {
        one.mailbox.push(Push::Control(Arc::clone(&control)));
    }
    Begun { reached, outcome: Some(outcome), takes_time }
}

impl Begun {
    /// Until the sessions have done it.
    pub(super) async fn finished(self) -> Answer {
        let refused = match self.outcome {
            Some(outcome) => {
                match tokio::time::timeout(SETTLE_TIMEOUT, outcome.settled()).await {
                    Ok(refused) => refused,
                    Err(_) if self.takes_time => return Answer::Late,
                    // It lies before everything that comes later.
                    Err(_) => 0,
                }
            }
            None => 0,
        };
        Answer::Done { reached: self.reached, refused }
    }
}

fn find(registry: &Registry, target: &Target) -> Vec<Connected> {
    let mut found = match &target.client {
        Some(client) => registry
            .by_client(client)
            .into_iter()
            .filter(|one| one.tenant() == target.tenant && one.user() == target.user)
            .collect(),
        None => registry.by_user(&target.tenant, &target.user),
    };
    if !target.keep.is_empty() {
        found.retain(|one| !target.keep.contains(&one.client.to_string()));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use campana_bus::ids::ClientId;

    use super::*;
    use crate::mailbox::Mailbox;

    struct Crowd {
        registry: Registry,
        clients: Vec<(String, Arc<Mailbox>)>,
    }

    /// Three connections of alice, one of bob, and one of another tenant's alice.
    fn crowd() -> Crowd {
        let registry = Registry::default();
        let people = [("t", "alice"), ("t", "alice"), ("t", "alice"), ("t", "bob"), ("u", "alice")];
        let clients = (1..).zip(people).map(|(number, (tenant, user))| {
            let (client, mailbox) =
                (ClientId::fresh().to_string(), Arc::new(Mailbox::new(100_000)));
            registry.register(number, &mailbox);
            registry.identify(number, tenant, user, &client);
            (client, mailbox)
        });
        let clients = clients.collect();
        Crowd { registry, clients }
    }

    impl Crowd {
        fn disconnect(&self, user: &str, client: Option<usize>, keep: &[usize]) -> Vec<bool> {
            let name = |at: usize| self.clients[at].0.clone();
            let target = Target {
                tenant: "t".to_owned(),
                user: user.to_owned(),
                session: None,
                client: client.map(name),
                keep: keep.iter().map(|at| name(*at)).collect(),
            };
            let action = Action::Disconnect { code: 4_000, reason: "out".to_owned() };
            begin(&self.registry, Command { target, action });
            let ended = |mailbox: &Mailbox| mailbox.take(&mut VecDeque::new()).is_some();
            self.clients.iter().map(|(_, mailbox)| ended(mailbox)).collect()
        }
    }

    #[test]
    fn exactly_those_who_are_meant_are_told() {
        for (user, client, keep, ended) in [
            ("alice", None, &[][..], [true, true, true, false, false]),
            ("alice", None, &[1], [true, false, true, false, false]),
            ("alice", Some(2), &[], [false, false, true, false, false]),
            ("bob", Some(2), &[], [false; 5]),
            ("alice", Some(4), &[], [false; 5]),
            ("carol", None, &[], [false; 5]),
            ("", None, &[], [false; 5]),
        ] {
            assert_eq!(crowd().disconnect(user, client, keep), ended, "{user} {client:?} {keep:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_gone_is_not_waited_for() {
        let Crowd { registry, clients } = crowd();
        let target =
            Target { tenant: "t".to_owned(), user: "alice".to_owned(), ..Target::default() };
        let action = Action::Message { data: "1".to_owned() };
        let begun = begin(&registry, Command { target, action });
        clients[0].1.end(crate::codes::disconnect::SHUTDOWN);
        for number in 1..=3 {
            registry.unregister(number);
        }
        drop(clients);
        assert_eq!(begun.finished().await, Answer::Done { reached: 3, refused: 0 });
    }
}
