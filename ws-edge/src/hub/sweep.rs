//! Who wants messages of which channel of the shared stream, and who reads for whom.
//! Reads: the stream. Writes: nothing. Never: answers with what was read before the question came up, calls a channel
//! short that may have lost messages while it was read.
//!
//! NATS finds the next message of a subject by looking at every message in between. For a few channels that is
//! cheap; when thousands of channels come back at once and their messages lie mixed, each would cost a walk through
//! all of them. So few ask alone at the same time, and when those who wait would cost more than one walk for all,
//! the stream is read once, from where the furthest of them stands.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campana_bus::clock;
use campana_bus::fetch::{FetchError, Page, StoredMessage, StreamPosition};
use tokio::sync::oneshot;

use super::Inner;
use super::recovery::{LAG_PAUSE, LAG_TRIES};
use super::source::Purpose;
use crate::publication::ChannelKey;

/// How many ask alone at the same time.
const ALONE_MAX: usize = 8;
/// What it costs to get one message from the server, in messages that the server looks at.
const MESSAGE_COST: u64 = 100;
/// What it costs to ask alone, in the same measure.
const QUESTION_COST: u64 = 4_000;
/// Messages of the stream that are read at once for all who wait.
const SWEPT_MAX: u64 = 1_000_000;
/// Bytes that are held while the stream is read; whose next message does not fit asks alone.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The longest time in the row, for example while NATS does not answer: then everybody asks alone.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Who waits; in the order of where they stand, the nearest to the end first.
#[derive(Default)]
pub(super) struct Row(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: BTreeMap<(Reverse<u64>, u64), Waiter>,
    next_number: u64,
    alone: usize,
    sweeping: bool,
}

struct Waiter {
    subject: String,
    after: u64,
    limit: usize,
    answer: oneshot::Sender<Answer>,
}

enum Answer {
    /// It is this one's turn to ask alone.
    Alone(Alone),
    Swept(Swept),
}

/// What was found on the way.
#[derive(Default)]
struct Swept {
    page: Page,
    /// Everything up to here was looked at.
    upto: u64,
    /// Nothing was removed from the stream meanwhile.
    still: bool,
}

/// One who asks alone; the next one may when this is dropped.
struct Alone(Arc<Inner>);

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.row.lock().alone -= 1;
        schedule(&self.0);
    }
}

/// The stream is being read for many; whoever came meanwhile is next.
struct Sweeping(Arc<Inner>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.0.row.lock().sweeping = false;
        schedule(&self.0);
    }
}

/// Up to `limit` messages of a channel of the shared stream after a sequence, and how many more there are.
pub(super) async fn after(
    inner: &Arc<Inner>,
    key: &ChannelKey,
    after: u64,
    limit: usize,
    purpose: Purpose,
) -> Result<Page, FetchError> {
    let (answer, answered) = oneshot::channel();
    let waiter = Waiter { subject: key.subject.clone(), after, limit, answer };
    inner.row.enter(waiter);
    schedule(inner);
    let _alone = match tokio::time::timeout(WAIT_MAX, answered).await {
        Ok(Ok(Answer::Swept(swept))) => {
            // A channel from which the stream's limit took a message that was not read yet has newer messages
            // than were read, or as many as the limit is.
            if swept.still || inner.source.newest(key).await.is_ok_and(|last| last <= swept.upto) {
                return Ok(swept.page);
            }
            None
        }
        Ok(Ok(Answer::Alone(alone))) => Some(alone),
        Ok(Err(_)) | Err(_) => None,
    };
    inner.source.after(key, after, limit, purpose).await
}

impl Row {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, waiter: Waiter) {
        let mut state = self.lock();
        let number = state.next_number;
        state.next_number += 1;
        state.waiting.insert((Reverse(waiter.after), number), waiter);
    }
}

/// Whose turn it is.
enum Turn {
    Alone(Waiter),
    All(Vec<Waiter>),
}

/// Lets as many go on as may.
fn schedule(inner: &Arc<Inner>) {
    let last = inner.source.about_last();
    loop {
        // The lock is free again before anybody is told: who is gone gives its turn back at once.
        let turn = inner.row.lock().next(last);
        match turn {
            None => return,
            Some(Turn::Alone(waiter)) => {
                let _ = waiter.answer.send(Answer::Alone(Alone(Arc::clone(inner))));
            }
            Some(Turn::All(waiters)) => {
                let sweeping = Sweeping(Arc::clone(inner));
                inner.lifecycle.spawn("edge sweep", async move {
                    let stop = sweeping.0.stop.clone();
                    tokio::select! {
                        () = sweep(&sweeping.0, waiters) => {}
                        () = stop.cancelled() => {}
                    }
                });
                return;
            }
        }
    }
}

impl State {
    /// `last` is about where the stream ends.
    fn next(&mut self, last: u64) -> Option<Turn> {
        if self.sweeping {
            return None;
        }
        self.waiting.retain(|_, waiter| !waiter.answer.is_closed());
        if self.waiting.len() <= ALONE_MAX && self.alone < ALONE_MAX {
            return self.longest();
        }
        let offsets = self.waiting.keys().map(|(Reverse(after), _)| *after);
        let count = worth(offsets, last);
        if count == 0 {
            return if self.alone < ALONE_MAX { self.longest() } else { None };
        }
        let rest = self.waiting.keys().nth(count).copied();
        let rest = rest.map_or_else(BTreeMap::new, |first| self.waiting.split_off(&first));
        let taken = std::mem::replace(&mut self.waiting, rest);
        self.sweeping = true;
        Some(Turn::All(taken.into_values().collect()))
    }

