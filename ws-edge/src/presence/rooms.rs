//! Who is in which channel on this node.
//! Reads: who comes and goes. Writes: nothing outside. Never: waits, or counts a client twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use dashmap::DashMap;

use crate::publication::ChannelKey;

/// A client in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Empty for nobody in particular.
    pub(super) user: Box<str>,
    /// JSON about the client, on one line.
    pub(super) info: Box<str>,
    /// Belongs to the channel's presence.
    pub(super) tracked: bool,
    /// Has an entry of its own; the others are only counted.
    pub(super) listed: bool,
    /// The channel is told when it comes and goes.
    pub(super) told: bool,
}

struct Room {
    key: Arc<ChannelKey>,
    members: HashMap<Box<str>, Member>,
    listed: usize,
}

/// Clients that are in a channel here.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Local {
    /// By client: JSON about it, and its user.
    pub(super) listed: BTreeMap<String, (String, String)>,
    /// Clients that are only counted, and how many users they are.
    pub(super) counted: (u64, u64),
}

/// All channels of this node with somebody in them.
#[derive(Default)]
pub(super) struct Rooms(DashMap<String, Room>);

impl Rooms {
    /// A client comes. Beyond `most` with an entry in this channel it is only counted. Says what it is now; nothing if
    /// it was there already.
    pub(super) fn enter(
        &self,
        key: &Arc<ChannelKey>,
        client: &str,
        mut member: Member,
        most: usize,
    ) -> Option<Member> {
        let mut room = self.0.entry(key.subject.clone()).or_insert_with(|| Room {
            key: Arc::clone(key),
            members: HashMap::new(),
            listed: 0,
        });
        if room.members.contains_key(client) {
            return None;
        }
        member.listed = member.tracked && room.listed < most;
        member.told &= member.listed || !member.tracked;
        room.listed += usize::from(member.listed);
        room.members.insert(client.into(), member.clone());
        Some(member)
    }

    /// A client leaves; nothing if it was not there.
    pub(super) fn exit(&self, subject: &str, client: &str) -> Option<Member> {
        let mut found = None;
        self.0.remove_if_mut(subject, |_, room| {
            found = room.members.remove(client);
            room.listed -= usize::from(found.as_ref().is_some_and(|member| member.listed));
            room.members.is_empty()
        });
        found
    }

    /// JSON about a client that has an entry of its own.
    pub(super) fn listed(&self, subject: &str, client: &str) -> Option<Box<str>> {
        let room = self.0.get(subject)?;
        room.members.get(client).filter(|one| one.listed).map(|one| one.info.clone())
    }

    /// Clients that are only counted, and how many users they are.
    pub(super) fn counted(&self, subject: &str) -> (u64, u64) {
        self.0.get(subject).map_or((0, 0), |room| room.counted())
    }

    pub(super) fn local(&self, subject: &str) -> Local {
        let Some(room) = self.0.get(subject) else {
            return Local::default();
        };
        let listed =
            room.members.iter().filter(|(_, member)| member.listed).map(|(client, one)| {
                (client.to_string(), (one.info.to_string(), one.user.to_string()))
            });
        Local { listed: listed.collect(), counted: room.counted() }
    }

    /// All clients with an entry of their own, and channels with some that have none (the empty client).
    pub(super) fn entries(&self) -> Vec<(Arc<ChannelKey>, Box<str>)> {
        let mut all = Vec::new();
        for room in &self.0 {
            let listed = room.members.iter().filter(|(_, member)| member.listed);
            all.extend(listed.map(|(client, _)| (Arc::clone(&room.key), client.clone())));
            if room.counted().0 > 0 {
                all.push((Arc::clone(&room.key), "".into()));
            }
        }
        all
    }

    /// How many clients have an entry of their own.
    pub(super) fn total(&self) -> usize {
        self.0.iter().map(|room| room.listed).sum()
    }
}

impl Room {
    fn counted(&self) -> (u64, u64) {
        if self.members.len() == self.listed {
            return (0, 0);
        }
        let rest = || self.members.values().filter(|member| member.tracked && !member.listed);
        let users: HashSet<&str> = rest().map(|member| &*member.user).collect();
        (rest().count() as u64, users.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use campana_bus::subjects::ChannelName;

    use super::*;

    fn member(user: &str) -> Member {
        let (user, info) = (user.into(), "{}".into());
        Member { user, info, tracked: true, listed: false, told: true }
    }

    #[test]
    fn a_client_is_there_once_and_leaves_once() {
        let rooms = Rooms::default();
        let key = Arc::new(ChannelKey::new("t", ChannelName::parse("room:a").unwrap()));
        assert!(rooms.enter(&key, "c1", member("a"), 9).unwrap().listed);
        assert_eq!(rooms.enter(&key, "c1", member("a"), 9), None);
        assert_eq!(rooms.total(), 1);
        assert!(rooms.exit(&key.subject, "c2").is_none());
        assert!(rooms.exit(&key.subject, "c1").is_some());
        assert!(rooms.exit(&key.subject, "c1").is_none());
        assert!(rooms.entries().is_empty() && rooms.0.is_empty());
    }

    #[test]
    fn beyond_the_limit_clients_are_counted_and_nobody_is_told() {
        let rooms = Rooms::default();
        let key = Arc::new(ChannelKey::new("t", ChannelName::parse("room:a").unwrap()));
        for (client, user) in [("c1", "a"), ("c2", "b"), ("c3", "b"), ("c4", "b"), ("c5", "c")] {
            let entered = rooms.enter(&key, client, member(user), 2).unwrap();
            assert_eq!((entered.listed, entered.told), (client < "c3", client < "c3"));
        }
        assert_eq!(rooms.counted(&key.subject), (3, 2));
        assert_eq!(rooms.local(&key.subject).listed.len(), 2);
        assert_eq!(rooms.entries().len(), 3);
        assert!(rooms.listed(&key.subject, "c3").is_none());
        for client in ["c3", "c4", "c5"] {
            assert!(!rooms.exit(&key.subject, client).unwrap().told);
        }
        assert_eq!(rooms.counted(&key.subject), (0, 0));
        // Only who leaves and enters makes room for an entry.
        rooms.exit(&key.subject, "c1");
        assert!(rooms.enter(&key, "c6", member("d"), 2).unwrap().listed);
        // Where there is no presence, everybody is told of.
        let shy = Member { tracked: false, ..member("e") };
        let entered = rooms.enter(&key, "c7", shy, 0).unwrap();
        assert!(entered.told && !entered.listed);
        assert_eq!(rooms.counted(&key.subject), (0, 0));
    }
}
