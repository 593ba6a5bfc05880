//! The position of a replay, and how it moves.
//! Reads: pages of a stream. Writes: nothing. Never: moves its position past a message that it did not give.
//!
//! A round reads up to a horizon, the newest sequence by the leader's word. Pages may come from a replica that is
//! behind; it is asked again until the leader, too, says that nothing is left below the horizon.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::json;

use super::follow::News;
use super::{From, Plan, ReplayError};
use crate::clock;
use crate::fetch::{FetchError, StoredMessage, StreamPosition};
use crate::subjects;

/// Messages of one page.
const PAGE_MESSAGES: usize = 256;
/// Bytes after which the server ends a page; a page of one larger message is still possible.
const PAGE_BYTES: usize = 1 << 20;
/// First and longest pause between attempts to reach a server that is away.
const PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));

/// One filter's place.
struct Cursor {
    filter: String,
    /// The sequence up to which everything was read into the buffer.
    after: u64,
    buffer: VecDeque<StoredMessage>,
    /// Nothing is left below the horizon.
    exhausted: bool,
}

pub(super) struct Reader {
    plan: Plan,
    cursors: Vec<Cursor>,
    horizon: u64,
    epoch: String,
    skip_internal: bool,
    news: News,
}

impl Reader {
    pub async fn open(plan: Plan) -> Result<Self, ReplayError> {
        if !subjects::is_stream_name(&plan.stream) {
            return Err(FetchError::Refused("no stream has such a name".to_owned()).into());
        }
        let news = News::of(&plan).await;
        let mut reader = Self {
            skip_internal: !plan.filters.iter().any(|filter| filter.starts_with('_')),
            cursors: Vec::new(),
            horizon: 0,
            epoch: String::new(),
            news,
            plan,
        };
        let position = reader.position().await?;
        reader.horizon = position.last;
        reader.epoch = position.epoch;
        let after = reader.start().await?;
        reader.cursors = reader
            .plan
            .filters
            .iter()
            .map(|filter| Cursor {
                filter: filter.clone(),
                after,
                buffer: VecDeque::new(),
                exhausted: false,
            })
            .collect();
        Ok(reader)
    }

    /// The sequence before the first one to read.
    async fn start(&self) -> Result<u64, ReplayError> {
        match self.plan.from {
            From::Start => Ok(0),
            From::New => Ok(self.horizon),
            From::Sequence(first) => Ok(first.saturating_sub(1)),
            From::Time(time) => {
                let request = json!({"start_time": time.to_rfc3339(), "next_by_subj": ">"});
                // Nothing that new yet: begin behind what there is.
                Ok(self.first_of_leader(&request).await?.map_or(self.horizon, |first| first - 1))
            }
        }
    }

    async fn first_of_leader(
        &self,
        request: &serde_json::Value,
    ) -> Result<Option<u64>, ReplayError> {
        let started = clock::monotonic();
        let mut pause = PAUSES.0;
        loop {
            match self.plan.bus.first_of_leader(&self.plan.stream, request).await {
                Ok(first) => return Ok(first),
                Err(error) => self.wait(error, started, &mut pause).await?,
            }
        }
    }

    /// The next message; `None` at the end of a replay that does not follow.
    pub async fn next(&mut self) -> Result<Option<StoredMessage>, ReplayError> {
        loop {
            for at in 0..self.cursors.len() {
                self.fill(at).await?;
            }
            if let Some(message) = self.take_first() {
                if self.skip_internal && subjects::is_internal(&message.subject) {
                    continue;
                }
                return Ok(Some(message));
            }
            if !self.plan.follow {
                return Ok(None);
            }
            self.next_horizon().await?;
        }
    }

