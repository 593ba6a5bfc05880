//! Who is connected to this node: every connection by number, by client id and by user; and how many
//! subscriptions each channel has.
//! Reads: what connections say about themselves. Writes: nothing outside. Never: outlives a connection, or holds
//! more of an idle one than some 200 bytes; sharded, because connections come and go on all cores.

use std::sync::Arc;

use campana_bus::ids::ClientId;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;

use crate::mailbox::Mailbox;
use crate::publication::ChannelKey;
use crate::session::Report;

/// Between tenant and user in a key; neither may hold control characters.
const SEPARATOR: char = '\u{1f}';

#[derive(Debug)]
struct Entry {
    mailbox: Arc<Mailbox>,
    /// Set when the client said who it is.
    known: Option<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    client: ClientId,
    person: Arc<str>,
}

/// One connection, as the rest of the node finds it.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    /// As the client knows it.
    pub(crate) client: ClientId,
    pub(crate) mailbox: Arc<Mailbox>,
    person: Arc<str>,
}

impl Connected {
    /// Whose connection it is.
    pub(crate) fn tenant(&self) -> &str {
        self.person.split_once(SEPARATOR).map_or("", |(tenant, _)| tenant)
    }

    /// Empty for an anonymous one.
    pub(crate) fn user(&self) -> &str {
        self.person.split_once(SEPARATOR).map_or("", |(_, user)| user)
    }
}

/// Connections of one user; nearly always one.
#[derive(Debug)]
enum Numbers {
    One(u64),
    Many(Vec<u64>),
}

impl Numbers {
    fn add(&mut self, number: u64) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, number]),
            Self::Many(all) => all.push(number),
        }
    }

    /// True if none is left.
    fn remove(&mut self, number: u64) -> bool {
        match self {
            Self::One(one) => *one == number,
            Self::Many(all) => {
                all.retain(|one| *one != number);
                if let [last] = all.as_slice() {
                    *self = Self::One(*last);
                    return false;
                }
                all.is_empty()
            }
        }
    }

    fn as_slice(&self) -> &[u64] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(all) => all,
        }
    }
}

/// All connections of a node.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    connections: DashMap<u64, Entry>,
    clients: DashMap<ClientId, u64>,
    people: DashMap<Arc<str>, Numbers>,
    /// Subscriptions that began and did not end, by the channel's subject.
    channels: DashMap<Box<str>, Subscribed>,
}

#[derive(Debug)]
struct Subscribed {
    key: Arc<ChannelKey>,
    count: usize,
}

fn person(tenant: &str, user: &str) -> Arc<str> {
    format!("{tenant}{SEPARATOR}{user}").into()
}

impl Registry {
    /// A connection exists; nothing is known of it yet.
    pub(crate) fn register(&self, number: u64, mailbox: &Arc<Mailbox>) {
        let entry = Entry { mailbox: Arc::clone(mailbox), known: None };
        self.connections.insert(number, entry);
    }

    /// A connection's user is known. Later calls change nothing: a connection never changes its user.
    pub(crate) fn identify(&self, number: u64, tenant: &str, user: &str, client: &str) {
        let Ok(client) = client.parse::<ClientId>() else {
            debug_assert!(false, "clients' ids are made by the edge");
            return;
        };
        let Some(mut entry) = self.connections.get_mut(&number) else { return };
        if entry.known.is_some() {
            return;
        }
        let mut person = person(tenant, user);
        match self.people.entry(Arc::clone(&person)) {
            Slot::Occupied(mut known) => {
                person = Arc::clone(known.key());
                known.get_mut().add(number);
            }
            Slot::Vacant(slot) => drop(slot.insert(Numbers::One(number))),
        }
        self.clients.insert(client, number);
        entry.known = Some(Known { client, person });
    }

    /// A connection is gone.
    pub(crate) fn unregister(&self, number: u64) {
        let Some((_, Entry { known: Some(known), .. })) = self.connections.remove(&number) else {
            return;
        };
        self.clients.remove(&known.client);
        if let Slot::Occupied(mut slot) = self.people.entry(known.person)
            && slot.get_mut().remove(number)
        {
            slot.remove();
        }
    }

    /// Something happened to a subscription.
    pub(crate) fn on_report(&self, report: &Report) {
        match report {
            Report::Subscribed(key) => self.subscribed(key),
            Report::Unsubscribed(key) => self.unsubscribed(key),
            _ => {}
        }
    }

    /// A subscription began.
    fn subscribed(&self, key: &Arc<ChannelKey>) {
        match self.channels.get_mut(key.subject.as_str()) {
            Some(mut known) => known.count += 1,
            None => {
                let fresh = || Subscribed { key: Arc::clone(key), count: 0 };
                let subject = key.subject.as_str().into();
                self.channels.entry(subject).or_insert_with(fresh).count += 1;
            }
        }
    }

