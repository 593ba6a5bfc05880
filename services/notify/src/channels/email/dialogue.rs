//! One SMTP connection, step by step, each step with its own deadline.
//! Reads and writes: one socket. Never: waits without a deadline, accepts a reply that belongs to another
//! command, keeps a connection after an error.
//!
//! lettre's connection has no deadlines after the connect, and a future that is dropped half way leaves
//! replies in the buffer that the next message would take for its own: a refused message would count as
//! sent. So the connection moves into the future of its transaction and comes back only after the exact
//! reply of the last step; every other end drops the socket.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Data, Mail, Noop, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::Response;
use secrecy::ExposeSecret;
use tokio::net::TcpStream;

use super::stream::Encrypted;
use super::tls::Tls;
use crate::channels::classify::{Enhanced, find_enhanced};
use crate::channels::{EmailOptions, SmtpTls};

/// Deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To connect, and for each of greeting with EHLO, TLS and AUTH.
    pub connect: Duration,
    /// For MAIL and for RCPT.
    pub command: Duration,
    /// For DATA.
    pub data: Duration,
    /// For the text and the answer to its final dot.
    pub body: Duration,
}

/// Where in a transaction something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Opening the socket.
    Connect,
    /// Greeting and EHLO.
    Greeting,
    /// STARTTLS.
    Tls,
    /// AUTH.
    Auth,
    /// NOOP before reuse.
    Probe,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// The text up to the answer to its final dot.
    Body,
}

impl Stage {
    /// Whether the relay may have taken the message although it did not say so.
    #[must_use]
    pub const fn is_ambiguous(self) -> bool {
        matches!(self, Self::Body)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Probe => "probe",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Body => "body",
        })
    }
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmtpFailure {
    /// The relay said no.
    Reply {
        /// At which step.
        stage: Stage,
        /// Three digits.
        code: u16,
        /// Enhanced code.
        enhanced: Option<Enhanced>,
        /// Its words.
        text: String,
    },
    /// The relay said nothing, or nothing that fits.
    Silent {
        /// At which step.
        stage: Stage,
        /// What happened.
        what: String,
    },
    /// TLS is required and not offered.
    NoTls,
    /// The address needs SMTPUTF8, which the relay does not offer.
    NoUtf8,
}

/// Sender and receiver of one transaction.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// MAIL FROM.
    pub from: Address,
    /// RCPT TO.
    pub to: Address,
}

/// Opens connections.
pub(super) struct Connector {
    host: String,
    port: u16,
    hello: ClientId,
    tls: Tls,
    credentials: Option<Credentials>,
    limits: Limits,
}

impl Connector {
    pub(super) fn new(options: &EmailOptions, hello: ClientId, tls: Tls, limits: Limits) -> Self {
        let credentials = (!options.username.is_empty()).then(|| {
            Credentials::new(options.username.clone(), options.password.expose_secret().to_owned())
        });
        Self { host: options.host.clone(), port: options.port, hello, tls, credentials, limits }
    }

    /// Opens, greets, encrypts and logs in.
    pub(super) async fn open(&self) -> Result<Session, SmtpFailure> {
        let limit = self.limits.connect;
        let (stream, peer) =
            deadline(Stage::Connect, limit, connect(&self.host, self.port)).await?;
        let transport: Box<dyn AsyncTokioStream> = match (&self.tls.parameters, self.tls.mode) {
            (Some(parameters), SmtpTls::Implicit) => {
                let encrypted = Encrypted::connect(stream, peer, parameters.clone());
                Box::new(deadline(Stage::Tls, limit, encrypted).await?)
            }
            _ => Box::new(stream),
        };
        let greeted = AsyncSmtpConnection::connect_with_transport(transport, &self.hello);
        let mut connection = deadline(Stage::Greeting, limit, greeted).await?;
        if let (Some(parameters), SmtpTls::Required | SmtpTls::Opportunistic) =
            (&self.tls.parameters, self.tls.mode)
        {
            if connection.can_starttls() {
                deadline(Stage::Tls, limit, connection.starttls(parameters.clone(), &self.hello))
                    .await?;
            } else if self.tls.mode == SmtpTls::Required {
                return Err(SmtpFailure::NoTls);
            }
        }
        if let Some(credentials) = &self.credentials {
            deadline(Stage::Auth, limit, connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
        }
        Ok(Session { connection, limits: self.limits })
    }
}

async fn connect(host: &str, port: u16) -> std::io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?;
    Ok((stream, peer))
}

