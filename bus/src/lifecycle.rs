//! Starting and stopping: two stop signals and one tracker for every task of a process.
//! Reads: nothing. Writes: nothing. Never: lets a task end unseen.
//! A soft stop means: take no new work, finish and acknowledge what is in hand. A hard stop means: drop
//! everything; redelivery makes that safe. A task that ends by itself while the process should run stops
//! the process, because a half-dead process is worse than a restarted one.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shared by all tasks of a process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// Cancelled first: finish what is in hand.
    pub soft: CancellationToken,
    /// Cancelled when the grace period is over: drop everything.
    pub hard: CancellationToken,
    tracker: TaskTracker,
    failure: Arc<Mutex<Option<String>>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A lifecycle of its own, running.
    #[must_use]
    pub fn new() -> Self {
        Self {
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            tracker: TaskTracker::new(),
            failure: Arc::new(Mutex::new(None)),
        }
    }

    /// A lifecycle that stops with its parent and can also be stopped alone (one role, one test).
    /// Its tasks are tracked by the parent too.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            soft: self.soft.child_token(),
            hard: self.hard.child_token(),
            tracker: self.tracker.clone(),
            failure: Arc::clone(&self.failure),
        }
    }

    /// Runs a task that is tracked and dropped at the hard stop.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that spawns: everything else goes through here"
    )]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let hard = self.hard.clone();
        let task = self.tracker.track_future(async move {
            tokio::select! {
                () = future => {}
                () = hard.cancelled() => tracing::debug!(task.name = name, "task dropped at the hard stop"),
            }
        });
        tokio::spawn(task)
    }

    /// Runs a task whose failure stops the process: a role or a supervisor.
    pub fn spawn_essential<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let this = self.clone();
        self.spawn(name, async move {
            let result = future.await;
            if this.soft.is_cancelled() {
                return;
            }
            let why = match result {
                Ok(()) => format!("{name} ended although nobody stopped it"),
                Err(error) => format!("{name} failed: {error}"),
            };
            this.fail(why);
        })
    }

    /// Records why the process must stop and starts the soft stop.
    pub fn fail(&self, why: String) {
        if let Ok(mut failure) = self.failure.lock() {
            failure.get_or_insert(why);
        }
        self.soft.cancel();
    }

    /// The first failure that stopped the process, if any.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().ok().and_then(|failure| failure.clone())
    }

    /// Soft stop, then the hard stop after `grace`. Returns true if everything ended within the grace.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.soft.cancel();
        self.tracker.close();
        let clean = tokio::time::timeout(grace, self.tracker.wait()).await.is_ok();
        if !clean {
            tracing::warn!(
                tasks.left = self.tracker.len(),
                "tasks did not finish within the grace period: dropping them"
            );
        }
        self.hard.cancel();
        self.tracker.wait().await;
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_soft_stop_lets_work_finish() {
        let lifecycle = Lifecycle::new();
        let soft = lifecycle.soft.clone();
        lifecycle.spawn("worker", async move { soft.cancelled().await });
        assert!(lifecycle.stop(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn a_stuck_task_is_dropped_at_the_hard_stop() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("stuck", std::future::pending());
        assert!(!lifecycle.stop(Duration::from_millis(20)).await);
    }

    #[tokio::test]
    async fn the_end_of_an_essential_task_stops_the_process() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn_essential("role", async { Err("no ports".to_owned()) });
        lifecycle.soft.cancelled().await;
        assert_eq!(lifecycle.failure().as_deref(), Some("role failed: no ports"));
    }
}
