//! Closed load: each user has one notification outstanding and sends the next one as soon as
//! every recipient has it on every channel. The intended send of the next is the receipt of the
//! last, so that a generator that wakes late is seen in the latency and N = X·R holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::goose::Action;
use super::users::{Turn, Users};
use super::{Aim, ONE_WAVE};
use crate::clock::now_ns;
use crate::intake::{Channel, Event, Outcome};

/// A user whose request was refused or could not be sent comes back after this, or a platform that
/// refuses everything would be met by a loop without end.
const PAUSE: Duration = Duration::from_millis(5);

/// Where users wait for their notification.
pub struct Desk {
    waiting: Mutex<HashMap<u64, Wait>>,
    over: CancellationToken,
    /// After this a user gives its notification up and sends the next.
    patience: Duration,
}

struct Wait {
    left: u32,
    done: oneshot::Sender<u64>,
}

impl Desk {
    /// For one step.
    pub fn new(patience: Duration) -> Self {
        Self { waiting: Mutex::default(), over: CancellationToken::new(), patience }
    }

    /// Sends every user home.
    pub fn over(&self) {
        self.over.cancel();
    }

    /// Looks at an event on its way to the ledger.
    pub fn see(&self, event: &Event) {
        match event {
            Event::Receipt { slot, at_ns, .. } => {
                let mut waiting = self.locked();
                let Some(wait) = waiting.get_mut(slot) else { return };
                wait.left = wait.left.saturating_sub(1);
                if wait.left == 0
                    && let Some(wait) = waiting.remove(slot)
                {
                    // A user that has given up has dropped its end.
                    let _ = wait.done.send(*at_ns);
                }
            }
            Event::Answered { slot, outcome, .. }
                if !matches!(outcome, Outcome::Accepted { .. }) =>
            {
                self.locked().remove(slot);
            }
            _ => {}
        }
    }

    fn expect(&self, slot: u64, left: u32) -> oneshot::Receiver<u64> {
        let (done, received) = oneshot::channel();
        self.locked().insert(slot, Wait { left, done });
        received
    }

    /// The moment of the last receipt; nothing if there will be none.
    async fn received(&self, slot: u64, wait: oneshot::Receiver<u64>) -> Option<u64> {
        let received = tokio::select! {
            received = tokio::time::timeout(self.patience, wait) => received,
            () = self.over.cancelled() => return None,
        };
        self.locked().remove(&slot);
        received.ok().and_then(Result::ok)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<u64, Wait>> {
        // A poisoned lock holds a map that is still whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a user does, for goose or a bare task.
pub fn action(
    users: Arc<Users>,
    desk: Arc<Desk>,
    size: u32,
    fan_out: u32,
    channels: &[Channel],
) -> Action {
    let free_since: Arc<Vec<Mutex<Option<u64>>>> =
        Arc::new((0..size).map(|_| Mutex::default()).collect());
    let channels: Arc<[Channel]> = channels.into();
    Arc::new(move |index| {
        let (users, desk) = (Arc::clone(&users), Arc::clone(&desk));
        let (free_since, channels) = (Arc::clone(&free_since), Arc::clone(&channels));
        Box::pin(async move {
            if desk.over.is_cancelled() {
                return false;
            }
            let ready = users.make_ready(index).await;
            let since = take(&free_since[index]);
            let slot = users.sending.next_slot();
            let intended_ns = since.unwrap_or_else(now_ns);
            let cells = fan_out.saturating_mul(u32::try_from(channels.len()).unwrap_or(u32::MAX));
            let wait = desk.expect(slot, cells);
            let recipient = users.recipient_of(index, fan_out);
            let aim = Aim { recipient, fan_out, channels: &channels };
            users.send(index, &Turn { slot, wave: ONE_WAVE, intended_ns, aim }).await;
            let received = match ready {
                Ok(()) => desk.received(slot, wait).await,
                Err(_) => None,
            };
            match received {
                Some(at_ns) => put(&free_since[index], at_ns),
                None => tokio::time::sleep(PAUSE).await,
            }
            true
        })
    })
}

fn take(cell: &Mutex<Option<u64>>) -> Option<u64> {
    cell.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put(cell: &Mutex<Option<u64>>, at_ns: u64) {
    *cell.lock().unwrap_or_else(PoisonError::into_inner) = Some(at_ns);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(slot: u64, at_ns: u64) -> Event {
        let channel = Channel::InApp;
        Event::Receipt {
            slot,
            channel,
            recipient: 0,
            at_ns,
            offset: None,
            intact: true,
            recovered: false,
            stamps: None,
        }
    }

    #[tokio::test]
    async fn a_user_waits_for_every_cell_and_not_for_a_refusal() {
        let desk = Desk::new(Duration::from_secs(60));
        let wait = desk.expect(4, 2);
        desk.see(&receipt(4, 10));
        desk.see(&receipt(5, 11));
        desk.see(&receipt(4, 12));
        assert_eq!(desk.received(4, wait).await, Some(12));
        let wait = desk.expect(6, 1);
        let outcome = Outcome::Refused { status: 503 };
        desk.see(&Event::Answered { slot: 6, at_ns: 1, outcome });
        assert_eq!(desk.received(6, wait).await, None);
        assert!(desk.locked().is_empty());
    }
}
