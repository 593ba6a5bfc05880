//! Requests that become WebSockets.
//! Reads: HTTP requests. Writes: HTTP answers. Never: lets in a page of an origin that is not listed.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::{Utf8Bytes, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Query, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};

use super::Kind;
use super::introduction::{Params, introduction};
use super::shell::{self, Opening};
use super::ws::Ws;
use crate::proto::Protocol;
use crate::server::{Node, admit};
use crate::session::Mode;

/// A client that speaks and listens.
pub(super) async fn websocket(
    State(node): State<Arc<Node>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    Query(params): Query<Params>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let protocol = wanted(&headers, query.as_deref());
    let mode = Mode { frame_pings: params.frame_pings(), ..Mode::default() };
    let begin = Begin { kind: Kind::WebSocket, protocol, mode, first: None };
    accept(node, peer, &headers, begin, upgrade)
}

/// A client that only listens. It introduces itself in the query or with its first message.
pub(super) async fn listener(
    State(node): State<Arc<Node>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(params): Query<Params>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let mode = Mode { unidirectional: true, frame_pings: params.frame_pings(), ..Mode::default() };
    let first = match params.introduces() {
        false => None,
        true => match introduction(params.cf_connect.as_deref(), params.token.as_deref(), None) {
            Ok(text) => Some(text.into()),
            Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
        },
    };
    let begin = Begin { kind: Kind::UniWebSocket, protocol: Protocol::Json, mode, first };
    accept(node, peer, &headers, begin, upgrade)
}

/// How a WebSocket begins.
struct Begin {
    kind: Kind,
    protocol: Protocol,
    mode: Mode,
    first: Option<Utf8Bytes>,
}

fn accept(
    node: Arc<Node>,
    peer: SocketAddr,
    headers: &HeaderMap,
    begin: Begin,
    upgrade: WebSocketUpgrade,
) -> Response {
    let peer = SocketAddr::new(node.limits.client_address(headers, peer.ip()), peer.port());
    let admission = match admit(&node, headers, peer.ip()) {
        Ok(admission) => admission,
        Err(refused) => return refused.into_response(),
    };
    let Begin { kind, protocol, mode, first } = begin;
    let opening = Opening::new(&node, protocol, mode, headers, peer);
    let options = &node.rules.options;
    let subprotocol = match protocol {
        Protocol::Json => "centrifuge-json",
        Protocol::Protobuf => "centrifuge-protobuf",
    };
    // The token counts the connection among the tasks from now on, also while it is still being upgraded.
    let task = node.tasks.token();
    upgrade
        // Named back only to who asked for it: some clients refuse a name that they did not offer.
        .protocols([subprotocol])
        .read_buffer_size(options.read_buffer_bytes)
        .write_buffer_size(options.write_buffer_bytes)
        .max_message_size(options.message_bytes_max)
        .max_frame_size(options.message_bytes_max)
        .on_upgrade({
            let node = Arc::clone(&node);
            move |socket| {
                let serving = shell::run(Ws::new(socket, kind, first), Arc::clone(&node), opening);
                node.until_cut((task, admission), serving)
            }
        })
}

/// Protobuf for who asks for it by subprotocol or query, JSON for all others.
pub(super) fn wanted(headers: &HeaderMap, query: Option<&str>) -> Protocol {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut offered = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim);
    let by_query = query.is_some_and(|query| {
        query.split('&').any(|pair| matches!(pair, "format=protobuf" | "cf_protocol=protobuf"))
    });
    match by_query || offered.any(|protocol| protocol == "centrifuge-protobuf") {
        true => Protocol::Protobuf,
        false => Protocol::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_is_recognised_however_it_is_asked_for() {
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            let parse = |(name, value): &(&'static str, &str)| {
                (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
            };
            pairs.iter().map(parse).collect()
        };
        let offer = |list: &str| headers(&[("sec-websocket-protocol", list)]);
        for (offered, query, protocol) in [
            (offer("centrifuge-protobuf"), None, Protocol::Protobuf),
            (offer("other, centrifuge-protobuf"), Some("format=json"), Protocol::Protobuf),
            (headers(&[]), Some("a=1&cf_protocol=protobuf"), Protocol::Protobuf),
            (headers(&[]), Some("format=protobuf"), Protocol::Protobuf),
            (offer("centrifuge-json"), Some("format=json"), Protocol::Json),
            (offer("protobuf"), Some("format=protobuf2"), Protocol::Json),
            (headers(&[]), None, Protocol::Json),
        ] {
            assert_eq!(wanted(&offered, query), protocol, "{offered:?} {query:?}");
        }
    }
}
