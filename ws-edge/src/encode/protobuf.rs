//! What clients are sent, as one Protobuf message each, behind its length.
//! Reads: results. Writes: bytes. Never: looks into a payload.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;

use super::{ConnectResult, Encoded, Plain, SubscribeResult};
use crate::codes::Unsubscribe;
use crate::proto::protobuf::{Empty, replies as wire};
use crate::publication::Published;

/// The empty message.
pub(super) const PING: &[u8] = &[0];

/// Field 4 of a reply: the push.
const REPLY_PUSH: u8 = 4 << 3 | 2;
/// Field 2 of a push: the channel.
const PUSH_CHANNEL: u8 = 2 << 3 | 2;
/// Field 4 of a push: the publication.
const PUSH_PUBLICATION: u8 = 4 << 3 | 2;

fn reply(reply: &wire::Reply) -> Encoded {
    Encoded::Binary(reply.encode_length_delimited_to_vec().into())
}

/// A whole push with a publication, and where in it the publication alone begins; it ends with the push.
pub(crate) fn publication(channel: &str, publication: &wire::Publication) -> (Bytes, usize) {
    let field = |bytes: usize| 1 + prost::length_delimiter_len(bytes) + bytes;
    let object = publication.encoded_len();
    let push = field(channel.len()) + field(object);
    let whole = field(push);
    let mut out = BytesMut::with_capacity(prost::length_delimiter_len(whole) + whole);
    varint(&mut out, whole);
    out.put_u8(REPLY_PUSH);
    varint(&mut out, push);
    out.put_u8(PUSH_CHANNEL);
    varint(&mut out, channel.len());
    out.put_slice(channel.as_bytes());
    out.put_u8(PUSH_PUBLICATION);
    varint(&mut out, object);
    let begins = out.len();
    // A growing buffer takes every message.
    let _ = publication.encode(&mut out);
    (out.freeze(), begins)
}

fn varint(out: &mut BytesMut, value: usize) {
    // A growing buffer takes every number.
    let _ = prost::encode_length_delimiter(value, out);
}

pub(super) fn error(id: u32, code: u32, message: &str, temporary: bool) -> Encoded {
    let error = wire::Error { code, message: message.to_owned(), temporary };
    reply(&wire::Reply { id, error: Some(error), ..Default::default() })
}

pub(super) fn plain(id: u32, what: Plain) -> Encoded {
    let mut message = wire::Reply { id, ..Default::default() };
    match what {
        Plain::Unsubscribe => message.unsubscribe = Some(Empty {}),
        Plain::Publish => message.publish = Some(Empty {}),
        Plain::Ping => message.ping = Some(Empty {}),
    }
    reply(&message)
}

pub(super) fn unsubscribe_push(channel: &str, why: Unsubscribe) -> Encoded {
    let unsubscribe = wire::Unsubscribe { code: why.code, reason: why.reason.to_owned() };
    let push = wire::Push {
        channel: channel.to_owned(),
        unsubscribe: Some(unsubscribe),
        ..Default::default()
    };
    reply(&wire::Reply { push: Some(push), ..Default::default() })
}

/// Whether there is an end, and the seconds until it.
fn expiry(ttl: Option<i64>) -> (bool, u32) {
    (ttl.is_some(), ttl.map_or(0, |ttl| u32::try_from(ttl.max(1)).unwrap_or(u32::MAX)))
}

fn publications(list: &[Arc<Published>]) -> Vec<Bytes> {
    list.iter().map(|publication| publication.protobuf_object()).collect()
}

fn subscribe_result(result: &SubscribeResult<'_>) -> wire::SubscribeResult {
    let (expires, ttl) = expiry(result.ttl);
    wire::SubscribeResult {
        expires,
        ttl,
        recoverable: result.recoverable,
        epoch: if result.positioned { result.epoch.to_owned() } else { String::new() },
        publications: publications(result.publications),
        recovered: result.recovered == Some(true),
        offset: if result.positioned { result.offset } else { 0 },
        positioned: result.positioned,
        data: result.data.map(|json| Bytes::copy_from_slice(json.as_bytes())).unwrap_or_default(),
        was_recovering: result.recovered.is_some(),
        delta: result.delta,
        // Names only: see docs/adr/0031-differences-instead-of-deflate.md.
        id: 0,
    }
}

pub(super) fn subscribed(result: &SubscribeResult<'_>, id: u32) -> Encoded {
    let subscribe = Some(subscribe_result(result));
    reply(&wire::Reply { id, subscribe, ..Default::default() })
}

pub(super) fn connected(result: &ConnectResult<'_>, id: u32) -> Encoded {
    let (expires, ttl) = expiry(result.ttl);
    let subs: BTreeMap<String, wire::SubscribeResult> = result
        .subs
        .iter()
        .map(|(channel, one)| ((*channel).to_owned(), subscribe_result(one)))
        .collect();
    let connect = wire::ConnectResult {
        client: result.client.to_owned(),
        version: result.version.to_owned(),
        expires,
        ttl,
        data: result.data.map(|data| Bytes::copy_from_slice(data.as_bytes())).unwrap_or_default(),
        subs,
        ping: u32::try_from(result.ping_seconds).unwrap_or(u32::MAX),
        pong: result.pong,
        session: result.address.map(|one| one.session.to_string()).unwrap_or_default(),
        node: result.address.map(|one| one.node.to_string()).unwrap_or_default(),
    };
    reply(&wire::Reply { id, connect: Some(connect), ..Default::default() })
}

pub(super) fn refreshed(id: u32, client: &str, version: &str, left: Option<i64>) -> Encoded {
    let (expires, ttl) = expiry(left);
    let (client, version) = (client.to_owned(), version.to_owned());
    let refresh = wire::RefreshResult { client, version, expires, ttl };
    reply(&wire::Reply { id, refresh: Some(refresh), ..Default::default() })
}

pub(super) fn sub_refreshed(id: u32, left: Option<i64>) -> Encoded {
    let (expires, ttl) = expiry(left);
    let sub_refresh = Some(wire::SubRefreshResult { expires, ttl });
    reply(&wire::Reply { id, sub_refresh, ..Default::default() })
}

pub(super) fn history(id: u32, found: &[Arc<Published>], offset: u64, epoch: &str) -> Encoded {
    let publications = publications(found);
    let history = wire::HistoryResult { publications, epoch: epoch.to_owned(), offset };
    reply(&wire::Reply { id, history: Some(history), ..Default::default() })
}

pub(super) fn called(id: u32, data: &Bytes) -> Encoded {
    let rpc = Some(wire::RpcResult { data: data.clone() });
    reply(&wire::Reply { id, rpc, ..Default::default() })
}
