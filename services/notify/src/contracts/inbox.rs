//! What a person's browsers see on the inbox channel: notifications, and the marks that the person sets.
//! Reads: nothing. Writes: nothing. Never: decides what a mark means for a list; every device folds the same
//! messages, in any order, to the same list (`ws-edge/web/src/inbox.ts`).

use std::collections::BTreeMap;

use campana_bus::ids::{DeliveryId, NotificationId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// CloudEvents type of a notification on a person's inbox channel.
pub const INBOX_TYPE: &str = "campana.notify.inbox.v1";
/// CloudEvents type of a read mark on a person's inbox channel.
pub const INBOX_READ_TYPE: &str = "campana.notify.inbox.read.v1";
/// CloudEvents type of a seen mark on a person's inbox channel.
pub const INBOX_SEEN_TYPE: &str = "campana.notify.inbox.seen.v1";
/// CloudEvents type of an archive mark on a person's inbox channel.
pub const INBOX_ARCHIVE_TYPE: &str = "campana.notify.inbox.archive.v1";
/// CloudEvents type of a mark that takes messages back from the archive.
pub const INBOX_UNARCHIVE_TYPE: &str = "campana.notify.inbox.unarchive.v1";

/// What a browser receives on a person's inbox channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InboxMessage {
    /// The bell rings.
    Notification {
        /// The delivery.
        id: DeliveryId,
        /// The notification it belongs to.
        notification_id: NotificationId,
        /// One line.
        title: String,
        /// The text.
        body: String,
        /// Where a click leads.
        url: Option<String>,
        /// When the gateway took it, RFC 3339.
        created_at: String,
        /// For support: the trace of the HTTP request.
        trace_id: String,
        /// The caller's own labels.
        #[serde(default)]
        metadata: BTreeMap<String, String>,
    },
    /// The person read some messages, in this or another tab.
    Read {
        /// Which.
        ids: Vec<DeliveryId>,
        /// When, RFC 3339.
        at: String,
    },
}

/// What else a person says of messages of their inbox, on the same channel. Browsers skip types they do not
/// know, so a contract of its own may grow beside [`InboxMessage`], whose readers were promised two types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum InboxMark {
    /// The panel was open and these rows were shown; weaker than read.
    Seen {
        /// Which.
        ids: Vec<DeliveryId>,
        /// When, RFC 3339.
        at: String,
    },
    /// The person put some messages out of the list. Of all archive and unarchive marks for an id the one
    /// with the latest `at` counts, whatever the order in which they are read; at the same moment, archived.
    Archive {
        /// Which.
        ids: Vec<DeliveryId>,
        /// When, RFC 3339.
        at: String,
    },
    /// The person took some messages back into the list.
    Unarchive {
        /// Which.
        ids: Vec<DeliveryId>,
        /// When, RFC 3339.
        at: String,
    },
    /// A type of a later version.
    #[serde(other)]
    Unknown,
}
