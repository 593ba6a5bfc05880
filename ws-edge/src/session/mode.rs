//! How a session talks with its client apart from the encoding: in both directions or in one, and who pings.
//! Reads: a first message of clients that only listen. Writes: effects.
//! Never: answers commands of a client that only listens; such a client is told everything by pushes.

use std::fmt::Write as _;
use std::sync::Arc;

use campana_bus::subjects;

use super::{Effect, Joined, Now, Session, State};
use crate::codes::{Disconnect, ReplyError, disconnect, error};
use crate::encode::Encoded;
use crate::proto::{ConnectRequest, Standing};
use crate::publication::ChannelKey;

/// Channels whose positions one id carries; a client with more gets no ids.
const MARKED_CHANNELS_MAX: usize = 16;
/// Bytes of an id that a client may bring back: as many as that many channels can need, and not more.
const MARK_BYTES_MAX: usize = 16 * 1024;

/// How a session talks with its client.
#[derive(Debug, Default)]
pub struct Mode {
    /// The client only listens: it says who it is once, and gets pushes and nothing else.
    pub unidirectional: bool,
    /// Pings are frames of the transport, not messages of the protocol.
    pub frame_pings: bool,
    /// Where requests of a client find its session, if its transport carries nothing from it.
    pub address: Option<Box<Address>>,
    /// Positions go along with pushes, so that a client that knows nothing of them can bring them back.
    pub marks: Option<Box<Marks>>,
}

/// Where requests of a client find its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A secret that only the client and its node know.
    pub session: Box<str>,
    /// The node.
    pub node: Box<str>,
}

/// What a client has of the channels that the server subscribed: sent with every push as one id.
#[derive(Debug, Default)]
pub struct Marks(Vec<Mark>);

#[derive(Debug)]
struct Mark {
    key: Arc<ChannelKey>,
    epoch: Arc<str>,
    offset: u64,
}

impl Marks {
    /// All channels, each `name,epoch,offset` with a semicolon between; names and epochs are escaped, so that
    /// the text is plain ASCII without the separators. Nothing if there are too many channels.
    fn id(&self) -> Option<String> {
        if self.0.is_empty() || self.0.len() > MARKED_CHANNELS_MAX {
            return None;
        }
        let mut id = String::new();
        for Mark { key, epoch, offset } in &self.0 {
            let between = if id.is_empty() { "" } else { ";" };
            let (name, epoch) = (subjects::escape(key.name.as_str()), subjects::escape(epoch));
            let _ = write!(id, "{between}{name},{epoch},{offset}");
        }
        Some(id)
    }
}

/// The positions that an id names; nothing if it is none of ours.
#[must_use]
pub(crate) fn standings(id: &str) -> Vec<(String, Standing)> {
    if id.len() > MARK_BYTES_MAX {
        return Vec::new();
    }
    let one = |part: &str| {
        let mut fields = part.split(',');
        let name = subjects::unescape(fields.next()?)?;
        let epoch = subjects::unescape(fields.next()?)?;
        let offset = fields.next()?.parse().ok()?;
        fields.next().is_none().then_some((name, Standing { recover: true, epoch, offset }))
    };
    let all: Option<Vec<_>> = id.split(';').map(one).collect();
    all.filter(|all| all.len() <= MARKED_CHANNELS_MAX).unwrap_or_default()
}

impl Session {
    /// The same session, talking like this.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The first message of a client that only listens: who it is. What it says later is ignored.
    pub(super) fn on_introduction(&mut self, text: &str, now: Now, out: &mut Vec<Effect>) {
        if !matches!(self.state, State::New) {
            return;
        }
        let text = if text.trim().is_empty() { "{}" } else { text };
        match serde_json::from_str::<ConnectRequest>(text) {
            Ok(request) => self.connect(0, request, now, out),
            Err(_) => self.close(disconnect::BAD_REQUEST, out),
        }
    }

    /// The client's transport answered a ping frame, or sent a pong that nobody asked for, which it may.
    pub fn on_pong_frame(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.mode.frame_pings && matches!(self.state, State::Connected) {
            self.answered(now, out);
        }
    }

    /// Whether the client answers pings, by whichever means.
    pub(super) fn expects_pongs(&self) -> bool {
        self.mode.frame_pings || !self.mode.unidirectional
    }

