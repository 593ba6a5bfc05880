//! The stream as the hub asks it: so many questions at a time, each counted, and what many ask is asked once.
//! Reads: stored messages (direct get), the stream's description, marks. Writes: what was seen of the stream.
//! Never: takes an answer for fresh that was asked for before the question came up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use campana_bus::Bus;
use campana_bus::clock;
use campana_bus::fetch::{FetchError, Page, Scan, StoredMessage, StreamPosition};
use campana_bus::subjects;
use campana_bus::topology::{CHANNELS, HISTORY_MARKS, HISTORY_NOTES, HISTORY_STATE};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::evidence::Seen;
use super::notes::Noted;
use crate::publication::ChannelKey;

/// Questions to the stream at the same time, per node; further ones wait.
const IN_FLIGHT_MAX: usize = 256;
/// Messages of one part of the stream that is looked through.
const SCANNED_MAX: usize = 5_000;
/// Bytes of such a part.
const SCANNED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a question is for, as a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A channel is followed from now on.
    Follow,
    /// A client comes back.
    Recover,
    /// A hole in the live path, or a pattern's news.
    Repair,
    /// Somebody asks for history.
    History,
    /// Nothing looks wrong.
    Check,
    /// Many wait for messages that lie mixed.
    Sweep,
    /// Messages grow old, or nothing of a channel is left.
    Note,
}

impl Purpose {
    pub(super) const LABELS: [&str; 7] =
        ["follow", "recover", "repair", "history", "check", "sweep", "note"];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Recover => "recover",
            Self::Repair => "repair",
            Self::History => "history",
            Self::Check => "check",
            Self::Sweep => "sweep",
            Self::Note => "note",
        }
    }
}

/// A stream at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) stream: StreamPosition,
    /// Whether anything was ever removed from a channel on purpose.
    pub(super) marks: bool,
    /// Up to here something may have been removed by somebody who did not say so.
    pub(super) suspected: u64,
}

/// How far notes on channels' last messages go.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) noted: Option<Noted>,
    /// Its sequence; 0 if there is none.
    pub(super) revision: u64,
    /// How long notes are kept, in microseconds; 0 for ever.
    pub(super) ttl: i64,
}

pub(super) struct Source {
    bus: Bus,
    places: Semaphore,
    /// The shared stream, and when the question for it was asked.
    known: tokio::sync::Mutex<Option<(Instant, Arc<Snapshot>)>>,
    /// The last sequence when the shared stream was asked last.
    last: AtomicU64,
    seen: Mutex<Option<Seen>>,
    remembered: OnceCell<()>,
    /// How far notes go, and when that was asked for.
    noted: tokio::sync::Mutex<Option<(Instant, Word)>>,
    asked: AtomicU64,
}

impl Source {
    pub(super) fn new(bus: Bus) -> Self {
        Self {
            bus,
            places: Semaphore::new(IN_FLIGHT_MAX),
            known: tokio::sync::Mutex::default(),
            last: AtomicU64::new(0),
            seen: Mutex::default(),
            remembered: OnceCell::new(),
            noted: tokio::sync::Mutex::default(),
            asked: AtomicU64::new(0),
        }
    }

    /// Direct gets so far, without those for notes.
    #[cfg(test)]
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    async fn place(&self, purpose: Purpose) -> Result<SemaphorePermit<'_>, FetchError> {
        let place = self.places.acquire().await;
        if purpose != Purpose::Note {
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        crate::metrics::direct_get(purpose.label());
        place.map_err(|_| FetchError::Unavailable("the edge stops".to_owned()))
    }

    /// Up to `limit` messages of a channel (or a pattern's namespace) after a sequence.
    pub(super) async fn after(
        &self,
        key: &ChannelKey,
        after: u64,
        limit: usize,
        purpose: Purpose,
    ) -> Result<Page, FetchError> {
        let _place = self.place(purpose).await?;
        let stream = subjects::stored_in(&key.subject);
        self.bus.fetch_after(&stream, &subjects::stored_filter(&key.subject), after, limit).await
    }

