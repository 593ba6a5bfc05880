//! `GET /api/receipts`: the ring as a feed that is asked again and again; a question may wait.
//!
//! It changes nothing, so any number of readers see the same. Each says how far it has come.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use campana_bus::clock;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Page;
use crate::state::Shared;
use crate::web::{Problem, ProblemQuery};

/// The version of the answer's form.
const SCHEMA_VERSION: u32 = 1;
/// Receipts of one page, if the question does not say.
const PAGE_DEFAULT: usize = 1_000;
/// Receipts of one page at most.
const PAGE_MAX: usize = 10_000;
/// Longest wait of one question.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
struct Feed {
    shared: Arc<Shared>,
    waiting: Arc<Semaphore>,
    stop: CancellationToken,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedQuery {
    after: Option<u64>,
    limit: Option<usize>,
    wait_ms: Option<u64>,
}

pub fn router(shared: Arc<Shared>, stop: CancellationToken) -> Router {
    let waiting = Arc::new(Semaphore::new(shared.options.web.live_viewers));
    Router::new().route("/api/receipts", get(read)).with_state(Feed { shared, waiting, stop })
}

async fn read(
    State(feed): State<Feed>,
    ProblemQuery(query): ProblemQuery<FeedQuery>,
) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if limit == 0 || limit > PAGE_MAX {
        return Err(Problem::invalid(format!("limit must be 1 to {PAGE_MAX}")));
    }
    let wait = Duration::from_millis(query.wait_ms.unwrap_or(0));
    if wait > WAIT_MAX {
        return Err(Problem::invalid(format!("wait_ms must be 0 to {}", WAIT_MAX.as_millis())));
    }
    // Who does not say where it stands begins with what comes from now on.
    let receipts = &feed.shared.receipts;
    let after = query.after.unwrap_or_else(|| receipts.held().newest);
    let page = receipts.read(after, limit);
    if !page.lines.is_empty() || wait.is_zero() {
        return Ok(answer(&feed.shared, &page));
    }
    let _place = Arc::clone(&feed.waiting)
        .try_acquire_owned()
        .map_err(|_| Problem::busy("too many readers wait for receipts"))?;
    let page = tokio::select! {
        page = feed.shared.receipts.arrival(after, limit) => page,
        () = tokio::time::sleep(wait) => page,
        () = feed.stop.cancelled() => page,
    };
    Ok(answer(&feed.shared, &page))
}

impl super::Receipts {
    /// The next page that is not empty.
    async fn arrival(&self, after: u64, limit: usize) -> Page {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            // Listening before looking: what comes in between wakes this.
            news.as_mut().enable();
            let page = self.read(after, limit);
            if !page.lines.is_empty() {
                return page;
            }
            news.await;
        }
    }
}

fn answer(shared: &Shared, page: &Page) -> Response {
    let bytes: usize = page.lines.iter().map(|line| line.len() + 32).sum();
    let mut json = String::with_capacity(bytes + 128);
    // Writing to a text cannot fail.
    let _ = write!(
        json,
        "{{\"schema_version\":{SCHEMA_VERSION},\"instance\":\"{:x}\",\"boot\":\"{:08x}\",\"receipts\":[",
        shared.started.monotonic_ns,
        clock::boot(),
    );
    for (seq, line) in (page.first..).zip(&page.lines) {
        let comma = if seq == page.first { "" } else { "," };
        let _ = write!(json, "{comma}{{\"seq\":{seq},{line}");
    }
    let _ = write!(json, "],\"next\":{},\"lost\":{}}}", page.next, page.lost);
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], json).into_response()
}
