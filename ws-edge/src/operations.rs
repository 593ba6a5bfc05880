//! What sessions need from the bus: each operation, carried out.
//! Reads: the hub, the bus. Writes: the channels' stream, questions to services.
//! Never: decides who may do what; the session did.

use std::sync::Arc;

use bytes::Bytes;
use campana_bus::headers::CLIENT_INFO;
use campana_bus::ids::MessageId;
use campana_bus::publish::{Outgoing, PublishError, StoredAt};
use campana_bus::{HeaderMap, clock, headers};
use futures::future::join_all;

use crate::auth::proxy;
use crate::codes::{ReplyError, error};
use crate::mailbox::Mailbox;
use crate::publication::ChannelKey;
use crate::server::Node;
use crate::session::{Call, Done, Join, Operation, PresenceQuestion, Present, Publish};
use crate::{metrics, presence};

/// Header of a call: the tenant of the client that calls. Who the client is stands in [`CLIENT_INFO`].
pub(crate) const TENANT: &str = "Campana-Tenant";

/// Carries out one operation of the connection that has this mailbox.
pub(crate) async fn run(node: Arc<Node>, mailbox: Arc<Mailbox>, operation: Operation) -> Done {
    let (name, started) = (operation.name(), clock::monotonic());
    let done = carry_out(node, mailbox, operation).await;
    metrics::operation(name, started.elapsed());
    done
}

async fn carry_out(node: Arc<Node>, mailbox: Arc<Mailbox>, operation: Operation) -> Done {
    match operation {
        Operation::Leave(key) => {
            node.hub.leave(&key, &mailbox);
            Done::Left
        }
        Operation::Join(joins) => {
            let one = |join: Join| {
                let (hub, mailbox) = (&node.hub, &mailbox);
                let joins = &node.limits.joins;
                async move {
                    let Some(place) = joins.enter().await else {
                        metrics::limited("joins");
                        return (join.ticket, Err(error::TOO_MANY_REQUESTS));
                    };
                    let joined = hub.join(&join, mailbox, || joins.step_aside(place)).await;
                    (join.ticket, joined)
                }
            };
            Done::Joined(join_all(joins.into_iter().map(one)).await)
        }
        Operation::Ask(ask) => proxy::ask(&node, *ask).await,
        Operation::Authenticate => Done::Authenticated(node.keys.ask().await),
        Operation::More(more) => Done::More(more.ticket, node.hub.more(&more).await),
        Operation::Publish(message) => {
            Done::Published(message.command, publish(&node, message).await)
        }
        Operation::History(question) => {
            Done::History(question.command, node.hub.history(&question).await)
        }
        Operation::Presence(question) => {
            Done::Present(question.command, present(&node, &question).await)
        }
    }
}

/// Looks who is in a channel.
async fn present(node: &Node, question: &PresenceQuestion) -> Result<Present, ReplyError> {
    if question.stats {
        let found = presence::stats(&node.presence, &question.key).await?;
        return Ok(Present::Numbers(found.clients, found.users));
    }
    presence::list(&node.presence, &question.key).await.map(Present::Clients)
}

/// Stores a message in its channel, wherever that is.
///
/// # Errors
/// If it is not stored; [`PublishError::TooLarge`] also if the channel would need a stream of its own too many.
pub(crate) async fn store(
    node: &Node,
    key: &ChannelKey,
    message: Outgoing,
) -> Result<StoredAt, PublishError> {
    match key.is_dense() {
        true => node.hub.publish_dense(key, message).await,
        false => node.publisher.publish(message).await,
    }
}

/// Stores a client's message.
async fn publish(node: &Node, message: Publish) -> Result<(), ReplyError> {
    let id = MessageId::fresh().to_string();
    let outgoing = Outgoing::new(message.key.subject.as_str(), id, message.data)
        .header(CLIENT_INFO, &message.info);
    match store(node, &message.key, outgoing).await {
        Ok(_) => Ok(()),
        Err(PublishError::TooLarge) => Err(error::LIMIT_EXCEEDED),
        Err(why) => {
            tracing::warn!(error = %why, "a client's message was not stored");
            Err(error::INTERNAL)
        }
    }
}

/// Asks a service for a client. The client's headers are ours alone: it cannot pretend to be somebody.
pub(crate) async fn call(node: &Node, call: Call) -> Done {
    if let Some(built_in) = call.built_in {
        let answer = node.receipts.call(*built_in).await;
        return Done::BuiltIn(call.command, answer.map_err(Into::into));
    }
    let mut head = HeaderMap::new();
    headers::set(&mut head, CLIENT_INFO, &call.info);
    headers::set(&mut head, TENANT, &call.tenant);
    let result =
        node.bus.call_raw(&call.service, &call.endpoint, head, call.data, call.timeout).await;
    let answer: Result<Bytes, _> = result.map(|(_, answer)| answer).map_err(|why| {
        // A service's own text may speak about people.
        tracing::debug!(code = why.code(), service = call.service, "a client's call failed");
        why.into()
    });
    Done::Called(call.command, answer)
}
