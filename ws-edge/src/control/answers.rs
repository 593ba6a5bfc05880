//! Answers of other nodes as they come in, and answers given to them.
//! Reads: what is told. Writes: its own memory, bounded. Never: counts a part twice, or does a thing twice because
//! it was asked for again.

use std::collections::{BTreeMap, HashMap, VecDeque};

use campana_bus::ids::NodeId;

use super::wire::{Answer, Replied};

/// What was done lately and is not done again when it is asked for again.
const REMEMBERED_MAX: usize = 4_096;

/// Answers of all nodes to one question.
#[derive(Default)]
pub(super) struct Heard {
    nodes: HashMap<NodeId, Parts>,
}

#[derive(Default)]
struct Parts {
    /// A node that is asked again says its parts again.
    found: BTreeMap<usize, Answer>,
    wanted: usize,
}

impl Heard {
    pub(super) fn add(&mut self, reply: Replied) {
        let parts = self.nodes.entry(reply.node).or_default();
        parts.wanted = reply.parts;
        parts.found.insert(reply.part, reply.answer);
    }

    /// Whether all parts of this node's answer are here.
    pub(super) fn is_whole(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(Parts::are_all)
    }

    /// The whole ones.
    pub(super) fn answers(self) -> Vec<Answer> {
        let whole = self.nodes.into_values().filter(Parts::are_all);
        whole.flat_map(|parts| parts.found.into_values()).collect()
    }
}

impl Parts {
    fn are_all(&self) -> bool {
        self.found.len() >= self.wanted
    }
}

/// What other nodes asked for lately, and the answer if it was given.
#[derive(Default)]
pub(super) struct Remembered {
    answers: HashMap<(NodeId, u64), Option<Answer>>,
    order: VecDeque<(NodeId, u64)>,
}

impl Remembered {
    /// The inner `None` says that it is being done.
    pub(super) fn get(&self, key: (NodeId, u64)) -> Option<Option<Answer>> {
        self.answers.get(&key).cloned()
    }

    pub(super) fn begun(&mut self, key: (NodeId, u64)) {
        if self.order.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.order.push_back(key);
        self.answers.insert(key, None);
    }

    pub(super) fn answered(&mut self, key: (NodeId, u64), answer: Option<Answer>) {
        if let Some(known) = self.answers.get_mut(&key) {
            *known = answer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_says_its_parts_twice_counts_once() {
        let (one, other) = (NodeId::fresh(), NodeId::fresh());
        let mut heard = Heard::default();
        let part = |node, part: usize, parts| Replied {
            id: 1,
            node,
            answer: Answer::Channels(vec![(part.to_string(), 1)]),
            part,
            parts,
        };
        heard.add(part(one, 0, 2));
        heard.add(part(one, 0, 2));
        assert!(!heard.is_whole(&one) && !heard.is_whole(&other));
        heard.add(part(one, 1, 2));
        heard.add(part(other, 1, 2));
        assert!(heard.is_whole(&one) && !heard.is_whole(&other));
        assert_eq!(heard.answers().len(), 2);
    }

    #[test]
    fn only_so_much_is_remembered() {
        let node = NodeId::fresh();
        let mut remembered = Remembered::default();
        for id in 0..=REMEMBERED_MAX as u64 {
            assert_eq!(remembered.get((node, id)), None);
            remembered.begun((node, id));
        }
        remembered.answered((node, 1), Some(Answer::TooMany));
        assert_eq!(remembered.get((node, 0)), None);
        assert_eq!(remembered.get((node, 1)), Some(Some(Answer::TooMany)));
        assert_eq!(remembered.get((node, 2)), Some(None));
    }
}
