//! Everything that an edge counts, driven by what clients do, and read where operators read it.

use std::time::Duration;

use anyhow::Result;
use campana_tests::centrifuge::{Event, Socket};
use campana_tests::edges::{self, Edges};
use campana_tests::eventually;
use campana_tests::process::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const SOON: Duration = Duration::from_secs(60);

const CONFIGURATION: &str = r#"
[edge]
connections_max = 12
channels_per_client_max = 3
commands_per_second = 1
commands_burst = 40
queue_bytes_max = 65_536
message_bytes_max = 8_192
write_timeout_ms = 300_000
ping_interval_ms = 10_000
pong_timeout_ms = 9_900
drain_delay_ms = 2_000
[[edge.namespaces]]
name = "room"
subscribe = ["authenticated"]
publish = ["subscriber"]
[edge.limits]
trusted_proxies = ["127.0.0.1"]
connections_per_address_max = 6
connections_per_user_max = 2
subscribes_per_second = 1
subscribes_burst = 6
queue_bytes_total_max = 1_000_000
"#;

/// More than the kernel holds for a client that reads nothing.
const FAT_MESSAGES: u64 = 250;

/// Connections that were closed a moment ago may still count.
async fn open(edges: &Edges) -> Socket {
    let url = Edges::url(edges.nodes[0].address);
    eventually("room for a client", SOON, async || Socket::open(&url).await.map(Some))
        .await
        .unwrap()
}

async fn connect(edges: &Edges, user: &str) -> Socket {
    let mut socket = open(edges).await;
    let token = Edges::token(user).unwrap();
    let reply = ask(&mut socket, json!({"id": 1, "connect": {"token": token}})).await;
    assert!(reply["connect"]["client"].is_string(), "{reply}");
    socket
}

async fn ask(socket: &mut Socket, command: Value) -> Value {
    socket.send(&command).await.unwrap();
    match socket.reply(command["id"].as_u64().unwrap()).await.unwrap() {
        Event::Line(line) => line,
        Event::Closed(code, _) => panic!("closed with {code}"),
    }
}

async fn end(socket: &mut Socket) -> u16 {
    loop {
        if let Event::Closed(code, _) = socket.next(SOON).await.unwrap() {
            return code;
        }
    }
}

async fn reaches(edges: &Edges, series: &str, least: f64) {
    let found = eventually(series, SOON, async || {
        let now = edges.metric(0, series).await?;
        anyhow::ensure!(now >= least, "{now} instead of {least}");
        Ok(Some(()))
    });
    if let Err(error) = found.await {
        let page = edges.ops(0, "/metrics").await.unwrap().1;
        let near = series.split('{').next().unwrap_or_default();
        let near: Vec<&str> = page.lines().filter(|line| line.starts_with(near)).collect();
        panic!("{error:#}\n{}", near.join("\n"));
    }
}

/// Commands of every kind, good and bad.
async fn talk(edges: &Edges) -> Socket {
    let mut alice = connect(edges, "alice").await;
    ask(&mut alice, json!({"id": 2, "subscribe": {"channel": "room:a"}})).await;
    ask(&mut alice, json!({"id": 3, "publish": {"channel": "room:a", "data": 1}})).await;
    ask(&mut alice, json!({"id": 4, "history": {"channel": "room:a", "limit": 1}})).await;
    let refused = ask(&mut alice, json!({"id": 5, "rpc": {"method": "nothing"}})).await;
    assert_eq!(refused["error"]["code"], 108, "{refused}");
    // The inbox and two rooms are three channels.
    ask(&mut alice, json!({"id": 6, "subscribe": {"channel": "room:b"}})).await;
    let full = ask(&mut alice, json!({"id": 7, "subscribe": {"channel": "room:c"}})).await;
    assert_eq!(full["error"]["code"], 106, "{full}");
    ask(&mut alice, json!({"id": 8, "unsubscribe": {"channel": "room:b"}})).await;
    // A ping of the server is answered by the client on the way.
    alice
}