    /// Who waits longest asks alone.
    fn longest(&mut self) -> Option<Turn> {
        let first = *self.waiting.keys().min_by_key(|(_, number)| number)?;
        self.alone += 1;
        self.waiting.remove(&first).map(Turn::Alone)
    }
}

/// How many of those who stand there are served better by one walk through the stream; the nearest come first.
fn worth(offsets: impl Iterator<Item = u64>, last: u64) -> usize {
    let mut best = 0;
    for (index, after) in offsets.enumerate() {
        let way = last.saturating_sub(after);
        if way > SWEPT_MAX {
            break;
        }
        let count = index as u64 + 1;
        if MESSAGE_COST * way <= count.saturating_mul(way + QUESTION_COST) {
            best = index + 1;
        }
    }
    best
}

/// Reads the stream once for all of them. Whoever gets no answer asks alone.
async fn sweep(inner: &Arc<Inner>, waiters: Vec<Waiter>) {
    let mut wanted = Wanted::new(waiters);
    match walk(inner, &mut wanted).await {
        Ok((upto, still)) => wanted.answer(upto, still),
        Err(error) => tracing::debug!(%error, "many channels cannot be read at once"),
    }
}

/// Up to where the stream was looked through, and whether nothing was removed from it meanwhile.
async fn walk(inner: &Inner, wanted: &mut Wanted) -> Result<(u64, bool), FetchError> {
    let before = inner.source.since(clock::monotonic()).await?;
    let upto = before.stream.last;
    let (mut at, mut lagging) = (wanted.from(), 0);
    while at < upto {
        let scan = inner.source.scan(at, |subject| wanted.has(subject)).await?;
        for message in scan.messages.into_iter().filter(|message| message.sequence <= upto) {
            wanted.take(message);
        }
        at = at.max(scan.reached);
        if scan.pending > 0 || at >= upto {
            lagging = 0;
            continue;
        }
        if before.stream.replicas <= 1 {
            // The end of the stream was removed.
            break;
        }
        lagging += 1;
        if lagging >= LAG_TRIES {
            return Err(FetchError::Unavailable("stored messages do not show up".to_owned()));
        }
        tokio::time::sleep(LAG_PAUSE).await;
    }
    let after = inner.source.since(clock::monotonic()).await?;
    if after.stream.epoch != before.stream.epoch {
        return Err(FetchError::Unavailable("the stream was created anew".to_owned()));
    }
    Ok((upto, gone(&after.stream) == gone(&before.stream)))
}

/// Messages of a stream that were ever removed.
fn gone(stream: &StreamPosition) -> u64 {
    stream.last.saturating_sub(stream.messages)
}

/// What is looked for, and what was found of it.
struct Wanted {
    by_subject: HashMap<String, Vec<Found>>,
    held_bytes: usize,
}

struct Found {
    after: u64,
    limit: usize,
    page: Page,
    answer: oneshot::Sender<Answer>,
}

impl Wanted {
    fn new(waiters: Vec<Waiter>) -> Self {
        let mut by_subject: HashMap<String, Vec<Found>> = HashMap::with_capacity(waiters.len());
        for Waiter { subject, after, limit, answer } in waiters {
            let found = Found { after, limit, page: Page::default(), answer };
            by_subject.entry(subject).or_default().push(found);
        }
        Self { by_subject, held_bytes: 0 }
    }

    /// Where the furthest stands.
    fn from(&self) -> u64 {
        self.by_subject.values().flatten().map(|one| one.after).min().unwrap_or(u64::MAX)
    }

    fn has(&self, subject: &str) -> bool {
        self.by_subject.contains_key(subject)
    }

    /// The next message of the stream.
    fn take(&mut self, message: StoredMessage) {
        let Some(all) = self.by_subject.get_mut(&message.subject) else { return };
        let bytes = message.payload.len() + message.subject.len();
        let mut held = self.held_bytes;
        all.retain_mut(|one| {
            if message.sequence <= one.after {
                return true;
            }
            if one.page.messages.len() >= one.limit {
                one.page.pending += 1;
                return true;
            }
            if held + bytes > HELD_BYTES_MAX {
                held -= one.bytes();
                return false;
            }
            held += bytes;
            one.page.messages.push(message.clone());
            true
        });
        self.held_bytes = held;
        if all.is_empty() {
            self.by_subject.remove(&message.subject);
        }
    }

    fn answer(self, upto: u64, still: bool) {
        for one in self.by_subject.into_values().flatten() {
            let swept = Swept { page: one.page, upto, still };
            let _ = one.answer.send(Answer::Swept(swept));
        }
    }
}

impl Found {
    fn bytes(&self) -> usize {
        let bytes = |message: &StoredMessage| message.payload.len() + message.subject.len();
        self.page.messages.iter().map(bytes).sum()
    }
}

#[cfg(test)]
mod tests;
