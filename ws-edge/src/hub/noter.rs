//! Noting which message of each channel was the last one, before age or size takes it.
//! Reads: the old half of the shared stream, notes. Writes: notes. Never: stores a note apart from the word on how far
//! notes go, so that whoever is slower than another node stores nothing.
//!
//! See `hub/notes.rs` for what follows from them. Publishing costs nothing for it; each message is read once more,
//! in bulk, when half of its time is over. All nodes look; the first one that finds something to do does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use campana_bus::clock::{self, Micros};
use campana_bus::fetch::{FetchError, StreamPosition};
use campana_bus::ids::MessageId;
use campana_bus::publish::{Outgoing, PublishError};
use campana_bus::subjects;

use super::Inner;
use super::evidence::{Position, Verdict, judge};
use super::notes::Noted;
use crate::publication::ChannelKey;

/// How often it is looked whether messages grow old, at least and at most.
const INTERVAL_MIN: Duration = Duration::from_millis(250);
const INTERVAL_MAX: Duration = Duration::from_secs(30);
/// Messages that are noted at once; the server takes 1,000 in a batch.
const MESSAGES_MAX: usize = 900;
/// How old the known word on how far notes go may be for who comes back.
pub(super) const NOTED_AGE_MAX: Duration = Duration::from_secs(1);

/// Why nothing was noted.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoteError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Notes until the hub ends.
pub(super) async fn run(inner: Arc<Inner>) {
    if !inner.options.history_notes {
        return;
    }
    let mut interval = INTERVAL_MIN;
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = inner.stop.cancelled() => return,
        }
        tokio::select! {
            result = catch_up(&inner) => match result {
                Ok(max_age) => interval = (max_age / 16).clamp(INTERVAL_MIN, INTERVAL_MAX),
                // Another node was faster.
                Err(NoteError::Publish(PublishError::WrongLastSequence)) => {}
                Err(error) => {
                    interval = INTERVAL_MAX;
                    tracing::debug!(%error, "channels' last messages cannot be noted now");
                }
            },
            () = inner.stop.cancelled() => return,
        }
    }
}

/// Notes what is old enough; gives how long the stream keeps messages.
async fn catch_up(inner: &Inner) -> Result<Duration, NoteError> {
    loop {
        let stream = inner.source.since(clock::monotonic()).await?.stream.clone();
        if !step(inner, &stream, &Old::of(&stream)).await? {
            return Ok(stream.max_age);
        }
    }
}

/// Up to where messages are old enough to be noted: by time, and by sequence if size may take them.
pub(super) struct Old {
    pub(super) before: Option<Micros>,
    pub(super) upto: u64,
}

impl Old {
    pub(super) fn of(stream: &StreamPosition) -> Self {
        let half = i64::try_from(stream.max_age.as_micros() / 2).unwrap_or(i64::MAX);
        Self {
            before: (half > 0).then(|| Micros(clock::now().0.saturating_sub(half))),
            upto: if stream.filling { stream.first.midpoint(stream.last) } else { 0 },
        }
    }

    fn takes(&self, sequence: u64, time: Micros) -> bool {
        sequence <= self.upto || self.before.is_some_and(|before| time <= before)
    }

    fn never(&self) -> bool {
        self.before.is_none() && self.upto == 0
    }
}

/// Notes one part of the stream. True if there may be more.
pub(super) async fn step(
    inner: &Inner,
    stream: &StreamPosition,
    old: &Old,
) -> Result<bool, NoteError> {
    // Where single messages end before older ones, a last message says nothing.
    if old.never() || stream.removes_singly {
        return Ok(false);
    }
    let word = inner.source.noted().await?;
    let fresh = word.noted.is_none();
    let mut noted = word
        .noted
        .filter(|noted| noted.is_of(stream))
        .unwrap_or_else(|| Noted::begin(stream, clock::now()));
    let skipped = noted.skip(stream, clock::now());
    let after = noted.upto();
    let Some(mut messages) = inner.source.part(after, 1).await? else { return Ok(false) };
    let due = messages.first().is_some_and(|one| old.takes(one.sequence, one.time));
    if !due && !fresh && !skipped {
        return Ok(false);
    }
    if due {
        let Some(all) = inner.source.part(after, MESSAGES_MAX).await? else { return Ok(false) };
        messages = all;
    }
    let all = messages.len();
    messages.truncate(messages.partition_point(|one| old.takes(one.sequence, one.time)));
    let reached = messages.last().map_or(after, |last| last.sequence);
    let lasts: BTreeMap<&str, u64> =
        messages.iter().map(|one| (one.subject.as_str(), one.sequence)).collect();
    // What is gone by now was perhaps gone before it could be read.
    let now = inner.source.since(clock::monotonic()).await?.stream.clone();
    if !noted.is_of(&now) || now.removes_singly {
        return Ok(false);
    }
    noted.extend(reached, &now, clock::now(), word.ttl);
    store(inner, &noted, word.revision, &lasts).await?;
    Ok(due && messages.len() == all)
}