    /// Whether pings and their answers are messages of the protocol.
    pub(super) fn pongs_by_message(&self) -> bool {
        !self.mode.frame_pings && !self.mode.unidirectional
    }

    /// How long the client may hear nothing before it knows that the connection is broken; 0 if pings are none
    /// of its business.
    pub(super) fn ping_seconds(&self) -> u64 {
        if self.mode.frame_pings { 0 } else { self.rules.options.ping_interval_ms.div_ceil(1_000) }
    }

    /// The channels that a client joined when it connected, and what it has of them.
    pub(super) fn mark_all(&mut self, joined: &[(u32, Joined)], out: &mut Vec<Effect>) {
        let Some(marks) = &mut self.mode.marks else { return };
        for (ticket, one) in joined {
            if let Some(found) = self.subscriptions.iter().find(|sub| sub.ticket == *ticket) {
                let (offset, _) = super::subscribe::reached(one);
                let (key, epoch) = (Arc::clone(&found.key), Arc::clone(&one.epoch));
                marks.0.push(Mark { key, epoch, offset });
            }
        }
        out.extend(marks.id().map(Effect::Mark));
    }

    /// The client gets this publication next.
    pub(super) fn mark(&mut self, key: &ChannelKey, offset: u64, out: &mut Vec<Effect>) {
        let Some(marks) = &mut self.mode.marks else { return };
        if let Some(mark) = marks.0.iter_mut().find(|mark| mark.key.subject == key.subject) {
            mark.offset = offset;
            out.extend(marks.id().map(Effect::Mark));
        }
    }
}

/// What a client that only listens is told instead of an error answer to its connect request.
pub(super) fn end_for(why: ReplyError) -> Disconnect {
    match why {
        error::TOKEN_EXPIRED => disconnect::EXPIRED,
        error::BAD_REQUEST => disconnect::BAD_REQUEST,
        error::PERMISSION_DENIED | error::UNKNOWN_CHANNEL => disconnect::INVALID_TOKEN,
        error::LIMIT_EXCEEDED => disconnect::CHANNEL_LIMIT,
        error::NOT_AVAILABLE => disconnect::NOT_AVAILABLE,
        error::TOO_MANY_REQUESTS => disconnect::TOO_MANY_REQUESTS,
        _ => disconnect::SERVER_ERROR,
    }
}

/// A connect reply in JSON as the push that a client gets who only listens.
pub(super) fn as_push(reply: Encoded) -> Encoded {
    match reply {
        Encoded::Text(text) => match text.as_str().strip_prefix("{\"id\":0,") {
            Some(rest) => format!("{{\"push\":{{{rest}}}").into(),
            None => Encoded::Text(text),
        },
        binary @ Encoded::Binary(_) => binary,
    }
}

#[cfg(test)]
mod tests {
    use campana_bus::subjects::ChannelName;

    use super::*;

    fn mark(name: &str, offset: u64) -> Mark {
        let key = Arc::new(ChannelKey::new("t", ChannelName::parse(name).unwrap()));
        Mark { key, epoch: "e,1".into(), offset }
    }

    #[test]
    fn ids_come_back_as_positions() {
        let marks = Marks(vec![mark("inbox:#a;b,c", 7), mark("🔔", u64::MAX)]);
        let id = marks.id().unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
        let found = standings(&id);
        let standing = |offset| Standing { recover: true, epoch: "e,1".to_owned(), offset };
        assert_eq!(
            found,
            [("inbox:#a;b,c".to_owned(), standing(7)), ("🔔".to_owned(), standing(u64::MAX))]
        );
    }

    #[test]
    fn what_is_no_id_names_no_position() {
        let long = "a,b,1;".repeat(10_000);
        for text in ["", "x", "a,b", "a,b,c", "a,b,-1", "a,b,1,2", "a,b,1;", "a.b,c,1", &long] {
            assert_eq!(standings(text), [], "{text}");
        }
        assert_eq!(Marks((0..17).map(|at| mark("c", at)).collect()).id(), None);
        assert_eq!(standings(&["a,b,1"; 17].join(";")), []);
    }

    #[test]
    fn a_connect_reply_becomes_a_push() {
        let reply = Encoded::from(r#"{"id":0,"connect":{"client":"c"}}"#.to_owned());
        let Encoded::Text(push) = as_push(reply) else { panic!("text") };
        assert_eq!(push.as_str(), r#"{"push":{"connect":{"client":"c"}}}"#);
    }
}
