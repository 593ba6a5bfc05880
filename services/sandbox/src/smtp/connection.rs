//! One SMTP connection: reads, asks the pure session, lets scripted faults interfere, writes.
//!
//! Answers of pipelined commands are collected and written with one flush. Memory is one read
//! buffer plus the message in transfer, which is charged to the shared budget.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Receiver;
use super::command;
use super::frame::{BadData, DataFrame, DataReceiver, Frame, Lines};
use super::reply::Reply;
use super::session::{Change, Proposal, Session};
use crate::faults::{Action, Decision, Facts, FaultChannel, Stage, When, magic_smtp};
use crate::mail;
use crate::stamp::Stamp;

const READ_BUFFER: usize = 8 * 1024;
/// Kibibytes that a message in transfer is charged at a time.
const BUDGET_STEP_KIB: u32 = 64;

/// Whether the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Close,
}

/// What became of a command after the faults had their say.
enum Verdict {
    Proceed,
    Replace(Reply),
    /// Carry it out, then never answer: hang for this long and close.
    ProceedThenVanish(Duration),
    /// Do not carry it out, hang for this long and close.
    Vanish(Duration),
}

struct Connection<'a> {
    stream: TcpStream,
    receiver: &'a Receiver,
    session: Session,
    lines: Lines,
    data: Option<(DataReceiver, Budget)>,
    input: BytesMut,
    output: BytesMut,
}

/// Serves one client until it leaves, errs too often, falls silent or the receiver stops.
pub async fn converse(stream: TcpStream, receiver: &Receiver) -> io::Result<()> {
    let limits = receiver.shared.options.smtp.clone();
    let mut connection = Connection {
        stream,
        receiver,
        lines: Lines::new(limits.command_line),
        session: Session::new(limits),
        data: None,
        input: BytesMut::with_capacity(READ_BUFFER),
        output: BytesMut::new(),
    };
    let greeting = Proposal {
        reply: Session::greeting(),
        change: Change::None,
        stage: Some((Stage::Connect, None)),
    };
    let mut flow = connection.act(greeting).await?;
    while flow == Flow::On {
        flow = connection.drain().await?;
        connection.flush().await?;
        if flow == Flow::On {
            flow = connection.read().await?;
        }
    }
    connection.flush().await
}

