//! Input that no honest client sends: each gets its documented code, and nothing is left behind.

use anyhow::{Context, Result, ensure};
use campana_tests::api::send;
use campana_tests::{Answer, Api, Platform, stored};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;

use super::bad_callers::{wrong_addresses, wrong_callers};

/// A body, and the pointer and code of what is wrong with it.
const WRONG_FIELDS: [(&str, &str); 28] = [
    (r#"{"content":{"title":"x"}}"#, "/to missing_field"),
    (r#"{"to":"alice"}"#, "/content missing_field"),
    (r#"{"to":"alice","content":{"title":"x"},"tpyo":1}"#, "/tpyo unknown_field"),
    (r#"{"to":"alice","to":"bob","content":{"title":"x"}}"#, "/to duplicate_field"),
    (r#"{"to":{"id":"alice","mail":"x"},"content":{"title":"x"}}"#, "/to/mail unknown_field"),
    (r#"{"to":5,"content":{"title":"x"}}"#, "/to wrong_type"),
    (r#"{"to":["alice",{"id":1}],"content":{"title":"x"}}"#, "/to/1/id wrong_type"),
    (r#"{"to":"alice","content":{"title":7}}"#, "/content/title wrong_type"),
    (r#"{"to":"alice","content":{"title":"x"},"channels":["fax"]}"#, "/channels/0 unknown_value"),
    (r#"{"to":"alice","content":{"title":"x"},"channels":[]}"#, "/channels empty"),
    (r#"{"to":"alice","content":{"title":"x"},"channels":["sms","sms"]}"#, "/channels/1 duplicate"),
    (r#"{"to":"alice","content":{"title":"x"},"priority":"urgent"}"#, "/priority unknown_value"),
    (r#"{"to":"alice","content":{"title":"x"},"delay_seconds":-1}"#, "/delay_seconds wrong_type"),
    (
        r#"{"to":"alice","content":{"title":"x"},"delay_seconds":9999999}"#,
        "/delay_seconds out_of_range",
    ),
    (r#"{"to":"alice","content":{"title":"x"},"send_at":"tomorrow"}"#, "/send_at invalid_time"),
    (
        r#"{"to":"alice","content":{"title":"x"},"send_at":"2126-01-01T00:00:00Z"}"#,
        "/send_at out_of_range",
    ),
    (
        r#"{"to":"alice","content":{"title":"x"},"expires_at":"2001-01-01T00:00:00Z"}"#,
        "/expires_at out_of_range",
    ),
    (r#"{"to":"alice","content":{"title":"x"},"template":"welcome"}"#, "/content conflict"),
    (r#"{"to":"alice","content":{"title":"x"},"data":{"name":"x"}}"#, "/data conflict"),
    (r#"{"to":"alice","content":{"title":"  "}}"#, "/content/title empty"),
    (r#"{"to":"alice","content":{"title":"a\nb"}}"#, "/content/title invalid_name"),
    (
        r#"{"to":"alice","content":{"title":"x","url":"javascript:alert(1)"}}"#,
        "/content/url invalid_url",
    ),
    (r#"{"to":"alice","content":{"title":"x"},"metadata":{"k":7}}"#, "/metadata/k wrong_type"),
    (r#"{"to":[],"content":{"title":"x"}}"#, "/to empty"),
    (r#"{"to":["alice","alice"],"content":{"title":"x"}}"#, "/to/1 duplicate"),
    (r#"{"to":"nobody","content":{"title":"x"}}"#, "/to unknown_recipient"),
    (r#"{"to":["alice","nobody"],"content":{"title":"x"}}"#, "/to/1 unknown_recipient"),
    (r#"{"to":"alice","template":"nothing"}"#, "/template unknown_template"),
];

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
    assert_eq!(stored(&bus).await.unwrap(), before, "something was stored");
    let none = api.get("/v1/notifications").await.unwrap().expect(200).unwrap();
    assert_eq!(none["data"], json!([]));
    // The first thing that alice hears is the first good request; its key was in none of them used up.
    let good =
        api.request(Method::POST, "/v1/notifications").header("Idempotency-Key", "bad-input");
    let good =
        send(good.json(&json!({"to": "alice", "content": {"title": "good"}}))).await.unwrap();
    let good = campana_tests::api::id_of(&good.expect(202).unwrap()).unwrap();
    bell.expect(&good).await.unwrap();
}

/// Refused before they have arrived. The connection ends with that, and the answer says so: a client that
/// kept it would lose its next request.
#[tokio::test(flavor = "multi_thread")]
async fn oversized_bodies_are_refused_and_end_their_connection() {
    let platform = Platform::up(&[]).await.unwrap();
    let (api, bus) = (platform.api().unwrap(), platform.bus().await.unwrap());
    let before = stored(&bus).await.unwrap();
    let json = "application/json";
    let large = json!({"to": "alice", "content": {"title": "x", "body": "y".repeat(300_000)}});
    let declared = post_raw(&api, json, large.to_string().into()).await.unwrap();
    let chunks = (0..8).map(|_| Ok::<_, std::io::Error>(vec![b' '; 65_536]));
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    // On a connection of its own: this body cannot be sent twice.
    let request = platform.api().unwrap().request(Method::POST, "/v1/notifications");
    let undeclared = send(request.header(CONTENT_TYPE, json).body(stream)).await.unwrap();
    for answer in [&declared, &undeclared] {
        check(answer, 413, "payload_too_large").unwrap();
    }
    assert_eq!(stored(&bus).await.unwrap(), before, "something was stored");
    for answer in [&declared, &undeclared] {
        assert_eq!(answer.header("connection"), "close", "{:?}", answer.headers);
    }
}

/// A body as it is, with a key that must not be used up by it.
pub async fn post_raw(api: &Api, kind: &str, body: Vec<u8>) -> Result<Answer> {
    let request = api.request(Method::POST, "/v1/notifications").header(CONTENT_TYPE, kind);
    send(request.header("Idempotency-Key", "bad-input").body(body)).await
}

/// A problem document with this status and code.
pub fn check(answer: &Answer, status: u16, code: &str) -> Result<()> {
    ensure!(
        (answer.status, answer.code()) == (status, code),
        "{} {} instead of {status} {code}",
        answer.status,
        answer.text
    );
    ensure!(answer.header("content-type") == "application/problem+json", "{:?}", answer.headers);
    ensure!(answer.body["type"] == format!("https://campana.dev/errors/{code}"), "{}", answer.text);
    ensure!(
        answer.body["status"] == status && answer.body["retryable"].is_boolean(),
        "{}",
        answer.text
    );
    ensure!(answer.body["request_id"] == answer.header("x-request-id"), "{}", answer.text);
    has_page(code)?;
    answer
        .fields()
        .iter()
        .try_for_each(|field| has_page(field.rsplit(' ').next().unwrap_or_default()))
}

async fn malformed_bodies(api: &Api) -> Result<()> {
    let json = "application/json";
    for body in [
        "",
        "{",
        "nope",
        "{\"to\":",
        "{\"to\":\"alice\",\"content\":{\"title\":\"x\"}} {}",
        "\u{0}",
    ] {
        check(&post_raw(api, json, body.into()).await?, 400, "invalid_json").context(body)?;
    }
    check(&post_raw(api, json, vec![0xff, 0xfe, b'{']).await?, 400, "invalid_json")?;
    let deep = "[".repeat(10_000);
    let answer = post_raw(api, json, format!("{{\"to\":{deep}").into()).await?;
    ensure!(answer.status == 400 || answer.status == 422, "{}", answer.text);
    let good = json!({"to": "alice", "content": {"title": "x"}}).to_string();
    check(&post_raw(api, "text/plain", good.clone().into()).await?, 415, "unsupported_media_type")?;
    let long =
        api.request(Method::POST, "/v1/notifications").header("Idempotency-Key", "k".repeat(256));
    check(&send(long.header(CONTENT_TYPE, json).body(good)).await?, 400, "invalid_parameter")
}

async fn wrong_fields(api: &Api) -> Result<()> {
    for (body, field) in WRONG_FIELDS {
        wrong_field(api, body, field).await.with_context(|| body.to_owned())?;
    }
    let many: Vec<String> = (0..101).map(|number| format!("p{number}")).collect();
    let many = json!({"to": many, "content": {"title": "x"}}).to_string();
    wrong_field(api, &many, "/to too_many").await?;
    let long =
        json!({"to": "alice", "content": {"title": "x"}, "metadata": {"k": "v".repeat(600)}})
            .to_string();
    wrong_field(api, &long, "/metadata/k too_long").await
}

/// Alone, and as one of a batch, which says the same about it.
async fn wrong_field(api: &Api, body: &str, field: &str) -> Result<()> {
    let answer = post_raw(api, "application/json", body.into()).await?;
    check(&answer, 422, "validation_failed")?;
    ensure!(answer.fields() == [field], "{:?} instead of {field}", answer.fields());
    let batch = api
        .request(Method::POST, "/v1/notifications/batch")
        .header(CONTENT_TYPE, "application/json")
        .body(format!("{{\"notifications\":[{body}]}}"));
    let batch = send(batch).await?.expect(202)?;
    ensure!(batch["accepted"] == 0 && batch["rejected"] == 1, "{batch}");
    let (pointer, code) = field.split_once(' ').context("pointer code")?;
    let error = &batch["results"][0]["error"]["errors"][0];
    let pointer = format!("/notifications/0{pointer}");
    ensure!(error["code"] == code && error["pointer"] == pointer, "{error}");
    Ok(())
}

/// Every code that a caller can see has a page that explains it.
fn has_page(code: &str) -> Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
    ensure!(folder.join(format!("{code}.md")).is_file(), "docs/errors/{code}.md is missing");
    Ok(())
}
