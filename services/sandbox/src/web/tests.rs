//! The webhook receiver, the page and the read API over real HTTP.

use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::testing::TestSandbox;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const EVENT: &str = r#"{"type":"notification","data":{}}"#;

/// Posts the event to `orders`: the status and what the sandbox says about the signature.
async fn post(sandbox: &TestSandbox, seconds: i64, signature: Option<&str>) -> (u16, String) {
    let mut request = sandbox.client.post(format!("{}/webhook/orders", sandbox.web)).body(EVENT);
    if let Some(signature) = signature {
        request = request.header("webhook-id", "msg_a").header("webhook-signature", signature);
        request = request.header("webhook-timestamp", seconds.to_string());
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["verification"]["result"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn webhooks_are_verified_once_a_secret_is_known() {
    let sandbox = TestSandbox::default().await;
    let now = campana_bus::clock::now().0 / 1_000_000;
    let signature = Webhook::new(SECRET).unwrap().sign("msg_a", now, EVENT.as_bytes()).unwrap();
    let judged = |status: u16, result: &str| (status, result.to_owned());
    assert_eq!(post(&sandbox, now, None).await, judged(200, "unsigned"));
    assert_eq!(post(&sandbox, now, Some(&signature)).await, judged(200, "unchecked"));
    let url = format!("{}/api/webhooks/orders", sandbox.web);
    let put = |secret: &str| sandbox.client.put(&url).json(&json!({"secret": secret})).send();
    assert_eq!(put("whsec_???").await.unwrap().status(), 400);
    assert_eq!(put(SECRET).await.unwrap().status(), 200);
    assert_eq!(sandbox.get("/api/webhooks").await, json!({"data": [{"name": "orders"}]}));
    assert_eq!(post(&sandbox, now, Some(&signature)).await, judged(200, "verified"));
    assert_eq!(post(&sandbox, now, None).await, judged(401, "unsigned"));
    assert_eq!(post(&sandbox, now, Some("v1,AAAA")).await, judged(401, "bad"));
    assert_eq!(post(&sandbox, now - 3_600, Some(&signature)).await, judged(401, "bad"));
    let list = sandbox.messages("?channel=webhook&to=orders").await;
    assert_eq!((list.len(), &list[0]["subject"]), (6, &json!("notification")));
    let shown = sandbox.get("/api/messages/msg_3").await["webhook"].clone();
    assert_eq!((&shown["body"], &shown["webhook_id"]), (&json!(EVENT), &json!("msg_a")));
    for status in [204, 404] {
        assert_eq!(sandbox.client.delete(&url).send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn magic_webhook_names_answer_and_are_shown() {
    let sandbox = TestSandbox::default().await;
    let post = |name: &str| sandbox.client.post(format!("{}/webhook/{name}", sandbox.web)).send();
    let busy = post("status-503").await.unwrap();
    assert_eq!(
        (busy.status().as_u16(), busy.headers()["retry-after"].to_str().unwrap()),
        (503, "1")
    );
    assert_eq!(post("status-410").await.unwrap().status(), 410);
    assert!(post("drop").await.is_err());
    assert_eq!(sandbox.messages("").await.len(), 2);
    assert!(post("lost").await.is_err());
    assert_eq!(sandbox.messages("").await.len(), 3);
}

#[tokio::test]
async fn the_read_api_refuses_what_it_does_not_know() {
    let sandbox = TestSandbox::default().await;
    let status = |method: Method, path: &str, host: Option<&str>| {
        let mut request = sandbox.client.request(method, format!("{}{path}", sandbox.web));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(status(Method::GET, "/api/messages?colour=red", None).await, 400);
    assert_eq!(status(Method::GET, "/api/messages?since=yesterday", None).await, 400);
    assert_eq!(status(Method::GET, "/api/messages/msg_9", None).await, 404);
    assert_eq!(status(Method::GET, "/api/messages", Some("evil.example")).await, 403);
    assert_eq!(status(Method::GET, "/webhook/x", None).await, 405);
    assert_eq!(status(Method::DELETE, "/api/messages", None).await, 200);
    assert_eq!(status(Method::DELETE, "/api/faults/flt_9", None).await, 404);
    assert_eq!(status(Method::GET, "/", None).await, 200);
    assert_eq!(status(Method::GET, "/assets/app.js", None).await, 200);
    assert_eq!(status(Method::GET, "/assets/..%2fCargo.toml", None).await, 404);
    let wrong = sandbox.client.put(format!("{}/api/faults", sandbox.web));
    let wrong = wrong
        .json(&json!({"rules": [{"channel": "smtp", "effect": {"kind": "http", "status": 500}}]}));
    let wrong = wrong.send().await.unwrap();
    assert_eq!(wrong.headers()["content-type"], "application/problem+json");
    assert_eq!(
        wrong.json::<Value>().await.unwrap()["detail"],
        "rule 0: http is for twilio and webhook"
    );
    let long = sandbox.client.post(format!("{}/webhook/big", sandbox.web));
    assert_eq!(long.body(vec![b'x'; 1024 * 1024 + 1]).send().await.unwrap().status(), 413);
}
