//! What the chat tells on the bus, and what it hears there.
//! Reads and writes: nothing; these are shapes. Never: carries the text of a message, which the database keeps and may
//! lose again when somebody deletes it.

use campana_bus::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secrets::digest;

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

/// Somebody's tokens are over: those of a stay in a room, or of a session. Told in the transaction that ends it, so that
/// the edge is asked to take them back however often somebody is killed in between.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AccessEnded {
    /// The `jti` of the tokens.
    pub token: String,
    /// Whose they are.
    pub person: String,
}

impl AccessEnded {
    /// The end of a stay in a room. Whoever comes back gets other tokens.
    #[must_use]
    pub fn of_stay(room: &str, person: &str, joined_at: i64) -> Self {
        Self { token: stay(room, person, joined_at), person: person.to_owned() }
    }

    /// The end of a session.
    #[must_use]
    pub fn of_session(person: &str, session: &str) -> Self {
        Self { token: session.to_owned(), person: person.to_owned() }
    }
}

impl Event for AccessEnded {
    const SERVICE: &'static str = "chat";
    const NAME: &'static str = "access_ended";

    fn id(&self) -> Option<String> {
        Some(self.token.clone())
    }
}

/// The `jti` of all tokens of one stay of one person in one room.
#[must_use]
pub fn stay(room: &str, person: &str, joined_at: i64) -> String {
    digest(&format!("{room} {person} {joined_at}"))
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
