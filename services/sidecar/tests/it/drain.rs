//! A stop: what is in hand is finished, the app's requests are served meanwhile, nothing new is taken.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use campana_bus::lifecycle::Lifecycle;
use campana_sidecar::Options;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use crate::harness::{PATIENCE, Sidecar, wait_for};

/// An app that answers a delivery when the test says so.
struct Held {
    arrived: mpsc::Receiver<HeaderMap>,
    go: Arc<Semaphore>,
    port: u16,
    lifecycle: Lifecycle,
}

async fn take(
    State((arrived, go)): State<(mpsc::Sender<HeaderMap>, Arc<Semaphore>)>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let _ = arrived.send(headers).await;
    let _permit = go.acquire().await.unwrap();
    if body.contains("unwanted") { StatusCode::GONE } else { StatusCode::NO_CONTENT }
}

async fn held() -> Held {
    app(json!({})).await
}

/// The same with further fields in its subscription.
async fn app(more: serde_json::Value) -> Held {
    let (sender, arrived) = mpsc::channel(64);
    let go = Arc::new(Semaphore::new(0));
    let mut one = json!({
        "name": "held", "path": "/take", "events": [{"service": "shop", "event": "order_created"}]
    });
    one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let declaration = json!({"subscriptions": [one]});
    let router = Router::new()
        .route("/campana/subscriptions", get(move || async move { axum::Json(declaration) }))
        .route("/take", post(take))
        .with_state((sender, Arc::clone(&go)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let lifecycle = Lifecycle::new();
    lifecycle.spawn("held app", async move { axum::serve(listener, router).await.unwrap() });
    Held { arrived, go, port, lifecycle }
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_hand_and_serves_the_app_meanwhile() {
    let mut app = held().await;
    let mut sidecar = Sidecar::prepare().await;
    let mut options = Options::new(app.port);
    options.app.token = Some("for-the-app".into());
    options.drain = PATIENCE;
    sidecar.run(options);
    sidecar.ready().await;
    sidecar.order("one", &json!({})).await;
    let headers = tokio::time::timeout(PATIENCE, app.arrived.recv()).await.unwrap().unwrap();
    assert_eq!(headers["campana-app-token"], "for-the-app");
    assert_eq!(headers["ce-id"], "one");
    assert_eq!(headers["campana-attempt"], "1");
    assert!(headers["traceparent"].to_str().unwrap().starts_with("00-"));
    let id = headers["campana-delivery-id"].to_str().unwrap().to_owned();

    sidecar.lifecycle.soft.cancel();
    // The app still publishes, and sees the delivery that it has in hand; new ones stay in the stream.
    sidecar.order("two", &json!({})).await;
    let (status, body) = sidecar.get(&format!("/v1/deliveries/{id}")).await;
    assert_eq!((status, &body["subscription"]), (200, &json!("held")));
    let (status, body) = sidecar.get("/readyz").await;
    assert_eq!((status, &body["stopping"]), (503, &json!(true)));
    app.go.add_permits(64);
    let bus = sidecar.bus.clone();
    assert!(sidecar.stop().await);
    // The one in hand was acknowledged; the other was not handed over, and is still to be done.
    wait_for("one message is left", || async {
        let stream = bus.jetstream().get_stream("EVENTS").await.ok()?;
        let info = stream.consumer_info("held").await.ok()?;
        (info.num_pending + info.num_ack_pending as u64 == 1).then_some(())
    })
    .await;
    assert!(app.arrived.try_recv().is_err());
    app.lifecycle.hard.cancel();
}

#[tokio::test]
async fn an_answer_by_id_goes_before_the_answer_to_the_request() {
    let mut app = held().await;
    let mut sidecar = Sidecar::prepare().await;
    sidecar.run(Options::new(app.port));
    sidecar.ready().await;
    sidecar.order("one", &json!({})).await;
    let headers = tokio::time::timeout(PATIENCE, app.arrived.recv()).await.unwrap().unwrap();
    let delivery = format!("/v1/deliveries/{}", headers["campana-delivery-id"].to_str().unwrap());
    for bad in
        [json!({}), json!({"reason": ""}), json!({"reason": "A b"}), json!({"reason": "x", "y": 1})]
    {
        let (status, _) = sidecar.post(&format!("{delivery}/dead-letter"), &bad).await;
        assert_eq!(status, 422, "{bad}");
    }
    let (status, body) =
        sidecar.post(&format!("{delivery}/extend"), &json!({"seconds": 100})).await;
    assert_eq!(status, 200);
    assert!(body["seconds_left"].as_f64().unwrap() > 30.0, "{body}");
    let dead = json!({"reason": "no_stock", "error": "sold out"});
    assert_eq!(sidecar.post(&format!("{delivery}/dead-letter"), &dead).await.0, 204);
    let (status, body) = sidecar.post(&format!("{delivery}/ack"), &json!({})).await;
    assert_eq!((status, &body["code"]), (409, &json!("delivery_settled")));
    app.go.add_permits(64);
    let letters = sidecar.dead_letters("held", 1).await;
    assert_eq!(
        (&letters[0]["reason"], &letters[0]["error"]),
        (&json!("no_stock"), &json!("sold out"))
    );
    wait_for("the delivery is over", || async {
        (sidecar.get(&delivery).await.0 == 404).then_some(())
    })
    .await;
    assert!(sidecar.stop().await);
    app.lifecycle.hard.cancel();
}

#[tokio::test]
async fn a_subscription_may_drop_what_it_gives_up() {
    let mut app = app(json!({"dead_letters": "drop"})).await;
    let mut sidecar = Sidecar::prepare().await;
    sidecar.run(Options::new(app.port));
    sidecar.ready().await;
    app.go.add_permits(64);
    sidecar.order("bad", &json!({"note": "unwanted"})).await;
    sidecar.order("good", &json!({})).await;
    wait_for("both are settled", || async {
        let stream = sidecar.bus.jetstream().get_stream("EVENTS").await.ok()?;
        let info = stream.consumer_info("held").await.ok()?;
        (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
    })
    .await;
    let (_, body) = sidecar.get("/v1/dead-letters?subscription=held").await;
    assert_eq!(body["dead_letters"], json!([]));
    assert!(app.arrived.recv().await.is_some() && app.arrived.recv().await.is_some());
    assert!(sidecar.stop().await);
    app.lifecycle.hard.cancel();
}

#[tokio::test]
async fn a_promise_that_is_not_kept_is_a_failed_attempt() {
    let mut app =
        app(json!({"timeout_seconds": 1, "max_attempts": 2, "backoff_seconds": 0.05})).await;
    let mut sidecar = Sidecar::prepare().await;
    sidecar.run(Options::new(app.port));
    sidecar.ready().await;
    // The app never answers.
    sidecar.order("slow", &json!({})).await;
    let letters = sidecar.dead_letters("held", 1).await;
    assert_eq!(
        (&letters[0]["reason"], &letters[0]["attempts"]),
        (&json!("attempts_exhausted"), &json!(2))
    );
    let mut attempts = Vec::new();
    for _ in 0..2 {
        attempts.push(app.arrived.recv().await.unwrap()["campana-attempt"].clone());
    }
    assert_eq!(attempts, ["1", "2"]);
    assert!(sidecar.stop().await);
    app.lifecycle.hard.cancel();
}
