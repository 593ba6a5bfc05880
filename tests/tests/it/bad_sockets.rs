//! Tokens and frames that no honest client sends: each connection ends with its documented code, and
//! nobody else hears anything.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_tests::api::http;
use campana_tests::centrifuge::Socket;
use campana_tests::{Api, Client, Event, Platform, jwt, stored};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_and_frames_are_refused_and_others_hear_nothing() {
    let platform = Platform::up(&[]).await.unwrap();
    let (api, bus, url) =
        (platform.api().unwrap(), platform.bus().await.unwrap(), platform.url("edge_ws"));
    let mut victim = platform.client("victim").await.unwrap();
    let before = stored(&bus).await.unwrap();
    strangers(&url).await.unwrap();
    tokens(&platform, &url).await.unwrap();
    frames(&api, &url).await.unwrap();
    commands(&api, &url).await.unwrap();
    assert_eq!(stored(&bus).await.unwrap(), before, "something was stored");
    let id = api.ring("victim", "only this").await.unwrap();
    victim.expect(&id).await.unwrap();
}

/// Another site's page, another path, or no WebSocket at all.
async fn strangers(url: &str) -> Result<()> {
    let mut evil = url.into_client_request()?;
    evil.headers_mut().insert("origin", HeaderValue::from_static("https://evil.example"));
    for (what, request, status) in [
        ("an origin", evil, 403),
        ("another path", url.replace("/connection/", "/elsewhere/").into_client_request()?, 404),
    ] {
        match tokio_tungstenite::connect_async(request).await {
            Err(WsError::Http(answer)) => {
                ensure!(answer.status().as_u16() == status, "{what}: {}", answer.status());
            }
            other => anyhow::bail!("{what}: {:?}", other.map(drop)),
        }
    }
    let plain = http()?.get(url.replacen("ws", "http", 1)).send().await?.status();
    ensure!(plain.is_client_error(), "{plain}");
    Ok(())
}

async fn connect_with(url: &str, token: &str) -> Result<Event> {
    let mut socket = Socket::open(url).await?;
    socket.send(&json!({"id": 1, "connect": {"token": token}})).await?;
    socket.reply(1).await
}

async fn tokens(platform: &Platform, url: &str) -> Result<()> {
    let api = platform.api()?;
    let good = api.token("mallory").await?;
    let victim = api.token("victim").await?;
    let mut claims = jwt::claims(&good);
    let none = jwt::assemble(&json!({"alg": "none", "typ": "JWT"}), &claims, b"");
    let confused = jwt::assemble(&json!({"alg": "RS256", "typ": "JWT"}), &claims, b"x");
    let borrowed = jwt::with_claims(&good, &jwt::claims(&victim));
    claims["tenant"] = json!("other");
    let moved = jwt::with_claims(&good, &claims);
    for (what, token) in [
        ("alg none", none),
        ("another algorithm", confused),
        ("another's claims", borrowed),
        ("another tenant", moved),
        ("cut", good[..good.len() - 4].to_owned()),
        ("no token", "garbage".to_owned()),
        ("huge", "x".repeat(20_000)),
        ("an API key", platform.url("api_key")),
    ] {
        let Event::Closed(code, _) = connect_with(url, &token).await? else {
            anyhow::bail!("{what} was let in")
        };
        ensure!(code == 3500, "{what}: {code}");
    }
    let Event::Closed(code, _) = connect_with(url, "").await? else {
        anyhow::bail!("nobody was let in")
    };
    ensure!(code == 3501, "{code}");
    // Minted by the platform's own secret, for a moment that is over: the one error that asks for a new token.
    let secret = std::fs::read(platform.home.data().join("token-secret"))?;
    let keys = campana_identity::TokenKeys::new(&secret, None)?;
    let long_ago = campana_bus::clock::now().0 / 1_000_000 - 7_200;
    let expired = keys.mint_connection(
        "mallory",
        "default",
        3_600,
        long_ago,
        &campana_identity::ConnectionSpec::default(),
    )?;
    let Event::Line(reply) = connect_with(url, &expired).await? else { anyhow::bail!("closed") };
    ensure!(reply["error"]["code"] == 109, "{reply}");
    Ok(())
}