/// Comes back and gets what it missed.
async fn recover(edges: &Edges) {
    let mut carol = connect(edges, "carol").await;
    let begin = ask(&mut carol, json!({"id": 2, "subscribe": {"channel": "room:c"}})).await;
    let begin = &begin["subscribe"];
    drop(carol);
    edges::publish(&edges.bus, "room:c", "1", 1).await.unwrap();
    let mut carol = connect(edges, "carol").await;
    let mut standing = json!({
        "channel": "room:c", "recover": true, "offset": begin["offset"], "epoch": begin["epoch"],
    });
    let back = ask(&mut carol, json!({"id": 2, "subscribe": standing})).await;
    assert_eq!(back["subscribe"]["publications"].as_array().unwrap().len(), 1, "{back}");
    ask(&mut carol, json!({"id": 3, "unsubscribe": {"channel": "room:c"}})).await;
    standing["epoch"] = "another".into();
    let lost = ask(&mut carol, json!({"id": 4, "subscribe": standing})).await;
    assert_eq!(lost["subscribe"]["was_recovering"], true, "{lost}");
}

/// Reaches every limit that one client can reach.
async fn overdo(edges: &Edges) {
    let mut flood = connect(edges, "dave").await;
    let pings: Vec<String> =
        (10..110).map(|id| json!({"id": id, "ping": {}}).to_string()).collect();
    flood.send_raw(Message::text(pings.join("\n"))).await.unwrap();
    assert_eq!(end(&mut flood).await, 3013);
    let mut eager = connect(edges, "erin").await;
    let subscribes: Vec<String> = (10..30)
        .map(|id| json!({"id": id, "subscribe": {"channel": "nowhere:x"}}).to_string())
        .collect();
    eager.send_raw(Message::text(subscribes.join("\n"))).await.unwrap();
    let mut large = connect(edges, "frank").await;
    large.send_raw(Message::text("x".repeat(9_000))).await.unwrap();
    assert_eq!(end(&mut large).await, 1009);
    // The third connection of one user.
    let _two = (connect(edges, "grace").await, connect(edges, "grace").await);
    let mut third = open(edges).await;
    let token = Edges::token("grace").unwrap();
    third.send(&json!({"id": 1, "connect": {"token": token}})).await.unwrap();
    assert_eq!(end(&mut third).await, 3504);
    // The seventh connection of one address.
    let mut crowd = Vec::new();
    while let Ok(one) = Socket::open(&Edges::url(edges.nodes[0].address)).await {
        crowd.push(one);
        assert!(crowd.len() < 12, "nobody is refused");
    }
}

