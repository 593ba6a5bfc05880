//! Reading what was missed: by a client that comes back, or by a channel with a hole.
//! Reads: the stream. Writes: channels that are repaired. Never: calls a position recovered from which
//! messages are gone.

use std::sync::Arc;
use std::time::Duration;

use campana_bus::clock;
use campana_bus::fetch::{FetchError, StoredMessage, StreamPosition};
use campana_bus::topology::CHANNELS;

use super::Inner;
use super::channel::Channel;
use crate::proto::Since;
use crate::publication::{ChannelKey, Published};
use crate::session::{Join, LostReason, Page, Recovery};

/// Bytes of one page; the rest comes with the next.
const PAGE_BYTES_MAX: usize = 512 * 1024;
/// How long a hole may resist, for example while NATS restarts.
const REPAIR_TIME_MAX: Duration = Duration::from_secs(30);
/// Tries for messages that the stream must have but does not show: a replica may lag.
const LAG_TRIES: u32 = 20;
const LAG_PAUSE: Duration = Duration::from_millis(25);

pub(super) fn publish(key: &Arc<ChannelKey>, message: &StoredMessage) -> Arc<Published> {
    let stored = Some(message.time);
    Arc::new(Published::new(
        key,
        message.sequence,
        Some(&message.headers),
        &message.payload,
        stored,
    ))
}

/// One page of the channel's messages after a position, and how many there are in all.
async fn page(inner: &Inner, key: &Arc<ChannelKey>, after: u64) -> Result<(Page, u64), FetchError> {
    let limit = inner.options.recovery_page_messages;
    let found = inner.bus.fetch_after(CHANNELS, &key.subject, after, limit).await?;
    let all = found.pending.saturating_add(found.messages.len() as u64);
    let mut page =
        Page { publications: Vec::with_capacity(found.messages.len()), more: found.pending > 0 };
    let mut bytes = 0;
    for message in &found.messages {
        bytes += message.payload.len();
        if bytes > PAGE_BYTES_MAX && !page.publications.is_empty() {
            page.more = true;
            break;
        }
        page.publications.push(publish(key, message));
    }
    Ok((page, all))
}

/// One page, and how many messages there are in all; if it is the last one, the channel's messages are in it
/// at least up to `at_least`. `None` if the stream no longer has them.
pub(super) async fn next_page(
    inner: &Inner,
    key: &Arc<ChannelKey>,
    after: u64,
    at_least: u64,
) -> Result<Option<(Page, u64)>, FetchError> {
    for _ in 0..LAG_TRIES {
        let (page, all) = page(inner, key, after).await?;
        let reached = page.publications.last().map_or(after, |last| last.offset);
        if page.more || reached >= at_least {
            return Ok(Some((page, all)));
        }
        tokio::time::sleep(LAG_PAUSE).await;
    }
    match inner.bus.last(CHANNELS, &key.subject).await? {
        Some(last) if last.sequence >= at_least => {
            Err(FetchError::Unavailable("stored messages do not show up".to_owned()))
        }
        _ => Ok(None),
    }
}

/// What a client missed after `since`; `position` is the channel's last message.
pub(super) async fn recover(
    inner: &Inner,
    join: &Join,
    since: &Since,
    position: u64,
    stream: &StreamPosition,
) -> Result<Recovery, FetchError> {
    if !since.epoch.is_empty() && since.epoch != stream.epoch {
        return Ok(Recovery::Lost(LostReason::Epoch));
    }
    let key = &join.key;
    let Some((page, all)) = next_page(inner, key, since.offset, position).await? else {
        return Ok(Recovery::Lost(LostReason::Gap));
    };
    if all > join.reach as u64 {
        return Ok(Recovery::Lost(LostReason::Gap));
    }
    let nothing_missed = page.publications.is_empty() && position > 0;
    if (nothing_missed && (position..=stream.last.max(position)).contains(&since.offset))
        || is_recoverable(inner, key, since.offset, position).await?
    {
        Ok(Recovery::Page { from: since.offset, page })
    } else {
        Ok(Recovery::Lost(LostReason::Gap))
    }
}

/// Asks the stream whether all messages of the channel after `offset` are still there.
async fn is_recoverable(
    inner: &Inner,
    key: &ChannelKey,
    offset: u64,
    position: u64,
) -> Result<bool, FetchError> {
    let oldest = inner.bus.fetch_after(CHANNELS, &key.subject, 0, 1).await?;
    let kept = Kept {
        first: oldest.messages.first().map(|message| message.sequence),
        count: oldest.messages.len() as u64 + oldest.pending,
        last: position,
    };
    let stream = inner.position(Duration::ZERO).await?;
    Ok(kept.reaches_back_to(offset, &stream))
}

