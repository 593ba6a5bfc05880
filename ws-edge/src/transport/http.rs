//! Requests whose answer is the connection, and requests that carry a client's commands to one.
//! Reads: HTTP requests. Writes: HTTP answers. Never: lets in a page of an origin that is not listed, reads a
//! body without limits of size and time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, Query, RawQuery};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use prost::Message as _;
use serde::Deserialize;

use super::emulation::{self, Request, Undelivered};
use super::introduction::{Params, introduction};
use super::listen::Peer;
use super::shell::{self, Opening};
use super::stream::Stream;
use super::upgrade::wanted;
use super::{Incoming, Kind};
use crate::auth::origin;
use crate::proto::Protocol;
use crate::server::{Node, admit};
use crate::session::{Address, Mode};

/// Bytes of a request around the commands in it.
const AROUND_BYTES: usize = 1_024;
/// Where an `EventSource` says what it got last.
const LAST_EVENT_ID: &str = "last-event-id";

type Refusal = (StatusCode, &'static str);

/// Who asks and on which connection.
pub(super) struct Caller {
    node: Arc<Node>,
    peer: Peer,
    address: SocketAddr,
    headers: HeaderMap,
}

impl axum::extract::FromRequestParts<Arc<Node>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        node: &Arc<Node>,
    ) -> Result<Self, Response> {
        let refuse = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a request has no connection");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        };
        let ConnectInfo(address) = ConnectInfo::<SocketAddr>::from_request_parts(parts, node)
            .await
            .map_err(|e| refuse(&e))?;
        let Extension(peer) =
            Extension::<Peer>::from_request_parts(parts, node).await.map_err(|e| refuse(&e))?;
        let headers = parts.headers.clone();
        let ip = node.limits.client_address(&headers, address.ip());
        let address = SocketAddr::new(ip, address.port());
        Ok(Self { node: Arc::clone(node), peer, address, headers })
    }
}

/// Server-sent events for a client that speaks by [`emulate`]; the first command is in the query.
pub(super) async fn sse(caller: Caller, Query(params): Query<Params>) -> Response {
    let Some(command) = params.cf_connect else {
        return (StatusCode::BAD_REQUEST, "cf_connect is missing").into_response();
    };
    caller.open(Kind::Sse, Protocol::Json, Incoming::Text(command.into()))
}

/// The same with the first command in the body.
pub(super) async fn sse_post(caller: Caller, body: Body) -> Response {
    caller.open_with_body(Kind::Sse, Protocol::Json, body).await
}

/// A stream of lines of JSON or of Protobuf messages for a client that speaks by [`emulate`].
pub(super) async fn http_stream(caller: Caller, RawQuery(query): RawQuery, body: Body) -> Response {
    let protocol = match is_binary(&caller.headers) {
        true => Protocol::Protobuf,
        false => wanted(&HeaderMap::new(), query.as_deref()),
    };
    caller.open_with_body(Kind::HttpStream, protocol, body).await
}

/// Server-sent events for a client that only listens.
pub(super) async fn uni_sse(caller: Caller, Query(params): Query<Params>) -> Response {
    caller.listen(Kind::UniSse, &params, None)
}

/// The same with the connect request in the body.
pub(super) async fn uni_sse_post(
    caller: Caller,
    Query(params): Query<Params>,
    body: Body,
) -> Response {
    caller.listen_with_body(Kind::UniSse, &params, body).await
}

/// Lines of JSON for a client that only listens.
pub(super) async fn uni_http_stream(
    caller: Caller,
    Query(params): Query<Params>,
    body: Body,
) -> Response {
    caller.listen_with_body(Kind::UniHttpStream, &params, body).await
}

