//! What the chat tells on the bus, and what it hears there.
//! Reads and writes: nothing; these are shapes. Never: carries the text of a message, which the database keeps and may
//! lose again when somebody deletes it.

use campana_bus::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Somebody is named in a message, or got a direct one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Mentioned {
    /// The message.
    pub message: String,
    /// Its room.
    pub room: String,
    /// Who is named.
    pub person: String,
    /// The message's number.
    pub seq: i64,
}

impl Event for Mentioned {
    const SERVICE: &'static str = "chat";
    const NAME: &'static str = "mentioned";

    fn id(&self) -> Option<String> {
        Some(format!("{}/{}", self.message, self.person))
    }
}

/// A slash command wants to be run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobRequested {
    /// The message that is the command.
    pub message: String,
    /// What follows the command.
    pub argument: String,
}

impl Event for JobRequested {
    const SERVICE: &'static str = "chat";
    const NAME: &'static str = "job_requested";

    fn id(&self) -> Option<String> {
        Some(self.message.clone())
    }
}

/// The edge: somebody's first connection came, anywhere.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.{tenant}.edge.presence_online.{user}", id = "session")]
pub struct WentOnline {
    /// Whose user it is.
    pub tenant: String,
    /// Who.
    pub user: String,
    /// A channel, if this is about one channel only.
    pub channel: Option<String>,
    /// The same as in the event that ends it.
    pub session: String,
}

/// The edge: somebody's last connection has been gone for a while.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.{tenant}.edge.presence_offline.{user}", id = "session")]
pub struct WentOffline {
    /// Whose user it is.
    pub tenant: String,
    /// Who.
    pub user: String,
    /// A channel, if this is about one channel only.
    pub channel: Option<String>,
    /// The same as in the event that began it.
    pub session: String,
}