impl Connection<'_> {
    /// Handles everything that is complete in the buffer.
    async fn drain(&mut self) -> io::Result<Flow> {
        loop {
            let flow = match self.data.take() {
                Some((data, budget)) => match self.content(data, budget).await? {
                    Some(flow) => flow,
                    None => return Ok(Flow::On),
                },
                None => match self.lines.next(&mut self.input) {
                    Frame::More => return Ok(Flow::On),
                    Frame::Line(line) => self.line(&line).await?,
                    Frame::Bad(bad) => self.refuse(Session::bad_line(bad)),
                    Frame::Flood => {
                        self.say(&Reply::new(421, "4.7.0", "line without end"));
                        Flow::Close
                    }
                },
            };
            if flow == Flow::Close {
                return Ok(Flow::Close);
            }
        }
    }

    async fn line(&mut self, line: &[u8]) -> io::Result<Flow> {
        if self.session.expects_answer() {
            let proposal = self.session.answer(line);
            return self.act(proposal).await;
        }
        match command::parse(line) {
            Ok(command) => {
                let proposal = self.session.command(command);
                self.act(proposal).await
            }
            Err(reply) => Ok(self.refuse(reply)),
        }
    }

    /// Gives a proposal's answer and applies its change, unless a fault takes its place.
    async fn act(&mut self, proposal: Proposal) -> io::Result<Flow> {
        let Proposal { reply, change, stage } = proposal;
        let verdict = match &stage {
            None => Verdict::Proceed,
            Some((stage, recipient)) => {
                let recipients: Vec<String> = match recipient {
                    Some(one) => vec![one.clone()],
                    None => self.session.recipients().to_vec(),
                };
                self.judge(*stage, &recipients).await?
            }
        };
        match verdict {
            Verdict::Proceed => {}
            Verdict::Replace(reply) => return Ok(self.replace(&reply, stage.map(|s| s.0))),
            Verdict::ProceedThenVanish(hang) => {
                self.session.apply(change);
                return self.vanish(hang).await;
            }
            Verdict::Vanish(hang) => return self.vanish(hang).await,
        }
        if reply.code >= 500 {
            self.session.apply(change);
            return Ok(self.refuse(reply));
        }
        self.say(&reply);
        let flow = if change == Change::Close { Flow::Close } else { Flow::On };
        if change == Change::StartData {
            let limits = &self.receiver.shared.options.smtp;
            let data = DataReceiver::new(limits.message_bytes, limits.text_line);
            self.data = Some((data, Budget::new(&self.receiver.budget)));
        }
        self.session.apply(change);
        Ok(flow)
    }

    /// A fault's refusal; 421 announces that the connection closes, and so does any refusal of
    /// the connection itself.
    fn replace(&mut self, reply: &Reply, stage: Option<Stage>) -> Flow {
        self.say(reply);
        if reply.code == 421 || stage == Some(Stage::Connect) { Flow::Close } else { Flow::On }
    }

    /// Takes message content from the buffer. `None`: more has to be read first.
    async fn content(
        &mut self,
        mut data: DataReceiver,
        mut budget: Budget,
    ) -> io::Result<Option<Flow>> {
        match data.push(&mut self.input) {
            DataFrame::More => {
                if !budget.cover(data.held()) {
                    self.say(&Reply::new(452, "4.3.1", "too many messages in transfer"));
                    return Ok(Some(Flow::Close));
                }
                self.data = Some((data, budget));
                Ok(None)
            }
            DataFrame::Flood => {
                self.say(&self.session.bad_data(BadData::TooBig));
                Ok(Some(Flow::Close))
            }
            DataFrame::Done(Err(bad)) => {
                self.session.take_envelope();
                self.receiver.shared.stats.smtp_rejected_message();
                self.say(&self.session.bad_data(bad));
                Ok(Some(Flow::On))
            }
            DataFrame::Done(Ok(content)) => self.deliver(content).await.map(Some),
        }
    }

    /// The whole message is here: keep it and say so, unless a fault takes its place.
    async fn deliver(&mut self, content: Vec<u8>) -> io::Result<Flow> {
        // Stamped before any scripted delay: this is when it arrived.
        let received = Stamp::now();
        let recipients = self.session.recipients().to_vec();
        let verdict = self.judge(Stage::AfterDot, &recipients).await?;
        let envelope = self.session.take_envelope();
        let keep = matches!(verdict, Verdict::Proceed | Verdict::ProceedThenVanish(_));
        let mut id = String::new();
        if keep {
            let user = self.session.user().map(str::to_owned);
            let sender = (self.session.helo(), user);
            let kept = mail::keep(&self.receiver.shared, sender, envelope, content, received);
            id = kept.id.to_string();
        } else {
            self.receiver.shared.stats.smtp_rejected_message();
        }
        match verdict {
            Verdict::Proceed => {
                self.say(&Reply::new(mail::KEPT, "2.0.0", &format!("ok queued as {id}")));
                Ok(Flow::On)
            }
            Verdict::Replace(reply) => Ok(self.replace(&reply, Some(Stage::AfterDot))),
            Verdict::ProceedThenVanish(hang) | Verdict::Vanish(hang) => self.vanish(hang).await,
        }
    }

    /// Asks the rules, then the magic recipients, and waits out their delay.
    async fn judge(&mut self, stage: Stage, recipients: &[String]) -> io::Result<Verdict> {
        let shared = &self.receiver.shared;
        let names: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let facts = Facts { channel: FaultChannel::Smtp, stage, recipients: &names };
        let mut decision = shared.faults.decide(&facts);
        if decision.action.is_none() {
            let sender = self.session.sender();
            for recipient in &names {
                let magic = magic_smtp(stage, recipient, || shared.greylisted(sender, recipient));
                decision.delay += magic.delay;
                if magic.action.is_some() {
                    decision.action = magic.action;
                    break;
                }
            }
        }
        let Decision { delay, action, .. } = decision;
        if !delay.is_zero() {
            self.flush().await?;
            self.pause(delay).await;
        }
        Ok(match action {
            None | Some(Action::Http { .. }) => Verdict::Proceed,
            Some(Action::Reply { code, enhanced, text }) => {
                Verdict::Replace(Reply::new(code, &enhanced, &text))
            }
            Some(Action::Hang { when: When::Before, limit }) => Verdict::Vanish(limit),
            Some(Action::Hang { when: When::After, limit }) => Verdict::ProceedThenVanish(limit),
            Some(Action::Close { when: When::Before }) => Verdict::Vanish(Duration::ZERO),
            Some(Action::Close { when: When::After }) => Verdict::ProceedThenVanish(Duration::ZERO),
        })
    }

    /// Waits, but never beyond the soft stop.
    async fn pause(&self, delay: Duration) {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.receiver.lifecycle.soft.cancelled() => {}
        }
    }

    /// Says nothing more; ends early when the client hangs up.
    async fn vanish(&mut self, hang: Duration) -> io::Result<Flow> {
        self.flush().await?;
        let deadline = tokio::time::Instant::now() + hang;
        let mut ignored = [0_u8; 1_024];
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                () = self.receiver.lifecycle.soft.cancelled() => break,
                read = self.stream.read(&mut ignored) => match read {
                    Ok(n) if n > 0 => {}
                    _ => break,
                },
            }
        }
        Ok(Flow::Close)
    }

    async fn read(&mut self) -> io::Result<Flow> {
        let idle = self.session.is_idle() && self.data.is_none();
        let soft = self.receiver.lifecycle.soft.clone();
        self.input.reserve(READ_BUFFER);
        tokio::select! {
            read = self.stream.read_buf(&mut self.input) => {
                // A client that closed its half has been answered; what it left open is dropped.
                return Ok(if read? == 0 { Flow::Close } else { Flow::On });
            }
            () = soft.cancelled(), if idle => {
                self.say(&Reply::new(421, "4.3.2", "shutting down"));
            }
            () = tokio::time::sleep(self.receiver.shared.options.smtp.idle) => {
                self.say(&Reply::new(421, "4.4.2", "silent for too long"));
            }
        }
        Ok(Flow::Close)
    }

    /// Answers a wrong command; the connection ends after too many.
    fn refuse(&mut self, reply: Reply) -> Flow {
        self.say(&reply);
        if self.session.too_many_errors(&reply) {
            self.say(&Reply::new(421, "4.7.0", "too many errors"));
            return Flow::Close;
        }
        Flow::On
    }

    fn say(&mut self, reply: &Reply) {
        self.receiver.shared.stats.smtp_replied(reply.code);
        reply.write(&mut self.output);
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            // A client that never reads its answers must not keep its slot for ever.
            let idle = self.receiver.shared.options.smtp.idle;
            tokio::time::timeout(idle, self.stream.write_all(&self.output)).await??;
            self.output.clear();
        }
        Ok(())
    }
}

/// What one message in transfer has been charged; given back when it is dropped.
#[derive(Debug)]
struct Budget {
    semaphore: Arc<Semaphore>,
    held: Vec<OwnedSemaphorePermit>,
    kib: usize,
}

impl Budget {
    fn new(semaphore: &Arc<Semaphore>) -> Self {
        Self { semaphore: Arc::clone(semaphore), held: Vec::new(), kib: 0 }
    }

    /// Charges until the given octets are covered; false if the budget of all is used up. A
    /// message below one read buffer is not charged: the connection limit bounds those.
    fn cover(&mut self, octets: usize) -> bool {
        while octets > READ_BUFFER + self.kib * 1024 {
            match Arc::clone(&self.semaphore).try_acquire_many_owned(BUDGET_STEP_KIB) {
                Ok(permit) => self.held.push(permit),
                Err(_) => return false,
            }
            self.kib += BUDGET_STEP_KIB as usize;
        }
        true
    }
}