/// Stores notes and how far they go now, all or nothing, unless another node was faster.
pub(super) async fn store(
    inner: &Inner,
    noted: &Noted,
    revision: u64,
    lasts: &BTreeMap<&str, u64>,
) -> Result<(), PublishError> {
    let message = |subject: String, body: String| {
        Outgoing::new(subject, MessageId::fresh().to_string(), body.into())
    };
    let note =
        |(subject, last): (&&str, &u64)| message(subjects::history_note(subject), last.to_string());
    let mut batch: Vec<Outgoing> = lasts.iter().map(note).collect();
    let body = serde_json::json!(noted).to_string();
    let mut word = message(subjects::HISTORY_NOTED.to_owned(), body);
    word.expect_last_subject_sequence = Some(revision);
    batch.push(word);
    inner.bus.publish_all(&batch).await?;
    Ok(())
}

/// Whether notes prove that nothing after the position is gone, although messages before it are. `at` is what is known
/// of it, from an older description of the stream, whose incarnation is `epoch`.
pub(super) async fn proves(inner: &Inner, key: &ChannelKey, at: Position, epoch: &str) -> bool {
    if !inner.options.history_notes {
        return false;
    }
    match advanced(inner, key, at, epoch).await {
        Ok(whole) => whole,
        Err(error) => {
            // Without notes a client begins anew, which is safe.
            tracing::debug!(%error, "notes on channels' last messages cannot be read");
            false
        }
    }
}

async fn advanced(
    inner: &Inner,
    key: &ChannelKey,
    at: Position,
    epoch: &str,
) -> Result<bool, FetchError> {
    // In this order: a note that is stored afterwards only says more than is asked for, and what is there at the last
    // look was there before.
    let word = inner.source.recently_noted(NOTED_AGE_MAX).await?;
    let Some(noted) = word.noted else { return Ok(false) };
    let Some(last) = inner.source.note(key).await? else { return Ok(false) };
    let upto = noted.advance(at.offset, last, clock::now(), word.ttl);
    let Some(upto) = upto else { return Ok(false) };
    let now = inner.source.since(clock::monotonic()).await?;
    let stream = &now.stream;
    if stream.epoch != epoch || !noted.is_of(stream) {
        return Ok(false);
    }
    if stream.removes_singly || now.suspected > at.offset {
        return Ok(false);
    }
    Ok(judge(Position { offset: upto, ..at }, stream) == Verdict::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_old_in_the_second_half_of_their_time_or_of_a_stream_that_fills_up() {
        let stream = StreamPosition {
            first: 11,
            last: 100,
            epoch: "e".to_owned(),
            max_per_subject: -1,
            messages: 90,
            bytes: 0,
            removes_singly: false,
            replicas: 1,
            max_age: Duration::from_secs(4_000),
            filling: false,
        };
        let ago = |seconds: i64| clock::now().plus_seconds(-seconds);
        let aging = Old::of(&stream);
        assert!(aging.takes(11, ago(2_001)) && !aging.takes(11, ago(1_000)));
        let full =
            Old::of(&StreamPosition { filling: true, max_age: Duration::ZERO, ..stream.clone() });
        assert!(full.takes(55, ago(0)) && !full.takes(56, ago(9_000)));
        assert!(Old::of(&StreamPosition { max_age: Duration::ZERO, ..stream }).never());
    }
}
