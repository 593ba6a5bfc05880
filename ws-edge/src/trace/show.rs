//! Frames as lines for people: what kind of message, how large, which code, and, if asked for, what it says.
//! Reads: frames. Writes: JSON values. Never: shows a secret: members with telling names and whatever looks like a
//! token are taken out, also inside payloads.

use axum::extract::ws::Utf8Bytes;
use bytes::{Buf as _, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use serde_json::{Map, Value, json};

use crate::encode::Encoded;
use crate::proto::{Command, Request, protobuf};

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";
/// Members whose value is a secret, in small letters.
const SECRETS: [&str; 16] = [
    "token",
    "session",
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "password",
    "passwd",
    "secret",
    "client_secret",
    "api_key",
    "apikey",
    "access_token",
    "refresh_token",
    "id_token",
    "headers",
];
/// A payload beyond this is not shown.
const PAYLOAD_BYTES_MAX: usize = 32 * 1024;
/// Depth of nesting that is looked at; deeper values are taken out.
const DEPTH_MAX: usize = 32;

/// Names of the messages in replies, by field number.
const RESULTS: [(u32, &str); 11] = [
    (5, "connect"),
    (6, "subscribe"),
    (7, "unsubscribe"),
    (8, "publish"),
    (9, "presence"),
    (10, "presence_stats"),
    (11, "history"),
    (12, "ping"),
    (13, "rpc"),
    (14, "refresh"),
    (15, "sub_refresh"),
];
/// Names of the messages in pushes, by field number.
const PUSHES: [(u32, &str); 9] = [
    (4, "pub"),
    (5, "join"),
    (6, "leave"),
    (7, "unsubscribe"),
    (8, "message"),
    (9, "subscribe"),
    (10, "connect"),
    (11, "disconnect"),
    (12, "refresh"),
];

/// One message of a frame.
pub(super) type Shown = Map<String, Value>;

fn shown(kind: &str, method: &str, bytes: usize) -> Shown {
    let mut map = Map::new();
    map.insert("kind".to_owned(), kind.into());
    if !method.is_empty() {
        map.insert("method".to_owned(), method.into());
    }
    map.insert("bytes".to_owned(), bytes.into());
    map
}

/// The commands of a text frame.
pub(super) fn text(frame: &str, payloads: bool) -> Vec<Shown> {
    let lines = frame.split('\n').map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| json_command(line, payloads)).collect()
}

fn json_command(line: &str, payloads: bool) -> Shown {
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(line) else {
        // What cannot be read could hide a secret.
        return shown("malformed", "", line.len());
    };
    if object.is_empty() {
        return shown("pong", "", line.len());
    }
    let known = RESULTS.iter().map(|(_, name)| *name).chain(["send"]);
    let method = known.into_iter().find(|name| object.contains_key(*name)).unwrap_or("unknown");
    let mut map = shown("command", method, line.len());
    if let Some(id) = object.get("id") {
        map.insert("id".to_owned(), id.clone());
    }
    if payloads {
        let payload = object.get(method).cloned().unwrap_or_default();
        map.insert("payload".to_owned(), scrubbed(payload));
    }
    map
}

/// The commands of a binary frame.
pub(super) fn binary(frame: &Bytes, payloads: bool) -> Vec<Shown> {
    protobuf::commands(frame.clone())
        .map(|decoded| match decoded {
            Ok((command, bytes)) if command.is_pong() => shown("pong", "", bytes),
            Ok((command, bytes)) => {
                let mut map = shown("command", command.request.method(), bytes);
                map.insert("id".to_owned(), command.id.into());
                if payloads {
                    map.insert("payload".to_owned(), described(&command));
                }
                map
            }
            Err(_) => shown("malformed", "", frame.len()),
        })
        .collect()
}

/// What a Protobuf command says, without its secrets.
fn described(command: &Command) -> Value {
    let value = match &command.request {
        Request::Connect(it) => {
            json!({"name": it.name, "version": it.version, "data": data(&it.data)})
        }
        Request::Subscribe(it) => json!({
            "channel": it.channel,
            "recover": it.standing.recover,
            "offset": it.standing.offset,
            "epoch": it.standing.epoch,
            "data": data(&it.data),
        }),
        Request::Publish(it) => json!({"channel": it.channel, "data": data(&it.data)}),
        Request::Unsubscribe(channel)
        | Request::Presence(channel)
        | Request::PresenceStats(channel) => json!({"channel": channel}),
        Request::History(it) => {
            json!({"channel": it.channel, "limit": it.limit, "reverse": it.reverse})
        }
        Request::Send(it) => json!({"data": data(it)}),
        Request::Rpc(it) => json!({"method": it.method, "data": data(&it.data)}),
        Request::SubRefresh(it) => json!({"channel": it.channel}),
        Request::None | Request::Ping | Request::Refresh(_) => Value::Null,
    };
    scrubbed(value)
}

/// Bytes as what they are: JSON, text, or so many bytes.
fn data(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({"bytes": bytes.len()}),
    })
}

/// A message to a client; `bare` if it is a push without a reply around it.
pub(super) fn encoded(message: &Encoded, bare: bool, payloads: bool) -> Shown {
    match message {
        Encoded::Text(text) => json_reply(text, payloads),
        Encoded::Binary(bytes) => protobuf_reply(bytes, bare, payloads),
    }
}

