//! The sender against a small server that speaks like Twilio.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode as Status};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use campana_bus::ids::NotificationId;
use campana_bus::trace::TraceParent;
use tokio::sync::mpsc;

use super::*;
use crate::channels::tests::{Server, serve};
use crate::contracts::Rendered;

type Received = (HeaderMap, BTreeMap<String, String>);

struct Stub {
    _server: Server,
    requests: mpsc::UnboundedReceiver<Received>,
    options: TwilioOptions,
}

/// Answers every request alike; status 0 never answers.
async fn stub(status: u16, headers: Vec<(&'static str, &'static str)>, body: &'static str) -> Stub {
    let (sender, requests) = mpsc::unbounded_channel::<Received>();
    let answer = move |State(sender): State<mpsc::UnboundedSender<Received>>,
                       received: HeaderMap,
                       Form(form): Form<BTreeMap<String, String>>| {
        let headers = headers.clone();
        async move {
            let _ = sender.send((received, form));
            if status == 0 {
                std::future::pending::<()>().await;
            }
            let mut response: Response =
                (Status::from_u16(status.max(200)).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
    };
    let router = Router::new()
        .route("/api/2010-04-01/Accounts/AC1/Messages.json", post(answer))
        .with_state(sender);
    let server = serve(router).await;
    let options = TwilioOptions {
        base_url: format!("http://{}/api/", server.address),
        account_sid: "AC1".to_owned(),
        auth_token: SecretString::from("token".to_owned()),
        sms_from: "+15550000".to_owned(),
        whatsapp_from: "+15559999".to_owned(),
        timeout_seconds: 1,
        ..TwilioOptions::default()
    };
    Stub { _server: server, requests, options }
}

fn delivery(channel: Channel) -> Delivery {
    let notification_id = NotificationId::derived(&["n"]);
    Delivery {
        id: Delivery::derive_id(notification_id, "alice", channel),
        notification_id,
        tenant: "acme/ü".to_owned(),
        recipient: "alice".to_owned(),
        channel,
        address: "+15550001".to_owned(),
        message: Rendered { text: "hello & bye".to_owned(), ..Rendered::default() },
        accepted_at: Micros(0),
        expires_at: None,
        metadata: BTreeMap::new(),
        trace: TraceParent::fresh(),
    }
}

fn sender(stub: &Stub, channel: Channel) -> TwilioSender {
    TwilioSender::new(channel, &stub.options, "https://bell.test/base").unwrap()
}

const CREATED: &str = r#"{"sid":"SM1","status":"queued","num_segments":"2","error_code":null}"#;

#[tokio::test]
async fn an_sms_carries_everything_and_comes_back_with_its_id() {
    let mut stub = stub(201, vec![], CREATED).await;
    let now = clock::now();
    let delivery = Delivery { expires_at: Some(now.plus_seconds(600)), ..delivery(Channel::Sms) };
    let accepted = sender(&stub, Channel::Sms).send(&delivery, 0, None).await.unwrap();
    assert_eq!(accepted.status, DeliveryStatus::Sent);
    assert_eq!(accepted.provider_message_id.as_deref(), Some("SM1"));
    assert_eq!(accepted.detail.as_deref(), Some("queued, segments: 2"));
    let (headers, form) = stub.requests.recv().await.unwrap();
    assert_eq!(headers["authorization"], "Basic QUMxOnRva2Vu");
    assert_eq!(form["To"], "+15550001");
    assert_eq!(form["From"], "+15550000");
    assert_eq!(form["Body"], "hello & bye");
    let left: i64 = form["ValidityPeriod"].parse().unwrap();
    assert!((590..=600).contains(&left), "{left}");
    let expected = format!(
        "https://bell.test/base/v1/callbacks/twilio/acme%2F%C3%BC/{}/{}",
        delivery.notification_id, delivery.id
    );
    assert_eq!(form["StatusCallback"], expected);
}

#[tokio::test]
async fn whatsapp_has_its_own_addresses_and_a_service_replaces_the_number() {
    let mut stub = stub(201, vec![], CREATED).await;
    sender(&stub, Channel::Whatsapp).send(&delivery(Channel::Whatsapp), 0, None).await.unwrap();
    let (_, form) = stub.requests.recv().await.unwrap();
    assert_eq!(
        (form["To"].as_str(), form["From"].as_str()),
        ("whatsapp:+15550001", "whatsapp:+15559999")
    );
    assert!(!form.contains_key("ValidityPeriod"));
    stub.options.messaging_service_sid = "MG1".to_owned();
    sender(&stub, Channel::Sms).send(&delivery(Channel::Sms), 2, None).await.unwrap();
    let (_, form) = stub.requests.recv().await.unwrap();
    assert_eq!(form["MessagingServiceSid"], "MG1");
    assert!(!form.contains_key("From"));
    assert!(form["StatusCallback"].ends_with("?generation=2"));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (status, headers, body, signal, wait) in [
        (
            400,
            vec![],
            r#"{"code":21211,"message":"The number +15550001 is not valid"}"#,
            Signal::Twilio { status: 400, code: Some(21_211) },
            None,
        ),
        (
            429,
            vec![("retry-after", "7")],
            r#"{"code":20429}"#,
            Signal::Twilio { status: 429, code: Some(20_429) },
            Some(7),
        ),
        (
            401,
            vec![],
            r#"{"code":20003}"#,
            Signal::Twilio { status: 401, code: Some(20_003) },
            None,
        ),
        (503, vec![], "<html>", Signal::Twilio { status: 503, code: None }, None),
        (
            302,
            vec![("location", "http://127.0.0.1:1/")],
            "",
            Signal::Twilio { status: 302, code: None },
            None,
        ),
    ] {
        let stub = stub(status, headers, body).await;
        let refusal =
            sender(&stub, Channel::Sms).send(&delivery(Channel::Sms), 0, None).await.unwrap_err();
        assert_eq!(refusal.signal, signal);
        assert_eq!(refusal.retry_after, wait.map(Duration::from_secs));
    }
}

#[tokio::test]
async fn silence_after_the_request_is_ambiguous_and_no_connection_is_not() {
    let stub = stub(0, vec![], "").await;
    let refusal =
        sender(&stub, Channel::Sms).send(&delivery(Channel::Sms), 0, None).await.unwrap_err();
    assert_eq!(refusal.signal, Signal::Lost { protocol: "sms", unconfirmed: true });
    let nobody =
        TwilioOptions { base_url: "http://127.0.0.1:1".to_owned(), ..stub.options.clone() };
    let sender = TwilioSender::new(Channel::Sms, &nobody, "https://bell.test").unwrap();
    let refusal = sender.send(&delivery(Channel::Sms), 0, None).await.unwrap_err();
    assert_eq!(refusal.signal, Signal::Lost { protocol: "sms", unconfirmed: false });
}

#[tokio::test]
async fn what_cannot_succeed_is_not_sent() {
    let mut stub = stub(201, vec![], CREATED).await;
    let sender = sender(&stub, Channel::Sms);
    for address in ["", "15550001", "+0155", "+1555000a", "+1234567890123456", "+1 555 0001"] {
        let bad = Delivery { address: address.to_owned(), ..delivery(Channel::Sms) };
        assert_eq!(
            sender.send(&bad, 0, None).await.unwrap_err().signal,
            Signal::Refused("bad_number"),
            "{address}"
        );
    }
    let mut long = delivery(Channel::Sms);
    long.message.text = "é".repeat(1_601);
    assert_eq!(
        sender.send(&long, 0, None).await.unwrap_err().signal,
        Signal::Refused("text_too_long")
    );
    long.message.text = " ".to_owned();
    assert_eq!(
        sender.send(&long, 0, None).await.unwrap_err().signal,
        Signal::Refused("empty_text")
    );
    assert!(stub.requests.try_recv().is_err());
}

impl TwilioSender {
    async fn send(
        &self,
        delivery: &Delivery,
        generation: u32,
        stamps: Option<&str>,
    ) -> Result<Accepted, Refusal> {
        let place = self.place().await?;
        self.deliver(place, delivery, generation, stamps).await
    }
}
