//! Input that no honest client sends: each gets its documented code, and nothing is left behind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::Bus;
use campana_bus::topology::{CHANNELS, DELIVERIES, DLQ, EVENTS, OUTCOMES, REQUESTS};
use campana_tests::api::send;
use campana_tests::centrifuge::Socket;
use campana_tests::{Answer, Api, Client, Event, Platform, jwt};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

const SOON: Duration = Duration::from_secs(20);

/// How many messages each stream has ever stored.
pub async fn stored(bus: &Bus) -> Result<Vec<(&'static str, u64)>> {
    let mut all = Vec::new();
    for stream in [REQUESTS, DELIVERIES, OUTCOMES, CHANNELS, EVENTS, DLQ] {
        all.push((stream, bus.position(stream).await?.last));
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_their_code_and_leave_nothing() {
    let platform = Platform::up(&[]).await.unwrap();
    let (api, bus) = (platform.api().unwrap(), platform.bus().await.unwrap());
    let mut bell = platform.client("alice").await.unwrap();
    let before = stored(&bus).await.unwrap();
    malformed_bodies(&api).await.unwrap();
    wrong_fields(&api).await.unwrap();
    wrong_addresses(&api).await.unwrap();
    wrong_callers(&platform, &api).await.unwrap();
    documented(&api).await.unwrap();
    assert_eq!(stored(&bus).await.unwrap(), before, "something was stored");
    let none = api
        .get("/v1/notifications")
        .await
        .unwrap()
        .expect(200)
        .unwrap();
    assert_eq!(none["data"], json!([]));
    // The first thing that alice hears is the first good request; its key was in none of them used up.
    let good = api
        .request(Method::POST, "/v1/notifications")
        .header("Idempotency-Key", "bad-input");
    let good = send(good.json(&json!({"to": "alice", "content": {"title": "good"}})))
        .await
        .unwrap();
    let good = campana_tests::api::id_of(&good.expect(202).unwrap()).unwrap();
    bell.expect(&good).await.unwrap();
}

/// A body as it is, with a key that must not be used up by it.
async fn post_raw(api: &Api, kind: &str, body: Vec<u8>) -> Result<Answer> {
    let request = api
        .request(Method::POST, "/v1/notifications")
        .header(CONTENT_TYPE, kind);
    send(request.header("Idempotency-Key", "bad-input").body(body)).await
}

/// A problem document with this status and code.
fn check(answer: &Answer, status: u16, code: &str) -> Result<()> {
    ensure!(
        (answer.status, answer.code()) == (status, code),
        "{} {} instead of {status} {code}",
        answer.status,
        answer.text
    );
    ensure!(
        answer.header("content-type") == "application/problem+json",
        "{:?}",
        answer.headers
    );
    ensure!(
        answer.body["type"] == format!("https://campana.dev/errors/{code}"),
        "{}",
        answer.text
    );
    ensure!(
        answer.body["status"] == status && answer.body["retryable"].is_boolean(),
        "{}",
        answer.text
    );
    ensure!(
        answer.body["request_id"] == answer.header("x-request-id"),
        "{}",
        answer.text
    );
    Ok(())
}

async fn malformed_bodies(api: &Api) -> Result<()> {
    let json = "application/json";
    for body in [
        "",
        "{",
        "nope",
        "{\"to\":",
        "{} {}",
        "{\"to\":\"alice\"}x",
        "\u{0}",
        "[[[[",
    ] {
        check(
            &post_raw(api, json, body.into()).await?,
            400,
            "invalid_json",
        )
        .context(body)?;
    }
    check(
        &post_raw(api, json, vec![0xff, 0xfe, b'{']).await?,
        400,
        "invalid_json",
    )?;
    let deep = "[".repeat(10_000);
    let answer = post_raw(api, json, format!("{{\"to\":{deep}").into()).await?;
    ensure!(
        answer.status == 400 || answer.status == 422,
        "{}",
        answer.text
    );
    let good = json!({"to": "alice", "content": {"title": "x"}}).to_string();
    check(
        &post_raw(api, "text/plain", good.clone().into()).await?,
        415,
        "unsupported_media_type",
    )?;
    let large = json!({"to": "alice", "content": {"title": "x", "body": "y".repeat(300_000)}});
    check(
        &post_raw(api, json, large.to_string().into()).await?,
        413,
        "payload_too_large",
    )?;
    // The same without a declared length.
    let chunks = (0..8).map(|_| Ok::<_, std::io::Error>(vec![b' '; 65_536]));
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let request = api
        .request(Method::POST, "/v1/notifications")
        .header(CONTENT_TYPE, json)
        .body(stream);
    check(&send(request).await?, 413, "payload_too_large")?;
    let long = api
        .request(Method::POST, "/v1/notifications")
        .header("Idempotency-Key", "k".repeat(256));
    check(
        &send(long.header(CONTENT_TYPE, json).body(good)).await?,
        400,
        "invalid_parameter",
    )
}

async fn wrong_fields(api: &Api) -> Result<()> {
    let text = json!({"title": "x"});
    let many: Vec<String> = (0..101).map(|number| format!("p{number}")).collect();
    let cases = [
        (json!({"content": text}), "/to missing_field"),
        (json!({"to": "alice"}), "/content missing_field"),
        (
            json!({"to": "alice", "content": text, "tpyo": 1}),
            "/tpyo unknown_field",
        ),
        (
            json!({"to": {"id": "alice", "mail": "x"}, "content": text}),
            "/to/mail unknown_field",
        ),
        (json!({"to": 5, "content": text}), "/to wrong_type"),
        (
            json!({"to": ["alice", {"id": 1}], "content": text}),
            "/to/1/id wrong_type",
        ),
        (
            json!({"to": "alice", "content": {"title": 7}}),
            "/content/title wrong_type",
        ),
        (
            json!({"to": "alice", "content": text, "channels": ["fax"]}),
            "/channels/0 unknown_value",
        ),
        (
            json!({"to": "alice", "content": text, "channels": []}),
            "/channels empty",
        ),
        (
            json!({"to": "alice", "content": text, "priority": "urgent"}),
            "/priority unknown_value",
        ),
        (
            json!({"to": "alice", "content": text, "delay_seconds": -1}),
            "/delay_seconds wrong_type",
        ),
        (
            json!({"to": "alice", "content": text, "delay_seconds": 9_999_999}),
            "/delay_seconds out_of_range",
        ),
        (
            json!({"to": "alice", "content": text, "send_at": "tomorrow"}),
            "/send_at invalid_time",
        ),
        (
            json!({"to": "alice", "content": text, "expires_at": "2001-01-01T00:00:00Z"}),
            "/expires_at out_of_range",
        ),
        (
            json!({"to": "alice", "content": text, "template": "welcome"}),
            "/content conflict",
        ),
        (
            json!({"to": "alice", "content": {"title": "  "}}),
            "/content/title empty",
        ),
        (
            json!({"to": "alice", "content": {"title": "a\nb"}}),
            "/content/title invalid_name",
        ),
        (
            json!({"to": "alice", "content": {"title": "x", "url": "javascript:alert(1)"}}),
            "/content/url invalid_url",
        ),
        (
            json!({"to": "alice", "content": text, "metadata": {"k": "v".repeat(600)}}),
            "/metadata/k too_long",
        ),
        (json!({"to": [], "content": text}), "/to empty"),
        (json!({"to": many, "content": text}), "/to too_many"),
        (
            json!({"to": ["alice", "alice"], "content": text}),
            "/to/1 duplicate",
        ),
        (
            json!({"to": "nobody", "content": text}),
            "/to unknown_recipient",
        ),
        (
            json!({"to": ["alice", "nobody"], "content": text}),
            "/to/1 unknown_recipient",
        ),
        (
            json!({"to": "alice", "template": "nothing"}),
            "/template unknown_template",
        ),
    ];
    for (body, field) in cases {
        let answer = post_raw(api, "application/json", body.to_string().into()).await?;
        check(&answer, 422, "validation_failed").with_context(|| body.to_string())?;
        ensure!(
            answer.fields() == [field],
            "{:?} instead of {field}",
            answer.fields()
        );
        // Each alone is also what a batch says about it.
        let batch = api
            .post("/v1/notifications/batch", &json!({"notifications": [body]}))
            .await?
            .expect(202)?;
        ensure!(batch["accepted"] == 0 && batch["rejected"] == 1, "{batch}");
        let (pointer, code) = field.split_once(' ').context("pointer code")?;
        let error = &batch["results"][0]["error"]["errors"][0];
        ensure!(
            error["code"] == code && error["pointer"] == format!("/notifications/0{pointer}"),
            "{error} for {field}"
        );
    }
    Ok(())
}

async fn wrong_addresses(api: &Api) -> Result<()> {
    let person = |field: &str, value: &str| json!({"to": {"id": "x", field: value}, "content": {"title": "x"}});
    for email in [
        "a",
        "@x.org",
        "a@",
        "a b@x.org",
        "a@x.org\r\nBcc: b@x.org",
        "a@x..org",
        &format!("{}@x.org", "a".repeat(10_000)),
    ] {
        let answer = post_raw(
            api,
            "application/json",
            person("email", email).to_string().into(),
        )
        .await?;
        ensure!(
            answer.fields() == ["/to/email invalid_email"],
            "{email}: {}",
            answer.text
        );
        ensure!(
            !answer.text.contains("Bcc"),
            "the wrong value is repeated: {}",
            answer.text
        );
        let answer = api
            .put("/v1/recipients/x", &json!({"email": email}))
            .await?;
        ensure!(
            answer.status == 422 && answer.fields() == ["/email invalid_email"],
            "{email}: {}",
            answer.text
        );
    }
    for phone in [
        "",
        "15551234567",
        "+0123456789",
        "+1 555 123",
        "+15551234567890123",
        "+1555\u{ff11}23456",
        "whatsapp:+15551234567",
    ] {
        let answer = post_raw(
            api,
            "application/json",
            person("phone", phone).to_string().into(),
        )
        .await?;
        ensure!(
            answer.fields() == ["/to/phone invalid_phone"],
            "{phone}: {}",
            answer.text
        );
        let answer = api
            .put("/v1/recipients/x", &json!({"phone": phone}))
            .await?;
        ensure!(
            answer.status == 422 && answer.fields() == ["/phone invalid_phone"],
            "{phone}: {}",
            answer.text
        );
    }
    for url in [
        "x.org",
        "ftp://x.org",
        "https://u:p@x.org/",
        "http://",
        "https://x.org/ a",
    ] {
        let answer = api
            .put("/v1/recipients/x", &json!({"webhook_url": url}))
            .await?;
        ensure!(
            answer.status == 422 && answer.fields() == ["/webhook_url invalid_url"],
            "{url}: {}",
            answer.text
        );
    }
    let answer = api
        .put(
            "/v1/templates/t",
            &json!({"channels": {"sms": {"text": "{{ name"}}}),
        )
        .await?;
    ensure!(
        answer.status == 422 && answer.fields() == ["/channels/sms/text invalid_template"],
        "{}",
        answer.text
    );
    ensure!(
        api.get("/v1/recipients/x").await?.status == 404
            && api.get("/v1/templates/t").await?.status == 404
    );
    Ok(())
}

async fn wrong_callers(platform: &Platform, api: &Api) -> Result<()> {
    let good = json!({"to": "alice", "content": {"title": "x"}});
    let path = "/v1/notifications";
    let anonymous = send(api.anonymous(Method::POST, path).json(&good)).await?;
    check(&anonymous, 401, "unauthorized")?;
    ensure!(anonymous.header("www-authenticate") == "Bearer");
    let almost = platform.url("api_key");
    let almost = format!("{}0", &almost[..almost.len() - 1]);
    let huge = "k".repeat(7_000);
    for value in [
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer garbage",
        &format!("Bearer {almost}"),
        &format!("Bearer {huge}"),
        &format!("Bearer {}", api.token("alice").await?),
    ] {
        let answer = send(
            api.anonymous(Method::POST, path)
                .header(AUTHORIZATION, value)
                .json(&good),
        )
        .await?;
        check(&answer, 401, "unauthorized")
            .with_context(|| value.chars().take(40).collect::<String>())?;
    }
    for (role, refused) in [
        (
            "reader",
            vec![(Method::POST, path), (Method::POST, "/v1/tokens")],
        ),
        (
            "sender",
            vec![
                (Method::PUT, "/v1/recipients/x"),
                (Method::DELETE, "/v1/templates/welcome"),
            ],
        ),
    ] {
        let key = platform
            .home
            .command(&["keys", "create", "--name", "weak", "--role", role, "--json"])
            .await?
            .json()?;
        let weak = api.with_key(key["key"]["api_key"].as_str().context("a key")?);
        weak.get("/v1/notifications").await?.expect(200)?;
        for (method, path) in refused {
            check(
                &send(weak.request(method, path).json(&good)).await?,
                403,
                "forbidden",
            )
            .context(role)?;
        }
    }
    let read = send(
        api.anonymous(Method::POST, "/v1/inbox/read")
            .bearer_auth(platform.url("api_key"))
            .json(&json!({"ids": ["dlv_1"]})),
    )
    .await?;
    check(&read, 401, "unauthorized")?;
    let forged = send(
        api.anonymous(
            Method::POST,
            "/v1/callbacks/twilio/dlv_019a3c1e5b0a8c3f8a1d2b3c4d5e6f70",
        )
        .header("X-Twilio-Signature", "AAAA")
        .form(&[("MessageStatus", "delivered")]),
    )
    .await?;
    check(&forged, 403, "invalid_signature")?;
    check(&api.get("/v1/nothing").await?, 404, "not_found")?;
    check(&api.get("/v1/notifications/ntf_1").await?, 404, "not_found")?;
    check(
        &api.delete("/v1/notifications").await?,
        405,
        "method_not_allowed",
    )?;
    check(
        &api.get("/v1/notifications?limit=0").await?,
        400,
        "invalid_parameter",
    )?;
    check(
        &api.get("/v1/notifications?cursor=x").await?,
        400,
        "invalid_parameter",
    )?;
    check(
        &api.get("/v1/notifications?colour=red").await?,
        400,
        "invalid_parameter",
    )
}

/// Every code has a page of that name.
async fn documented(api: &Api) -> Result<()> {
    let answer = api.get("/v1/nothing").await?;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
    ensure!(folder.join(format!("{}.md", answer.code())).is_file());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_and_frames_are_refused_and_others_hear_nothing() {
    let platform = Platform::up(&[]).await.unwrap();
    let (api, bus, url) = (
        platform.api().unwrap(),
        platform.bus().await.unwrap(),
        platform.url("edge_ws"),
    );
    let mut victim = platform.client("victim").await.unwrap();
    let before = stored(&bus).await.unwrap();
    tokens(&platform, &url).await.unwrap();
    frames(&api, &url).await.unwrap();
    commands(&api, &url).await.unwrap();
    assert_eq!(stored(&bus).await.unwrap(), before, "something was stored");
    let id = api.ring("victim", "only this").await.unwrap();
    victim.expect(&id).await.unwrap();
}

async fn connect_with(url: &str, token: &str) -> Result<Event> {
    let mut socket = Socket::open(url).await?;
    socket
        .send(&json!({"id": 1, "connect": {"token": token}}))
        .await?;
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
    let Event::Line(reply) = connect_with(url, &expired).await? else {
        anyhow::bail!("closed")
    };
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
        (
            "wrong types",
            Message::text(r#"{"id":"x","subscribe":7}"#),
            3501,
        ),
        (
            "a second connect",
            Message::text(r#"{"id":9,"connect":{"token":"x"}}"#),
            3501,
        ),
        ("binary", Message::binary(vec![1_u8, 2, 3]), 3506),
        ("a huge message", Message::text("x".repeat(70_000)), 1009),
        ("a reserved opcode", Message::Frame(reserved), 1002),
        ("no UTF-8", Message::Frame(not_utf8), 1007),
    ];
    for (what, frame, code) in cases {
        let mut socket = Socket::open(url).await?;
        socket
            .send(&json!({"id": 1, "connect": {"token": api.token("mallory").await?}}))
            .await?;
        ensure!(
            matches!(socket.reply(1).await?, Event::Line(_)),
            "{what}: not connected"
        );
        socket.send_raw(frame).await?;
        let Event::Closed(closed, _) = socket.next(SOON).await.with_context(|| what.to_owned())?
        else {
            anyhow::bail!("{what}: answered")
        };
        ensure!(closed == code, "{what}: {closed} instead of {code}");
    }
    let mut early = Socket::open(url).await?;
    early
        .send(&json!({"id": 1, "subscribe": {"channel": "inbox:#victim"}}))
        .await?;
    ensure!(
        matches!(early.reply(1).await?, Event::Closed(3501, _)),
        "a command before connect"
    );
    Ok(())
}

/// Commands that a connected client may not give: an error each, and the connection lives on.
async fn commands(api: &Api, url: &str) -> Result<()> {
    let mut client = Client::connect(url, "mallory", &api.token("mallory").await?).await?;
    let long = format!("inbox:#{}", "x".repeat(10_000));
    let other = "inbox:#victim";
    let cases: Vec<(&str, Value, u64)> = vec![
        ("subscribe", json!({"channel": other}), 103),
        (
            "subscribe",
            json!({"channel": other, "token": "x.y.z"}),
            103,
        ),
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
        (
            "publish",
            json!({"channel": "inbox:#mallory", "data": {"x": 1}}),
            103,
        ),
        ("publish", json!({"channel": "nowhere:x", "data": {}}), 102),
        ("history", json!({"channel": other, "limit": 10}), 103),
        ("presence", json!({"channel": other}), 108),
        ("rpc", json!({"method": "x", "data": {}}), 104),
    ];
    for (method, request, code) in cases {
        let text: String = request.to_string().chars().take(60).collect();
        let reply = client
            .call(method, request)
            .await
            .with_context(|| format!("{method} {text}"))?;
        ensure!(
            reply["error"]["code"] == code,
            "{method} {text}: {reply} instead of {code}"
        );
    }
    Ok(())
}