impl Caller {
    async fn body(&self, body: Body, limit: usize) -> Result<Bytes, Refusal> {
        let timeout = Duration::from_millis(self.node.rules.options.http.body_timeout_ms);
        let late = (StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
        tokio::time::timeout(timeout, read(body, limit)).await.unwrap_or(Err(late))
    }

    async fn open_with_body(self, kind: Kind, protocol: Protocol, body: Body) -> Response {
        let limit = self.node.rules.options.message_bytes_max;
        let first = match (self.body(body, limit).await, protocol) {
            (Ok(bytes), Protocol::Protobuf) => Incoming::Binary(bytes),
            (Ok(bytes), Protocol::Json) => match bytes.try_into() {
                Ok(text) => Incoming::Text(text),
                Err(_) => return NOT_TEXT.into_response(),
            },
            (Err(refusal), _) => return refusal.into_response(),
        };
        self.open(kind, protocol, first)
    }

    async fn listen_with_body(self, kind: Kind, params: &Params, body: Body) -> Response {
        let limit = self.node.rules.options.message_bytes_max;
        match self.body(body, limit).await.map(|bytes| String::from_utf8(bytes.into())) {
            Ok(Ok(text)) => self.listen(kind, params, Some(&text)),
            Ok(Err(_)) => NOT_TEXT.into_response(),
            Err(refusal) => refusal.into_response(),
        }
    }

    fn listen(self, kind: Kind, params: &Params, body: Option<&str>) -> Response {
        let last = self.headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
        let last = last.filter(|_| kind == Kind::UniSse);
        let request = params.cf_connect.as_deref().or(body);
        match introduction(request, params.token.as_deref(), last) {
            Ok(text) => self.open(kind, Protocol::Json, Incoming::Text(text.into())),
            Err(why) => (StatusCode::BAD_REQUEST, why).into_response(),
        }
    }

    /// Begins the connection, or says why not.
    fn open(self, kind: Kind, protocol: Protocol, first: Incoming) -> Response {
        let Self { node, peer, address, headers } = self;
        let admission = match admit(&node, &headers, address.ip()) {
            Ok(admission) => admission,
            Err(refused) => return refused.into_response(),
        };
        peer.has_session();
        let unidirectional = matches!(kind, Kind::UniSse | Kind::UniHttpStream);
        let mut mode = Mode { unidirectional, ..Mode::default() };
        if kind == Kind::UniSse {
            mode.marks = Some(Box::default());
        }
        let entry = (!unidirectional)
            .then(|| node.sessions.open(protocol, node.rules.options.queue_bytes_max));
        mode.address = entry.as_ref().map(|entry| {
            let (session, node) = (entry.secret.clone(), node.id.as_str().into());
            Box::new(Address { session, node })
        });
        let opening = Opening::new(&node, protocol, mode, &headers, address);
        let (stream, body) = Stream::new(kind, protocol, first, entry, peer);
        let task = node.tasks.token();
        let serving = Arc::clone(&node);
        node.lifecycle.spawn("edge stream", async move {
            let _held = (task, admission);
            shell::run(stream, serving, opening).await;
        });
        let content = match (kind, protocol) {
            (Kind::Sse | Kind::UniSse, _) => "text/event-stream",
            (_, Protocol::Json) => "application/json",
            (_, Protocol::Protobuf) => "application/octet-stream",
        };
        let headers = [
            (header::CONTENT_TYPE, content),
            (header::CACHE_CONTROL, "no-cache, no-store, no-transform"),
            // The connection of HTTP ends with that of the client.
            (header::CONNECTION, "close"),
            (ACCEL_BUFFERING, "no"),
        ];
        (headers, body).into_response()
    }
}

/// Tells nginx to pass on what comes at once.
const ACCEL_BUFFERING: http::HeaderName = http::HeaderName::from_static("x-accel-buffering");
const TOO_LARGE: Refusal = (StatusCode::PAYLOAD_TOO_LARGE, "the request is larger than allowed");
const NOT_TEXT: Refusal = (StatusCode::BAD_REQUEST, "the request is not UTF-8");

/// Commands of a client for its session, wherever it is. 204 says that the session has them, and no more.
pub(super) async fn emulate(caller: Caller, body: Body) -> Response {
    match caller.emulate(body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

impl Caller {
    async fn emulate(&self, body: Body) -> Result<(), Refusal> {
        let options = &self.node.rules.options;
        if !origin::allowed(&options.allowed_origins, &self.headers) {
            return Err((StatusCode::FORBIDDEN, "this origin may not connect"));
        }
        // A string of JSON in JSON has its quotes escaped.
        let limit = options.message_bytes_max * 2 + AROUND_BYTES;
        let body = self.body(body, limit).await?;
        let request = decode(body, is_binary(&self.headers))
            .ok_or((StatusCode::BAD_REQUEST, "the request is malformed"))?;
        if request.data.len() > options.message_bytes_max {
            return Err(TOO_LARGE);
        }
        let own = (self.node.id.as_str(), &*self.node.sessions);
        let timeout = Duration::from_millis(options.http.emulation_timeout_ms);
        emulation::bring(&self.node.bus, own, request, timeout).await.map_err(|why| match why {
            Undelivered::Unknown => (StatusCode::NOT_FOUND, "there is no such session"),
            Undelivered::Silent => {
                (StatusCode::SERVICE_UNAVAILABLE, "the session's node does not answer")
            }
        })
    }
}

fn decode(body: Bytes, binary: bool) -> Option<Request> {
    #[derive(Deserialize)]
    struct Json {
        session: String,
        node: String,
        data: String,
    }
    if binary {
        return Request::decode(body).ok();
    }
    let Json { session, node, data } = serde_json::from_slice(&body).ok()?;
    Some(Request { node, session, data: data.into() })
}

fn is_binary(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content.is_some_and(|value| value.starts_with("application/octet-stream"))
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let (mut chunks, mut whole) = (body.into_data_stream(), BytesMut::new());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| (StatusCode::BAD_REQUEST, "the body broke off"))?;
        if whole.len() + chunk.len() > limit {
            return Err(TOO_LARGE);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_request_are_read() {
        let json = br#"{"session":"s","node":"n","data":"{\"id\":1}\n{\"id\":2}"}"#;
        let request = decode(Bytes::from_static(json), false).unwrap();
        assert_eq!((request.session.as_str(), request.node.as_str()), ("s", "n"));
        assert_eq!(request.data.as_ref(), b"{\"id\":1}\n{\"id\":2}");
        let binary = request.encode_to_vec();
        assert_eq!(decode(binary.into(), true), Some(request));
        for bad in ["", "[]", "{}", r#"{"session":1,"node":"n","data":""}"#] {
            assert_eq!(decode(Bytes::from_static(bad.as_bytes()), false), None, "{bad}");
        }
        assert_eq!(decode(Bytes::from_static(&[0xFF]), true), None);
    }
}
