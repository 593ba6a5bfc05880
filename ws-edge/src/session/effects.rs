//! What a session and the shell around it tell each other: effects, operations, and what came of them.
//! Reads: nothing. Writes: nothing. Never: decides anything.

use std::sync::Arc;

use bytes::Bytes;

use super::Call;
use super::calls::CallFailure;
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
    /// Read stored messages.
    History(History),
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
    /// Of [`Operation::Join`]: by ticket; an error means that the bus does not answer.
    Joined(Vec<(u32, Result<Joined, ()>)>),
    /// Of [`Operation::More`]; an error means that messages are lost or the bus does not answer.
    More(u32, Result<Page, ()>),
    /// Of [`Operation::Leave`].
    Left,
    /// Of [`Operation::Publish`].
    Published(u32, Result<(), ReplyError>),
    /// Of [`Operation::History`].
    History(u32, Result<Found, ReplyError>),
    /// Of [`Effect::Call`].
    Called(u32, Result<Bytes, CallFailure>),
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
    /// A ping was answered after so many milliseconds.
    Pong(u64),
    /// A command was answered with an error; from [`SERVICE_ERROR`](super::SERVICE_ERROR) on it is a service's.
    Refused(u32),
}
