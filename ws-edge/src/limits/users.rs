//! How many connections every user has on this node, and the commands that they may send together.
//! Reads: nothing. Writes: nothing. Never: keeps a user without a connection, or counts who has no name.

use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::bucket::{Bucket, Rate};

/// Between tenant and user in a key; neither may hold control characters.
const SEPARATOR: char = '\u{1f}';

#[derive(Debug)]
pub(super) struct Users {
    map: DashMap<Box<str>, Present>,
    connections_max: usize,
    commands: Rate,
}

#[derive(Debug)]
struct Present {
    user: Arc<User>,
    connections: usize,
}

#[derive(Debug)]
struct User {
    users: Arc<Users>,
    key: Box<str>,
    bucket: Mutex<Bucket>,
}

/// One connection of a user; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<User>);

impl Users {
    /// 0 connections and no rate for no limit.
    pub(super) fn new(connections_max: usize, commands: Rate) -> Arc<Self> {
        Arc::new(Self { map: DashMap::new(), connections_max, commands })
    }

    /// One more connection of a user: `None` if it needs no counting.
    ///
    /// # Errors
    /// If the user has as many as are allowed.
    pub(super) fn enter(
        self: &Arc<Self>,
        tenant: &str,
        user: &str,
        now_ms: u64,
    ) -> Result<Option<Seat>, ()> {
        let unlimited = self.connections_max == 0 && self.commands.per_second == 0;
        if unlimited || user.is_empty() {
            return Ok(None);
        }
        let key: Box<str> = format!("{tenant}{SEPARATOR}{user}").into();
        match self.map.entry(key) {
            Entry::Occupied(mut entry) => {
                let present = entry.get_mut();
                if self.connections_max > 0 && present.connections >= self.connections_max {
                    return Err(());
                }
                present.connections += 1;
                Ok(Some(Seat(Arc::clone(&present.user))))
            }
            Entry::Vacant(slot) => {
                let user = Arc::new(User {
                    users: Arc::clone(self),
                    key: slot.key().clone(),
                    bucket: Mutex::new(Bucket::full(self.commands, now_ms)),
                });
                slot.insert(Present { user: Arc::clone(&user), connections: 1 });
                Ok(Some(Seat(user)))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.map.iter().map(|entry| entry.connections).sum()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

impl Seat {
    /// Takes one command from what the user may send; false if there is nothing left.
    pub(crate) fn spend(&self, now_ms: u64) -> bool {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        let mut bucket = self.0.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(self.0.users.commands, now_ms).is_ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.users.map.remove_if_mut(&self.0.key, |_, present| {
            present.connections = present.connections.saturating_sub(1);
            present.connections == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 1, burst: 3 };

    #[test]
    fn connections_of_a_user_are_counted_together() {
        let users = Users::new(2, RATE);
        let enter = |tenant, user| users.enter(tenant, user, 0);
        let first = enter("t", "alice").unwrap().unwrap();
        let second = enter("t", "alice").unwrap().unwrap();
        assert!(enter("t", "alice").is_err());
        let other = enter("t2", "alice").unwrap();
        assert!(enter("t", "").unwrap().is_none());
        assert!(first.spend(0) && second.spend(0) && first.spend(0) && !second.spend(0));
        assert!(second.spend(1_000));
        drop(first);
        let third = enter("t", "alice").unwrap();
        assert_eq!(users.connections(), 3);
        drop((second, third, other));
        assert!(users.is_empty());
    }

    #[test]
    fn without_a_limit_nobody_is_counted() {
        let users = Users::new(0, Rate { per_second: 0, burst: 0 });
        assert!(users.enter("t", "alice", 0).unwrap().is_none());
        assert!(users.is_empty());
    }
}
