//! The agent's door: agrees with a coordinator on version and token, lets one in at a time, and
//! hands the connection to [`super::work`]. A child of a coordinator has its pipes instead of a
//! door, and ends with them.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::line::{self, Input, Output};
use super::protocol::{
    Answer, Code, Greeting, HELLO_BYTES_MAX, Hello, ORDER_BYTES_MAX, Refusal, VERSION, Welcome,
};
use super::secret::{Side, Token, is_nonce, nonce};
use super::work::{self, Ended};
use crate::clock;
use crate::failure::Failure;

/// Connections whose token has not been seen yet.
const STRANGERS_MAX: usize = 8;
/// How long a stranger may take to show the token.
const AGREE_WITHIN: Duration = Duration::from_secs(10);
/// What follows a wrong token, so that guessing is slow.
const WRONG_PAUSE: Duration = Duration::from_secs(1);
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// Serves coordinators until it is stopped.
pub async fn listen(
    address: SocketAddr,
    token: Token,
    stop: CancellationToken,
    told: impl Fn(String),
) -> Result<(), Failure> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::failed(format!("cannot listen on {address}"), error))?;
    let address = listener.local_addr().map_err(|error| Failure::failed("the address", error))?;
    told(format!("agent listens on {address}"));
    if !address.ip().is_loopback() {
        told(
            "this connection is not encrypted: use it in a network that you trust, or listen on \
             loopback and reach it through a tunnel"
                .to_owned(),
        );
    }
    // All in this task, as a run of one process is: its load has tasks of its own.
    let mut guests = FuturesUnordered::new();
    let (strangers, seat) = (Arc::new(Semaphore::new(STRANGERS_MAX)), Arc::new(Semaphore::new(1)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(()) = guests.next() => continue,
            () = stop.cancelled() => break,
        };
        // A connection that ended before it was accepted is nobody's loss.
        let Ok((stream, from)) = accepted else { continue };
        // Above the limit it is closed at once.
        let Ok(stranger) = Arc::clone(&strangers).try_acquire_owned() else { continue };
        let (token, stop, told, seat) = (&token, &stop, &told, Arc::clone(&seat));
        guests.push(async move {
            match Box::pin(admit(stream, stranger, token, seat, stop)).await {
                Ok(()) => told(format!("{from}: the run is over")),
                Err(refusal) => told(format!("{from}: {refusal}")),
            }
        });
    }
    // Work ends with `stop`; what does not is cut off with the process.
    let rest = async { while guests.next().await.is_some() {} };
    let _ = tokio::time::timeout(CLOSE_WITHIN, rest).await;
    Ok(())
}

async fn admit(
    stream: TcpStream,
    stranger: OwnedSemaphorePermit,
    token: &Token,
    seat: Arc<Semaphore>,
    stop: &CancellationToken,
) -> Ended {
    line::prepare(&stream).map_err(|error| Refusal::new(Code::Gone, error))?;
    let (reader, writer) = stream.into_split();
    let (mut input, mut output) = (Input::new(reader, HELLO_BYTES_MAX), Output::new(writer));
    let agreed = tokio::select! {
        agreed = agree(&mut input, &mut output, token) => agreed,
        () = stop.cancelled() => return Err(Refusal::new(Code::Gone, "the agent was stopped")),
    };
    let taken = agreed.and_then(|proof| {
        let free = Arc::clone(&seat).try_acquire_owned();
        let busy = |_| Refusal::new(Code::Busy, "this agent works for another coordinator");
        free.map(|held| (proof, held)).map_err(busy)
    });
    let (proof, _held) = match taken {
        Ok(taken) => taken,
        Err(refusal) => {
            if refusal.code == Code::Unauthorized {
                tokio::time::sleep(WRONG_PAUSE).await;
            }
            output.write(&Greeting::Refused(refusal.clone())).await?;
            return Err(refusal);
        }
    };
    drop(stranger);
    output.write(&Greeting::Welcome(welcome(proof))).await?;
    input.allow(ORDER_BYTES_MAX);
    work::work(input, output, work::END_WITHIN, stop).await
}

/// Settles version and token; returns the agent's own proof.
async fn agree(input: &mut Input, output: &mut Output, token: &Token) -> Result<String, Refusal> {
    let own = nonce();
    let harness = env!("CARGO_PKG_VERSION").to_owned();
    output.write(&Hello { protocol: VERSION, harness, nonce: own.clone() }).await?;
    let answer: Answer = input.read_within(AGREE_WITHIN).await?;
    if answer.protocol != VERSION {
        let message =
            format!("the agent speaks version {VERSION}, the coordinator {}", answer.protocol);
        return Err(Refusal::new(Code::Version, message));
    }
    let known = is_nonce(&answer.nonce)
        && token.holds(Side::Coordinator, &own, &answer.nonce, &answer.proof);
    if !known {
        return Err(Refusal::new(Code::Unauthorized, "the token is not this agent's"));
    }
    Ok(token.proof(Side::Agent, &own, &answer.nonce))
}

fn welcome(proof: String) -> Welcome {
    Welcome {
        proof,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        cores: std::thread::available_parallelism()
            .map_or(0, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        boot: clock::boot(),
        harness: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Works for the process that started this one, until its pipes end.
pub async fn child(stop: CancellationToken) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed("standard input and output", error);
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
    let reader = pipe::Receiver::from_owned_fd(stdin).map_err(failed)?;
    let writer = pipe::Sender::from_owned_fd(stdout).map_err(failed)?;
    let (input, mut output) = (Input::new(reader, ORDER_BYTES_MAX), Output::new(writer));
    let greeting = Greeting::Welcome(welcome(String::new()));
    let refused = |refusal: Refusal| Failure::Failed(refusal.to_string());
    output.write(&greeting).await.map_err(refused)?;
    // The process ends with its parent, whatever it is at.
    match Box::pin(work::work(input, output, Duration::ZERO, &stop)).await {
        Err(refusal) if refusal.code != Code::Gone => Err(Failure::Failed(refusal.to_string())),
        _ => Ok(()),
    }
}
