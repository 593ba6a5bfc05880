//! People who are away are told that they are named, people who are there are not; and who is sent out hears no more.

use anyhow::Result;
use campana_tests::centrifuge::{Event, Socket};
use campana_tests::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{PATIENCE, Person, World, program, secret};

/// The next reply or push that fits.
async fn until(socket: &mut Socket, fits: impl Fn(&Value) -> bool) -> Result<Value> {
    loop {
        match socket.next(PATIENCE).await? {
            Event::Line(line) if fits(&line) => return Ok(line),
            Event::Line(_) => {}
            Event::Closed(code, reason) => anyhow::bail!("closed with {code} {reason}"),
        }
    }
}

/// Connects to the edge as a page would, and hears one room.
async fn hear(world: &World, person: &Person, room: &str) -> Result<Socket> {
    let mut socket = Socket::open(&world.platform.url("edge_ws")).await?;
    let token = person.post("/api/token", &json!({})).await?["token"].clone();
    socket.send(&json!({"id": 1, "connect": {"token": token}})).await?;
    until(&mut socket, |line| line["id"] == 1 && line["connect"].is_object()).await?;
    let tokens = person.post(&format!("/api/rooms/{room}/token"), &json!({})).await?;
    let subscribe = json!({"channel": tokens["channel"], "token": tokens["token"]});
    socket.send(&json!({"id": 2, "subscribe": subscribe})).await?;
    let answer = until(&mut socket, |line| line["id"] == 2).await?;
    anyhow::ensure!(answer["subscribe"].is_object(), "{answer}");
    Ok(socket)
}

/// Until there are so many notifications; the chat is the only one that sends here.
async fn notified(world: &World, count: usize) -> Result<()> {
    let api = world.platform.api()?;
    eventually("the notifications", PATIENCE, async || {
        let page = api.get("/v1/notifications?limit=100").await?.expect(200)?;
        let all = page["data"].as_array().map_or(0, Vec::len);
        anyhow::ensure!(all <= count, "{all} instead of {count}");
        Ok((all == count).then_some(()))
    })
    .await
}

/// Until a consumer of the chat has nothing in hand and has handled so many.
async fn handled(world: &World, consumer: &str, count: u64) -> Result<()> {
    let bus = world.platform.bus().await?;
    eventually(consumer, PATIENCE, async || {
        let stream = bus.jetstream().get_stream("EVENTS").await?;
        let info = stream.consumer_info(consumer).await?;
        let idle = info.num_pending == 0 && info.num_ack_pending == 0;
        Ok((idle && info.ack_floor.consumer_sequence >= count).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_is_notified_and_who_is_sent_out_hears_no_more() {
    let world = World::start(&["--messages-burst", "1000"]).await.unwrap();
    let ana = Person::register(&world, "ana").await.unwrap();
    let bruno = Person::register(&world, "bruno").await.unwrap();
    let room = ana.room("Away").await.unwrap();
    let path = format!("/api/rooms/{room}");
    bruno.post(&format!("{path}/join"), &json!({})).await.unwrap();

    ana.say(&room, "where are you, @bruno?").await.unwrap();
    notified(&world, 1).await.unwrap();

    let mut socket = hear(&world, &bruno, &room).await.unwrap();
    handled(&world, "chat-online", 1).await.unwrap();
    ana.say(&room, "there you are, @bruno").await.unwrap();
    let heard = until(&mut socket, |line| line["push"]["pub"].is_object()).await.unwrap();
    assert_eq!(heard["push"]["pub"]["data"]["message"]["text"], "there you are, @bruno");
    handled(&world, "chat-mentions", 2).await.unwrap();
    notified(&world, 1).await.unwrap();

    // Who left a moment ago counts as there until the edge is sure; the mention waits for that.
    drop(socket);
    ana.say(&room, "gone again, @bruno?").await.unwrap();
    notified(&world, 2).await.unwrap();

    let mut socket = hear(&world, &bruno, &room).await.unwrap();
    let tokens = bruno.post(&format!("{path}/token"), &json!({})).await.unwrap();
    let ban = json!({"action": "ban", "handle": "bruno", "seconds": 600});
    ana.post(&format!("{path}/moderation"), &ban).await.unwrap();
    until(&mut socket, |line| line["push"]["unsubscribe"].is_object()).await.unwrap();
    // The tokens of this stay are good for minutes, and let nobody in any more.
    for (id, of) in [(3, "token"), (4, "typing_token")] {
        let channel = &tokens[if id == 3 { "channel" } else { "typing_channel" }];
        let again = json!({"channel": channel, "token": tokens[of]});
        socket.send(&json!({"id": id, "subscribe": again})).await.unwrap();
        let answer = until(&mut socket, |line| line["id"] == id).await.unwrap();
        assert!(answer["error"].is_object(), "{answer}");
    }
    let refused = bruno.call(Method::POST, &format!("{path}/token"), &json!({})).await.unwrap();
    assert_eq!(refused.status, 404);

    // A session that is revoked elsewhere takes its connection with it.
    let me = bruno.call(Method::GET, "/api/session", &json!({})).await.unwrap().body;
    let session = format!("/api/sessions/{}", me["session"].as_str().unwrap());
    assert_eq!(bruno.call(Method::DELETE, &session, &json!({})).await.unwrap().status, 204);
    let closed = loop {
        if let Event::Closed(code, _) = socket.next(PATIENCE).await.unwrap() {
            break code;
        }
    };
    assert_eq!(closed, 3500);
    bench(&world).await.unwrap();
    assert!(!world.chat.log().contains("bruno"), "a name is in the log: {}", world.chat.log());
    world.stop().await.unwrap();
}

/// The measurement itself, small.
async fn bench(world: &World) -> Result<()> {
    let folder = world.platform.home.path();
    let mut bench =
        campana_tests::process::Process::start("bench", &program()?, folder, |bench| {
            bench
                .args(["bench", "--people", "30", "--messages", "10", "--every-ms", "20"])
                .args(["--url", &world.url(), "--edge-url", &world.platform.url("edge_ws")])
                .env("CAMPANA_EDGE_SECRET", secret());
        })?;
    let status = bench.ended(PATIENCE).await?;
    let printed = bench.output();
    anyhow::ensure!(status.success(), "{status}: {printed}{}", bench.log());
    anyhow::ensure!(printed.contains("heard exactly once and in order: 300 of 300"), "{printed}");
    Ok(())
}
