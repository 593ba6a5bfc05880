//! Orders from outside to connections, wherever they are: one node is asked, every node does it and says so.
//! Reads: what other nodes and the server API ask. Writes: mailboxes of this node, core NATS.
//! Never: stores anything, or says "done" while a node that lives has not answered.
//!
//! [`Plane`] knows the nodes by their heartbeats, asks all of them and waits for all answers within a limit.
//! [`order`] is what one session is told; `session/control.rs` decides what that means to its client.

mod answers;
mod apply;
mod local;
mod members;
pub(crate) mod order;
mod plane;
pub(crate) mod texts;
pub(crate) mod wire;

pub(crate) use order::{Control, Order};
pub(crate) use plane::{Plane, Unanswered};
pub(crate) use wire::{Action, Answer, Ask, Command, NodeInfo, Target};
