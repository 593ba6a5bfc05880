//! One agent, as the coordinator has it: how it was reached, who it is, what its clock says, and
//! the way for orders. What it reports goes to one inbox for all of them.

use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::line::{self, Input, Output};
use super::offset::Offset;
use super::protocol::{
    Answer, Code, Greeting, HELLO_BYTES_MAX, Hello, Order, REPORT_BYTES_MAX, Refusal, Report,
    VERSION, Welcome,
};
use super::secret::{Side, Token, nonce};
use crate::clock::now_ns;
use crate::failure::Failure;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A child loads a debug build from a cold disk.
const GREET_WITHIN: Duration = Duration::from_secs(60);
/// How long a child may take to end after its pipes were closed.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Something that a member said, or why it says nothing any more.
pub struct Heard {
    pub member: usize,
    pub at_ns: u64,
    pub what: Result<Report, Refusal>,
}

/// An agent at work.
pub struct Member {
    /// As reports name it.
    pub name: String,
    /// Where it is, in words.
    pub place: String,
    pub welcome: Welcome,
    pub offset: Offset,
    /// When something was heard of it last.
    pub heard_ns: u64,
    output: Output,
    child: Option<Child>,
}

/// A connection that is agreed on.
struct Agreed {
    input: Input,
    output: Output,
    welcome: Welcome,
    child: Option<Child>,
}

impl Member {
    /// Starts a process on this machine that ends with this one.
    pub async fn child(
        index: usize,
        inbox: mpsc::Sender<Heard>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Failure> {
        let failed = |error| Failure::failed("cannot start a generator", error);
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .args(["agent", "--stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // ctrl-C is for the coordinator, which tells its agents to end.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Failed("a generator has no pipes".to_owned()));
        };
        let (mut input, output) = (Input::new(stdout, REPORT_BYTES_MAX), Output::new(stdin));
        let greeting = input.read_within(GREET_WITHIN).await;
        let welcome = greeted(greeting).map_err(|why| Failure::Failed(why.to_string()))?;
        let place = format!("process {} of this machine", welcome.pid);
        let agreed = Agreed { input, output, welcome, child: Some(child) };
        Ok(Self::new(index, place, agreed, inbox, tasks))
    }

    /// Connects to an agent elsewhere.
    pub async fn remote(
        index: usize,
        address: &str,
        token: &Token,
        inbox: mpsc::Sender<Heard>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Failure> {
        let what = format!("the agent {address}");
        let agreed = reach(address, token).await.map_err(|why| Failure::connect(&what, why))?;
        Ok(Self::new(index, address.to_owned(), agreed, inbox, tasks))
    }

    fn new(
        index: usize,
        place: String,
        agreed: Agreed,
        inbox: mpsc::Sender<Heard>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let Agreed { mut input, output, welcome, child } = agreed;
        tasks.spawn(async move {
            loop {
                let what = input.read::<Report>().await;
                let at_ns = now_ns();
                let what = what.and_then(|report| report.check().map(|()| report));
                let over = what.is_err();
                if inbox.send(Heard { member: index, at_ns, what }).await.is_err() || over {
                    return;
                }
            }
        });
        Self {
            name: format!("generator-{}", index + 1),
            place,
            welcome,
            offset: Offset::default(),
            heard_ns: now_ns(),
            output,
            child,
        }
    }

    /// Gives an order.
    pub async fn order(&mut self, order: &Order) -> Result<(), Refusal> {
        self.output.write(order).await
    }

    /// Name and place, for messages.
    pub fn text(&self) -> String {
        format!("{} ({})", self.name, self.place)
    }

    /// Closes the connection and waits for a child's end; kills it if it does not come.
    pub async fn end(self) {
        let Self { output, child, .. } = self;
        drop(output);
        let Some(mut child) = child else { return };
        if tokio::time::timeout(END_WITHIN, child.wait()).await.is_err() {
            // It is killed when it is dropped as well; here its end is waited for.
            let _ = child.kill().await;
        }
    }
}

async fn reach(address: &str, token: &Token) -> Result<Agreed, Refusal> {
    let connecting = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await;
    let stream = connecting
        .map_err(|_| Refusal::new(Code::TimedOut, "no connection in time"))?
        .and_then(|stream| line::prepare(&stream).map(|()| stream))
        .map_err(|error| Refusal::new(Code::Gone, error))?;
    let (reader, writer) = stream.into_split();
    let (mut input, mut output) = (Input::new(reader, HELLO_BYTES_MAX), Output::new(writer));
    let hello: Hello = input.read_within(CONNECT_WITHIN).await?;
    if hello.protocol != VERSION {
        let message =
            format!("the coordinator speaks version {VERSION}, the agent {}", hello.protocol);
        return Err(Refusal::new(Code::Version, message));
    }
    let own = nonce();
    let proof = token.proof(Side::Coordinator, &hello.nonce, &own);
    output.write(&Answer { protocol: VERSION, nonce: own.clone(), proof }).await?;
    let welcome = greeted(input.read_within(CONNECT_WITHIN).await)?;
    // Before it is told the platform's key.
    if !token.holds(Side::Agent, &hello.nonce, &own, &welcome.proof) {
        return Err(Refusal::new(Code::Unauthorized, "the agent does not know the token"));
    }
    input.allow(REPORT_BYTES_MAX);
    Ok(Agreed { input, output, welcome, child: None })
}

fn greeted(greeting: Result<Greeting, Refusal>) -> Result<Welcome, Refusal> {
    match greeting? {
        Greeting::Welcome(welcome) => Ok(welcome),
        // Its text comes from elsewhere, and a terminal obeys what it is shown.
        Greeting::Refused(refusal) => Err(Refusal::new(refusal.code, refusal.message)),
    }
}
