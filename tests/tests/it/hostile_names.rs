//! Names that would be subjects, wildcards or line breaks if anybody let them: each means itself, or is
//! refused with its documented code, and nobody else hears anything.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_tests::api::id_of;
use campana_tests::centrifuge::Socket;
use campana_tests::{Api, Client, Event, Platform, stored};
use serde_json::{Value, json};

/// Harmless because escaped: each is a name like any other.
const STRANGE: [&str; 14] = [
    "*",
    ">",
    "a.b",
    "alice.>",
    "*.alice",
    "inbox.*",
    "$JS.API.>",
    "_INBOX.x",
    "🔔",
    "a b",
    "=61lice",
    "ch.default.inbox.=23alice",
    "../alice",
    "alice\u{202e}",
];
/// No names at all.
const REFUSED: [(&str, &str); 5] = [
    ("a\nb", "invalid_name"),
    ("a\r\nPUB x 1", "invalid_name"),
    ("a\0b", "invalid_name"),
    ("\u{1b}[31m", "invalid_name"),
    ("a\tb", "invalid_name"),
];

/// Percent-encodes everything.
fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_and_templates() {
    let platform = Platform::up(&[]).await.unwrap();
    let api = platform.api().unwrap();
    let mut alice = platform.client("alice").await.unwrap();
    refused_names(&platform, &api).await.unwrap();
    for name in STRANGE {
        let case = async {
            recipient(&platform, &api, name).await?;
            template(&api, name).await
        };
        case.await.with_context(|| format!("{name:?}")).unwrap();
    }
    // All of that passed alice by.
    let id = api.ring("alice", "only this").await.unwrap();
    alice.expect(&id).await.unwrap();
    let listed = api.get("/v1/recipients?limit=200").await.unwrap().expect(200).unwrap();
    let known: Vec<&str> =
        listed["data"].as_array().unwrap().iter().filter_map(|one| one["id"].as_str()).collect();
    for name in STRANGE {
        assert!(known.contains(&name), "{name:?} is missing in {known:?}");
    }
}

async fn refused_names(platform: &Platform, api: &Api) -> Result<()> {
    let bus = platform.bus().await?;
    let before = stored(&bus).await?;
    let long = "x".repeat(10_000);
    for (name, code) in REFUSED.into_iter().chain([(long.as_str(), "too_long")]) {
        let short: String = name.chars().take(20).collect();
        let text = json!({"title": "x"});
        let one = api.post("/v1/notifications", &json!({"to": name, "content": text})).await?;
        ensure!(one.fields() == [format!("/to {code}")], "{short:?}: {}", one.text);
        let described =
            api.post("/v1/notifications", &json!({"to": [{"id": name}], "content": text})).await?;
        ensure!(
            described.fields() == [format!("/to/0/id {code}")],
            "{short:?}: {}",
            described.text
        );
        let template =
            api.post("/v1/notifications", &json!({"to": "alice", "template": name})).await?;
        ensure!(template.fields() == [format!("/template {code}")], "{short:?}: {}", template.text);
        let token = api.post("/v1/tokens", &json!({"user": name})).await?;
        ensure!(token.fields() == [format!("/user {code}")], "{short:?}: {}", token.text);
        let stored = api.put(&format!("/v1/recipients/{}", encoded(name)), &json!({})).await?;
        ensure!(
            stored.status == 422 && stored.fields() == [format!("/id {code}")],
            "{short:?}: {}",
            stored.text
        );
        let stored = api
            .put(
                &format!("/v1/templates/{}", encoded(name)),
                &json!({"channels": {"sms": {"text": "x"}}}),
            )
            .await?;
        ensure!(
            stored.status == 422 && stored.fields() == [format!("/key {code}")],
            "{short:?}: {}",
            stored.text
        );
    }
    ensure!(stored(&bus).await? == before, "something was stored");
    Ok(())
}

/// A tenant whose name is a wildcard sees and reaches nothing of the others.
#[tokio::test(flavor = "multi_thread")]
async fn tenants() {
    let platform = Platform::up(&[]).await.unwrap();
    let mut alice = platform.client("alice").await.unwrap();
    let api = platform.api().unwrap();
    let secret = api.ring("alice", "for the default tenant").await.unwrap();
    alice.expect(&secret).await.unwrap();
    api.status(&secret, "completed").await.unwrap();
    for tenant in ["*", ">", "default.>", "=64efault"] {
        other_tenant(&platform, tenant, &secret).await.with_context(|| tenant.to_owned()).unwrap();
    }
    for tenant in ["", "a\nb", &"x".repeat(10_000)] {
        let made = platform
            .home
            .command(&["keys", "create", "--name", "x", "--tenant", tenant])
            .await
            .unwrap();
        assert!(made.code != 0 && made.stdout.is_empty(), "a key for tenant {tenant:?}");
    }
    let last = api.ring("alice", "only this").await.unwrap();
    alice.expect(&last).await.unwrap();
}

async fn other_tenant(platform: &Platform, tenant: &str, secret: &str) -> Result<()> {
    let made = platform
        .home
        .command(&[
            "keys", "create", "--name", "x", "--role", "admin", "--tenant", tenant, "--json",
        ])
        .await?
        .json()?;
    let api = platform.api()?.with_key(made["key"]["api_key"].as_str().context("a key")?);
    ensure!(
        api.get(&format!("/v1/notifications/{secret}")).await?.status == 404,
        "another tenant's notification is shown"
    );
    ensure!(api.get("/v1/notifications").await?.expect(200)?["data"] == json!([]));
    ensure!(api.get("/v1/recipients").await?.expect(200)?["data"] == json!([]));
    let mut own =
        Client::connect(&platform.url("edge_ws"), "alice", &api.token("alice").await?).await?;
    let id = api.ring("alice", "for her namesake").await?;
    own.expect(&id).await.map(drop)
}