    /// The last message of a channel (or of a pattern's namespace).
    pub(super) async fn last(
        &self,
        key: &ChannelKey,
        purpose: Purpose,
    ) -> Result<Option<StoredMessage>, FetchError> {
        let _place = self.place(purpose).await?;
        let stream = subjects::stored_in(&key.subject);
        self.bus.last(&stream, &subjects::stored_filter(&key.subject)).await
    }

    /// How many messages of any channel there are after a sequence.
    pub(super) async fn all_after(&self, key: &ChannelKey, after: u64) -> Result<u64, FetchError> {
        let _place = self.place(Purpose::Recover).await?;
        let page = self.bus.fetch_after(&subjects::stored_in(&key.subject), ">", after, 1).await?;
        Ok(page.pending.saturating_add(page.messages.len() as u64))
    }

    /// The shared stream after a sequence: a part of it, and the messages of these subjects in it.
    pub(super) async fn scan(
        &self,
        after: u64,
        wanted: impl FnMut(&str) -> bool + Send,
    ) -> Result<Scan, FetchError> {
        let _place = self.place(Purpose::Sweep).await?;
        self.bus.scan_after(CHANNELS, after, SCANNED_MAX, SCANNED_BYTES_MAX, wanted).await
    }

    /// The last sequence of a channel of the shared stream, never an old one.
    pub(super) async fn newest(&self, key: &ChannelKey) -> Result<u64, FetchError> {
        let _place = self.place(Purpose::Sweep).await?;
        self.bus.last_of_leader(CHANNELS, &key.subject).await
    }

