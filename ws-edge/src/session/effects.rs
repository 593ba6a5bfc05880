//! What a session and the shell around it tell each other: effects, operations, and what came of them.
//! Reads: nothing. Writes: nothing. Never: decides anything.

use std::sync::Arc;

use bytes::Bytes;

use super::calls::CallFailure;
use super::{Ask, Call, PresenceQuestion, Present, Unanswered};
use crate::codes::{Disconnect, ReplyError};
use crate::encode::Encoded;
use crate::proto::{Protocol, Since};
use crate::publication::{ChannelKey, Published};

/// What the shell around a session must do, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Send one message.
    Send(Encoded),
    /// Send a publication, which is encoded for this client.
    Push(Arc<Published>, Encoded),
    /// Do it after all earlier operations and report back with [`on_done`](super::Session::on_done).
    Run(Operation),
    /// Ask a service, beside everything else, and report back with [`on_done`](super::Session::on_done).
    Call(Call),
    /// Ask a service that decides, likewise.
    Ask(Box<Ask>),
    /// The connection uses a token with this mark: a revocation of such a token concerns it.
    Uses(u64),
    /// Send a ping frame of the transport.
    Ping,
    /// The next message goes out with this id, which says what the client has once it got the message.
    Mark(String),
    /// The user is known now: see [`identity`](super::Session::identity).
    Identified,
    /// Close the connection; nothing follows.
    Close(Disconnect),
    /// Count it.
    Report(Report),
}

/// What a session needs done.
#[derive(Debug)]
pub enum Operation {
    /// Let publications of these channels come, and find what was missed.
    Join(Vec<Join>),
    /// Get the next page of what was missed.
    More(More),
    /// Let no more publications of the channel come.
    Leave(Arc<ChannelKey>),
    /// Store a message.
    Publish(Publish),
    /// Ask a service that decides.
    Ask(Box<Ask>),
    /// Look for keys that are not there yet.
    Authenticate,
    /// Read stored messages.
    History(History),
    /// Look who is there.
    Presence(PresenceQuestion),
}

impl Operation {
    /// The metric's label.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Join(_) => "join",
            Self::More(_) => "more",
            Self::Leave(_) => "leave",
            Self::Publish(_) => "publish",
            Self::Ask(_) => "ask",
            Self::Authenticate => "authenticate",
            Self::History(_) => "history",
            Self::Presence(_) => "presence",
        }
    }
}

/// One channel to join.
#[derive(Debug, Clone)]
pub struct Join {
    /// Names the answer.
    pub ticket: u32,
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// Where the client stands, if it wants what it missed.
    pub since: Option<Since>,
    /// Most messages that may be missed; who missed more has lost its position.
    pub reach: usize,
    /// Whether the client takes differences between publications.
    pub delta: bool,
}

/// The next page of a recovery.
#[derive(Debug, Clone)]
pub struct More {
    /// Names the answer.
    pub ticket: u32,
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// Everything up to here was sent.
    pub after: u64,
    /// The last page must reach at least this far.
    pub at_least: u64,
}

/// A message to store for a client.
#[derive(Debug)]
pub struct Publish {
    /// The command to answer.
    pub command: u32,
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// The body.
    pub data: Bytes,
    /// JSON about the publisher.
    pub info: String,
}

/// A history question.
#[derive(Debug)]
pub struct History {
    /// The command to answer.
    pub command: u32,
    /// Which channel.
    pub key: Arc<ChannelKey>,
    /// Most messages; 0 asks for the position only.
    pub limit: usize,
    /// Strictly after it, or strictly before it if reversed.
    pub since: Option<Since>,
    /// Newest first.
    pub reverse: bool,
    /// Only this many newest messages count.
    pub reach: usize,
    /// Only messages younger than this count; 0 for all.
    pub age_seconds_max: u64,
}

/// Where a channel stands and what was missed.
#[derive(Debug)]
pub struct Joined {
    /// Offset of a client that has everything until now.
    pub top: u64,
    /// Incarnation of the stream.
    pub epoch: Arc<str>,
    /// What became of the recovery, if one was asked for.
    pub recovery: Recovery,
    /// The channel as the node knows it, with the number that pushes may call it by.
    pub known: Option<Arc<ChannelKey>>,
}

/// What became of a recovery.
#[derive(Debug)]
pub enum Recovery {
    /// None was asked for.
    None,
    /// What was missed after `from`.
    Page {
        /// The client's offset.
        from: u64,
        /// The first page.
        page: Page,
    },
    /// Some of it is gone.
    Lost(LostReason),
}

/// Why a position cannot be recovered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostReason {
    /// The stream no longer holds all of it.
    Gap,
    /// The position belongs to another incarnation of the stream.
    Epoch,
}

/// Some missed publications, in order.
#[derive(Debug, Default)]
pub struct Page {
    /// Oldest first.
    pub publications: Vec<Arc<Published>>,
    /// Whether there are more after these.
    pub more: bool,
}

/// What a history question found.
#[derive(Debug)]
pub struct Found {
    /// In the order asked for.
    pub publications: Vec<Arc<Published>>,
    /// Where the channel stands.
    pub top: u64,
    /// Incarnation of the stream.
    pub epoch: Arc<str>,
}

/// The end of an operation.
#[derive(Debug)]
pub enum Done {
    /// Of [`Operation::Join`]: by ticket; an error means that the bus does not answer, or that too many wait.
    Joined(Vec<(u32, Result<Joined, ReplyError>)>),
    /// Of [`Operation::More`]; an error means that messages are lost or the bus does not answer.
    More(u32, Result<Page, ()>),
    /// Of [`Operation::Leave`].
    Left,
    /// Of [`Operation::Publish`].
    Published(u32, Result<(), ReplyError>),
    /// Of [`Operation::History`].
    History(u32, Result<Found, ReplyError>),
    /// Of [`Effect::Ask`] and [`Operation::Ask`].
    Asked(Box<Ask>, Result<Bytes, Unanswered>),
    /// Of [`Operation::Authenticate`]; an error means that a source of keys does not answer.
    Authenticated(Result<(), ()>),
    /// Of [`Effect::Call`].
    Called(u32, Result<Bytes, CallFailure>),
    /// Of an [`Effect::Call`] that the edge answers itself.
    BuiltIn(u32, Result<Bytes, CallFailure>),
    /// Of [`Operation::Presence`].
    Present(u32, Result<Present, ReplyError>),
}

/// Something worth counting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A client was let in.
    Connected(Protocol),
    /// A subscription began.
    Subscribed(Arc<ChannelKey>),
    /// A subscription ended.
    Unsubscribed(Arc<ChannelKey>),
    /// A recovery worked, or why not.
    Recovered(Result<(), LostReason>),
    /// A connection token was refused for this reason.
    Token(&'static str),
    /// A service decided about this question like this.
    Asked(&'static str, &'static str),
    /// A ping was answered after so many milliseconds.
    Pong(u64),
    /// A connected client sent a command of this method.
    Command(&'static str),
    /// Something was refused because of this limit.
    Limited(&'static str),
    /// A command was answered with an error; from [`SERVICE_ERROR`](super::SERVICE_ERROR) on it is a service's.
    Refused(u32),
}