/// What a connected client sends, and how the connection ends.
async fn frames(api: &Api, url: &str) -> Result<()> {
    let reserved = Frame::message(vec![b'x'], OpCode::Data(Data::Reserved(3)), true);
    let not_utf8 = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    let cases: Vec<(&str, Message, u16)> = vec![
        ("no JSON", Message::text("hello"), 3501),
        ("half a command", Message::text("{\"id\":"), 3501),
        ("a list", Message::text("[1,2]"), 3501),
        ("wrong types", Message::text(r#"{"id":"x","subscribe":7}"#), 3501),
        ("a second connect", Message::text(r#"{"id":9,"connect":{"token":"x"}}"#), 3501),
        ("binary", Message::binary(vec![1_u8, 2, 3]), 3506),
        ("a huge message", Message::text("x".repeat(70_000)), 1009),
        ("a reserved opcode", Message::Frame(reserved), 1002),
        ("no UTF-8", Message::Frame(not_utf8), 1007),
    ];
    for (what, frame, code) in cases {
        let mut socket = Socket::open(url).await?;
        socket.send(&json!({"id": 1, "connect": {"token": api.token("mallory").await?}})).await?;
        ensure!(matches!(socket.reply(1).await?, Event::Line(_)), "{what}: not connected");
        socket.send_raw(frame).await?;
        let Event::Closed(closed, _) = socket.next(SOON).await.with_context(|| what.to_owned())?
        else {
            anyhow::bail!("{what}: answered")
        };
        ensure!(closed == code, "{what}: {closed} instead of {code}");
    }
    let mut early = Socket::open(url).await?;
    early.send(&json!({"id": 1, "subscribe": {"channel": "inbox:#victim"}})).await?;
    ensure!(matches!(early.reply(1).await?, Event::Closed(3501, _)), "a command before connect");
    Ok(())
}

/// Commands that a connected client may not give: an error each, and the connection lives on.
async fn commands(api: &Api, url: &str) -> Result<()> {
    let mut client = Client::connect(url, "mallory", &api.token("mallory").await?).await?;
    let long = format!("inbox:#{}", "x".repeat(10_000));
    let other = "inbox:#victim";
    let cases: Vec<(&str, Value, u64)> = vec![
        ("subscribe", json!({"channel": other}), 103),
        ("subscribe", json!({"channel": other, "token": "x.y.z"}), 103),
        ("subscribe", json!({"channel": "inbox:*"}), 103),
        ("subscribe", json!({"channel": "inbox:>"}), 103),
        ("subscribe", json!({"channel": "inbox:#mallory"}), 105),
        ("subscribe", json!({"channel": ""}), 107),
        ("subscribe", json!({"channel": "inbox:"}), 107),
        ("subscribe", json!({"channel": "inbox:#vic\ntim"}), 107),
        ("subscribe", json!({"channel": long}), 107),
        ("subscribe", json!({"channel": "nowhere:x"}), 102),
        ("subscribe", json!({"channel": "*"}), 102),
        ("publish", json!({"channel": other, "data": {"x": 1}}), 103),
        ("publish", json!({"channel": "inbox:#mallory", "data": {"x": 1}}), 103),
        ("publish", json!({"channel": "nowhere:x", "data": {}}), 102),
        ("history", json!({"channel": other, "limit": 10}), 103),
        ("presence", json!({"channel": other}), 108),
        ("rpc", json!({"method": "x", "data": {}}), 108),
        ("fly", json!({}), 104),
    ];
    for (method, request, code) in cases {
        let text: String = request.to_string().chars().take(60).collect();
        let reply =
            client.call(method, request).await.with_context(|| format!("{method} {text}"))?;
        ensure!(reply["error"]["code"] == code, "{method} {text}: {reply} instead of {code}");
    }
    Ok(())
}