/// What a stream still holds of one channel.
#[derive(Debug, Clone, Copy)]
struct Kept {
    first: Option<u64>,
    count: u64,
    /// The channel's last message, 0 if none is known.
    last: u64,
}

impl Kept {
    /// Whether every message after `offset` is still there, given that the stream only forgets its oldest
    /// messages: by age or size from its own beginning, by number from the channel's.
    fn reaches_back_to(self, offset: u64, stream: &StreamPosition) -> bool {
        if offset > stream.last {
            // A position that the stream never had.
            return false;
        }
        if self.last > 0 && self.last <= offset {
            return true;
        }
        let not_aged = offset.saturating_add(1) >= stream.first;
        match self.first {
            Some(first) if first <= offset => true,
            Some(_) => {
                not_aged
                    && u64::try_from(stream.max_per_subject)
                        .map_or(true, |max| max == 0 || self.count < max)
            }
            None => not_aged,
        }
    }
}

/// Fills the hole of a channel; gives the channel up if that cannot be done.
pub(super) async fn repair(inner: &Arc<Inner>, channel: &Arc<Channel>) {
    let started = clock::monotonic();
    let (mut checked, mut lagging) = (false, 0);
    while started.elapsed() < REPAIR_TIME_MAX && lagging < LAG_TRIES * 4 {
        match step(inner, channel, &mut checked).await {
            Ok(Step::Done) => return crate::metrics::repaired(),
            Ok(Step::Gone) => break,
            Ok(Step::More) => {}
            Ok(Step::Lagging) => {
                lagging += 1;
                tokio::time::sleep(LAG_PAUSE).await;
            }
            Err(error) => {
                tracing::debug!(%error, "a channel's hole cannot be read yet");
                tokio::time::sleep(LAG_PAUSE * 8).await;
            }
        }
    }
    tracing::warn!("a channel lost messages for good: its subscribers begin anew");
    inner.give_up(channel);
}

enum Step {
    Done,
    More,
    Lagging,
    Gone,
}

async fn step(
    inner: &Arc<Inner>,
    channel: &Arc<Channel>,
    checked: &mut bool,
) -> Result<Step, FetchError> {
    let position = channel.position();
    let (page, _) = page(inner, &channel.key, position).await?;
    if !page.publications.is_empty() && !*checked {
        if !is_recoverable(inner, &channel.key, position, 0).await? {
            return Ok(Step::Gone);
        }
        *checked = true;
    }
    channel.fetched(page.publications);
    if page.more {
        return Ok(Step::More);
    }
    Ok(if channel.finish() { Step::Lagging } else { Step::Done })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(first: u64, last: u64) -> StreamPosition {
        StreamPosition {
            first,
            last,
            epoch: "e".to_owned(),
            max_per_subject: 5,
            messages: 0,
            bytes: 0,
        }
    }

    fn kept(first: Option<u64>, count: u64, last: u64) -> Kept {
        Kept { first, count, last }
    }

    #[test]
    fn a_position_is_recoverable_exactly_if_nothing_after_it_is_gone() {
        let young = stream(1, 100);
        assert!(kept(Some(13), 5, 17).reaches_back_to(17, &young));
        assert!(kept(Some(13), 5, 17).reaches_back_to(13, &young));
        assert!(kept(Some(13), 5, 17).reaches_back_to(14, &young));
        assert!(!kept(Some(13), 5, 17).reaches_back_to(4, &young));
        assert!(kept(Some(13), 4, 17).reaches_back_to(4, &young));
        assert!(kept(None, 0, 0).reaches_back_to(50, &young));
        assert!(kept(Some(13), 4, 17).reaches_back_to(0, &young));
        let aged = stream(40, 100);
        assert!(!kept(Some(50), 2, 60).reaches_back_to(20, &aged));
        assert!(kept(Some(50), 2, 60).reaches_back_to(39, &aged));
        assert!(!kept(None, 0, 0).reaches_back_to(20, &aged));
        assert!(kept(None, 0, 20).reaches_back_to(20, &aged));
    }

    #[test]
    fn a_position_from_the_future_is_no_position() {
        assert!(!kept(Some(13), 2, 17).reaches_back_to(101, &stream(1, 100)));
        assert!(!kept(None, 0, 0).reaches_back_to(u64::MAX, &stream(1, 100)));
        assert!(kept(Some(13), 2, 17).reaches_back_to(90, &stream(1, 100)));
    }

    #[test]
    fn without_a_limit_per_channel_only_age_counts() {
        for max_per_subject in [-1, 0] {
            let stream = StreamPosition { max_per_subject, ..stream(1, 100) };
            assert!(kept(Some(13), 50, 90).reaches_back_to(4, &stream));
        }
    }
}
