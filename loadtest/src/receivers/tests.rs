//! Receivers against a server of one page that speaks the Centrifuge protocol with history: what
//! they read, how they come back, and what they tell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

use super::protocol::{Heard, Speaker};
use super::*;
use crate::intake::Event;
use crate::mark;

const RUN: u32 = 77;
const DEADLINE: Duration = Duration::from_secs(60);

/// Channels with everything that was ever published on them.
#[derive(Clone)]
struct Server {
    history: Arc<Mutex<HashMap<String, Vec<Value>>>>,
    /// `(channel, publication)`; an empty channel cuts every connection.
    live: broadcast::Sender<(String, Value)>,
}

impl Server {
    async fn start() -> (Self, Url, TaskTracker) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap()).parse().unwrap();
        let server = Self { history: Arc::default(), live: broadcast::Sender::new(1_000) };
        let upgrade = |State(server): State<Self>, socket: WebSocketUpgrade| async move {
            socket.on_upgrade(move |socket| server.serve(socket))
        };
        let routes = Router::new().route("/ws", any(upgrade)).with_state(server.clone());
        let tasks = TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, routes).await });
        (server, url, tasks)
    }

    fn publish(&self, channel: &str, slot: u64) {
        let content = mark::write(RUN, slot, 120);
        let mut history = self.history.lock().unwrap();
        let known = history.entry(channel.to_owned()).or_default();
        let publication = json!({
            "data": {"type": "notification", "title": content.title, "body": content.body},
            "offset": known.len() + 1,
            "tags": {"campana-stamps": format!("boot={:08x};accepted=5", clock::boot())},
        });
        known.push(publication.clone());
        // Nobody may listen.
        let _ = self.live.send((channel.to_owned(), publication));
    }

    fn cut_all(&self) {
        let _ = self.live.send((String::new(), Value::Null));
    }

    fn subscribed(&self, channel: &str, standing: &Value) -> Value {
        let history = self.history.lock().unwrap();
        let all = history.get(channel).cloned().unwrap_or_default();
        let mut reply = json!({"recoverable": true, "epoch": "e", "offset": all.len()});
        if standing["recover"] == true {
            let from = standing["offset"].as_u64().unwrap() as usize;
            reply["recovered"] = json!(standing["epoch"] == "e");
            reply["publications"] = json!(all[from..]);
        }
        reply
    }

    async fn serve(self, mut socket: WebSocket) {
        let mut live = self.live.subscribe();
        // With the offset up to which the subscription's answer told everything.
        let mut channels = HashMap::new();
        loop {
            tokio::select! {
                received = socket.recv() => {
                    let Some(Ok(Message::Text(text))) = received else { return };
                    for line in text.lines() {
                        let command: Value = serde_json::from_str(line).unwrap();
                        if command == json!({}) { continue }
                        let mut reply = self.answer(&command, &mut channels);
                        reply["id"] = command["id"].clone();
                        let text = format!("{reply}\n{{}}");
                        if socket.send(Message::Text(text.into())).await.is_err() { return }
                    }
                }
                Ok((channel, publication)) = live.recv() => {
                    if channel.is_empty() { return }
                    let told = channels.get(&channel).copied().unwrap_or(u64::MAX);
                    if publication["offset"].as_u64().unwrap() <= told { continue }
                    let push = json!({"push": {"channel": channel, "pub": publication}});
                    if socket.send(Message::Text(push.to_string().into())).await.is_err() { return }
                }
            }
        }
    }

    fn answer(&self, command: &Value, channels: &mut HashMap<String, u64>) -> Value {
        if let Some(subscribe) = command.get("subscribe") {
            let channel = subscribe["channel"].as_str().unwrap();
            let reply = self.subscribed(channel, subscribe);
            channels.insert(channel.to_owned(), reply["offset"].as_u64().unwrap());
            return json!({"subscribe": reply});
        }
        let channel = format!("inbox:#{}", command["connect"]["token"].as_str().unwrap());
        let reply = self.subscribed(&channel, &command["connect"]["subs"][&channel]);
        channels.insert(channel.clone(), reply["offset"].as_u64().unwrap());
        json!({"connect": {"client": "c", "subs": {channel: reply}}})
    }
}

fn seats(url: &Url, count: u32, shared: bool) -> Vec<Seat> {
    let seat = |recipient: u32| Seat {
        recipient,
        url: url.clone(),
        token: recipient.to_string(),
        expect: Some(format!("inbox:#{recipient}")),
        shared: shared.then(|| SharedChannel { name: "news".to_owned(), token: None }),
    };
    (0..count).map(seat).collect()
}