/// Somebody subscribes and reads nothing until he is cut.
async fn fall_asleep(edges: &Edges) -> Result<()> {
    let mut silent = connect(edges, "heidi").await;
    ask(&mut silent, json!({"id": 2, "subscribe": {"channel": "room:fat"}})).await;
    let body = json!("x".repeat(32 * 1024)).to_string();
    for number in 0..FAT_MESSAGES {
        edges::publish(&edges.bus, "room:fat", &body, number).await?;
    }
    reaches(edges, "campana_edge_slow_cuts_total{cause=\"queue\"}", 1.0).await;
    drop(silent);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_do_can_be_read_from_the_metrics() {
    let mut edges = Edges::start(1, CONFIGURATION).await.unwrap();
    let mut alice = talk(&edges).await;
    // Reads all the time, so that the server's pings are answered.
    let pinged = async {
        loop {
            if let Ok(Event::Closed(code, _)) = alice.next(Duration::from_millis(200)).await {
                panic!("alice was sent away with {code}");
            }
            tokio::task::yield_now().await;
        }
    };
    let counted = async {
        recover(&edges).await;
        overdo(&edges).await;
        fall_asleep(&edges).await.unwrap();
        for (series, least) in [
            ("campana_edge_connections{transport=\"websocket\"}", 1.0),
            ("campana_edge_connects_total{transport=\"websocket\",protocol=\"json\"}", 7.0),
            ("campana_edge_max_connections", 12.0),
            ("campana_edge_subscriptions{channel_namespace=\"room\"}", 1.0),
            ("campana_edge_channels", 1.0),
            ("campana_edge_disconnects_total{reason=\"limit\",code=\"3013\"}", 1.0),
            ("campana_edge_disconnects_total{reason=\"limit\",code=\"1009\"}", 1.0),
            ("campana_edge_disconnects_total{reason=\"limit\",code=\"3504\"}", 1.0),
            ("campana_edge_disconnects_total{reason=\"slow\",code=\"3008\"}", 1.0),
            ("campana_edge_disconnects_total{reason=\"client\",code=\"3000\"}", 2.0),
            ("campana_edge_refused_connections_total{reason=\"limit\"}", 1.0),
            ("campana_edge_command_errors_total{code=\"108\"}", 1.0),
            ("campana_edge_command_errors_total{code=\"106\"}", 1.0),
            ("campana_edge_command_errors_total{code=\"111\"}", 1.0),
            ("campana_edge_publish_lag_seconds_count{channel_namespace=\"room\"}", 1.0),
            ("campana_edge_recoveries_total{result=\"recovered\"}", 1.0),
            ("campana_edge_recoveries_total{result=\"epoch_changed\"}", 1.0),
            ("campana_edge_ping_duration_seconds_count", 1.0),
            ("campana_edge_messages_sent_total{transport=\"websocket\"}", 20.0),
            ("campana_edge_sent_bytes_total{transport=\"websocket\"}", 1_000.0),
            ("campana_edge_received_bytes_total{transport=\"websocket\"}", 1_000.0),
            ("campana_edge_commands_total{method=\"subscribe\"}", 4.0),
            ("campana_edge_commands_total{method=\"publish\"}", 1.0),
            ("campana_edge_commands_total{method=\"history\"}", 1.0),
            ("campana_edge_commands_total{method=\"rpc\"}", 1.0),
            ("campana_edge_operation_duration_seconds_count{operation=\"join\"}", 7.0),
            ("campana_edge_operation_duration_seconds_count{operation=\"publish\"}", 1.0),
            ("campana_edge_operation_duration_seconds_count{operation=\"history\"}", 1.0),
            ("campana_edge_limited_total{limit=\"channels\"}", 1.0),
            ("campana_edge_limited_total{limit=\"commands\"}", 40.0),
            ("campana_edge_limited_total{limit=\"subscribes\"}", 1.0),
            ("campana_edge_limited_total{limit=\"message_bytes\"}", 1.0),
            ("campana_edge_limited_total{limit=\"user_connections\"}", 1.0),
            ("campana_edge_limited_total{limit=\"address_connections\"}", 1.0),
            ("campana_edge_queue_largest_bytes_count", 1.0),
        ] {
            reaches(&edges, series, least).await;
        }
    };
    tokio::select! {
        () = counted => {}
        () = pinged => {}
    }
    let (_, page) = edges.ops(0, "/metrics").await.unwrap();
    for family in [
        "campana_edge_queue_bytes ",
        "campana_edge_joins_waiting ",
        "campana_edge_draining 0",
        "campana_edge_drain_remaining_connections ",
        "campana_edge_node_info{node=",
        "campana_edge_holes_total{result=\"repaired\"}",
        "campana_edge_slow_cuts_total{cause=\"node\"}",
        "campana_edge_trace_lines_total{result=\"sent\"}",
    ] {
        assert!(page.contains(&format!("\n{family}")), "{family} is not on the page");
    }
    for person in ["alice", "carol", "room:a", "203.0.113"] {
        assert!(!page.contains(person), "{person} is on the page");
    }
    edges.nodes[0].process.signal(Signal::TERM).unwrap();
    reaches(&edges, "campana_edge_draining", 1.0).await;
    edges.ended(0).await.unwrap();
}
