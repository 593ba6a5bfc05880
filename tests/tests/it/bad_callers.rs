//! Callers without the right to call, and addresses that are none.

use anyhow::{Context, Result, ensure};
use campana_tests::api::send;
use campana_tests::{Api, Platform};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::json;

use super::bad_input::{check, post_raw};

pub async fn wrong_addresses(api: &Api) -> Result<()> {
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
        let answer =
            post_raw(api, "application/json", person("email", email).to_string().into()).await?;
        ensure!(answer.fields() == ["/to/email invalid_email"], "{email}: {}", answer.text);
        ensure!(!answer.text.contains("Bcc"), "the wrong value is repeated: {}", answer.text);
        let answer = api.put("/v1/recipients/x", &json!({"email": email})).await?;
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
        let answer =
            post_raw(api, "application/json", person("phone", phone).to_string().into()).await?;
        ensure!(answer.fields() == ["/to/phone invalid_phone"], "{phone}: {}", answer.text);
        let answer = api.put("/v1/recipients/x", &json!({"phone": phone})).await?;
        ensure!(
            answer.status == 422 && answer.fields() == ["/phone invalid_phone"],
            "{phone}: {}",
            answer.text
        );
    }
    for url in ["x.org", "ftp://x.org", "https://u:p@x.org/", "http://", "https://x.org/ a"] {
        let answer = api.put("/v1/recipients/x", &json!({"webhook_url": url})).await?;
        ensure!(
            answer.status == 422 && answer.fields() == ["/webhook_url invalid_url"],
            "{url}: {}",
            answer.text
        );
    }
    let answer =
        api.put("/v1/templates/t", &json!({"channels": {"sms": {"text": "{{ name"}}})).await?;
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

pub async fn wrong_callers(platform: &Platform, api: &Api) -> Result<()> {
    let good = json!({"to": "alice", "content": {"title": "x"}});
    let path = "/v1/notifications";
    let anonymous = send(api.anonymous(Method::POST, path).json(&good)).await?;
    check(&anonymous, 401, "unauthorized")?;
    ensure!(anonymous.header("www-authenticate") == "Bearer");
    let key = platform.url("api_key");
    let (start, last) = key.split_at(key.len() - 1);
    let almost = format!("{start}{}", if last == "0" { "1" } else { "0" });
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
        let answer =
            send(api.anonymous(Method::POST, path).header(AUTHORIZATION, value).json(&good))
                .await?;
        check(&answer, 401, "unauthorized")
            .with_context(|| value.chars().take(40).collect::<String>())?;
    }
    for (role, refused) in [
        ("reader", vec![(Method::POST, path), (Method::POST, "/v1/tokens")]),
        (
            "sender",
            vec![(Method::PUT, "/v1/recipients/x"), (Method::DELETE, "/v1/templates/welcome")],
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
            check(&send(weak.request(method, path).json(&good)).await?, 403, "forbidden")
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
    let callback = "/v1/callbacks/twilio/default/ntf_019a3c1e5b0a7c3f8a1d2b3c4d5e6f70/dlv_019a3c1e5b0a8c3f8a1d2b3c4d5e6f70";
    let forged = send(
        api.anonymous(Method::POST, callback)
            .header("X-Twilio-Signature", "AAAA")
            .form(&[("MessageStatus", "delivered")]),
    )
    .await?;
    check(&forged, 403, "invalid_signature")?;
    check(&api.get("/v1/nothing").await?, 404, "not_found")?;
    check(&api.get("/v1/notifications/ntf_1").await?, 404, "not_found")?;
    check(&api.delete("/v1/notifications").await?, 405, "method_not_allowed")?;
    check(&api.get("/v1/notifications?limit=0").await?, 400, "invalid_parameter")?;
    check(&api.get("/v1/notifications?cursor=x").await?, 400, "invalid_parameter")?;
    check(&api.get("/v1/notifications?colour=red").await?, 400, "invalid_parameter")
}
