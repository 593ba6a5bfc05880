//! Accepts connections and speaks HTTP/1.1 on them.
//! Reads and writes: sockets. Never: lets a peer hold a connection without sending a request's head in
//! time, opens more connections than configured, or cuts an answer short at a soft stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::state::App;

/// Bytes of a request's head, and of the read buffer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Pause after the operating system refused a connection (no file descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Service = TowerToHyperService<Router>;

/// Serves until the soft stop. Connections end by themselves after the answer that they are in.
pub(super) async fn serve(listener: TcpListener, router: Router, app: App) {
    let permits = Arc::new(Semaphore::new(app.options.connections_max));
    loop {
        let permit = tokio::select! {
            () = app.lifecycle.soft.cancelled() => return,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return };
        let accepted = tokio::select! {
            () = app.lifecycle.soft.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(router.clone());
                app.lifecycle.spawn("gateway connection", connection(stream, service, app.clone(), permit));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, service: Service, app: App, _permit: OwnedSemaphorePermit) {
    // Answers are small and whole: waiting for more to send only adds latency.
    let _ = stream.set_nodelay(true);
    app.metrics.connections.increment(1.0);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.options.header_timeout())
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = app.lifecycle.soft.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    app.metrics.connections.decrement(1.0);
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
