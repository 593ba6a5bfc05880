//! Reading what was missed by clients that come back.
//! Reads: the stream, what is kept of channels. Writes: what is kept. Never: calls a position recovered from which
//! messages are gone; asks the stream once for each of many clients of one channel.

use std::sync::Arc;
use std::time::Duration;

use campana_bus::clock;
use campana_bus::fetch::{FetchError, StoredMessage};

use super::channel::{Channel, Recall, Standing};
use super::evidence::{Position, Verdict, judge};
use super::pattern::Pattern;
use super::source::{Purpose, Snapshot};
use super::{Inner, POSITION_AGE_MAX, noter, recent, sweep};
use crate::proto::Since;
use crate::publication::{ChannelKey, Published};
use crate::session::{Join, LostReason, Page, Recovery};

/// Bytes of one page; the rest comes with the next.
pub(super) const PAGE_BYTES_MAX: usize = 512 * 1024;
/// Tries for messages that the stream must have but does not show: a replica may lag.
pub(super) const LAG_TRIES: u32 = 20;
pub(super) const LAG_PAUSE: Duration = Duration::from_millis(25);
/// Messages of a namespace that are looked through for one page of a pattern.
const SCANNED_MAX: usize = 10_000;

/// Tries to prove that a stream is without a gap while others store messages in it.
const PROOFS: usize = 4;

/// Some messages, as the stream gave them.
#[derive(Default)]
pub(super) struct Read {
    /// Those that are the channel's or the pattern's.
    pub(super) publications: Vec<Arc<Published>>,
    /// Up to here everything was looked at.
    pub(super) reached: u64,
    /// The stream has more.
    pub(super) more: bool,
    /// Messages after the position when it was asked, those of a pattern's whole namespace.
    pub(super) after: u64,
    /// Every sequence after the position is there, without a gap.
    dense: bool,
}

pub(super) fn publish(key: &Arc<ChannelKey>, message: &StoredMessage) -> Arc<Published> {
    let (head, stored) = (Some(&message.headers), Some(message.time));
    Arc::new(Published::new(key, message.sequence, head, &message.payload, stored))
}

/// The same for a channel or a pattern; `None` if the pattern does not take it.
fn take(
    key: &Arc<ChannelKey>,
    pattern: Option<&Pattern>,
    message: &StoredMessage,
) -> Option<Arc<Published>> {
    let Some(pattern) = pattern else { return Some(publish(key, message)) };
    let channel = pattern.takes(&message.subject)?;
    let (head, stored) = (Some(&message.headers), Some(message.time));
    let publication = Published::new(key, message.sequence, head, &message.payload, stored);
    Some(Arc::new(publication.of_channel(channel.as_str())))
}

/// One page of a channel's messages after a position.
pub(super) async fn page(
    inner: &Arc<Inner>,
    key: &Arc<ChannelKey>,
    after: u64,
    purpose: Purpose,
) -> Result<Read, FetchError> {
    let pattern = Pattern::of(key);
    let limit = inner.options.recovery_page_messages;
    let found = match pattern.is_none() && !key.is_dense() {
        true => sweep::after(inner, key, after, limit, purpose).await?,
        false => inner.source.after(key, after, limit, purpose).await?,
    };
    let count = found.messages.len() as u64;
    let mut read = Read {
        publications: Vec::with_capacity(found.messages.len()),
        reached: after,
        more: found.pending > 0,
        after: found.pending.saturating_add(count),
        dense: found.messages.last().map_or(after, |last| last.sequence) == after + count,
    };
    let mut bytes = 0;
    for message in &found.messages {
        bytes += message.payload.len();
        if bytes > PAGE_BYTES_MAX && !read.publications.is_empty() {
            read.more = true;
            break;
        }
        read.reached = message.sequence;
        read.publications.extend(take(key, pattern.as_ref(), message));
    }
    Ok(read)
}

/// One page; if it is the last one, everything up to `at_least` was looked at. `None` if the stream no longer has
/// that.
async fn next_page(
    inner: &Arc<Inner>,
    key: &Arc<ChannelKey>,
    after: u64,
    at_least: u64,
) -> Result<Option<Read>, FetchError> {
    let (mut lagging, mut scanned, mut from, mut all) = (0, 0, after, None);
    while lagging < LAG_TRIES {
        let mut read = page(inner, key, from, Purpose::Recover).await?;
        read.after = *all.get_or_insert(read.after);
        if read.more && read.publications.is_empty() && scanned < SCANNED_MAX {
            scanned += inner.options.recovery_page_messages;
            from = read.reached;
            continue;
        }
        if read.more && read.publications.is_empty() {
            return Ok(None);
        }
        if read.more || read.reached >= at_least {
            return Ok(Some(read));
        }
        lagging += 1;
        tokio::time::sleep(LAG_PAUSE).await;
    }
    match inner.source.last(key, Purpose::Recover).await? {
        Some(last) if last.sequence >= at_least => {
            Err(FetchError::Unavailable("stored messages do not show up".to_owned()))
        }
        _ => Ok(None),
    }
}

