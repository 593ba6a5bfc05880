//! Which nodes there are: those whose heartbeat was heard lately.
//! Reads: heartbeats, with the time they came. Writes: its own memory. Never: counts a node that said goodbye.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use campana_bus::ids::NodeId;

/// Nodes that are remembered; more are not waited for.
const MEMBERS_MAX: usize = 1_024;

/// All nodes of the cluster as one of them sees it.
#[derive(Debug)]
pub(super) struct Members {
    me: NodeId,
    lost_after: Duration,
    heard: HashMap<NodeId, Instant>,
}

impl Members {
    pub(super) fn new(me: NodeId, lost_after: Duration) -> Self {
        Self { me, lost_after, heard: HashMap::new() }
    }

    /// A heartbeat came; true if the node is new.
    pub(super) fn alive(&mut self, node: NodeId, now: Instant) -> bool {
        if !self.heard.contains_key(&node) && self.heard.len() >= MEMBERS_MAX {
            return false;
        }
        self.heard.insert(node, now).is_none()
    }

    pub(super) fn gone(&mut self, node: NodeId) {
        self.heard.remove(&node);
    }

    /// All other nodes that live; forgets those that do not.
    pub(super) fn others(&mut self, now: Instant) -> Vec<NodeId> {
        let lost_after = self.lost_after;
        self.heard.retain(|_, heard| now.saturating_duration_since(*heard) < lost_after);
        self.heard.keys().copied().filter(|node| *node != self.me).collect()
    }

    /// Whether this node hears itself: if not, it hears nobody, and silence says nothing about the others.
    pub(super) fn connected(&self, now: Instant) -> bool {
        let heard = self.heard.get(&self.me);
        heard.is_some_and(|heard| now.saturating_duration_since(*heard) < self.lost_after)
    }
}

#[cfg(test)]
mod tests {
    use campana_bus::clock;

    use super::*;

    #[test]
    fn nodes_live_as_long_as_they_are_heard() {
        let (me, other) = (NodeId::fresh(), NodeId::fresh());
        let mut members = Members::new(me, Duration::from_secs(6));
        let start = clock::monotonic();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!members.connected(at(0)));
        assert!(members.alive(me, at(0)) && members.alive(other, at(1)));
        assert!(!members.alive(other, at(2)));
        assert!(members.connected(at(5)) && !members.connected(at(6)));
        assert_eq!(members.others(at(7)), [other]);
        assert!(members.others(at(8)).is_empty());
        assert!(members.alive(other, at(9)));
        members.gone(other);
        assert!(members.others(at(9)).is_empty());
    }
}
