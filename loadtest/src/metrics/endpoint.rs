//! `GET /metrics` while a run goes on, and for a moment after it: a scraper that was there during
//! the run gets the last state as well. Serves one text; knows nothing of what is in it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// The format of the text.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A scraper comes every second; two are enough for one more visit.
const LAST_VISIT_WAIT: Duration = Duration::from_secs(2);
/// How long an answer that is under way may still take.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// A listener that does not answer yet.
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

/// A listener that answers; it ends with its value.
pub struct Serving {
    task: JoinSet<()>,
    visits: watch::Sender<u64>,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Source {
    handle: PrometheusHandle,
    visits: watch::Sender<u64>,
}

impl Endpoint {
    /// Takes the address, so that one that is in use is told before the run.
    pub async fn bind(asked: SocketAddr) -> Result<Self, Failure> {
        let failed = |error| {
            let what = format!("cannot serve metrics on {asked} (choose another with --metrics)");
            Failure::failed(what, error)
        };
        let listener = TcpListener::bind(asked).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on.
    pub fn serve(self, handle: PrometheusHandle) -> Serving {
        let (visits, stop) = (watch::Sender::new(0), CancellationToken::new());
        let router = Router::new()
            .route("/metrics", get(answer))
            .with_state(Source { handle, visits: visits.clone() });
        let stopped = stop.clone().cancelled_owned();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let serving = axum::serve(self.listener, router).with_graceful_shutdown(stopped);
            if let Err(error) = serving.await {
                tracing::error!("metrics are no longer served: {error}");
            }
        });
        Serving { task, visits, stop }
    }
}

impl Serving {
    /// Lets whoever scraped during the run scrape once more, and ends.
    pub async fn stop(mut self) {
        let mut visits = self.visits.subscribe();
        let before = *visits.borrow();
        if before > 0 {
            // Whoever does not come back has seen all but the last second.
            let _ = timeout(LAST_VISIT_WAIT, visits.wait_for(|count| *count > before)).await;
        }
        self.stop.cancel();
        // An answer that takes longer is cut off with the process.
        let _ = timeout(CLOSE_WAIT, self.task.join_next()).await;
    }
}

async fn answer(State(source): State<Source>) -> impl IntoResponse {
    // Counted before it is rendered: a visit that is counted after the last state shows it.
    source.visits.send_modify(|count| *count += 1);
    ([(header::CONTENT_TYPE, TEXT)], source.handle.render())
}
