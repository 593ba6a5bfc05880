//! Looking for messages that nobody will take.
//! Reads: streams, consumers, the subjects of what is stored, messages up to the floors. Writes: nothing.
//! Never: looks at more messages than its budget.

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::stream::{RetentionPolicy, Stream};
use futures::TryStreamExt;

use super::judge::{Reader, Stranded, judge};
use crate::connect::Bus;
use crate::fetch::FetchError;
use crate::subjects;
use crate::topology::{ADVISORIES, DLQ};

/// Messages read with one request.
const PAGE: usize = 64;
/// Consumers of one stream that are looked at; a stream with more is left to its operators.
const CONSUMERS_MAX: usize = 1_000;
/// Subjects of one stream that are looked at in one round.
const SUBJECTS_MAX: usize = 10_000;

/// What is wrong in one stream.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub messages: Vec<Stranded>,
    /// Messages that readers of a log gave up and nobody filed.
    pub unfiled: u64,
}

fn unavailable(error: impl std::fmt::Display) -> FetchError {
    FetchError::Unavailable(error.to_string())
}

/// The streams that services use: neither buckets nor our own records.
pub(super) async fn streams(bus: &Bus) -> Result<Vec<Stream>, FetchError> {
    let mut names: Vec<String> =
        bus.jetstream().stream_names().try_collect().await.map_err(unavailable)?;
    names.sort_unstable();
    let mut streams = Vec::new();
    for name in names {
        let ours = [DLQ, ADVISORIES].contains(&name.as_str());
        if ours || name.starts_with("KV_") || name.starts_with("OBJ_") {
            continue;
        }
        // A stream that was deleted meanwhile has no messages either.
        if let Ok(stream) = bus.jetstream().get_stream(&name).await {
            streams.push(stream);
        }
    }
    Ok(streams)
}

/// What nobody will take in this stream.
pub(super) async fn stranded(
    bus: &Bus,
    stream: &Stream,
    budget: &mut usize,
) -> Result<Found, FetchError> {
    let info = stream.cached_info();
    let mut found = Found::default();
    if info.state.messages == 0 || info.config.mirror.is_some() {
        return Ok(found);
    }
    let consumers = consumers(stream).await?;
    if consumers.len() >= CONSUMERS_MAX {
        return Ok(found);
    }
    if info.config.retention != RetentionPolicy::WorkQueue {
        found.unfiled = unfiled(bus, &info.config.name, &consumers).await?;
        return Ok(found);
    }
    let readers: Vec<Reader> = consumers.iter().map(reader).collect();
    below_floors(bus, &info.config.name, &readers, budget, &mut found.messages).await?;
    unwanted(bus, stream, &readers, budget, &mut found.messages).await?;
    Ok(found)
}

async fn consumers(stream: &Stream) -> Result<Vec<Info>, FetchError> {
    use futures::StreamExt;
    stream.consumers().take(CONSUMERS_MAX).try_collect().await.map_err(unavailable)
}

fn reader(info: &Info) -> Reader {
    let one = Some(info.config.filter_subject.clone()).filter(|filter| !filter.is_empty());
    Reader {
        name: info.name.clone(),
        filters: one.into_iter().chain(info.config.filter_subjects.iter().cloned()).collect(),
        floor: settled_up_to(info),
        incarnation: info.created.unix_timestamp_nanos(),
    }
}

/// Everything up to here is settled. The floor moves with acknowledgements only, so it can stay behind what is
/// given up; but if nothing is pending, everything that was delivered is settled.
fn settled_up_to(info: &Info) -> u64 {
    let floor = info.ack_floor.stream_sequence;
    if info.num_ack_pending == 0 { floor.max(info.delivered.stream_sequence) } else { floor }
}

/// Stored messages up to each reader's floor. In a healthy queue the first stored message of a filter is above
/// it, and one request per filter says so.
async fn below_floors(
    bus: &Bus,
    stream: &str,
    readers: &[Reader],
    budget: &mut usize,
    found: &mut Vec<Stranded>,
) -> Result<(), FetchError> {
    for reader in readers {
        let everything = [">".to_owned()];
        let filters = if reader.filters.is_empty() { &everything[..] } else { &reader.filters };
        for filter in filters {
            let mut after = 0;
            while *budget > 0 && after < reader.floor {
                let page = bus.fetch_after(stream, filter, after, PAGE.min(*budget)).await?;
                *budget -= page.messages.len().min(*budget);
                let Some(last) = page.messages.last() else {
                    break;
                };
                after = last.sequence;
                let settled = page.messages.iter().filter(|one| one.sequence <= reader.floor);
                found.extend(
                    settled.filter_map(|one| judge(stream, readers, &one.subject, one.sequence)),
                );
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(())
}

/// Messages on subjects that no reader takes. Subjects on which messages wait for their time can be very many
/// and are not asked for.
async fn unwanted(
    bus: &Bus,
    stream: &Stream,
    readers: &[Reader],
    budget: &mut usize,
    found: &mut Vec<Stranded>,
) -> Result<(), FetchError> {
    if readers.iter().any(|reader| reader.filters.is_empty()) {
        return Ok(());
    }
    let config = &stream.cached_info().config;
    for pattern in config.subjects.iter().filter(|pattern| !subjects::is_waiting(pattern)) {
        // A pattern that one filter takes whole cannot hold anything unwanted.
        if readers.iter().any(|reader| reader.filters.contains(pattern)) {
            continue;
        }
        let mut all = stream.info_with_subjects(pattern).await.map_err(unavailable)?;
        let mut seen = 0;
        while let Some((subject, _)) = all.try_next().await.map_err(unavailable)? {
            seen += 1;
            if seen > SUBJECTS_MAX || *budget == 0 {
                break;
            }
            // Any sequence will do: an unwanted message is unwanted wherever it stands.
            if judge(&config.name, readers, &subject, u64::MAX).is_none() {
                continue;
            }
            let page = bus.fetch_after(&config.name, &subject, 0, PAGE.min(*budget)).await?;
            *budget -= page.messages.len().min(*budget);
            found.extend(
                page.messages
                    .iter()
                    .filter_map(|one| judge(&config.name, readers, &one.subject, one.sequence)),
            );
        }
    }
    Ok(())
}

/// Readers of a log with a delivery limit keep what they gave up in their count of redelivered messages. What
/// is neither pending nor filed was lost sight of.
async fn unfiled(bus: &Bus, stream: &str, consumers: &[Info]) -> Result<u64, FetchError> {
    let mut unfiled = 0;
    for consumer in consumers.iter().filter(|consumer| consumer.config.max_deliver > 1) {
        let redelivered = consumer.num_redelivered as u64;
        let given_up = redelivered.saturating_sub(consumer.num_ack_pending as u64);
        if given_up > 0 {
            let subject = subjects::dead_letter_filter(Some(stream), Some(&consumer.name));
            unfiled += given_up.saturating_sub(bus.count(DLQ, &subject).await?);
        }
    }
    Ok(unfiled)
}
