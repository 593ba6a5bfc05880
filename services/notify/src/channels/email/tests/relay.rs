//! A relay that follows a script.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the relay does with one message.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    pub(super) mail: Option<&'static str>,
    pub(super) rcpt: Option<&'static str>,
    pub(super) data: Option<&'static str>,
    /// `""` never answers.
    pub(super) body: Option<&'static str>,
    /// Closes the connection after the message.
    pub(super) close: bool,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) opened: usize,
    pub(super) open_now: usize,
    pub(super) open_most: usize,
    pub(super) messages: Vec<String>,
}

pub(super) struct Relay {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Mutex<Seen>>,
    /// One message each time a connection ends.
    pub(super) closed: mpsc::UnboundedReceiver<()>,
    /// One message each time a text was received whole.
    pub(super) received: mpsc::UnboundedReceiver<()>,
    _tasks: JoinSet<()>,
}

struct Wires {
    seen: Arc<Mutex<Seen>>,
    scripts: Mutex<VecDeque<Script>>,
    ehlo: &'static str,
    tls: Option<TlsAcceptor>,
    closed: mpsc::UnboundedSender<()>,
    received: mpsc::UnboundedSender<()>,
}

pub(super) async fn relay(scripts: Vec<Script>) -> Relay {
    relay_with("250-relay.test\r\n250 8BITMIME\r\n", None, scripts).await
}

/// With an acceptor: TLS from the first byte, unless the answer to EHLO offers STARTTLS.
pub(super) async fn relay_with(
    ehlo: &'static str,
    tls: Option<TlsAcceptor>,
    scripts: Vec<Script>,
) -> Relay {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (closed_sender, closed) = mpsc::unbounded_channel();
    let (received_sender, received) = mpsc::unbounded_channel();
    let wires = Arc::new(Wires {
        seen: Arc::clone(&seen),
        scripts: Mutex::new(scripts.into()),
        ehlo,
        tls,
        closed: closed_sender,
        received: received_sender,
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let wires = Arc::clone(&wires);
            connections.spawn(async move {
                {
                    let mut seen = wires.seen.lock().unwrap();
                    seen.opened += 1;
                    seen.open_now += 1;
                    seen.open_most = seen.open_most.max(seen.open_now);
                }
                let _ = serve(stream, &wires).await;
                wires.seen.lock().unwrap().open_now -= 1;
                let _ = wires.closed.send(());
            });
        }
    });
    Relay { address, seen, closed, received, _tasks: tasks }
}

async fn serve(stream: TcpStream, wires: &Wires) -> io::Result<()> {
    let offered = wires.ehlo.contains("STARTTLS");
    match &wires.tls {
        Some(tls) if !offered => {
            let stream = tls.accept(stream).await?;
            talk(stream, wires, "220 relay.test\r\n", wires.ehlo).await.map(drop)
        }
        _ => {
            let plain = talk(stream, wires, "220 relay.test\r\n", wires.ehlo).await?;
            if let (Some(stream), Some(tls)) = (plain, &wires.tls) {
                let stream = tls.accept(stream).await?;
                talk(stream, wires, "", "250-relay.test\r\n250 8BITMIME\r\n").await?;
            }
            Ok(())
        }
    }
}

/// Talks until the end, or until STARTTLS, and then returns the stream.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    wires: &Wires,
    greeting: &str,
    ehlo: &str,
) -> io::Result<Option<S>> {
    let mut stream = BufReader::new(stream);
    stream.write_all(greeting.as_bytes()).await?;
    stream.flush().await?;
    let mut script = Script::default();
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let command = line.trim_end().to_ascii_uppercase();
        let reply = match command.split([' ', ':']).next().unwrap() {
            "EHLO" => ehlo.to_owned(),
            "STARTTLS" if wires.tls.is_some() => {
                stream.write_all(b"220 go on\r\n").await?;
                stream.flush().await?;
                return Ok(Some(stream.into_inner()));
            }
            "MAIL" => {
                script = wires.scripts.lock().unwrap().pop_front().unwrap_or_default();
                format!("{}\r\n", script.mail.unwrap_or("250 ok"))
            }
            "RCPT" => format!("{}\r\n", script.rcpt.unwrap_or("250 ok")),
            "DATA" => {
                let reply = script.data.unwrap_or("354 go on");
                stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
                stream.flush().await?;
                if !reply.starts_with("354") {
                    continue;
                }
                let text = read_text(&mut stream).await?;
                let _ = wires.received.send(());
                match script.body {
                    Some("") => {
                        // Says nothing until the other side hangs up.
                        let mut rest = String::new();
                        while stream.read_line(&mut rest).await? > 0 {}
                        return Ok(None);
                    }
                    Some(reply) => format!("{reply}\r\n"),
                    None => {
                        wires.seen.lock().unwrap().messages.push(text);
                        "250 2.0.0 queued as ABC\r\n".to_owned()
                    }
                }
            }
            "QUIT" => return Ok(None),
            _ => "250 ok\r\n".to_owned(),
        };
        stream.write_all(reply.as_bytes()).await?;
        stream.flush().await?;
        if script.close && reply.starts_with("250 2.0.0") {
            return Ok(None);
        }
    }
}

async fn read_text(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(text);
        }
        text.push_str(&line);
    }
}
