//! The Messages API and its callbacks over real HTTP.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{OriginalUri, RawForm, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::form_urlencoded;

use super::sign;
use crate::testing::{PATIENCE, TestSandbox};
use crate::{
    CallbackOptions, DEFAULT_TWILIO_ACCOUNT_SID as SID, DEFAULT_TWILIO_AUTH_TOKEN as TOKEN,
    SandboxOptions,
};

type Fields = BTreeMap<String, String>;

/// A receiver of callbacks that checks every signature.
struct Target {
    url: String,
    calls: mpsc::UnboundedReceiver<Fields>,
}

async fn receive(
    State((base, calls)): State<(String, mpsc::UnboundedSender<Fields>)>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    RawForm(form): RawForm,
) -> StatusCode {
    let fields: Vec<(String, String)> = form_urlencoded::parse(&form).into_owned().collect();
    let url = format!("{base}{}", uri.path_and_query().unwrap());
    assert_eq!(headers["x-twilio-signature"], sign(TOKEN, &url, &fields));
    calls.send(fields.into_iter().collect()).unwrap();
    StatusCode::NO_CONTENT
}

/// Lives as long as the sandbox it belongs to.
async fn target(sandbox: &TestSandbox) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (sender, calls) = mpsc::unbounded_channel();
    let app = Router::new().route("/cb", post(receive)).with_state((base.clone(), sender));
    sandbox.lifecycle.spawn("target", async move { axum::serve(listener, app).await.unwrap() });
    Target { url: format!("{base}/cb?attempt=1"), calls }
}

impl Target {
    async fn call(&mut self) -> Fields {
        tokio::time::timeout(PATIENCE, self.calls.recv()).await.expect("no callback").unwrap()
    }

    async fn statuses(&mut self, count: usize) -> Vec<String> {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(self.call().await["MessageStatus"].clone());
        }
        statuses
    }
}

async fn quick() -> TestSandbox {
    let callbacks =
        CallbackOptions { step: std::time::Duration::from_millis(5), ..Default::default() };
    TestSandbox::start(SandboxOptions { callbacks, ..SandboxOptions::default() }).await
}

fn url(sandbox: &TestSandbox) -> String {
    format!("{}/2010-04-01/Accounts/{SID}/Messages.json", sandbox.web)
}

async fn send(sandbox: &TestSandbox, form: &[(&str, &str)]) -> reqwest::Result<(u16, Value)> {
    let request = sandbox.client.post(url(sandbox)).basic_auth(SID, Some(TOKEN)).form(form);
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.json().await?))
}

const FROM: (&str, &str) = ("From", "+15005550006");
const TO: (&str, &str) = ("To", "+15551234567");
const BODY: (&str, &str) = ("Body", "Your code is 1234");

#[tokio::test]
async fn a_text_message_is_accepted_called_back_and_can_be_fetched() {
    let sandbox = quick().await;
    let mut target = target(&sandbox).await;
    let address = target.url.clone();
    let callback = ("StatusCallback", address.as_str());
    let (status, body) = send(&sandbox, &[TO, FROM, BODY, callback]).await.unwrap();
    assert_eq!(
        (status, &body["status"], &body["error_code"]),
        (201, &json!("queued"), &json!(null))
    );
    assert_eq!(body["num_segments"], "1");
    let sid = body["sid"].as_str().unwrap().to_owned();
    assert!(sid.starts_with("SM") && sid.len() == 34, "{sid}");
    for wanted in ["queued", "sent", "delivered"] {
        let call = target.call().await;
        assert_eq!((call["MessageStatus"].as_str(), &call["MessageSid"]), (wanted, &sid));
        assert_eq!(call["To"], "+15551234567");
    }
    let fetch = format!("{}/2010-04-01/Accounts/{SID}/Messages/{sid}.json", sandbox.web);
    let get = || sandbox.client.get(&fetch).basic_auth(SID, Some(TOKEN)).send();
    let found: Value = get().await.unwrap().json().await.unwrap();
    assert_eq!((&found["status"], &found["body"]), (&json!("delivered"), &json!(BODY.1)));
    let list = sandbox.client.get(url(&sandbox)).basic_auth(SID, Some(TOKEN));
    let list = list.query(&[("To", TO.1), ("PageSize", "1")]).send().await.unwrap();
    let list: Value = list.json().await.unwrap();
    assert_eq!((&list["messages"][0]["sid"], &list["next_page_uri"]), (&json!(sid), &json!(null)));
    let other = sandbox.client.get(url(&sandbox)).basic_auth(SID, Some(TOKEN));
    let other = other.query(&[("To", "+15550000000")]).send().await.unwrap();
    assert_eq!(other.json::<Value>().await.unwrap()["messages"], json!([]));
    sandbox.stop().await;
}

#[tokio::test]
async fn whatsapp_is_read_and_failures_carry_their_code() {
    let sandbox = quick().await;
    let mut target = target(&sandbox).await;
    let address = target.url.clone();
    let callback = ("StatusCallback", address.as_str());
    let to = ("To", "whatsapp:+15551234567");
    let from = ("From", "whatsapp:+15005550006");
    send(&sandbox, &[to, from, BODY, callback]).await.unwrap();
    assert_eq!(target.statuses(4).await, ["queued", "sent", "delivered", "read"]);
    assert_eq!(sandbox.messages("?channel=whatsapp").await.len(), 1);
    send(&sandbox, &[("To", "+15005553003"), FROM, BODY, callback]).await.unwrap();
    assert_eq!(target.statuses(2).await, ["queued", "sent"]);
    let last = target.call().await;
    assert_eq!(
        (last["MessageStatus"].as_str(), last["ErrorCode"].as_str()),
        ("undelivered", "30003")
    );
}

