//! The Node example: structured events, order by key, answers that come later, Dapr's words.

use campana_sidecar::Options;
use serde_json::json;

use crate::harness::{App, Sidecar, example, wait_for};

async fn node() -> (Sidecar, App) {
    let mut sidecar = Sidecar::prepare().await;
    let app = App::start("node", &example("node/parcels.mjs"), 0, &sidecar.url).await;
    sidecar.run(Options::new(app.port));
    sidecar.ready().await;
    (sidecar, app)
}

#[tokio::test]
async fn an_app_may_answer_later_or_in_dapr_s_words() {
    let (mut sidecar, app) = node().await;
    sidecar.order("big", &json!({"big": true})).await;
    sidecar.order("again", &json!({"simulate": "retry_word"})).await;
    sidecar.order("away", &json!({"simulate": "drop_word"})).await;
    app.said("settled big 204").await;
    app.said("handled again").await;
    assert_eq!(app.attempts("again"), [1, 2]);
    let letters = sidecar.dead_letters("parcels-js", 1).await;
    assert_eq!(letters[0]["reason"], json!("dropped_by_app"));
    // What the app told in turn is on the bus, once.
    let subject = campana_bus::subjects::app_event("default", "parcels", "parcel_sent");
    let told = sidecar.bus.last(campana_bus::topology::EVENTS, &subject).await.unwrap().unwrap();
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&told.payload).unwrap(),
        json!({"order": "again"})
    );
    // A trace goes through a call to the app and back.
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let call = sidecar.http.post(sidecar.at("/v1/call/parcels/track")).header("traceparent", trace);
    let (status, body) = sidecar.send(call.json(&json!("p1"))).await;
    assert_eq!((status, &body["parcel"]), (200, &json!("p1")));
    assert!(body["trace"].as_str().unwrap().contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{body}");
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn events_with_one_key_keep_their_order_through_retries() {
    let (mut sidecar, app) = node().await;
    for number in 0..30 {
        let key = number % 3;
        let simulate = if number % 5 == 0 { json!("busy") } else { json!(null) };
        let path =
            format!("/v1/publish/shop/order_created?id=k{key}-{number:02}&key=customer{key}");
        let order = json!({"order": number, "cents": 1, "simulate": simulate});
        assert_eq!(sidecar.post(&path, &order).await.0, 200);
    }
    wait_for("all are handled", || async { (app.handled().len() == 30).then_some(()) }).await;
    for key in 0..3 {
        let start = format!("handled k{key}-");
        let seen: Vec<String> =
            app.lines().into_iter().filter(|line| line.starts_with(&start)).collect();
        let mut sorted = seen.clone();
        sorted.sort();
        assert_eq!(seen, sorted, "customer{key}");
    }
    assert_eq!(app.attempts("k0-00"), [1, 2]);
    assert!(sidecar.stop().await);
}
