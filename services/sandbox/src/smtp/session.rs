//! The SMTP conversation as a pure state machine: a command in, a proposal out.
//!
//! A proposal names the answer, the change of state it stands for and the stage at which a
//! scripted fault may take its place; the connection applies the change only if none did. No
//! I/O, no clock, no randomness.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::command::Command;
use super::frame::{BadData, BadLine};
use super::reply::Reply;
use crate::faults::Stage;
use crate::options::SmtpLimits;

/// Refusals that count towards the limit of bad commands.
const SYNTAX_CODES: std::ops::RangeInclusive<u16> = 500..=504;
/// A user of this name is refused, so that a sender's handling of 535 can be tried.
const DENIED_USER: &str = "deny";

/// The envelope of the message being sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    pub from: String,
    pub to: Vec<String>,
}

/// What an answer changes when it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    None,
    Greet(String),
    Begin(String),
    AddRecipient(String),
    StartData,
    Reset,
    AwaitPlain,
    AwaitUser,
    AwaitPassword(String),
    Authenticate(String),
    /// Leaves the AUTH dialogue without a user.
    EndAuth,
    Close,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub reply: Reply,
    pub change: Change,
    /// Where a scripted fault may strike, with the recipient this command names.
    pub stage: Option<(Stage, Option<String>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Dialogue {
    Commands,
    Plain,
    User,
    Password(String),
}

#[derive(Debug)]
pub struct Session {
    limits: SmtpLimits,
    helo: Option<String>,
    user: Option<String>,
    envelope: Option<Envelope>,
    dialogue: Dialogue,
    bad_commands: u32,
}

impl Session {
    pub fn new(limits: SmtpLimits) -> Self {
        Self {
            limits,
            helo: None,
            user: None,
            envelope: None,
            dialogue: Dialogue::Commands,
            bad_commands: 0,
        }
    }

    pub fn greeting() -> Reply {
        Reply::lines(220, vec!["campana-sandbox ESMTP".to_owned()])
    }

    /// True between an AUTH challenge and its answer: the next line is no command.
    pub fn expects_answer(&self) -> bool {
        self.dialogue != Dialogue::Commands
    }

    /// True while nothing is under way that a stop would cut.
    pub fn is_idle(&self) -> bool {
        self.envelope.is_none()
    }

    pub fn helo(&self) -> &str {
        self.helo.as_deref().unwrap_or_default()
    }

    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub fn sender(&self) -> &str {
        self.envelope.as_ref().map_or("", |envelope| &envelope.from)
    }

    pub fn recipients(&self) -> &[String] {
        self.envelope.as_ref().map_or(&[], |envelope| &envelope.to)
    }

    /// Ends the transaction and hands its envelope over.
    pub fn take_envelope(&mut self) -> Envelope {
        self.envelope.take().unwrap_or_default()
    }

    pub fn command(&self, command: Command) -> Proposal {
        match command {
            Command::Helo { host } => {
                let reply = Reply::lines(250, vec!["campana-sandbox".to_owned()]);
                Proposal::change(reply, Change::Greet(host))
            }
            Command::Ehlo { host } => Proposal::change(self.ehlo(), Change::Greet(host)),
            Command::Mail { from, size } => self.mail(from, size),
            Command::Rcpt { to } => self.rcpt(to),
            Command::Data => self.data(),
            Command::Rset => Proposal::change(ok("reset"), Change::Reset),
            Command::Noop => Proposal::say(ok("still here")),
            Command::Vrfy => {
                Proposal::say(Reply::new(252, "2.5.0", "send the message and see what happens"))
            }
            Command::Help => Proposal::say(Reply::new(
                214,
                "2.0.0",
                "EHLO HELO MAIL RCPT DATA RSET NOOP AUTH VRFY HELP QUIT",
            )),
            Command::Quit => Proposal::change(Reply::new(221, "2.0.0", "good bye"), Change::Close),
            Command::AuthPlain { initial } => self.auth(initial, Change::AwaitPlain, ""),
            // "Username:" in Base64, as RFC drafts and every client have it.
            Command::AuthLogin { initial } => self.auth(initial, Change::AwaitUser, "VXNlcm5hbWU6"),
        }
    }

    /// The answer to an AUTH challenge.
    pub fn answer(&self, line: &[u8]) -> Proposal {
        if line == b"*" {
            return Proposal::change(Reply::new(501, "5.7.0", "cancelled"), Change::EndAuth);
        }
        let dialogue = self.dialogue.clone();
        self.continue_auth(&dialogue, line)
    }

    /// Carries out what an answer stands for.
    pub fn apply(&mut self, change: Change) {
        if !matches!(change, Change::None) {
            self.dialogue = Dialogue::Commands;
        }
        match change {
            Change::None | Change::Close | Change::StartData | Change::EndAuth => {}
            Change::Greet(host) => {
                self.helo = Some(host);
                self.envelope = None;
            }
            Change::Begin(from) => self.envelope = Some(Envelope { from, to: Vec::new() }),
            Change::AddRecipient(to) => {
                if let Some(envelope) = &mut self.envelope {
                    envelope.to.push(to);
                }
            }
            Change::Reset => self.envelope = None,
            Change::AwaitPlain => self.dialogue = Dialogue::Plain,
            Change::AwaitUser => self.dialogue = Dialogue::User,
            Change::AwaitPassword(user) => self.dialogue = Dialogue::Password(user),
            Change::Authenticate(user) => self.user = Some(user),
        }
    }

    /// Counts a refusal; true if the client has now been wrong too often.
    pub fn too_many_errors(&mut self, reply: &Reply) -> bool {
        if SYNTAX_CODES.contains(&reply.code) {
            self.bad_commands += 1;
        }
        self.bad_commands >= self.limits.bad_commands
    }

    pub fn bad_line(bad: BadLine) -> Reply {
        match bad {
            BadLine::TooLong => Reply::new(500, "5.5.2", "line too long"),
            BadLine::Malformed => {
                Reply::new(500, "5.5.2", "lines end with CRLF and contain no NUL")
            }
        }
    }

    pub fn bad_data(&self, bad: BadData) -> Reply {
        match bad {
            BadData::TooBig => Reply::new(552, "5.3.4", "message exceeds the size limit"),
            BadData::LineTooLong => Reply::new(554, "5.6.0", "a line of the message is too long"),
            BadData::BareLineEnd => Reply::new(550, "5.6.11", "message contains a bare CR or LF"),
            BadData::Nul => Reply::new(554, "5.6.0", "message contains a NUL"),
        }
    }

    fn ehlo(&self) -> Reply {
        let size = format!("SIZE {}", self.limits.message_bytes);
        let offers = ["campana-sandbox", &size, "8BITMIME", "SMTPUTF8", "PIPELINING"];
        let more = ["ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN", "HELP"];
        Reply::lines(250, offers.into_iter().chain(more).map(str::to_owned).collect())
    }

    fn mail(&self, from: String, size: usize) -> Proposal {
        if self.helo.is_none() {
            return Proposal::say(out_of_order("say EHLO first"));
        }
        if self.envelope.is_some() {
            return Proposal::say(out_of_order("a transaction is open"));
        }
        if size > self.limits.message_bytes {
            return Proposal::say(self.bad_data(BadData::TooBig));
        }
        Proposal {
            reply: Reply::new(250, "2.1.0", "sender ok"),
            change: Change::Begin(from),
            stage: Some((Stage::Mail, None)),
        }
    }

    fn rcpt(&self, to: String) -> Proposal {
        let Some(envelope) = &self.envelope else {
            return Proposal::say(out_of_order("say MAIL first"));
        };
        if envelope.to.len() >= self.limits.recipients {
            return Proposal::say(Reply::new(452, "4.5.3", "too many recipients"));
        }
        Proposal {
            reply: Reply::new(250, "2.1.5", "recipient ok"),
            change: Change::AddRecipient(to.clone()),
            stage: Some((Stage::Rcpt, Some(to))),
        }
    }

    fn data(&self) -> Proposal {
        match &self.envelope {
            None => Proposal::say(out_of_order("say MAIL first")),
            Some(envelope) if envelope.to.is_empty() => {
                Proposal::say(Reply::new(554, "5.5.1", "no valid recipients"))
            }
            Some(_) => Proposal {
                reply: Reply::lines(354, vec!["end with <CRLF>.<CRLF>".to_owned()]),
                change: Change::StartData,
                stage: Some((Stage::Data, None)),
            },
        }
    }

    fn auth(&self, initial: Option<String>, wait: Change, challenge: &str) -> Proposal {
        if self.helo.is_none() || self.envelope.is_some() || self.user.is_some() {
            return Proposal::say(out_of_order("AUTH is not possible now"));
        }
        let dialogue = match wait {
            Change::AwaitPlain => Dialogue::Plain,
            _ => Dialogue::User,
        };
        match initial {
            // A lone "=" is an empty initial response (RFC 4954).
            Some(initial) if initial == "=" => self.continue_auth(&dialogue, b""),
            Some(initial) => self.continue_auth(&dialogue, initial.as_bytes()),
            None => Proposal::change(Reply::lines(334, vec![challenge.to_owned()]), wait),
        }
    }

    fn continue_auth(&self, dialogue: &Dialogue, line: &[u8]) -> Proposal {
        let Ok(decoded) = STANDARD.decode(line) else {
            return Proposal::change(Reply::new(501, "5.5.2", "not Base64"), Change::EndAuth);
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match dialogue {
            Dialogue::Plain => {
                let parts: Vec<&[u8]> = decoded.split(|byte| *byte == 0).collect();
                match parts[..] {
                    [_, user, _] => authenticate(text(user)),
                    _ => Proposal::change(
                        Reply::new(501, "5.5.2", "PLAIN needs three parts"),
                        Change::EndAuth,
                    ),
                }
            }
            Dialogue::User => {
                let password = Reply::lines(334, vec!["UGFzc3dvcmQ6".to_owned()]);
                Proposal::change(password, Change::AwaitPassword(text(&decoded)))
            }
            Dialogue::Password(user) => authenticate(user.clone()),
            Dialogue::Commands => Proposal::say(out_of_order("no AUTH is under way")),
        }
    }
}

impl Proposal {
    fn say(reply: Reply) -> Self {
        Self::change(reply, Change::None)
    }

    fn change(reply: Reply, change: Change) -> Self {
        Self { reply, change, stage: None }
    }
}

/// Any credentials will do: the sandbox records who came and lets them in.
fn authenticate(user: String) -> Proposal {
    if user == DENIED_USER {
        let reply = Reply::new(535, "5.7.8", "credentials refused");
        return Proposal::change(reply, Change::EndAuth);
    }
    Proposal::change(Reply::new(235, "2.7.0", "welcome"), Change::Authenticate(user))
}

fn ok(text: &str) -> Reply {
    Reply::new(250, "2.0.0", text)
}

fn out_of_order(text: &str) -> Reply {
    Reply::new(503, "5.5.1", text)
}