/// The next page of a recovery that began.
pub(super) async fn more(
    inner: &Arc<Inner>,
    channel: Option<&Arc<Channel>>,
    key: &Arc<ChannelKey>,
    after: u64,
    at_least: u64,
) -> Result<Option<Page>, FetchError> {
    if let Some(Recall::Found(page, _)) = channel.map(|one| recall(inner, one, after))
        && page.publications.last().map_or(after, |last| last.offset) >= at_least
    {
        return Ok(Some(page));
    }
    let read = next_page(inner, key, after, at_least).await?;
    Ok(read.map(|read| Page { publications: read.publications, more: read.more }))
}

fn recall(inner: &Inner, channel: &Channel, offset: u64) -> Recall {
    let limit = inner.options.recovery_page_messages;
    channel.recall(offset, limit, &inner.budget, clock::monotonic())
}

/// What a client missed after `since`.
pub(super) async fn recover(
    inner: &Arc<Inner>,
    channel: &Arc<Channel>,
    join: &Join,
    since: &Since,
    standing: &Standing,
) -> Result<Recovery, FetchError> {
    if inner.kind_of(&join.key).is_some_and(|kind| kind.cache) {
        return latest(inner, channel, since, standing).await;
    }
    if !since.epoch.is_empty() && *since.epoch != *standing.epoch {
        return Ok(Recovery::Lost(LostReason::Epoch));
    }
    let missed = missed(inner, channel, since.offset, standing).await?;
    Ok(match missed {
        Some((page, all)) if all <= join.reach as u64 => {
            Recovery::Page { from: since.offset, page }
        }
        _ => Recovery::Lost(LostReason::Gap),
    })
}

/// What came after an offset and how much of it there is; `None` if something is gone.
async fn missed(
    inner: &Arc<Inner>,
    channel: &Arc<Channel>,
    offset: u64,
    standing: &Standing,
) -> Result<Option<(Page, u64)>, FetchError> {
    if offset >= standing.position {
        let whole = nothing_missed(inner, channel, offset, standing).await?;
        return Ok(whole.then(|| (Page::default(), 0)));
    }
    let turn = match recall(inner, channel, offset) {
        Recall::Found(page, all) => return Ok(Some((page, all))),
        Recall::Lost => return Ok(None),
        Recall::Far => return alone(inner, channel, offset, standing).await,
        Recall::Ask(turn) => turn,
    };
    let _turn = turn.lock().await;
    // Whoever had the turn before may have asked for this, too; and this one asks for all who wait.
    let mut furthest = None;
    loop {
        match recall(inner, channel, offset) {
            Recall::Found(page, all) => {
                if furthest.is_none() {
                    crate::metrics::recalled();
                }
                return Ok(Some((page, all)));
            }
            Recall::Lost => return Ok(None),
            Recall::Far => return alone(inner, channel, offset, standing).await,
            Recall::Ask(_) if furthest == Some(offset) => {
                return alone(inner, channel, offset, standing).await;
            }
            Recall::Ask(_) => {}
        }
        let from = match furthest {
            None => channel.furthest(offset),
            Some(_) => offset,
        };
        furthest = Some(from);
        fill(inner, channel, from).await?;
    }
}

/// Whether a client that stands at the channel's last message, or after it, missed nothing.
async fn nothing_missed(
    inner: &Inner,
    channel: &Arc<Channel>,
    offset: u64,
    standing: &Standing,
) -> Result<bool, FetchError> {
    let key = &channel.key;
    if standing.position > 0 && (offset == standing.position || !key.is_dense()) {
        let known = inner.source.recently(POSITION_AGE_MAX).await?;
        let last = known.stream.last.max(standing.position);
        if !known.marks && !known.stream.removes_singly && offset <= last {
            return Ok(true);
        }
    }
    let none = Read { reached: offset, ..Read::default() };
    whole(inner, channel, offset, &none).await
}

/// Reads everything after `from` up to what is kept already, and keeps it.
async fn fill(inner: &Arc<Inner>, channel: &Arc<Channel>, from: u64) -> Result<(), FetchError> {
    let Some(upto) = channel.kept_from() else { return Ok(()) };
    if from >= upto {
        return Ok(());
    }
    let mut older: Vec<Arc<Published>> = Vec::new();
    let (mut first, mut after) = (None, from);
    loop {
        let Some(mut read) = next_page(inner, &channel.key, after, upto).await? else {
            channel.lost(from);
            return Ok(());
        };
        after = read.reached;
        older.extend(read.publications.drain(..).filter(|one| one.offset <= upto));
        let more = read.more && after < upto;
        first.get_or_insert(read);
        if !more {
            break;
        }
        if older.len() > recent::MESSAGES_MAX {
            channel.far(from);
            return Ok(());
        }
    }
    let evidence = first.unwrap_or_default();
    if whole(inner, channel, from, &evidence).await? {
        channel.keep(from, upto, &older);
    } else {
        channel.lost(from);
    }
    Ok(())
}

