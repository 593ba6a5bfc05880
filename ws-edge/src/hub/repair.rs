//! Filling the hole of a channel from the stream, once for all its subscribers; for a pattern, reading its news.
//! Reads: the stream. Writes: channels. Never: lets anything out past a hole.

use std::sync::Arc;
use std::time::Duration;

use campana_bus::clock;
use campana_bus::fetch::FetchError;

use super::Inner;
use super::channel::Channel;
use super::recovery::{LAG_PAUSE, LAG_TRIES, page, whole};
use super::source::Purpose;

/// How long a hole may resist, for example while NATS restarts.
const REPAIR_TIME_MAX: Duration = Duration::from_secs(30);

/// Fills the hole of a channel; gives the channel up if that cannot be done.
pub(super) async fn repair(inner: &Arc<Inner>, channel: &Arc<Channel>) {
    let started = clock::monotonic();
    let (mut checked, mut lagging) = (false, 0);
    while started.elapsed() < REPAIR_TIME_MAX && lagging < LAG_TRIES * 4 {
        match step(inner, channel, &mut checked).await {
            Ok(Step::Done) if channel.is_pattern() => return,
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
    let read = page(inner, &channel.key, position, Purpose::Repair).await?;
    // A pattern that was followed to here a moment ago cannot have lost any of so few: its namespace's limit is
    // per channel. See `judge`.
    let few = channel.is_pattern() && !read.more;
    if read.reached > position && !*checked && !few {
        if !whole(inner, channel, position, &read).await? {
            return Ok(Step::Gone);
        }
        *checked = true;
    }
    channel.fetched(read.publications, read.reached);
    if read.more {
        return Ok(Step::More);
    }
    Ok(if channel.finish() { Step::Lagging } else { Step::Done })
}
