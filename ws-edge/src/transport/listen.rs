//! Accepts connections and speaks HTTP/1.1 on them until they become something else.
//! Reads and writes: sockets. Never: lets a peer hold a connection without sending a request in time, takes
//! more connections that have no session than configured, or keeps one whose peer is silently gone.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use campana_bus::lifecycle::Lifecycle;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::options::EdgeOptions;

/// Bytes of a request's head, which has the connect command of some transports; and of what may wait to be
/// written.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Pause after the operating system refused a connection (no file descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection that a request came on.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Its place among the connections without a session.
    place: Mutex<Option<OwnedSemaphorePermit>>,
    cut: CancellationToken,
}

impl Peer {
    fn new(place: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Inner { place: Mutex::new(Some(place)), cut: CancellationToken::new() }))
    }

    /// The connection has a session now, which has limits of its own.
    pub(crate) fn has_session(&self) {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Ends the connection without a word.
    pub(crate) fn cut(&self) {
        self.0.cut.cancel();
    }
}

/// Serves until `stop`. Connections end by themselves after the answer that they are in.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    options: &EdgeOptions,
    lifecycle: &Lifecycle,
    stop: &CancellationToken,
) {
    let places = options.http.requests_max.min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(places));
    let header_timeout = Duration::from_millis(options.http.header_timeout_ms);
    let silence = Duration::from_millis(options.ping_interval_ms + options.pong_timeout_ms);
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                prepare(&stream, silence);
                let serving = connection(
                    stream,
                    address,
                    router.clone(),
                    Peer::new(place),
                    header_timeout,
                    stop.clone(),
                );
                lifecycle.spawn("edge connection", serving);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Small frames must not wait for the acknowledgement of the last one; and a peer that acknowledges nothing for
/// so long is gone, whatever TCP still hopes.
fn prepare(stream: &TcpStream, silence: Duration) {
    let silence = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    let set = stream
        .set_nodelay(true)
        .and_then(|()| Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, silence)?));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection keeps the system's settings");
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    peer: Peer,
    header_timeout: Duration,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let cut = peer.0.cut.clone();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        request.extensions_mut().insert(peer.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = cut.cancelled() => return,
        }
    }
}