#[tokio::test]
async fn callbacks_can_be_lost_doubled_and_reordered() {
    let sandbox = quick().await;
    let mut target = target(&sandbox).await;
    let address = target.url.clone();
    let callback = ("StatusCallback", address.as_str());
    let script =
        |mode: Value| json!([{"channel": "twilio", "effect": {"kind": "callbacks", "mode": mode}}]);
    sandbox.faults(script(json!({"kind": "lost", "statuses": ["queued", "sent"]}))).await;
    send(&sandbox, &[TO, FROM, BODY, callback]).await.unwrap();
    assert_eq!(target.statuses(1).await, ["delivered"]);
    sandbox.faults(script(json!({"kind": "duplicated", "copies": 2}))).await;
    send(&sandbox, &[TO, FROM, BODY, callback]).await.unwrap();
    let doubled = target.statuses(6).await;
    assert_eq!(doubled, ["queued", "queued", "sent", "sent", "delivered", "delivered"]);
    sandbox.faults(script(json!({"kind": "reordered"}))).await;
    send(&sandbox, &[TO, FROM, BODY, callback]).await.unwrap();
    assert_eq!(target.statuses(3).await, ["delivered", "sent", "queued"]);
}

#[tokio::test]
async fn credentials_and_forms_are_judged_as_twilio_does() {
    let sandbox = quick().await;
    let post =
        |token: &'static str| sandbox.client.post(url(&sandbox)).basic_auth(SID, Some(token));
    let refused = post("wrong").form(&[TO, FROM, BODY]).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], 20_003);
    let (status, body) = send(&sandbox, &[FROM, BODY]).await.unwrap();
    assert_eq!((status, &body["code"], &body["status"]), (400, &json!(21_604), &json!(400)));
    assert_eq!(body["more_info"], "https://www.twilio.com/docs/errors/21604");
    for (number, wanted, code) in [
        ("+15005550001", 400, 21_211),
        ("+15005550009", 400, 21_614),
        ("+15005550429", 429, 20_429),
    ] {
        let (status, body) = send(&sandbox, &[("To", number), FROM, BODY]).await.unwrap();
        assert_eq!((status, &body["code"]), (wanted, &json!(code)));
    }
    assert!(sandbox.messages("").await.is_empty());
}

#[tokio::test]
async fn scripted_answers_and_lost_ones() {
    let sandbox = quick().await;
    sandbox
        .faults(json!([
            {"channel": "twilio", "times": 1, "effect": {"kind": "http", "status": 503, "retry_after": 7}},
            {"channel": "twilio", "times": 1, "effect": {"kind": "close", "when": "before"}},
            {"channel": "twilio", "times": 1, "effect": {"kind": "close", "when": "after"}},
            {"channel": "twilio", "times": 1, "effect": {"kind": "hang", "ms": 30}},
        ]))
        .await;
    let request = sandbox.client.post(url(&sandbox)).basic_auth(SID, Some(TOKEN));
    let response = request.form(&[TO, FROM, BODY]).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"7".parse().unwrap())
    );
    assert!(send(&sandbox, &[TO, FROM, BODY]).await.is_err());
    assert!(sandbox.messages("").await.is_empty());
    assert!(send(&sandbox, &[TO, FROM, BODY]).await.is_err());
    assert_eq!(sandbox.messages("").await.len(), 1);
    assert!(send(&sandbox, &[TO, FROM, BODY]).await.is_err());
    assert_eq!(send(&sandbox, &[TO, FROM, BODY]).await.unwrap().0, 201);
    assert_eq!(sandbox.get("/api/stats").await["faults_applied"], 4);
}

#[tokio::test]
async fn a_target_that_hangs_holds_no_status_up() {
    let sandbox = quick().await;
    let mut live = sandbox.client.get(format!("{}/api/events", sandbox.web)).send().await.unwrap();
    // Accepts connections into its backlog and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/cb", silent.local_addr().unwrap());
    send(&sandbox, &[TO, FROM, BODY, ("StatusCallback", &address)]).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\"status\":\"delivered\"") {
        let chunk = tokio::time::timeout(PATIENCE, live.chunk()).await.unwrap().unwrap().unwrap();
        seen.push_str(&String::from_utf8_lossy(&chunk));
    }
    let sms = sandbox.get("/api/messages/msg_1").await["sms"].clone();
    assert_eq!(sms["callbacks"], json!([]));
    sandbox.stop().await;
}

#[tokio::test]
async fn only_this_machine_is_called_back() {
    let sandbox = quick().await;
    let mut live = sandbox.client.get(format!("{}/api/events", sandbox.web)).send().await.unwrap();
    let callback = ("StatusCallback", "http://192.0.2.1/cb");
    send(&sandbox, &[TO, FROM, BODY, callback]).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\"status\":\"delivered\"") {
        let chunk = tokio::time::timeout(PATIENCE, live.chunk()).await.unwrap().unwrap().unwrap();
        seen.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(seen.contains("event: hello") && seen.contains("event: message"), "{seen}");
    let sms = sandbox.get("/api/messages/msg_1").await["sms"].clone();
    assert_eq!(sms["callbacks"][0]["result"], "refused: the host is not allowed");
    assert_eq!(sandbox.get("/api/stats").await["callbacks"]["answered"], 0);
    // The live stream ends with the soft stop instead of holding it up.
    sandbox.stop().await;
}
