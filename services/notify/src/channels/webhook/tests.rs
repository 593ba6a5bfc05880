//! The sender against receivers that behave badly, and a canary that must stay silent.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use campana_bus::ids::NotificationId;
use campana_bus::trace::TraceParent;
use futures::StreamExt;
use reqwest::dns::{Name, Resolve};
use secrecy::SecretString;
use tokio::sync::mpsc;

use super::*;
use crate::channels::tests::{Server, serve};
use crate::contracts::{Channel, Rendered};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn options() -> WebhookOptions {
    WebhookOptions {
        default_secret: SecretString::from(SECRET.to_owned()),
        allow_networks: vec!["127.0.0.1/32".to_owned()],
        timeout_seconds: 1,
        ..WebhookOptions::default()
    }
}

fn delivery(address: &str) -> Delivery {
    let notification_id = NotificationId::derived(&["n"]);
    Delivery {
        id: Delivery::derive_id(notification_id, "alice", Channel::Webhook),
        notification_id,
        tenant: "default".to_owned(),
        recipient: "alice".to_owned(),
        channel: Channel::Webhook,
        address: address.to_owned(),
        message: Rendered {
            title: "Hi".to_owned(),
            text: "there".to_owned(),
            html: None,
            url: None,
        },
        accepted_at: Micros(1_700_000_000_000_000),
        expires_at: None,
        metadata: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        trace: TraceParent::fresh(),
    }
}

/// Counts connections that must not happen.
async fn canary() -> (Server, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&hits);
    let router = Router::new().fallback(any(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { "seen" }
    }));
    (serve(router).await, hits)
}

async fn receiver<F, Fut>(answer: F) -> (Server, String)
where
    F: Fn(Request) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    let server = serve(Router::new().fallback(any(answer))).await;
    let url = format!("http://{}/hook", server.address);
    (server, url)
}

