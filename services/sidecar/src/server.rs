//! Accepts connections and speaks HTTP/1.1 on them.
//! Reads and writes: sockets. Never: lets a peer hold a connection without sending a request's head or
//! taking its answer in time, opens more connections than configured, or cuts an answer short at a stop.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use campana_bus::lifecycle::Lifecycle;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::options::Limits;
use crate::stall::Progress;

/// Bytes of a request's head, and of the read buffer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Pause after the operating system refused a connection (no file descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a peer may go on sending after its answer, and how much.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Server {
    pub router: Router,
    pub limits: Limits,
    pub lifecycle: Lifecycle,
    /// Cancelled when no more requests are taken.
    pub closing: CancellationToken,
}

/// Serves until `closing`. Connections end by themselves after the answer that they are in.
pub(crate) async fn serve(listener: TcpListener, server: Server) {
    let permits = Arc::new(Semaphore::new(server.limits.connections_max));
    loop {
        let permit = tokio::select! {
            () = server.closing.cancelled() => return,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return };
        let accepted = tokio::select! {
            () = server.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let task = connection(stream, server.clone(), permit);
                server.lifecycle.spawn("sidecar connection", task);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, server: Server, _permit: OwnedSemaphorePermit) {
    // Answers are small and whole: waiting for more to send only adds latency.
    let _ = stream.set_nodelay(true);
    let stream = Progress::new(stream, server.limits.read_timeout);
    let router = TowerToHyperService::new(server.router);
    // Boxed, so that the connection can be polled by hand and taken apart at its end.
    let service = service_fn(move |request| Box::pin(router.call(request)));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.limits.read_timeout)
        .max_headers(server.limits.headers_max)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut stopping = false;
    let result = loop {
        tokio::select! {
            result = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break result,
            () = server.closing.cancelled(), if !stopping => {
                stopping = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    if let Some(stream) = connection.into_parts().io.into_inner().unless_stalled() {
        linger(stream).await;
    }
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Closes our half and reads what the peer still sends. A refusal that is answered before the body has
/// arrived would otherwise be lost: closing with unread input makes TCP reset the connection, and the
/// peer drops the answer that it has not read yet.
async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut scratch = [0_u8; 4 * 1024];
    let drain = async {
        let mut left = LINGER_BYTES_MAX;
        while let Ok(read @ 1..) = stream.read(&mut scratch).await {
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}
