//! What nodes say to each other, as JSON over core NATS.
//! Reads: nothing. Writes: nothing. Never: refuses a member that a newer node adds.

use campana_bus::ids::NodeId;
use campana_identity::Overrides;
use serde::{Deserialize, Serialize};

use crate::proto::Since;

/// Said to all nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Said {
    /// The node lives; said at every heartbeat and as soon as another one is new.
    Alive { node: NodeId },
    /// The node ends; nobody needs to wait for it.
    Gone { node: NodeId },
    /// The node wants something from all others, and an answer.
    Asked { node: NodeId, id: u64, ask: Ask },
}

/// Said to the node that asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Replied {
    pub(super) id: u64,
    pub(super) node: NodeId,
    pub(super) answer: Answer,
    /// Which part of this node's answer it is, from 0, and how many there are.
    pub(super) part: usize,
    pub(super) parts: usize,
}

/// What is wanted from every node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Do something to connections.
    Do(Command),
    /// Say how you are.
    Info,
    /// Say which channels of a tenant have subscribers with you.
    Channels {
        tenant: String,
        /// A glob; empty for all.
        pattern: String,
    },
}

/// What to do to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) target: Target,
    pub(crate) action: Action,
}

/// Connections of one user.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) tenant: String,
    /// Empty for anonymous clients.
    pub(crate) user: String,
    /// Only this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    /// Only the one that was given this secret when it connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// Not these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keep: Vec<String>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// End the connections.
    Disconnect { code: u16, reason: String },
    /// Subscribe them to a channel.
    Subscribe(Box<Subscribe>),
    /// End their subscriptions to a channel, or all of them.
    Unsubscribe {
        #[serde(default)]
        channel: Option<String>,
        code: u32,
        reason: String,
    },
    /// Move the ends of the connections.
    Refresh { expires_at: Option<i64> },
    /// Send them JSON outside of all channels.
    Message { data: String },
}

/// A subscription that the server begins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Subscribe {
    pub(crate) channel: String,
    /// JSON.
    pub(crate) info: Option<String>,
    /// JSON.
    pub(crate) data: Option<String>,
    pub(crate) expires_at: Option<i64>,
    pub(crate) since: Option<SinceText>,
    pub(crate) overrides: OverridesText,
}

/// Options of the namespace that are otherwise for one subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OverridesText {
    pub(crate) presence: Option<bool>,
    pub(crate) join_leave: Option<bool>,
    pub(crate) force_push_join_leave: Option<bool>,
    pub(crate) force_recovery: Option<bool>,
    pub(crate) force_positioning: Option<bool>,
}

impl From<OverridesText> for Overrides {
    fn from(text: OverridesText) -> Self {
        Self {
            presence: text.presence,
            join_leave: text.join_leave,
            force_push_join_leave: text.force_push_join_leave,
            force_recovery: text.force_recovery,
            force_positioning: text.force_positioning,
        }
    }
}

/// A position in a channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SinceText {
    pub(crate) offset: u64,
    pub(crate) epoch: String,
}

impl From<SinceText> for Since {
    fn from(since: SinceText) -> Self {
        Self { offset: since.offset, epoch: since.epoch }
    }
}

/// A part of a node's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// So many connections were told, and so many of them could not do it.
    Done { reached: u32, refused: u32 },
    /// Connections were told, and some have not done it in time.
    Late,
    /// How the node is.
    Info(NodeInfo),
    /// Channels and their subscriptions.
    Channels(Vec<(String, u64)>),
    /// There are more channels than one answer holds.
    TooMany,
}

/// How a node is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NodeInfo {
    /// New at every start.
    pub(crate) uid: String,
    /// For people.
    pub(crate) name: String,
    pub(crate) version: String,
    /// Connections whose user is known.
    pub(crate) num_clients: u64,
    pub(crate) num_users: u64,
    /// Subscriptions.
    pub(crate) num_subs: u64,
    /// Channels with subscriptions.
    pub(crate) num_channels: u64,
    /// Seconds since the start.
    pub(crate) uptime: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<ProcessInfo>,
}

/// What the process needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProcessInfo {
    /// Resident memory in bytes.
    pub(crate) rss: u64,
}
