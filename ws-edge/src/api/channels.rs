//! What is known of channels, and of the nodes.
//! Reads: the streams, presence, all nodes. Writes: nothing but the removal of a channel's history.
//! Never: counts a node that did not answer as empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use campana_bus::history;
use prost::Message as _;
use serde::Serialize;

use super::answer::{self, Answer, DONE, Failure};
use super::commands::{self, Caller};
use super::glob::Glob;
use crate::codes::error;
use crate::control::{self, Ask, NodeInfo};
use crate::encode;
use crate::presence;
use crate::proto::protobuf::replies;
use crate::publication::{ChannelKey, Form, Published};
use crate::session::History;

/// Most channels of one answer.
const CHANNELS_MAX: usize = 100_000;

pub(super) async fn presence(caller: Caller<'_>, request: commands::OfChannel) -> Answer {
    let key = tracked(caller, &request.channel)?;
    let clients = presence::list(&caller.node.presence, &key).await?;
    let clients: Vec<String> =
        clients.iter().map(|(client, info)| format!("{}:{info}", encode::string(client))).collect();
    Ok(format!("{{\"presence\":{{{}}}}}", clients.join(",")))
}

pub(super) async fn presence_stats(caller: Caller<'_>, request: commands::OfChannel) -> Answer {
    let key = tracked(caller, &request.channel)?;
    let stats = presence::stats(&caller.node.presence, &key).await?;
    Ok(format!("{{\"num_clients\":{},\"num_users\":{}}}", stats.clients, stats.users))
}

/// A channel of which it is kept who is there.
fn tracked(caller: Caller<'_>, channel: &str) -> Result<Arc<ChannelKey>, Failure> {
    let (key, namespace) = caller.channel(channel)?;
    match namespace.track_presence {
        true => Ok(key),
        false => Err(error::NOT_AVAILABLE.into()),
    }
}

pub(super) async fn history(caller: Caller<'_>, request: commands::History) -> Answer {
    let (key, namespace) = caller.channel(&request.channel)?;
    if !namespace.keeps_history() {
        return Err(error::NOT_AVAILABLE.into());
    }
    let most = caller.node.rules.options.history_messages_max.min(namespace.history_size);
    let question = History {
        command: 0,
        key,
        limit: usize::try_from(request.limit).map_or(most, |asked| asked.min(most)),
        since: request.since,
        reverse: request.reverse,
        reach: namespace.history_size,
        age_seconds_max: namespace.history_ttl_seconds,
    };
    let found = caller.node.hub.history(&question).await?;
    let publications: Vec<String> = found.publications.iter().map(|one| publication(one)).collect();
    Ok(format!(
        "{{\"publications\":[{}],\"offset\":{},\"epoch\":{}}}",
        publications.join(","),
        found.top,
        encode::string(&found.epoch)
    ))
}

/// As clients see it; bytes that have no form in JSON are in base64.
fn publication(one: &Published) -> String {
    if let Some(json) = one.json_object(Form::Plain) {
        return json.as_str().to_owned();
    }
    let bytes = replies::Publication::decode(one.protobuf_object()).unwrap_or_default().data;
    format!(
        "{{\"data\":null,\"b64data\":\"{}\",\"offset\":{}}}",
        STANDARD.encode(bytes),
        one.offset
    )
}

pub(super) async fn history_remove(caller: Caller<'_>, request: commands::OfChannel) -> Answer {
    let (key, namespace) = caller.channel(&request.channel)?;
    if !namespace.keeps_history() {
        return Err(error::NOT_AVAILABLE.into());
    }
    match history::remove(&caller.node.bus, &key.subject).await {
        Ok(_) => Ok(DONE.to_owned()),
        Err(why) => {
            tracing::warn!(error = %why, "a channel's history was not removed");
            Err(error::INTERNAL.into())
        }
    }
}

#[derive(Serialize)]
struct ChannelsResult {
    channels: BTreeMap<String, ChannelInfo>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct ChannelInfo {
    num_clients: u64,
}

pub(super) async fn channels(caller: Caller<'_>, request: commands::Channels) -> Answer {
    if Glob::parse(&request.pattern).is_none() {
        return Err(Failure::because(error::BAD_REQUEST, "that is not a pattern"));
    }
    let tenant = caller.grant.tenant.clone();
    let ask = Ask::Channels { tenant, pattern: request.pattern };
    let channels = merged(caller.node.control.ask(ask).await?)?;
    answer::json(&ChannelsResult { channels })
}

/// Channels of all nodes, their subscriptions added up.
fn merged(answers: Vec<control::Answer>) -> Result<BTreeMap<String, ChannelInfo>, Failure> {
    let too_many =
        || Failure::because(error::LIMIT_EXCEEDED, "too many channels: narrow the pattern");
    let mut all: BTreeMap<String, ChannelInfo> = BTreeMap::new();
    for answer in answers {
        match answer {
            control::Answer::Channels(part) => {
                for (name, count) in part {
                    all.entry(name).or_default().num_clients += count;
                }
            }
            control::Answer::TooMany => return Err(too_many()),
            _ => {}
        }
    }
    if all.len() > CHANNELS_MAX { Err(too_many()) } else { Ok(all) }
}

#[derive(Serialize)]
struct InfoResult {
    nodes: Vec<NodeInfo>,
}

pub(super) async fn info(caller: Caller<'_>) -> Answer {
    let answers = caller.node.control.ask(Ask::Info).await?;
    let mut nodes: Vec<NodeInfo> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            control::Answer::Info(info) => Some(info),
            _ => None,
        })
        .collect();
    nodes.sort_by(|one, other| (&one.name, &one.uid).cmp(&(&other.name, &other.uid)));
    answer::json(&InfoResult { nodes })
}

#[cfg(test)]
mod tests {
    use campana_bus::subjects::ChannelName;

    use super::*;

    #[test]
    fn subscriptions_of_all_nodes_are_added_up() {
        let part = |list: &[(&str, u64)]| {
            let list = list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
            control::Answer::Channels(list)
        };
        let all = merged(vec![part(&[("a", 1), ("b", 2)]), part(&[("a", 3)])]).unwrap();
        assert_eq!((all["a"].num_clients, all["b"].num_clients), (4, 2));
        assert!(merged(vec![part(&[]), control::Answer::TooMany]).is_err());
    }

    #[test]
    fn bytes_that_are_not_text_are_in_base64() {
        let key = Arc::new(ChannelKey::new("t", ChannelName::parse("c").unwrap()));
        let json = |body: &[u8]| publication(&Published::new(&key, 7, None, body, None));
        assert_eq!(json(b"{\"a\":1}"), r#"{"data":{"a":1},"offset":7}"#);
        assert_eq!(json(&[0xff]), r#"{"data":null,"b64data":"/w==","offset":7}"#);
    }
}
