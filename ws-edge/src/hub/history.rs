//! Answers to history questions, forwards and backwards.
//! Reads: the stream. Writes: nothing. Never: reads more than the answer holds, but for single probes.
//! The stream can only be read forwards; where a page that is counted from the end begins is found by
//! bisection, because every answer says how many messages follow it.

use std::sync::Arc;

use campana_bus::clock;
use campana_bus::fetch::FetchError;

use super::recovery::publish;
use super::source::Purpose;
use super::{Inner, POSITION_AGE_MAX};
use crate::codes::{ReplyError, error};
use crate::publication::{ChannelKey, Published};
use crate::session::{Found, History};

pub(super) async fn answer(inner: &Inner, question: &History) -> Result<Found, ReplyError> {
    let unavailable = |why: FetchError| {
        tracing::warn!(error = %why, "history cannot be read");
        error::INTERNAL
    };
    let key = &question.key;
    let stream = match key.is_dense() {
        true => match inner.dense_stream(key).await {
            Ok(stream) => stream,
            Err(why) => return Err(why.reply()),
        },
        false => inner.source.recently(POSITION_AGE_MAX).await.map_err(unavailable)?.stream.clone(),
    };
    let since = question.since.as_ref();
    if since.is_some_and(|since| !since.epoch.is_empty() && since.epoch != stream.epoch) {
        return Err(error::UNRECOVERABLE_POSITION);
    }
    let last = inner.source.last(key, Purpose::History).await.map_err(unavailable)?;
    let last = last.map_or(0, |message| message.sequence);
    let top = last.max(stream.last);
    let mut publications = Vec::new();
    if question.limit > 0 && last > 0 {
        publications = read(inner, question, last).await.map_err(unavailable)?;
    }
    Ok(Found { publications, top, epoch: stream.epoch.as_str().into() })
}

async fn read(
    inner: &Inner,
    question: &History,
    last: u64,
) -> Result<Vec<Arc<Published>>, FetchError> {
    let key = &question.key;
    let end = last.saturating_add(1);
    // What lies further back than the namespace's history does not count.
    let oldest = start_of(inner, key, question.reach as u64, end).await?;
    let since = question.since.as_ref().map(|since| since.offset);
    let (from, before) = if question.reverse {
        let before = since.unwrap_or(end).min(end);
        (start_of(inner, key, question.limit as u64, before).await?.max(oldest), before)
    } else {
        (since.map_or(oldest, |offset| offset.saturating_add(1).max(oldest)), end)
    };
    let mut found = collect(inner, question, from, before).await?;
    if question.reverse {
        found.reverse();
    }
    Ok(found)
}

/// Up to the limit of messages with a sequence in `from..before`.
async fn collect(
    inner: &Inner,
    question: &History,
    from: u64,
    before: u64,
) -> Result<Vec<Arc<Published>>, FetchError> {
    let age_max = i64::try_from(question.age_seconds_max).unwrap_or(i64::MAX);
    let now = clock::now();
    let too_old = |at: clock::Micros| age_max > 0 && now.since(at) / 1_000_000 > age_max;
    let mut found = Vec::new();
    let mut after = from.saturating_sub(1);
    while found.len() < question.limit && after.saturating_add(1) < before {
        let limit = (question.limit - found.len()).min(inner.options.recovery_page_messages);
        let page = inner.source.after(&question.key, after, limit, Purpose::History).await?;
        let Some(newest) = page.messages.last() else {
            break;
        };
        after = newest.sequence;
        let wanted = page
            .messages
            .iter()
            .filter(|message| message.sequence < before && !too_old(message.time));
        found.extend(wanted.map(|message| publish(&question.key, message)));
        if page.pending == 0 {
            break;
        }
    }
    Ok(found)
}

/// The smallest sequence with at most `count` messages of the subject in it..`before`.
async fn start_of(
    inner: &Inner,
    key: &ChannelKey,
    count: u64,
    before: u64,
) -> Result<u64, FetchError> {
    let behind = count_from(inner, key, before).await?.1;
    let (first, all) = count_from(inner, key, 1).await?;
    let wanted = count.saturating_add(behind);
    if all <= wanted {
        return Ok(first);
    }
    // At `low` there are too many messages, at `high` there are not.
    let (mut low, mut high) = (first, before);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let (next, found) = count_from(inner, key, middle).await?;
        if found == wanted {
            return Ok(next);
        }
        if found > wanted {
            low = next;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

/// The first message with at least this sequence, and how many there are from it on.
async fn count_from(
    inner: &Inner,
    key: &ChannelKey,
    sequence: u64,
) -> Result<(u64, u64), FetchError> {
    let page = inner.source.after(key, sequence.saturating_sub(1), 1, Purpose::History).await?;
    Ok(match page.messages.first() {
        Some(message) => (message.sequence, page.pending + 1),
        None => (sequence, 0),
    })
}