/// Reads the first page for one client alone: it was away too long for what is kept.
async fn alone(
    inner: &Arc<Inner>,
    channel: &Arc<Channel>,
    offset: u64,
    standing: &Standing,
) -> Result<Option<(Page, u64)>, FetchError> {
    let key = &channel.key;
    let Some(read) = next_page(inner, key, offset, standing.position).await? else {
        return Ok(None);
    };
    if !whole(inner, channel, offset, &read).await? {
        return Ok(None);
    }
    let all = if Pattern::of(key).is_some() { 0 } else { read.after };
    Ok(Some((Page { publications: read.publications, more: read.more }, all)))
}

/// Whether everything after `offset` is still there, after `read` was read.
pub(super) async fn whole(
    inner: &Inner,
    channel: &Channel,
    offset: u64,
    read: &Read,
) -> Result<bool, FetchError> {
    let key = &channel.key;
    let snapshot = inner.source.stream_of(key, clock::monotonic()).await?;
    if *snapshot.stream.epoch != *channel.epoch() {
        return Ok(false);
    }
    if key.is_dense() && read.dense && !read.more && read.reached > offset {
        return Ok(true);
    }
    let stream = &snapshot.stream;
    let mark = match snapshot.marks {
        true => inner.source.mark(key, &stream.epoch).await?,
        false => 0,
    };
    let (after, suspected, strict) = (read.after, snapshot.suspected, key.is_dense());
    let position = Position { offset, after, mark, suspected, strict };
    match judge(position, stream) {
        Verdict::Whole => Ok(true),
        Verdict::Lost => Ok(false),
        Verdict::Ask { by_oldest } => {
            if by_oldest && Pattern::of(key).is_none() {
                let proved = has_older(inner, key, offset).await?
                    || noter::proves(inner, key, position, &stream.epoch).await;
                if proved {
                    return Ok(true);
                }
            }
            has_all(inner, key, offset, &snapshot).await
        }
    }
}

/// Whether the channel has a message at or before the offset: then its limits took none after it.
async fn has_older(inner: &Inner, key: &ChannelKey, offset: u64) -> Result<bool, FetchError> {
    let oldest = inner.source.after(key, 0, 1, Purpose::Recover).await?;
    Ok(oldest.messages.first().is_some_and(|message| message.sequence <= offset))
}

/// Whether the stream has every sequence after the offset, of whatever channel.
async fn has_all(
    inner: &Inner,
    key: &ChannelKey,
    offset: u64,
    before: &Snapshot,
) -> Result<bool, FetchError> {
    let mut last = before.stream.last;
    for _ in 0..PROOFS {
        let there = inner.source.all_after(key, offset).await?;
        if there < last.saturating_sub(offset) {
            return Ok(false);
        }
        // What was stored meanwhile may stand in for what is gone: counted against what is the last one now.
        let now = inner.source.stream_of(key, clock::monotonic()).await?;
        last = now.stream.last;
        if there >= last.saturating_sub(offset) {
            return Ok(now.stream.epoch == before.stream.epoch);
        }
    }
    Ok(false)
}

/// What a client of a channel in cache mode gets: the latest publication, unless it has it.
async fn latest(
    inner: &Arc<Inner>,
    channel: &Arc<Channel>,
    since: &Since,
    standing: &Standing,
) -> Result<Recovery, FetchError> {
    let same_epoch = *since.epoch == *standing.epoch;
    let page = |publications| Page { publications, more: false };
    if standing.position > 0 {
        if same_epoch && since.offset >= standing.position {
            return Ok(Recovery::Page { from: since.offset, page: page(Vec::new()) });
        }
        if let Some(latest) = channel.latest(&inner.budget, clock::monotonic()) {
            crate::metrics::recalled();
            return Ok(Recovery::Page { from: latest.offset, page: page(vec![latest]) });
        }
        let turn = channel.turn(&inner.budget, clock::monotonic());
        let _turn = turn.lock().await;
        if let Some(latest) = channel.latest(&inner.budget, clock::monotonic()) {
            crate::metrics::recalled();
            return Ok(Recovery::Page { from: latest.offset, page: page(vec![latest]) });
        }
        let last = inner.source.last(&channel.key, Purpose::Recover).await?;
        let last =
            last.and_then(|last| take(&channel.key, Pattern::of(&channel.key).as_ref(), &last));
        if let Some(latest) = last {
            // What was published meanwhile is kept already.
            if latest.offset == standing.position {
                let from = standing.position.saturating_sub(1);
                channel.keep(from, standing.position, std::slice::from_ref(&latest));
            }
            return Ok(Recovery::Page { from: latest.offset, page: page(vec![latest]) });
        }
    }
    let same = same_epoch && missed(inner, channel, since.offset, standing).await?.is_some();
    if same {
        return Ok(Recovery::Page { from: since.offset, page: page(Vec::new()) });
    }
    Ok(Recovery::Lost(if same_epoch || since.epoch.is_empty() {
        LostReason::Gap
    } else {
        LostReason::Epoch
    }))
}