    /// A subscription that began has ended.
    pub(crate) fn unsubscribed(&self, key: &ChannelKey) {
        self.channels.remove_if_mut(key.subject.as_str(), |_, known| {
            known.count = known.count.saturating_sub(1);
            known.count == 0
        });
    }

    /// Connections of one user on this node, oldest first.
    pub(crate) fn by_user(&self, tenant: &str, user: &str) -> Vec<Connected> {
        let key = person(tenant, user);
        let numbers = self.people.get(&key).map(|found| found.as_slice().to_vec());
        numbers.unwrap_or_default().into_iter().filter_map(|one| self.by_number(one)).collect()
    }

    /// The connection that its client knows by this id.
    pub(crate) fn by_client(&self, client: &str) -> Option<Connected> {
        let client = client.parse::<ClientId>().ok()?;
        let number = *self.clients.get(&client)?;
        self.by_number(number)
    }

    /// A connection whose user is known.
    pub(crate) fn by_number(&self, number: u64) -> Option<Connected> {
        let entry = self.connections.get(&number)?;
        let Known { client, person } = entry.known.clone()?;
        Some(Connected { client, mailbox: Arc::clone(&entry.mailbox), person })
    }

    /// Mailboxes of all connections, known or not.
    pub(crate) fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.connections.iter().map(|entry| Arc::clone(&entry.mailbox)).collect()
    }

    /// Connections whose user is known.
    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Users with at least one connection here.
    pub(crate) fn users(&self) -> usize {
        self.people.len()
    }

    /// Channels of a tenant with subscriptions here, and how many, as the closure picks them.
    pub(crate) fn channels<T>(
        &self,
        mut pick: impl FnMut(&ChannelKey, usize) -> Option<T>,
    ) -> Vec<T> {
        self.channels.iter().filter_map(|entry| pick(&entry.key, entry.count)).collect()
    }

    /// Channels with subscriptions here, and subscriptions.
    pub(crate) fn channel_counts(&self) -> (usize, usize) {
        let subscriptions = self.channels.iter().map(|entry| entry.count).sum();
        (self.channels.len(), subscriptions)
    }
}

#[cfg(test)]
mod tests {
    use campana_bus::subjects::ChannelName;

    use super::*;

    fn mailbox() -> Arc<Mailbox> {
        Arc::new(Mailbox::new(1_000))
    }

    #[test]
    fn connections_are_found_until_they_are_gone() {
        let registry = Registry::default();
        let clients: Vec<String> = (0..4).map(|_| ClientId::fresh().to_string()).collect();
        for (number, client) in (1..).zip(&clients) {
            registry.register(number, &mailbox());
            assert!(registry.by_number(number).is_none());
            let user = if number < 4 { "alice" } else { "bob" };
            registry.identify(number, "default", user, client);
            registry.identify(number, "default", "mallory", client);
        }
        assert_eq!((registry.clients(), registry.users()), (4, 2));
        let of = |user: &str| {
            let all = registry.by_user("default", user);
            let place =
                |one: &Connected| clients.iter().position(|id| *id == one.client.to_string());
            all.iter().filter_map(place).collect::<Vec<_>>()
        };
        assert_eq!((of("alice"), of("bob"), of("mallory")), (vec![0, 1, 2], vec![3], vec![]));
        assert!(registry.by_user("other", "alice").is_empty());
        let found = registry.by_client(&clients[3]).unwrap();
        assert_eq!((found.tenant(), found.user()), ("default", "bob"));
        assert!(registry.by_client("cli_1").is_none());
        for number in [2, 3, 1] {
            registry.unregister(number);
            registry.unregister(number);
        }
        assert_eq!((of("alice"), registry.clients(), registry.users()), (vec![], 1, 1));
        assert!(registry.by_client(&clients[0]).is_none());
        assert_eq!(registry.mailboxes().len(), 1);
    }

    #[test]
    fn a_connection_that_never_said_who_it_is_leaves_nothing() {
        let registry = Registry::default();
        registry.register(1, &mailbox());
        registry.unregister(1);
        registry.identify(1, "t", "u", &ClientId::fresh().to_string());
        assert_eq!((registry.clients(), registry.users(), registry.mailboxes().len()), (0, 0, 0));
    }

    #[test]
    fn subscriptions_are_counted_by_channel() {
        let registry = Registry::default();
        let key = |name: &str| Arc::new(ChannelKey::new("t", ChannelName::parse(name).unwrap()));
        let (a, b) = (key("a"), key("b"));
        for key in [&a, &a, &b] {
            registry.subscribed(key);
        }
        assert_eq!(registry.channel_counts(), (2, 3));
        registry.unsubscribed(&a);
        registry.unsubscribed(&b);
        registry.unsubscribed(&b);
        let left = registry.channels(|key, count| Some((key.name.as_str().to_owned(), count)));
        assert_eq!(left, [("a".to_owned(), 1)]);
        assert_eq!(registry.channel_counts(), (1, 1));
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<(u64, Entry)>() <= 48 && size_of::<(Arc<str>, Numbers)>() <= 40);
    }
}