#[tokio::test]
async fn a_receiver_can_verify_what_it_gets() {
    let (sender, mut requests) = mpsc::unbounded_channel::<(HeaderMap, Bytes)>();
    let (_server, url) = receiver(move |request: Request| {
        let sender = sender.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let _ = sender.send((head.headers, body));
            StatusCode::NO_CONTENT.into_response()
        }
    })
    .await;
    let delivery = delivery(&url);
    let stamps = "boot=0badcafe;accepted=1;worker=2;provider=3";
    let sending = WebhookSender::new(&options(), None).unwrap();
    let accepted = sending.send(&delivery, Some(stamps)).await.unwrap();
    assert_eq!(accepted.status, DeliveryStatus::Delivered);
    let (headers, body) = requests.recv().await.unwrap();
    let verifier = Webhook::new(SECRET).unwrap();
    verifier.verify(&body, &headers).unwrap();
    assert_eq!(headers["webhook-id"], delivery.id.to_string());
    assert_eq!(headers["campana-stamps"], stamps);
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers.contains_key("traceparent"));
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["type"], "campana.notification");
    assert_eq!(json["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(json["data"]["id"], delivery.id.to_string());
    assert_eq!(json["data"]["metadata"]["k"], "v");
    let mut altered = body.to_vec();
    altered[20] ^= 1;
    assert!(verifier.verify(&altered, &headers).is_err());
}

#[tokio::test]
async fn statuses_and_wishes_are_passed_on() {
    for (status, retry_after, expected) in
        [(410, None, None), (429, Some("9"), Some(9)), (503, Some("x"), None), (500, None, None)]
    {
        let (_server, url) = receiver(move |_| async move {
            let mut response = StatusCode::from_u16(status).unwrap().into_response();
            if let Some(text) = retry_after {
                response.headers_mut().insert("retry-after", text.parse().unwrap());
            }
            response
        })
        .await;
        let refusal = WebhookSender::new(&options(), None)
            .unwrap()
            .send(&delivery(&url), None)
            .await
            .unwrap_err();
        assert_eq!(refusal.signal, Signal::Webhook { status });
        assert_eq!(refusal.retry_after, expected.map(Duration::from_secs));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (canary, hits) = canary().await;
    for status in [301, 302, 303, 307, 308] {
        let target = format!("http://{}/", canary.address);
        let (_server, url) = receiver(move |_| {
            let target = target.clone();
            async move {
                (StatusCode::from_u16(status).unwrap(), [("location", target)]).into_response()
            }
        })
        .await;
        let refusal = WebhookSender::new(&options(), None)
            .unwrap()
            .send(&delivery(&url), None)
            .await
            .unwrap_err();
        assert_eq!(refusal.signal, Signal::Webhook { status });
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_endless_answer_is_cut_and_a_silent_one_times_out() {
    let (_server, url) = receiver(|_| async {
        let chunks =
            futures::stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from(vec![b'x'; 8_192])));
        Response::new(Body::from_stream(chunks))
    })
    .await;
    let sender = WebhookSender::new(&options(), None).unwrap();
    assert!(sender.send(&delivery(&url), None).await.is_ok());

    let (_server, url) = receiver(|_| async {
        let first = futures::stream::once(async { Ok::<_, io::Error>(Bytes::from_static(b"x")) });
        Response::new(Body::from_stream(first.chain(futures::stream::pending())))
    })
    .await;
    let accepted = sender.send(&delivery(&url), None).await.unwrap();
    assert_eq!(accepted.detail.as_deref(), Some("HTTP 200, the body broke off"));

    let (_server, url) = receiver(|_| std::future::pending()).await;
    let refusal = sender.send(&delivery(&url), None).await.unwrap_err();
    assert_eq!(refusal.signal, Signal::Lost { protocol: "webhook", unconfirmed: true });
}

#[tokio::test]
async fn one_host_cannot_take_all_places() {
    let sender =
        WebhookSender::new(&WebhookOptions { max_per_host: 2, ..options() }, None).unwrap();
    let slow = delivery("https://slow.test/");
    let _first = sender.place(&slow).await.unwrap();
    let second = sender.place(&slow).await.unwrap();
    let refusal = sender.place(&slow).await.unwrap_err();
    assert_eq!(refusal.signal, Signal::NotReady("host_busy"));
    assert!(sender.place(&delivery("https://other.test/")).await.is_ok());
    drop(second);
    assert!(sender.place(&slow).await.is_ok());
}

/// Gives one answer after the other, like a name server that changes its mind.
struct Changing {
    answers: Mutex<Vec<Vec<IpAddr>>>,
}

impl Lookup for Changing {
    fn look_up(&self, _: &str) -> resolve::Answer {
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(async move { Ok(answer) })
    }
}

fn changing(answers: &[&[&str]]) -> Arc<Changing> {
    let answers = answers
        .iter()
        .map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect())
        .collect();
    Arc::new(Changing { answers: Mutex::new(answers) })
}

#[tokio::test]
async fn a_name_that_leads_inside_is_never_called() {
    let (canary, hits) = canary().await;
    let port = canary.address.port();
    for answers in [
        ["127.0.0.1"].as_slice(),
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["10.0.0.1", "169.254.169.254"],
        &[],
    ] {
        let options = WebhookOptions {
            allow_networks: vec![],
            allow_http: true,
            allow_ports: vec![port],
            ..options()
        };
        let sender = WebhookSender::with_lookup(&options, None, changing(&[answers])).unwrap();
        let refusal =
            sender.send(&delivery(&format!("http://rebind.test:{port}/")), None).await.unwrap_err();
        assert_eq!(refusal.signal, Signal::Refused("webhook_blocked"), "{answers:?}");
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_used() {
    let filter = Arc::new(Filter::new(&WebhookOptions::default()).unwrap());
    let resolver =
        FilteredResolver::new(filter, changing(&[&["8.8.8.8", "127.0.0.1"], &["127.0.0.1"]]));
    let name = || "rebind.test".parse::<Name>().unwrap();
    let first: Vec<IpAddr> =
        resolver.resolve(name()).await.unwrap().map(|address| address.ip()).collect();
    assert_eq!(first, ["8.8.8.8".parse::<IpAddr>().unwrap()], "the private one of two is left out");
    assert!(resolver.resolve(name()).await.is_err(), "the second answer is private only");
}

#[tokio::test]
async fn without_a_secret_nothing_is_sent() {
    let (canary, hits) = canary().await;
    let unsigned =
        WebhookOptions { default_secret: SecretString::from(String::new()), ..options() };
    let sender = WebhookSender::new(&unsigned, None).unwrap();
    let refusal =
        sender.send(&delivery(&format!("http://{}/", canary.address)), None).await.unwrap_err();
    assert_eq!(refusal.signal, Signal::Refused("webhook_no_secret"));
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    let bad =
        WebhookOptions { default_secret: SecretString::from("whsec_???".to_owned()), ..options() };
    assert!(WebhookSender::new(&bad, None).is_err());
}

impl WebhookSender {
    async fn send(&self, delivery: &Delivery, stamps: Option<&str>) -> Result<Accepted, Refusal> {
        let place = self.place(delivery).await?;
        self.deliver(place, delivery, stamps).await
    }
}
