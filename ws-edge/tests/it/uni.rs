//! Clients that only listen: bare pushes over three transports, and pings as WebSocket frames.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use campana_ws_edge::{
    EdgeOptions, UNI_HTTP_STREAM_PATH, UNI_SSE_PATH, UNI_WEBSOCKET_PATH, WEBSOCKET_PATH,
};

use crate::http::{Answer, ask, encoded};
use crate::support::{Edge, World, options, token};

/// Connects over server-sent events; gives the answer, the connect push and its id.
async fn listen(edge: &Edge, query: &str, headers: &[&str]) -> (Answer, Value, Option<String>) {
    let mut answer = ask(edge, "GET", &format!("{UNI_SSE_PATH}{query}"), headers, b"").await;
    assert_eq!(answer.status, 200);
    let (id, push) = answer.event().await.unwrap();
    (answer, push, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_begin_with_the_connect_push_and_go_on_where_the_client_stopped() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let connect = encoded(&json!({"token": token("alice")}).to_string());
    let query = format!("?cf_connect={connect}");
    let (mut answer, push, id) = listen(&edge, &query, &[]).await;
    assert!(push["connect"]["client"].is_string(), "{push}");
    assert_eq!(push["connect"]["ping"], 25);
    assert_eq!(push["connect"]["pong"], Value::Null);
    assert_eq!(push["connect"]["session"], Value::Null);
    assert!(push["connect"]["subs"]["inbox:#alice"]["recoverable"] == true, "{push}");
    let before_any = id.unwrap();
    let mut last = String::new();
    for number in 1..=3 {
        world.publish("inbox:#alice", number).await;
        let (id, push) = answer.event().await.unwrap();
        assert_eq!(
            (&push["channel"], &push["pub"]["data"]),
            (&json!("inbox:#alice"), &json!(number))
        );
        last = id.unwrap();
    }
    drop(answer);
    world.publish("inbox:#alice", 4).await;
    world.publish("inbox:#alice", 5).await;
    for (stood, missed) in [(&last, vec![4, 5]), (&before_any, vec![1, 2, 3, 4, 5])] {
        let header = format!("Last-Event-ID: {stood}");
        let (_, push, _) = listen(&edge, &query, &[&header]).await;
        let inbox = &push["connect"]["subs"]["inbox:#alice"];
        assert_eq!(inbox["recovered"], true, "{push}");
        let data: Vec<u64> = serde_json::from_value(
            inbox["publications"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["data"].clone())
                .collect(),
        )
        .unwrap();
        assert_eq!(data, missed);
    }
    // An id that is none of ours is a client that comes for the first time.
    let (_, push, _) = listen(&edge, &query, &["Last-Event-ID: 42"]).await;
    assert_eq!(push["connect"]["subs"]["inbox:#alice"]["was_recovering"], Value::Null);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_of_more_than_a_page_gets_an_id_for_every_message() {
    let world = World::start().await;
    let edge = world.edge(EdgeOptions { recovery_page_messages: 3, ..options() }).await;
    let query = format!("?token={}", encoded(&token("alice")));
    let (answer, _, id) = listen(&edge, &query, &[]).await;
    let mut stood = id.unwrap();
    drop(answer);
    for number in 1..=10 {
        world.publish("inbox:#alice", number).await;
    }
    // Comes back after every event, and still gets each message once.
    let mut data = Vec::new();
    while data.len() < 10 {
        let header = format!("Last-Event-ID: {stood}");
        let (mut answer, push, id) = listen(&edge, &query, &[&header]).await;
        let sub = &push["connect"]["subs"]["inbox:#alice"];
        let missed = sub["publications"].as_array().into_iter().flatten();
        data.extend(missed.map(|one| one["data"].as_u64().unwrap()));
        stood = id.unwrap();
        if data.len() < 10 {
            let (id, push) = answer.event().await.unwrap();
            data.push(push["pub"]["data"].as_u64().unwrap());
            stood = id.unwrap();
        }
    }
    assert_eq!(data, (1..=10).collect::<Vec<_>>());
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_connect_is_told_by_a_push() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let (mut answer, push, _) = listen(&edge, "?token=nonsense", &[]).await;
    assert_eq!(
        push["disconnect"],
        json!({"code": 3500, "reason": "invalid token", "reconnect": false})
    );
    assert!(answer.is_over().await);
    for (body, code) in [("{}", 3501), ("[]", 3501), ("nonsense", 3501)] {
        let mut answer = ask(&edge, "POST", UNI_HTTP_STREAM_PATH, &[], body.as_bytes()).await;
        let push = answer.line().await.unwrap();
        assert_eq!(push["disconnect"]["code"], code, "{push}");
        assert!(answer.is_over().await);
    }
    let long_ago = campana_bus::clock::now().0 / 1_000_000 - 900;
    let spec = campana_identity::ConnectionSpec::default();
    let expired =
        crate::support::keys().mint_connection("alice", "default", 60, long_ago, &spec).unwrap();
    let (_, push, _) = listen(&edge, &format!("?token={expired}"), &[]).await;
    assert_eq!(push["disconnect"]["code"], 3005);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_json_need_no_library_and_no_answer() {
    let world = World::start().await;
    let quick = EdgeOptions { ping_interval_ms: 60, pong_timeout_ms: 40, ..options() };
    let edge = world.edge(quick).await;
    let body = json!({"token": token("alice")}).to_string();
    let mut answer = ask(&edge, "POST", UNI_HTTP_STREAM_PATH, &[], body.as_bytes()).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(answer.line().await.unwrap()["connect"]["client"].is_string());
    // Nobody answers pings, and the connection stays.
    for _ in 0..3 {
        assert_eq!(answer.line().await.unwrap(), json!({}));
    }
    world.publish("inbox:#alice", 9).await;
    let push = loop {
        let line = answer.line().await.unwrap();
        if line != json!({}) {
            break line;
        }
    };
    assert_eq!(push["pub"]["data"], 9);
    edge.stop().await;
    let last = loop {
        let line = answer.line().await.unwrap();
        if line != json!({}) {
            break line;
        }
    };
    assert_eq!(last["disconnect"]["code"], 3001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_only_listens_gets_a_frame_for_every_push() {
    let world = World::start().await;
    let edge = world.edge(options()).await;
    let url = format!("ws://127.0.0.1:{}{UNI_WEBSOCKET_PATH}", edge.port);
    let introduction = json!({"token": token("alice")}).to_string();
    let in_query = format!("{url}?cf_connect={}", encoded(&introduction));
    for (round, (url, first)) in
        [(url.clone(), Some(introduction)), (in_query, None)].into_iter().enumerate()
    {
        let numbers = (round as u64 * 20)..(round as u64 * 20 + 20);
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        if let Some(first) = first {
            socket.send(Message::text(first)).await.unwrap();
        }
        let mut next = async || -> Value {
            let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no text") };
            serde_json::from_str(&text).unwrap()
        };
        assert!(next().await["connect"]["client"].is_string());
        for number in numbers.clone() {
            world.publish("inbox:#alice", number).await;
        }
        for number in numbers {
            assert_eq!(next().await["pub"]["data"], number);
        }
        // What it says afterwards is nobody's business.
        socket
            .send(Message::text("{\"id\":7,\"subscribe\":{\"channel\":\"room:a\"}}"))
            .await
            .unwrap();
        socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
        assert_eq!(
            socket.next().await.unwrap().unwrap(),
            Message::Pong(Bytes::from_static(b"there?"))
        );
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    socket.send(Message::text("{\"token\":\"x\"}")).await.unwrap();
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no text") };
    assert!(text.contains("\"disconnect\":{\"code\":3500"), "{text}");
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 3500);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_may_be_frames_of_the_websocket() {
    let world = World::start().await;
    let quick = EdgeOptions { ping_interval_ms: 400, pong_timeout_ms: 300, ..options() };
    let edge = world.edge(quick).await;
    let url = format!("ws://127.0.0.1:{}{WEBSOCKET_PATH}?cf_ws_frame_ping_pong=true", edge.port);
    let connect = json!({"id": 1, "connect": {"token": token("alice")}}).to_string();
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    socket.send(Message::text(connect.clone())).await.unwrap();
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no text") };
    let reply: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&reply["connect"]["ping"], &reply["connect"]["pong"]),
        (&Value::Null, &Value::Null)
    );
    // A pong that nobody asked for is allowed (RFC 6455, section 5.5.3); the library answers pings.
    socket.send(Message::Pong(Bytes::new())).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Ping(_)))));
    drop(socket);
    // Who does not read does not answer.
    let mut silent = crate::rfc6455::Raw::open(&edge, "?cf_ws_frame_ping_pong=true").await;
    silent.send(0x81, connect.as_bytes()).await;
    assert_eq!(silent.frame().await.unwrap().0, 0x81);
    assert_eq!(silent.frame().await.unwrap().0, 0x89);
    let (opcode, body) = silent.frame().await.unwrap();
    assert_eq!((opcode, u16::from_be_bytes([body[0], body[1]])), (0x88, 3012));
    edge.stop().await;
}
