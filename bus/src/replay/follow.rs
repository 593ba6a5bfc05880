//! When a follower looks for new messages.
//! Reads: a plain subscription, if it was asked to listen. Writes: nothing. Never: takes a message from there: what
//! is told may not be stored yet, or never be; the stream alone says what there is.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::time::{sleep, timeout};

use super::Plan;

/// How often a stream is asked that nobody listens to.
const EVERY: Duration = Duration::from_millis(200);
/// From the news of a change to the first look: it is stored by then, and what follows at once is seen with it.
const SETTLES: Duration = Duration::from_millis(20);
/// Longest pause between looks while listening. Changes of the server's own making (a time to live that is over)
/// are not told, and news may be missed while the connection is down.
const REST_MAX: Duration = Duration::from_secs(2);

/// What tells of changes.
pub(super) struct News {
    told: Vec<async_nats::Subscriber>,
    pause: Duration,
}

impl News {
    /// Listens if the plan says so; without permission to subscribe it looks every [`REST_MAX`].
    pub(super) async fn of(plan: &Plan) -> Self {
        let mut told = Vec::new();
        if plan.listen {
            for filter in &plan.filters {
                told.extend(plan.bus.client().subscribe(filter.clone()).await.ok());
            }
        }
        Self { pause: if told.is_empty() { EVERY } else { SETTLES }, told }
    }

    /// Returns when it is time to look.
    pub(super) async fn wait(&mut self) {
        if self.told.is_empty() {
            return sleep(EVERY).await;
        }
        let next = futures::future::select_all(self.told.iter_mut().map(StreamExt::next));
        match timeout(self.pause, next).await {
            Err(_) => self.pause = (self.pause * 2).min(REST_MAX),
            // The client was closed.
            Ok((None, at, _)) => drop(self.told.swap_remove(at)),
            Ok((Some(_), ..)) => {
                sleep(SETTLES).await;
                for one in &mut self.told {
                    while let Some(Some(_)) = one.next().now_or_never() {}
                }
                self.pause = SETTLES;
            }
        }
    }
}