/// An open connection between two transactions.
pub(super) struct Session {
    connection: AsyncSmtpConnection,
    limits: Limits,
}

impl Session {
    /// Sends one message. The session comes back only if the whole transaction went as it should.
    pub(super) async fn transact(
        mut self,
        envelope: &Envelope,
        body: &[u8],
    ) -> Result<(Self, String), SmtpFailure> {
        let mut parameters = Vec::new();
        if !(envelope.to.to_string().is_ascii() && envelope.from.to_string().is_ascii()) {
            if !self.connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(SmtpFailure::NoUtf8);
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let Limits { command, data, body: text, .. } = self.limits;
        let connection = &mut self.connection;
        let mail = Mail::new(Some(envelope.from.clone()), parameters);
        expect(
            Stage::Mail,
            &[250],
            deadline(Stage::Mail, command, connection.command(mail)).await?,
        )?;
        let rcpt = Rcpt::new(envelope.to.clone(), Vec::new());
        expect(
            Stage::Rcpt,
            &[250, 251, 252],
            deadline(Stage::Rcpt, command, connection.command(rcpt)).await?,
        )?;
        expect(Stage::Data, &[354], deadline(Stage::Data, data, connection.command(Data)).await?)?;
        let reply = deadline(Stage::Body, text, connection.message(body)).await?;
        let words = reply.message().collect::<Vec<_>>().join(" ");
        expect(Stage::Body, &[250], reply)?;
        Ok((self, words))
    }

    /// Asks whether the relay is still there.
    pub(super) async fn probe(mut self) -> Result<Self, SmtpFailure> {
        let reply =
            deadline(Stage::Probe, self.limits.command, self.connection.command(Noop)).await?;
        expect(Stage::Probe, &[250], reply)?;
        Ok(self)
    }
}

/// A good reply with another code than the step's own belongs to another step.
fn expect(stage: Stage, codes: &[u16], reply: Response) -> Result<(), SmtpFailure> {
    let code = u16::from(reply.code());
    if codes.contains(&code) {
        return Ok(());
    }
    Err(SmtpFailure::Silent { stage, what: format!("an unexpected reply {code}") })
}

trait IntoFailure {
    fn into_failure(self, stage: Stage) -> SmtpFailure;
}

impl IntoFailure for std::io::Error {
    fn into_failure(self, stage: Stage) -> SmtpFailure {
        SmtpFailure::Silent { stage, what: self.kind().to_string() }
    }
}

impl IntoFailure for Error {
    fn into_failure(self, stage: Stage) -> SmtpFailure {
        let text = std::error::Error::source(&self).map(ToString::to_string).unwrap_or_default();
        match self.status() {
            Some(code) => SmtpFailure::Reply {
                stage,
                code: code.into(),
                enhanced: find_enhanced(&text),
                text,
            },
            None => SmtpFailure::Silent {
                stage,
                what: if text.is_empty() { self.to_string() } else { text },
            },
        }
    }
}

async fn deadline<T, E: IntoFailure>(
    stage: Stage,
    limit: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, SmtpFailure> {
    match tokio::time::timeout(limit, step).await {
        Ok(result) => result.map_err(|error| error.into_failure(stage)),
        Err(_) => Err(SmtpFailure::Silent {
            stage,
            what: format!("no answer within {} s", limit.as_secs_f32()),
        }),
    }
}
