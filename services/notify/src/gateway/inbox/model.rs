//! The HTTP shapes of marks, and the messages that they become.
//! Reads and writes: nothing; pure.

use bytes::Bytes;
use campana_bus::clock::Micros;
use campana_bus::ids::DeliveryId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::encode;
use crate::contracts::{
    INBOX_ARCHIVE_TYPE, INBOX_READ_TYPE, INBOX_SEEN_TYPE, INBOX_UNARCHIVE_TYPE, InboxMark,
    InboxMessage,
};

/// What a person says of messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Read,
    Seen,
    Archive,
    Unarchive,
}

impl Kind {
    /// The body for the inbox channel and its CloudEvents type.
    pub(super) fn message(self, ids: Vec<DeliveryId>, at: Micros) -> (Bytes, &'static str) {
        let at = at.to_rfc3339();
        match self {
            Self::Read => (encode(&InboxMessage::Read { ids, at }), INBOX_READ_TYPE),
            Self::Seen => (encode(&InboxMark::Seen { ids, at }), INBOX_SEEN_TYPE),
            Self::Archive => (encode(&InboxMark::Archive { ids, at }), INBOX_ARCHIVE_TYPE),
            Self::Unarchive => (encode(&InboxMark::Unarchive { ids, at }), INBOX_UNARCHIVE_TYPE),
        }
    }
}

/// Which messages are marked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkIn {
    /// Ids of deliveries, at most 100.
    #[schema(example = json!(["dlv_019a3c1e5b0a8c3f8a1d2b3c4d5e6f70"]))]
    pub ids: Vec<String>,
}

/// How many messages were marked as read.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadOut {
    /// Deliveries of this person among the ids.
    pub read: usize,
}

/// How many ids the person's devices were told of.
#[derive(Debug, Serialize, ToSchema)]
pub struct MarkOut {
    /// Different ids in the request; those of other people's messages mean nothing on this person's devices.
    pub marked: usize,
}