/// Takes events until there are `count` receipts.
async fn receipts(intake: &Intake, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    let wait = async {
        while events.iter().filter(|event| matches!(event, Event::Receipt { .. })).count() < count {
            events.extend(intake.take());
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("all receipts within a minute");
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_read_marks_positions_and_stamps() {
    let (server, url, _tasks) = Server::start().await;
    let intake = Arc::new(Intake::default());
    let opened = seats(&url, 5, true);
    let receivers = Receivers::open(Protocol::Centrifuge, RUN, opened, Arc::clone(&intake), || {})
        .await
        .unwrap();
    assert_eq!(receivers.open_now(), 5);
    for slot in 0..5 {
        server.publish(&format!("inbox:#{slot}"), slot);
    }
    server.publish("news", 100);
    let events = receipts(&intake, 10).await;
    for event in &events {
        let Event::Receipt { slot, recipient, at_ns, offset, intact, recovered, stamps, .. } =
            event
        else {
            panic!("{event:?}")
        };
        assert!(*slot == 100 || *slot == u64::from(*recipient));
        assert!(*intact && !recovered && *offset == Some(1) && *at_ns > 0 && stamps.is_some());
    }
    receivers.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_off_comes_back_and_misses_nothing() {
    let (server, url, _tasks) = Server::start().await;
    let intake = Arc::new(Intake::default());
    let opened = seats(&url, 20, true);
    let receivers = Receivers::open(Protocol::Centrifuge, RUN, opened, Arc::clone(&intake), || {})
        .await
        .unwrap();
    server.publish("news", 0);
    receipts(&intake, 20).await;
    let publishing = async {
        for slot in 1..=50 {
            server.publish("news", slot);
            server.publish(&format!("inbox:#{}", slot % 20), 100 + slot);
            tokio::task::yield_now().await;
        }
    };
    let (returned, ()) = tokio::join!(receivers.drop_and_return(0.5), publishing);
    assert_eq!((returned.dropped, returned.back, returned.unrecovered), (10, 10, 0));
    assert!(returned.took_ns > 0);
    let events = receipts(&intake, 20 * 50 + 50).await;
    let mut seen = HashMap::<(u64, u32), u32>::new();
    for event in &events {
        let Event::Receipt { slot, recipient, .. } = event else { panic!("{event:?}") };
        *seen.entry((*slot, *recipient)).or_default() += 1;
    }
    assert!(seen.values().all(|count| *count == 1) && seen.len() == 20 * 50 + 50);
    assert_eq!((receivers.open_now(), receivers.lost()), (20, 0));
    receivers.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_and_what_was_missed_is_marked() {
    let (server, url, _tasks) = Server::start().await;
    let intake = Arc::new(Intake::default());
    let opened = seats(&url, 3, false);
    let receivers = Receivers::open(Protocol::Centrifuge, RUN, opened, Arc::clone(&intake), || {})
        .await
        .unwrap();
    server.cut_all();
    let cut = async {
        while receivers.lost() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, cut).await.unwrap();
    // They pause before they knock again, and get what was published meanwhile.
    server.publish("inbox:#1", 9);
    let events = receipts(&intake, 1).await;
    let dropped = events.iter().filter(|event| matches!(event, Event::Dropped { .. })).count();
    assert_eq!(dropped, 3, "{events:?}");
    receivers.close().await;
    let refused = Receivers::open(
        Protocol::Centrifuge,
        RUN,
        vec![Seat { expect: Some("other".to_owned()), ..seats(&url, 1, false).remove(0) }],
        intake,
        || {},
    );
    assert!(refused.await.err().unwrap().to_string().contains("other"));
}

#[test]
fn frames_of_one_message_are_heard_in_order() {
    let (mut speaker, mut told) = (Speaker::new(Protocol::Centrifuge), Vec::new());
    let text = concat!(
        "{}\n",
        r#"{"push":{"channel":"c","pub":{"data":{"title":"a\"b","body":"x"},"offset":7,"tags":{"k":"v"}}}}"#,
        "\n",
        r#"{"push":{"channel":"c","pub":{"data":{"type":"read","ids":["dlv_1"]}}}}"#,
        "\n",
        r#"{"push":{"channel":"c","join":{"info":{"user":"a"}}}}"#,
        "\n",
        r#"{"id":1,"error":{"code":109,"message":"token expired"}}"#,
        "\n",
        r#"{"push":{"disconnect":{"code":3005,"reason":"expired"}}}"#,
    );
    speaker
        .hear(text.as_bytes(), &mut |heard| {
            told.push(match heard {
                Heard::Publication(one) => format!("{} {} {:?}", one.title, one.body, one.offset),
                other => format!("{other:?}"),
            })
        })
        .unwrap();
    let expected = [
        "Ping",
        "a\"b x Some(7)",
        "Refused(\"refused: 109 token expired\")",
        "Refused(\"refused: 3005 expired\")",
    ];
    assert_eq!(told, expected);
    assert!(speaker.hear(b"not json", &mut |_| {}).is_err());
}

#[test]
fn a_share_is_hit_exactly() {
    for (share, of, expected) in [(0.5, 20, 10), (1.0, 7, 7), (0.0, 7, 0), (0.1, 5_000, 500)] {
        let order = Leave { generation: 1, share };
        assert_eq!((0..of).filter(|seat| order.hits(*seat)).count(), expected);
    }
}