    /// The message with the lowest sequence of all buffers. Filters may overlap: it is taken out of each.
    fn take_first(&mut self) -> Option<StoredMessage> {
        let front = |cursor: &Cursor| cursor.buffer.front().map(|message| message.sequence);
        let lowest = self.cursors.iter().filter_map(front).min()?;
        let mut first = None;
        for cursor in &mut self.cursors {
            if front(cursor) == Some(lowest) {
                first = cursor.buffer.pop_front();
            }
        }
        first
    }

    /// Makes sure that a cursor has its next message below the horizon, if there is one.
    async fn fill(&mut self, at: usize) -> Result<(), ReplayError> {
        let started = clock::monotonic();
        let mut pause = PAUSES.0;
        while self.cursors[at].buffer.is_empty() && !self.cursors[at].exhausted {
            let (after, filter) = (self.cursors[at].after, self.cursors[at].filter.clone());
            if after >= self.horizon {
                self.cursors[at].exhausted = true;
                break;
            }
            match self.page(after, &filter).await {
                Ok(messages) if messages.is_empty() => {
                    let next = json!({"seq": after.saturating_add(1), "next_by_subj": filter});
                    let next = self.first_of_leader(&next).await?;
                    if next.is_some_and(|next| next <= self.horizon) {
                        // The replica that answered is behind.
                        let behind = FetchError::Unavailable("a replica is behind".to_owned());
                        self.wait(behind, started, &mut pause).await?;
                    } else {
                        self.cursors[at].exhausted = true;
                    }
                }
                Ok(messages) => self.keep(at, messages),
                Err(error) => self.wait(error, started, &mut pause).await?,
            }
        }
        Ok(())
    }

    async fn page(&self, after: u64, filter: &str) -> Result<Vec<StoredMessage>, FetchError> {
        let request = json!({
            "seq": after.saturating_add(1), "next_by_subj": filter,
            "batch": PAGE_MESSAGES, "max_bytes": PAGE_BYTES,
        });
        Ok(self.plan.bus.fetch_page(&self.plan.stream, &request, PAGE_MESSAGES).await?.messages)
    }

    /// Takes a page over, up to the horizon: what lies behind it belongs to the next round.
    fn keep(&mut self, at: usize, messages: Vec<StoredMessage>) {
        let (cursor, horizon) = (&mut self.cursors[at], self.horizon);
        for message in messages {
            if message.sequence > horizon {
                cursor.exhausted = true;
                return;
            }
            cursor.after = message.sequence;
            cursor.buffer.push_back(message);
        }
    }

    /// Waits until the stream has something new.
    async fn next_horizon(&mut self) -> Result<(), ReplayError> {
        loop {
            self.news.wait().await;
            let position = self.position().await?;
            if position.epoch != self.epoch {
                return Err(ReplayError::Recreated);
            }
            if position.last > self.horizon {
                self.horizon = position.last;
                for cursor in &mut self.cursors {
                    cursor.exhausted = false;
                }
                return Ok(());
            }
        }
    }

    async fn position(&self) -> Result<StreamPosition, ReplayError> {
        let started = clock::monotonic();
        let mut pause = PAUSES.0;
        loop {
            match self.plan.bus.position(&self.plan.stream).await {
                Ok(position) => return Ok(position),
                Err(error) => self.pause(error, started, &mut pause).await?,
            }
        }
    }

    /// Waits before the next attempt; after an outage the stream must still be the same one.
    async fn wait(
        &self,
        error: FetchError,
        started: Instant,
        pause: &mut Duration,
    ) -> Result<(), ReplayError> {
        self.pause(error, started, pause).await?;
        if self.position().await?.epoch == self.epoch {
            Ok(())
        } else {
            Err(ReplayError::Recreated)
        }
    }

    async fn pause(
        &self,
        error: FetchError,
        started: Instant,
        pause: &mut Duration,
    ) -> Result<(), ReplayError> {
        let hopeless = matches!(error, FetchError::Refused(_));
        if hopeless || started.elapsed() + *pause > self.plan.patience {
            return Err(error.into());
        }
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(PAUSES.1);
        Ok(())
    }
}
