//! Subjects on which edges speak to each other. Not stored.
//! Reads: ids of nodes. Writes: nothing. Never: lets a name become more than one token.

use super::escape;

/// Where every edge hears heartbeats and what is asked of all.
pub const EDGE_CONTROL: &str = "_edge.control";

/// `_edge.node.{node}`: where one edge hears the answers to what it asked.
#[must_use]
pub fn edge_node(node: &str) -> String {
    format!("_edge.node.{}", escape(node))
}
