//! The Python example: every way in which a message can end, and an app that is killed.

use std::collections::HashSet;

use campana_sidecar::Options;
use serde_json::json;

use crate::harness::{App, example, python, wait_for};

#[tokio::test]
async fn every_answer_has_its_consequence() {
    let (mut sidecar, app) = python().await;
    for (id, simulate) in [
        ("fine", json!(null)),
        ("busy", json!("busy")),
        ("broken", json!("broken")),
        ("crash", json!("crash")),
        ("invalid", json!("invalid")),
        ("currency", json!("unknown_currency")),
        ("slow", json!("slow")),
    ] {
        sidecar.order(id, &json!({"simulate": simulate})).await;
    }
    for id in ["fine", "busy", "broken", "slow"] {
        app.said(&format!("handled {id}")).await;
    }
    app.said("extended 200").await;
    let letters = sidecar.dead_letters("orders-py", 3).await;
    let mut reasons: Vec<(&str, u64)> = letters
        .iter()
        .map(|one| (one["reason"].as_str().unwrap(), one["attempts"].as_u64().unwrap()))
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [("attempts_exhausted", 4), ("http_422", 1), ("unknown_currency", 1)],
        "{letters:?}"
    );
    assert_eq!(app.attempts("fine"), [1]);
    assert_eq!(app.attempts("busy"), [1, 2, 3]);
    assert_eq!(app.attempts("broken"), [1, 2]);
    assert_eq!(app.attempts("crash"), [1, 2, 3, 4]);
    assert_eq!(app.attempts("invalid"), [1]);
    // The app counts in the sidecar's store, with compare and set.
    let (status, total) = sidecar.get("/v1/kv/orders-py/total").await;
    assert_eq!((status, total), (200, json!(400)));
    // A repeat is stored once.
    let (_, again) = sidecar
        .post("/v1/publish/shop/order_created?id=fine", &json!({"order": "fine", "cents": 1}))
        .await;
    assert_eq!(again["duplicate"], json!(true));
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn a_killed_app_loses_nothing_and_costs_no_attempts() {
    let (mut sidecar, mut app) = python().await;
    let ids: Vec<String> = (0..150).map(|number| format!("o{number}")).collect();
    for id in &ids[..50] {
        sidecar.order(id, &json!({})).await;
    }
    wait_for("some are handled", || async { (app.handled().len() >= 5).then_some(()) }).await;
    app.kill();
    let before: HashSet<String> = app.handled().into_keys().collect();
    // It is away while these arrive; longer than messages in hand wait for it, in this test.
    for id in &ids[50..] {
        sidecar.order(id, &json!({})).await;
    }
    wait_for("the sidecar notices", || async {
        let (status, body) = sidecar.get("/readyz").await;
        (status == 503 && body["app"] == json!(false)).then_some(())
    })
    .await;
    let app = App::start("python3", &example("python/orders.py"), app.port, &sidecar.url).await;
    wait_for("every order is handled", || async {
        let handled = app.handled();
        ids.iter().all(|id| before.contains(id) || handled.contains_key(id)).then_some(())
    })
    .await;
    sidecar.ready().await;
    // Only what the app had in hand when it died may have cost an attempt.
    for id in &ids[50..] {
        assert_eq!(app.attempts(id), [1], "{id}");
    }
    let (_, body) = sidecar.get("/v1/dead-letters?subscription=orders-py").await;
    assert_eq!(body["dead_letters"], json!([]));
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn a_long_outage_puts_messages_off_without_an_attempt() {
    let mut sidecar = crate::harness::Sidecar::prepare().await;
    let mut app = App::start("python3", &example("python/orders.py"), 0, &sidecar.url).await;
    let mut options = Options::new(app.port);
    options.app.hold = std::time::Duration::from_millis(100);
    sidecar.run(options);
    sidecar.ready().await;
    app.kill();
    for number in 0..20 {
        sidecar.order(&format!("o{number}"), &json!({})).await;
    }
    wait_for("the subscription waits for the app", || async {
        let (_, body) = sidecar.get("/v1/subscriptions").await;
        let units = body["units"].as_array().unwrap().clone();
        units
            .iter()
            .any(|one| one["kind"] == "subscription" && one["state"] == "waiting_for_app")
            .then_some(())
    })
    .await;
    let app = App::start("python3", &example("python/orders.py"), app.port, &sidecar.url).await;
    wait_for("every order is handled", || async { (app.handled().len() == 20).then_some(()) })
        .await;
    for number in 0..20 {
        assert_eq!(app.attempts(&format!("o{number}")), [1], "o{number}");
    }
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn calls_are_served_by_the_app() {
    let (mut sidecar, _app) = python().await;
    let (status, body) = sidecar.post("/v1/call/pricing/quote", &json!("bell")).await;
    assert_eq!((status, body), (200, json!({"cents": 4200})));
    let (status, body) = sidecar.post("/v1/call/pricing/quote", &json!("drum")).await;
    assert_eq!((status, &body["code"]), (404, &json!("service_error")), "{body}");
    assert!(body["detail"].as_str().unwrap().contains("no such sku"));
    let (status, body) = sidecar.post("/v1/call/nobody/home", &json!(1)).await;
    assert_eq!((status, &body["code"]), (503, &json!("no_responders")), "{body}");
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn schedules_fire_and_are_cancelled() {
    let (mut sidecar, app) = python().await;
    let event = |id: &str| json!({"service": "shop", "event": "order_created", "id": id, "data": {"order": id, "cents": 1}});
    let put = |key: &'static str, body: serde_json::Value| {
        sidecar.send(sidecar.http.put(sidecar.at(&format!("/v1/schedules/{key}"))).json(&body))
    };
    assert_eq!(put("soon", json!({"after_seconds": 0.3, "event": event("later-1")})).await.0, 204);
    assert_eq!(put("never", json!({"after_seconds": 3600, "event": event("never")})).await.0, 204);
    assert_eq!(
        put(
            "daily",
            json!({"cron": "0 30 9 * * mon-fri", "time_zone": "Europe/Berlin", "event": event("x")})
        )
        .await
        .0,
        204
    );
    let (status, body) = sidecar
        .post(
            "/v1/publish/shop/order_created?id=later-2&delay=0.2",
            &json!({"order": "x", "cents": 1}),
        )
        .await;
    assert_eq!((status, &body["scheduled"]), (200, &json!(true)));
    let (status, body) = sidecar.get("/v1/schedules/never").await;
    assert_eq!((status, &body["event"]), (200, &json!("order_created")), "{body}");
    let (_, body) = sidecar.get("/v1/schedules").await;
    let keys: Vec<&str> = body["schedules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["key"].as_str().unwrap())
        .collect();
    assert!(keys.contains(&"never") && keys.contains(&"daily"), "{body}");
    let delete =
        |key: &str| sidecar.send(sidecar.http.delete(sidecar.at(&format!("/v1/schedules/{key}"))));
    assert_eq!(delete("never").await.0, 204);
    assert_eq!(delete("never").await.0, 404);
    assert_eq!(sidecar.get("/v1/schedules/never").await.0, 404);
    app.said("handled later-1").await;
    app.said("handled later-2").await;
    for bad in [
        json!({"event": event("x")}),
        json!({"after_seconds": 1, "every_seconds": 5, "event": event("x")}),
        json!({"every_seconds": 0.1, "event": event("x")}),
        json!({"cron": "61 * * * * *", "event": event("x")}),
        json!({"cron": "0 0 9 * * *", "time_zone": "Mars/Olympus", "event": event("x")}),
        json!({"at": "tomorrow", "event": event("x")}),
        json!({"after_seconds": 1e300, "event": event("x")}),
        json!({"after_seconds": 1, "event": {"service": "shop"}}),
        json!({"after_seconds": 1, "event": event("x"), "typo": 1}),
    ] {
        let (status, body) = put("bad", bad.clone()).await;
        assert_eq!((status, &body["code"]), (422, &json!("validation_failed")), "{bad}: {body}");
    }
    assert!(sidecar.stop().await);
}
