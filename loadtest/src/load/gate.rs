//! The barrier of a wave. Users are called, make sure that their connection is still open, and
//! stand at the gate; the release stamps one instant, which is the intended send of the whole
//! wave, and wakes them all. Whatever delays a user after that instant is part of its latency.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::now_ns;

/// How often the conductor looks whether everybody is back.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What users are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// Nothing to do yet.
    Wait,
    /// Make sure of your connection and come to the gate.
    Ready { wave: u32 },
    /// Send now.
    Go(Release),
    /// The step is over.
    Over,
}

/// The release of a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    pub wave: u32,
    pub intended_ns: u64,
    /// The number in the run of the whole wave's first notification.
    pub first_slot: u64,
}

/// Shared by the users and the conductor of one step.
pub struct Gate {
    signal: watch::Sender<Signal>,
    waiting: AtomicUsize,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self { signal: watch::Sender::new(Signal::Wait), waiting: AtomicUsize::new(0) }
    }

    /// A user waits until a wave after `last` is called; nothing when the step is over.
    pub async fn called(&self, last: Option<u32>) -> Option<u32> {
        let newer = |signal: &Signal| match signal {
            Signal::Ready { wave } => last.is_none_or(|last| *wave > last),
            Signal::Over => true,
            Signal::Wait | Signal::Go(_) => false,
        };
        // The sender lives in `self`, so waiting cannot fail.
        let mut watch = self.signal.subscribe();
        match watch.wait_for(newer).await.ok().map(|signal| *signal)? {
            Signal::Ready { wave } => Some(wave),
            Signal::Wait | Signal::Go(_) | Signal::Over => None,
        }
    }

    /// A user stands at the gate until the release; nothing when the step is over.
    pub async fn released(&self) -> Option<Release> {
        let mut watch = self.signal.subscribe();
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let open = |signal: &Signal| matches!(signal, Signal::Go(_) | Signal::Over);
        let signal = watch.wait_for(open).await.ok().map(|signal| *signal);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        match signal? {
            Signal::Go(release) => Some(release),
            Signal::Wait | Signal::Ready { .. } | Signal::Over => None,
        }
    }

    /// Calls the users of a wave and returns when all of them stand at the gate. Nobody of the
    /// wave before may still stand there: the call would overwrite the release that he waits for.
    pub async fn call(&self, wave: u32, users: usize) {
        self.until_waiting(0).await;
        self.signal.send_replace(Signal::Ready { wave });
        self.until_waiting(users).await;
    }

    async fn until_waiting(&self, users: usize) {
        while self.waiting.load(Ordering::Acquire) != users {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Releases the wave and returns its instant.
    pub fn release(&self, wave: u32, first_slot: u64) -> u64 {
        let intended_ns = now_ns();
        self.release_for(wave, first_slot, intended_ns);
        intended_ns
    }

    /// Releases the wave for an instant that was agreed with other generators and has come.
    pub fn release_for(&self, wave: u32, first_slot: u64, intended_ns: u64) {
        self.signal.send_replace(Signal::Go(Release { wave, intended_ns, first_slot }));
    }

    /// Sends every user home.
    pub fn over(&self) {
        self.signal.send_replace(Signal::Over);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn everyone_gets_each_wave_once_with_one_instant() {
        let gate = Arc::new(Gate::new());
        let mut users = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let gate = Arc::clone(&gate);
            users.spawn(async move {
                let (mut last, mut seen) = (None, Vec::new());
                while let Some(wave) = gate.called(last).await {
                    let Some(release) = gate.released().await else {
                        break;
                    };
                    seen.push(release);
                    last = Some(wave);
                }
                seen
            });
        }
        let mut released = Vec::new();
        for wave in 0..3 {
            gate.call(wave, 20).await;
            let first_slot = u64::from(wave) * 20;
            let intended_ns = gate.release(wave, first_slot);
            released.push(Release { wave, intended_ns, first_slot });
        }
        gate.call(3, 20).await;
        gate.over();
        for seen in users.join_all().await {
            assert_eq!(seen, released);
        }
    }
}
