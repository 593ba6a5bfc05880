//! The end of a subscription of pull requests, without losing what is on its way.
//! Reads: the subscription. Writes: its end to the server. Never: waits longer than [`LEFTOVERS`].

use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures::StreamExt;

/// How long a subscription that ends may bring messages. While there is no connection its end never comes.
const LEFTOVERS: Duration = Duration::from_secs(2);
/// Nothing came for so long: nothing is on its way.
const QUIET: Duration = Duration::from_millis(100);
/// Status messages that may come beside the messages asked for. The server counts them, too.
const STATUSES: u64 = 16;

/// Ends a subscription and hands over what still comes out of it.
///
/// The client drops a drained subscription as soon as it wakes again, not when the server has answered. What the
/// server sent meanwhile is lost here and comes again only after `ack_wait`, one attempt older. A limit on the
/// number of messages has no such gap: the server counts what it sends, the client what it gets, and both end at
/// the same message. So a busy subscription ends at a limit that covers all that is on its way (`limit`: messages
/// so far, statuses included, and those that waited and were asked for), and only one to which nothing comes is
/// drained. After a reconnect the server counts anew, and there is no limit.
pub(super) async fn end(
    mut messages: Subscriber,
    limit: Option<u64>,
    mut with: impl FnMut(Message),
) {
    let rest = async {
        if let Some(limit) = limit {
            let _ = messages.unsubscribe_after(limit + STATUSES).await;
            while let Ok(next) = tokio::time::timeout(QUIET, messages.next()).await {
                match next {
                    Some(message) => with(message),
                    None => return,
                }
            }
        }
        let _ = messages.drain().await;
        while let Some(message) = messages.next().await {
            with(message);
        }
    };
    let _ = tokio::time::timeout(LEFTOVERS, rest).await;
}
