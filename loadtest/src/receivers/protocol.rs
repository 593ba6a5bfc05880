//! What a receiver must be able to say and hear, whatever the server's protocol: one type per
//! protocol, all with the same functions. Pure: bytes in, events out; no sockets.

use std::borrow::Cow;

use tokio_tungstenite::tungstenite::Message;

use super::{Seat, centrifuge, nats, socketio};

/// The protocols that receivers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Centrifuge's JSON protocol, as Campana's edge and Centrifugo speak it.
    Centrifuge,
    /// Socket.IO 4 over Engine.IO 4.
    Socketio,
    /// nats-server's own WebSocket gateway.
    Nats,
}

/// One publication, as it lies in the frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    pub title: Cow<'a, str>,
    pub body: Cow<'a, str>,
    /// Its position in the channel, if the server gives one.
    pub offset: Option<u64>,
    pub stamps: Option<Cow<'a, str>>,
    /// It came by recovery, not live.
    pub recovered: bool,
}

/// One thing that a server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Everything that the seat wants is subscribed. `unrecovered` counts subscriptions that
    /// were asked to go on from a position and could not.
    Ready {
        unrecovered: u32,
    },
    /// To be answered with [`Speaker::pong`].
    Ping,
    Publication(Publication<'a>),
    /// The server refuses; the connection is of no use any more.
    Refused(String),
}

/// One connection's side of the conversation; it outlives the connection, so that the next one
/// goes on where this one ended.
#[derive(Debug)]
pub enum Speaker {
    Centrifuge(centrifuge::Speaker),
    Socketio(socketio::Speaker),
    Nats(nats::Speaker),
}

impl Speaker {
    /// Nothing said yet.
    pub fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Centrifuge => Self::Centrifuge(centrifuge::Speaker::default()),
            Protocol::Socketio => Self::Socketio(socketio::Speaker::default()),
            Protocol::Nats => Self::Nats(nats::Speaker::default()),
        }
    }

    /// The subprotocol to ask for in the upgrade, if the server wants one.
    pub fn subprotocol(&self) -> Option<&'static str> {
        match self {
            Self::Centrifuge(_) | Self::Socketio(_) | Self::Nats(_) => None,
        }
    }

    /// What to say when a connection opens; again after a reconnect, with the position reached.
    pub fn first(&mut self, seat: &Seat) -> Vec<Message> {
        match self {
            Self::Centrifuge(speaker) => speaker.first(seat),
            Self::Socketio(speaker) => speaker.first(seat),
            Self::Nats(speaker) => speaker.first(seat),
        }
    }

    /// Reads one WebSocket message and calls `on` for everything in it, in order; what means
    /// nothing to a receiver is left out. Returns what must be answered by itself, for protocols
    /// in which one thing follows another.
    pub fn hear(
        &mut self,
        message: &[u8],
        on: &mut dyn FnMut(Heard<'_>),
    ) -> Result<Vec<Message>, String> {
        match self {
            Self::Centrifuge(speaker) => speaker.hear(message, on).map(|()| Vec::new()),
            Self::Socketio(speaker) => speaker.hear(message, on),
            Self::Nats(speaker) => speaker.hear(message, on).map(|()| Vec::new()),
        }
    }

    /// The answer to a ping.
    pub fn pong(&self) -> Message {
        match self {
            Self::Centrifuge(_) => centrifuge::pong(),
            Self::Socketio(_) => socketio::pong(),
            Self::Nats(_) => nats::pong(),
        }
    }
}