/// A strange recipient is stored, read, rung and connected under exactly that name.
async fn recipient(platform: &Platform, api: &Api, name: &str) -> Result<()> {
    let path = format!("/v1/recipients/{}", encoded(name));
    api.put(&path, &json!({"email": "strange@example.com"})).await?.expect(201)?;
    ensure!(api.get(&path).await?.expect(200)?["id"] == name);
    let token = api.token(name).await?;
    let mut bell = Client::connect(&platform.url("edge_ws"), name, &token).await?;
    let id = id_of(
        &api.notify(
            &json!({"to": name, "content": {"title": "x"}, "channels": ["in_app", "email"]}),
        )
        .await?,
    )?;
    bell.expect(&id).await?;
    let status = api.status(&id, "completed").await?;
    ensure!(status["deliveries"][0]["recipient"] == name, "{status}");
    Ok(())
}

async fn template(api: &Api, name: &str) -> Result<()> {
    let path = format!("/v1/templates/{}", encoded(name));
    api.put(&path, &json!({"channels": {"in_app": {"title": "T"}}})).await?.expect(201)?;
    ensure!(api.get(&path).await?.expect(200)?["key"] == name);
    let id = id_of(&api.notify(&json!({"to": {"id": "somebody"}, "template": name})).await?)?;
    let status = api.status(&id, "completed").await?;
    ensure!(status["template"] == name, "{status}");
    api.delete(&path).await?.expect(204).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn channels() {
    let rooms = r#"edge.namespaces=[{name="room", subscribe=["authenticated"], publish=["authenticated"], recovery=true, history_size=10}]"#;
    let platform = Platform::up(&["--set", rooms]).await.unwrap();
    let url = platform.url("edge_ws");
    let mut quiet = member(&platform, &url, "quiet").await.unwrap();
    let joined = call(&mut quiet, "subscribe", json!({"channel": "room:victim"})).await.unwrap();
    assert!(joined["error"].is_null(), "{joined}");
    let mut loud = member(&platform, &url, "loud").await.unwrap();
    for name in [
        "room:*",
        "room:>",
        "room:vict*",
        "room:victim.*",
        "room:victim.>",
        "room:*.victim",
        "room:🔔",
        "room:=76ictim",
        "room:victim ",
        "room:a:b:c",
    ] {
        strange_channel(&mut loud, name).await.with_context(|| name.to_owned()).unwrap();
    }
    for (name, code) in [
        ("room:a\nb", 107),
        ("room:", 107),
        (":victim", 107),
        ("victim", 102),
        ("*", 102),
        ("ro*:victim", 102),
        (&*format!("room:{}", "x".repeat(10_000)), 107),
    ] {
        for (method, request) in [
            ("subscribe", json!({"channel": name})),
            ("publish", json!({"channel": name, "data": 1})),
        ] {
            let reply = call(&mut loud, method, request).await.unwrap();
            assert_eq!(
                reply["error"]["code"],
                code,
                "{method} {}: {reply}",
                name.chars().take(20).collect::<String>()
            );
        }
    }
    // The victim's channel said nothing of that, and says this.
    let sent = call(&mut loud, "publish", json!({"channel": "room:victim", "data": {"n": 1}}))
        .await
        .unwrap();
    assert!(sent["error"].is_null(), "{sent}");
    let Event::Line(push) = quiet.next(Duration::from_secs(20)).await.unwrap() else {
        panic!("closed")
    };
    assert_eq!(push["push"]["pub"]["data"], json!({"n": 1}), "{push}");
}

async fn member(platform: &Platform, url: &str, user: &str) -> Result<Socket> {
    let mut socket = Socket::open(url).await?;
    let token = platform.api()?.token(user).await?;
    let reply = call(&mut socket, "connect", json!({"token": token})).await?;
    ensure!(reply["error"].is_null(), "{reply}");
    Ok(socket)
}

async fn call(socket: &mut Socket, method: &str, request: Value) -> Result<Value> {
    // Replies are told apart by their order here: one command at a time.
    socket.send(&json!({"id": 7, method: request})).await?;
    match socket.reply(7).await? {
        Event::Line(line) => Ok(line),
        Event::Closed(code, reason) => anyhow::bail!("closed with {code} {reason}"),
    }
}

/// A strange channel is a channel of its own: what is published there is in its history and nowhere else.
async fn strange_channel(socket: &mut Socket, name: &str) -> Result<()> {
    let joined = call(socket, "subscribe", json!({"channel": name})).await?;
    ensure!(joined["error"].is_null(), "{joined}");
    let sent = call(socket, "publish", json!({"channel": name, "data": {"to": name}})).await?;
    ensure!(sent["error"].is_null(), "{sent}");
    let history = call(socket, "history", json!({"channel": name, "limit": 10})).await?;
    let all = history["history"]["publications"].as_array().context("history")?;
    ensure!(all.len() == 1 && all[0]["data"]["to"] == name, "{history}");
    Ok(())
}
