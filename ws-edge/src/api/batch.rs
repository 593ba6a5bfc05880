//! Many commands in one request.
//! Reads: requests. Writes: nothing itself. Never: stops at a command that fails; each has its own reply.

use std::collections::BTreeMap;

use axum::response::Response;
use futures::StreamExt as _;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Method;
use super::answer::{self, Answer, Failure};
use super::commands::Caller;
use crate::codes::error;

/// Commands of one parallel batch that run at the same time.
const BATCH_CONCURRENCY: usize = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Batch {
    /// Each a method's name and its request.
    commands: Vec<BTreeMap<String, Box<RawValue>>>,
    parallel: Option<bool>,
}

/// The answer to a batch; `None` if it has not the form of one.
pub(super) async fn run(caller: Caller<'_>, body: &str) -> Option<Response> {
    let batch: Batch = super::commands::parse(body)?;
    let most = caller.node.rules.options.api.batch_commands_max;
    if batch.commands.len() > most {
        let failure =
            Failure::because(error::LIMIT_EXCEEDED, format!("a batch has at most {most} commands"));
        return Some(answer::refuse(StatusCode::PAYLOAD_TOO_LARGE, &failure));
    }
    let at_once = if batch.parallel.unwrap_or_default() { BATCH_CONCURRENCY } else { 1 };
    let replies: Vec<String> = futures::stream::iter(batch.commands)
        .map(|command| one(caller, command))
        .buffered(at_once)
        .collect()
        .await;
    Some(answer::body(StatusCode::OK, format!("{{\"replies\":[{}]}}", replies.join(","))))
}

async fn one(caller: Caller<'_>, command: BTreeMap<String, Box<RawValue>>) -> String {
    let known = command.iter().find_map(|(name, body)| Some((Method::parse(name)?, body)));
    let Some((method, body)) = known else {
        return reply(None, &Err(error::METHOD_NOT_FOUND.into()));
    };
    let answer = caller.run(method, body.get()).await;
    reply(Some(method), &answer.unwrap_or_else(|| Err(error::BAD_REQUEST.into())))
}

fn reply(method: Option<Method>, answer: &Answer) -> String {
    match answer {
        Ok(result) => format!("{{\"{}\":{result}}}", method.map_or("", Method::as_str)),
        Err(failure) => format!("{{\"error\":{}}}", answer::text(failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_named_like_its_command() {
        let done = Ok(answer::DONE.to_owned());
        assert_eq!(reply(Some(Method::HistoryRemove), &done), r#"{"history_remove":{}}"#);
        assert_eq!(
            reply(None, &Err(error::METHOD_NOT_FOUND.into())),
            r#"{"error":{"code":104,"message":"method not found"}}"#
        );
    }
}