fn json_reply(text: &Utf8Bytes, payloads: bool) -> Shown {
    let line = text.as_str();
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(line) else {
        return shown("malformed", "", line.len());
    };
    if object.is_empty() {
        return shown("ping", "", line.len());
    }
    let mut map = if let Some(id) = object.get("id") {
        let known = RESULTS.iter().map(|(_, name)| *name);
        let method = known.into_iter().find(|name| object.contains_key(*name)).unwrap_or_default();
        let mut map = shown("reply", method, line.len());
        map.insert("id".to_owned(), id.clone());
        if let Some(code) = object.get("error").and_then(|error| error.get("code")) {
            map.insert("code".to_owned(), code.clone());
        }
        map
    } else {
        let push = object.get("push").and_then(Value::as_object).unwrap_or(&object);
        let known = PUSHES.iter().map(|(_, name)| *name);
        let method = known.into_iter().find(|name| push.contains_key(*name)).unwrap_or_default();
        let mut map = shown("push", method, line.len());
        if let Some(code) = push.get(method).and_then(|one| one.get("code")) {
            map.insert("code".to_owned(), code.clone());
        }
        map
    };
    if payloads {
        map.insert("payload".to_owned(), scrubbed(Value::Object(object)));
    }
    map
}

/// A Protobuf reply by its field numbers alone, so that every field anybody adds is shown.
fn protobuf_reply(bytes: &Bytes, bare: bool, payloads: bool) -> Shown {
    let mut rest = bytes.clone();
    let fields = match decode_varint(&mut rest).ok().and_then(|_| fields(rest)) {
        Some(fields) if fields.is_empty() => return shown("ping", "", bytes.len()),
        Some(fields) => fields,
        None => return shown("malformed", "", bytes.len()),
    };
    if bare {
        return protobuf_push(&fields, bytes.len(), payloads);
    }
    if let Some(push) = find(&fields, 4).and_then(inner) {
        return protobuf_push(&push, bytes.len(), payloads);
    }
    let mut map = shown("reply", name(&RESULTS, &fields), bytes.len());
    let code = find(&fields, 2).and_then(inner).map(|error| number(&error, 1));
    map.insert("id".to_owned(), number(&fields, 1).into());
    if let Some(code) = code {
        map.insert("code".to_owned(), code.into());
    }
    if payloads && let Some(rpc) = find(&fields, 13).and_then(inner) {
        let said = find(&rpc, 1).map(|field| data(&field.bytes));
        map.insert("payload".to_owned(), scrubbed(json!({"data": said})));
    }
    map
}

fn protobuf_push(fields: &[Field], bytes: usize, payloads: bool) -> Shown {
    let method = name(&PUSHES, fields);
    let mut map = shown("push", method, bytes);
    // Where the schema puts the code of an end.
    let code = match method {
        "unsubscribe" => find(fields, 7).and_then(inner).map(|end| number(&end, 2)),
        "disconnect" => find(fields, 11).and_then(inner).map(|end| number(&end, 1)),
        _ => None,
    };
    if let Some(code) = code {
        map.insert("code".to_owned(), code.into());
    }
    if payloads {
        let channel = find(fields, 2).map(|field| data(&field.bytes));
        let said = find(fields, 4).or_else(|| find(fields, 8)).and_then(inner);
        // `data` is 4 in a publication and 1 in a message.
        let said = said.and_then(|inner| {
            let field = find(&inner, 4).or_else(|| find(&inner, 1))?;
            Some(data(&field.bytes))
        });
        map.insert("payload".to_owned(), scrubbed(json!({"channel": channel, "data": said})));
    }
    map
}

struct Field {
    tag: u32,
    number: u64,
    bytes: Bytes,
}

fn fields(mut rest: Bytes) -> Option<Vec<Field>> {
    let mut found = Vec::new();
    while rest.has_remaining() {
        let (tag, wire) = decode_key(&mut rest).ok()?;
        let mut field = Field { tag, number: 0, bytes: Bytes::new() };
        match wire {
            WireType::Varint => field.number = decode_varint(&mut rest).ok()?,
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                if length > rest.len() {
                    return None;
                }
                field.bytes = rest.split_to(length);
            }
            other => skip_field(other, tag, &mut rest, DecodeContext::default()).ok()?,
        }
        found.push(field);
    }
    Some(found)
}

fn inner(field: &Field) -> Option<Vec<Field>> {
    fields(field.bytes.clone())
}

fn find(fields: &[Field], tag: u32) -> Option<&Field> {
    fields.iter().find(|field| field.tag == tag)
}

fn number(fields: &[Field], tag: u32) -> u64 {
    find(fields, tag).map_or(0, |field| field.number)
}

fn name(table: &[(u32, &'static str)], fields: &[Field]) -> &'static str {
    table.iter().find(|(tag, _)| find(fields, *tag).is_some()).map_or("", |(_, name)| name)
}

/// The same without secrets, and without what is too much.
fn scrubbed(mut value: Value) -> Value {
    scrub(&mut value, DEPTH_MAX);
    let bytes = value.to_string().len();
    if bytes > PAYLOAD_BYTES_MAX { json!({"cut_bytes": bytes}) } else { value }
}

fn scrub(value: &mut Value, depth: usize) {
    if depth == 0 {
        *value = REDACTED.into();
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if SECRETS.contains(&name.to_ascii_lowercase().as_str()) {
                    *member = REDACTED.into();
                } else {
                    scrub(member, depth - 1);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|one| scrub(one, depth - 1)),
        Value::String(text) if holds_token(text) => *text = REDACTED.to_owned(),
        _ => {}
    }
}

/// A JSON Web Token begins with an object's brace and a quote, in base64, and has two dots behind it.
fn holds_token(text: &str) -> bool {
    text.match_indices("eyJ").any(|(at, _)| text[at..].matches('.').count() >= 2)
}

#[cfg(test)]
mod tests;