    /// About where the shared stream ends.
    pub(super) fn about_last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Up to where messages of a channel (or of a pattern's namespace) were removed on purpose.
    pub(super) async fn mark(&self, key: &ChannelKey, epoch: &str) -> Result<u64, FetchError> {
        let _place = self.place(Purpose::Recover).await?;
        let filter = subjects::stored_filter(&key.subject);
        campana_bus::history::marked(&self.bus, &filter, epoch).await
    }

    /// Messages of any channel after a sequence. Nothing if a replica answered from which other ones are gone than from
    /// the leader.
    pub(super) async fn part(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Option<Vec<StoredMessage>>, FetchError> {
        let _place = self.place(Purpose::Note).await?;
        let found =
            self.bus.scan_after(CHANNELS, after, limit, SCANNED_BYTES_MAX, |_| true).await?;
        let next = self.bus.next_of_leader(CHANNELS, after).await?;
        let first = found.messages.first().map_or(0, |first| first.sequence);
        Ok((first == next).then_some(found.messages))
    }

    /// How far notes on channels' last messages go.
    pub(super) async fn noted(&self) -> Result<Word, FetchError> {
        let _place = self.place(Purpose::Note).await?;
        let bucket = self.bus.position(HISTORY_NOTES).await?;
        let found = self.bus.last(HISTORY_NOTES, subjects::HISTORY_NOTED).await?;
        let revision = found.as_ref().map_or(0, |found| found.sequence);
        let noted = found.and_then(|found| serde_json::from_slice(&found.payload).ok());
        let ttl = i64::try_from(bucket.max_age.as_micros()).unwrap_or(i64::MAX);
        Ok(Word { noted, revision, ttl })
    }

    /// The same, asked for at most `age_max` ago: an older word is as true, it only says less.
    pub(super) async fn recently_noted(&self, age_max: Duration) -> Result<Word, FetchError> {
        let mut known = self.noted.lock().await;
        if let Some((at, word)) = &*known
            && at.elapsed() <= age_max
        {
            return Ok(word.clone());
        }
        let asked_at = clock::monotonic();
        let word = self.noted().await?;
        *known = Some((asked_at, word.clone()));
        Ok(word)
    }

    /// The last message of a channel that was noted, 0 for none; nothing if a replica that is behind answered.
    pub(super) async fn note(&self, key: &ChannelKey) -> Result<Option<u64>, FetchError> {
        let _place = self.place(Purpose::Note).await?;
        let subject = subjects::history_note(&key.subject);
        let found = self.bus.last(HISTORY_NOTES, &subject).await?;
        let newest = self.bus.last_of_leader(HISTORY_NOTES, &subject).await?;
        let Some(found) = found else { return Ok((newest == 0).then_some(0)) };
        let last = std::str::from_utf8(&found.payload).ok().and_then(|text| text.parse().ok());
        Ok(last.filter(|_| found.sequence == newest))
    }

    /// The shared stream, asked for at most `age_max` ago.
    pub(super) async fn recently(&self, age_max: Duration) -> Result<Arc<Snapshot>, FetchError> {
        let now = clock::monotonic();
        self.since(now.checked_sub(age_max).unwrap_or(now)).await
    }

    /// The shared stream, asked for at or after this moment. Who waits for the same answer shares it.
    pub(super) async fn since(&self, moment: Instant) -> Result<Arc<Snapshot>, FetchError> {
        let mut known = self.known.lock().await;
        if let Some((at, snapshot)) = &*known
            && *at >= moment
        {
            return Ok(Arc::clone(snapshot));
        }
        self.remembered.get_or_init(|| self.remember()).await;
        let asked_at = clock::monotonic();
        let marks_stream = subjects::kv_stream(HISTORY_MARKS);
        let (stream, marks) =
            tokio::join!(self.bus.position(CHANNELS), self.bus.position(&marks_stream));
        let marks = match marks {
            Ok(marks) => marks.messages > 0,
            // Where nothing can be marked, nothing is.
            Err(error) if error.is_no_stream() => false,
            Err(error) => return Err(error),
        };
        let stream = stream?;
        self.last.store(stream.last, Ordering::Relaxed);
        // Behind the stream: what is seen to be gone was announced before.
        let announced = match marks {
            true => campana_bus::history::announced(&self.bus, &stream.epoch).await?,
            false => 0,
        };
        let suspected = self.look(&stream, announced);
        let snapshot = Arc::new(Snapshot { stream, marks, suspected });
        *known = Some((asked_at, Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    /// The stream of a channel, asked for at or after this moment.
    pub(super) async fn stream_of(
        &self,
        key: &ChannelKey,
        moment: Instant,
    ) -> Result<Arc<Snapshot>, FetchError> {
        if !subjects::is_dense(&key.subject) {
            return self.since(moment).await;
        }
        let stream = self.bus.position(&subjects::stored_in(&key.subject)).await?;
        Ok(Arc::new(Snapshot { stream, marks: false, suspected: 0 }))
    }

    /// Compares the stream with how it was.
    fn look(&self, stream: &StreamPosition, announced: u64) -> u64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Seen::now(seen.as_ref(), stream, announced);
        let before = seen.replace(now.clone()).map_or(0, |before| before.suspected());
        if now.suspected() > before {
            tracing::warn!(
                upto = now.suspected(),
                "messages were removed from the channels' stream, or its limit per channel changed: clients \
                 that were away meanwhile may have to begin anew; remove messages with history_remove"
            );
        }
        now.suspected()
    }

    /// Takes up what an edge saw before this one was started.
    async fn remember(&self) {
        let stream = subjects::kv_stream(HISTORY_STATE);
        let found = self.bus.last(&stream, &subjects::kv(HISTORY_STATE, CHANNELS)).await;
        let Ok(Some(found)) = found else { return };
        let Ok(before) = serde_json::from_slice::<Seen>(&found.payload) else { return };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    }

    /// Leaves what was seen to the next edge.
    pub(super) async fn save(&self) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(seen) = seen else { return };
        let stored = async {
            let bucket = self.bus.kv(HISTORY_STATE).await?.of::<Seen>();
            bucket.put(CHANNELS, &seen).await
        };
        if let Err(error) = stored.await {
            tracing::debug!(%error, "what was seen of the channels' stream is not stored");
        }
    }
}
