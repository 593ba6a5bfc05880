//! What is around a sidecar goes away: NATS is killed under it, another sidecar with the same subscription
//! comes and goes, the declaration changes while events flow, an ordered subscription waits for its app.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use campana_bus::Bus;
use campana_sidecar::Options;
use serde_json::json;

use crate::harness::{PATIENCE, Sidecar, wait_for};
use crate::mind::{Mind, app, wanted};

async fn keyed(sidecar: &Sidecar, key: &str, number: u32) {
    let path = format!("/v1/publish/shop/order_created?id={key}-{number}&key={key}");
    let (status, body) = sidecar.post(&path, &json!({})).await;
    assert_eq!(status, 200, "{body}");
}

/// Nothing is left to do for the subscription.
async fn all_settled(bus: &Bus) {
    wait_for("everything is settled", || async {
        let stream = bus.jetstream().get_stream("EVENTS").await.ok()?;
        let info = stream.consumer_info("work").await.ok()?;
        (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
    })
    .await;
}

async fn none_given_up(sidecar: &Sidecar) {
    let (status, body) = sidecar.get("/v1/dead-letters?subscription=work").await;
    assert_eq!((status, &body["dead_letters"]), (200, &json!([])), "{body}");
}

/// The sidecar knows that its app is away.
async fn gone(sidecar: &Sidecar) {
    wait_for("the sidecar notices", || async {
        (sidecar.get("/readyz").await.1["app"] == json!(false)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nats_is_killed_and_comes_back_under_a_running_sidecar() {
    let mut declaration = wanted(&json!({"max_in_flight": 4}));
    declaration["endpoints"] =
        json!([{"service": "pricing", "endpoint": "quote", "path": "/quote"}]);
    let mind = Mind::new(declaration);
    let here = app(&mind, 0).await;
    let (mut sidecar, nats) = Sidecar::with_nats().await;
    sidecar.run(Options::new(here.port));
    sidecar.ready().await;
    for number in 0..20 {
        sidecar.order(&format!("o{number}"), &json!({})).await;
    }
    wait_for("deliveries are in hand", || async { (mind.got().len() == 4).then_some(()) }).await;
    nats.lock().unwrap().kill();
    wait_for("the sidecar sees it", || async {
        let (status, view) = sidecar.get("/readyz").await;
        (status == 503 && view["nats"] == json!(false)).then_some(())
    })
    .await;
    assert_eq!(sidecar.get("/healthz").await.0, 200);
    // The app answers into the outage, and publishes; an error would say that it may repeat it.
    mind.answer_all();
    let publish = async {
        wait_for("an event of the outage is stored", || async {
            let path = "/v1/publish/shop/order_created?id=outage";
            let (status, body) = sidecar.post(path, &json!({})).await;
            assert!(status == 200 || body["retryable"] == json!(true), "{status} {body}");
            (status == 200).then_some(())
        })
        .await;
    };
    let restart = async {
        let nats = Arc::clone(&nats);
        tokio::task::spawn_blocking(move || nats.lock().unwrap().restart().unwrap()).await.unwrap();
    };
    tokio::join!(publish, restart);
    wait_for("every event is handled", || async { (mind.ids().len() == 21).then_some(()) }).await;
    all_settled(&sidecar.bus).await;
    sidecar.ready().await;
    let (status, body) = sidecar.post("/v1/call/pricing/quote", &json!("bell")).await;
    assert_eq!((status, body), (200, json!({"cents": 7})));
    assert_eq!(sidecar.send(sidecar.http.put(sidecar.at("/v1/kv/b/k")).body("1")).await.0, 204);
    none_given_up(&sidecar).await;
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn a_sidecar_ends_although_nats_is_away() {
    let mind = Mind::new(wanted(&json!({})));
    let here = app(&mind, 0).await;
    let (mut sidecar, nats) = Sidecar::with_nats().await;
    let mut options = Options::new(here.port);
    options.drain = std::time::Duration::ZERO;
    options.app.hold = std::time::Duration::ZERO;
    sidecar.run(options);
    sidecar.ready().await;
    sidecar.order("o1", &json!({})).await;
    wait_for("it is in hand", || async { (mind.got().len() == 1).then_some(()) }).await;
    nats.lock().unwrap().kill();
    mind.answer_all();
    // What cannot be acknowledged comes again; nothing waits for a server that may never come back.
    sidecar.lifecycle.stop(std::time::Duration::from_millis(500)).await;
    sidecar.stop().await;
    nats.lock().unwrap().restart().unwrap();
    let mut next = Sidecar::beside(nats).await;
    next.run(Options::new(here.port));
    next.ready().await;
    next.order("o2", &json!({})).await;
    wait_for("the next one works", || async {
        mind.ids().contains(&"o2".to_owned()).then_some(())
    })
    .await;
    assert!(next.stop().await);
}

#[tokio::test]
async fn sidecars_with_one_subscription_share_its_work_and_take_over() {
    let (first, second) = (
        Mind::new(wanted(&json!({"max_in_flight": 2}))),
        Mind::new(wanted(&json!({"max_in_flight": 2}))),
    );
    let (first_app, second_app) = (app(&first, 0).await, app(&second, 0).await);
    let (mut one, nats) = Sidecar::with_nats().await;
    let mut two = Sidecar::beside(nats).await;
    one.run(Options::new(first_app.port));
    let mut options = Options::new(second_app.port);
    options.drain = PATIENCE;
    two.run(options);
    one.ready().await;
    two.ready().await;
    for number in 0..40 {
        one.order(&format!("o{number}"), &json!({})).await;
    }
    // Both hold what they have, so neither can take all.
    wait_for("both have work", || async {
        (first.got().len() == 2 && second.got().len() == 2).then_some(())
    })
    .await;
    // One of them stops with work in hand: that is finished, and the rest is the other's.
    two.lifecycle.soft.cancel();
    second.answer_all();
    assert!(two.stop().await);
    let taken = second.ids();
    first.answer_all();
    wait_for("every event is handled", || async {
        let ids = first.ids();
        (0..40)
            .all(|n| ids.contains(&format!("o{n}")) || taken.contains(&format!("o{n}")))
            .then_some(())
    })
    .await;
    all_settled(&one.bus).await;
    none_given_up(&one).await;
    assert!(one.stop().await);
}

#[tokio::test]
async fn an_ordered_subscription_waits_for_its_app_without_attempts_and_in_order() {
    let mind = Mind::new(wanted(&json!({"ordered": true, "max_attempts": 2})));
    let here = app(&mind, 0).await;
    let port = here.port;
    let mut sidecar = Sidecar::prepare().await;
    let mut options = Options::new(port);
    // An unordered subscription would put its messages off after this time.
    options.app.hold = std::time::Duration::from_millis(50);
    options.app.health_every = std::time::Duration::from_millis(20);
    sidecar.run(options);
    sidecar.ready().await;
    here.leave().await;
    gone(&sidecar).await;
    for number in 1..=5 {
        for key in ["a", "b", "c"] {
            keyed(&sidecar, key, number).await;
        }
    }
    // All are taken, and wait for the app in their places.
    wait_for("the messages are in hand", || async {
        let stream = sidecar.bus.jetstream().get_stream("EVENTS").await.ok()?;
        let info = stream.consumer_info("work").await.ok()?;
        (info.num_pending == 0 && info.num_ack_pending == 15).then_some(())
    })
    .await;
    assert!(mind.got().is_empty());
    mind.answer_all();
    let _here = app(&mind, port).await;
    wait_for("all are handled", || async { (mind.ids().len() == 15).then_some(()) }).await;
    mind.assert_in_order();
    assert!(mind.got().iter().all(|one| one.attempt == 1), "{:?}", mind.got());
    all_settled(&sidecar.bus).await;
    none_given_up(&sidecar).await;
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn an_app_that_is_not_well_costs_an_ordered_subscription_no_attempts() {
    let mind = Mind::new(wanted(&json!({"ordered": true, "max_attempts": 1})));
    mind.answer_all();
    let here = app(&mind, 0).await;
    let mut sidecar = Sidecar::prepare().await;
    let mut options = Options::new(here.port);
    options.app.health_path = Some("/well".to_owned());
    options.app.health_every = std::time::Duration::from_millis(20);
    sidecar.run(options);
    sidecar.ready().await;
    keyed(&sidecar, "a", 1).await;
    wait_for("it is handled", || async { (mind.got().len() == 1).then_some(()) }).await;
    *mind.well.lock().unwrap() = false;
    gone(&sidecar).await;
    for number in 2..=5 {
        keyed(&sidecar, "a", number).await;
    }
    wait_for("the messages are in hand", || async {
        let stream = sidecar.bus.jetstream().get_stream("EVENTS").await.ok()?;
        let info = stream.consumer_info("work").await.ok()?;
        (info.num_pending == 0 && info.num_ack_pending == 4).then_some(())
    })
    .await;
    // The port is open all the while, and nothing is sent to it.
    assert_eq!(mind.got().len(), 1);
    *mind.well.lock().unwrap() = true;
    wait_for("all are handled", || async { (mind.ids().len() == 5).then_some(()) }).await;
    mind.assert_in_order();
    none_given_up(&sidecar).await;
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn an_ordered_subscription_that_is_stopped_while_its_app_is_away_keeps_its_order() {
    // Room for four, so that more wait in the stream behind those in hand.
    let mind = Mind::new(wanted(&json!({"ordered": true, "max_in_flight": 1})));
    mind.answer_all();
    let here = app(&mind, 0).await;
    let port = here.port;
    let (mut sidecar, nats) = Sidecar::with_nats().await;
    let mut options = Options::new(port);
    options.app.health_every = std::time::Duration::from_millis(20);
    sidecar.run(options);
    sidecar.ready().await;
    here.leave().await;
    gone(&sidecar).await;
    for number in 1..=5 {
        keyed(&sidecar, "a", number).await;
        keyed(&sidecar, "b", number).await;
    }
    wait_for("the messages are in hand", || async {
        let stream = sidecar.bus.jetstream().get_stream("EVENTS").await.ok()?;
        let info = stream.consumer_info("work").await.ok()?;
        (info.num_pending == 6 && info.num_ack_pending == 4).then_some(())
    })
    .await;
    // It does not wait for the app: what it has goes back, for whoever comes next.
    assert!(sidecar.stop().await);
    assert!(mind.got().is_empty());
    let _here = app(&mind, port).await;
    let mut next = Sidecar::beside(nats).await;
    next.run(Options::new(port));
    next.ready().await;
    for key in ["a", "b"] {
        keyed(&next, key, 6).await;
    }
    wait_for("all are handled", || async { (mind.ids().len() == 12).then_some(()) }).await;
    mind.assert_in_order();
    // Each stop costs what was in hand one attempt: the server counts what it hands out.
    assert!(mind.got().iter().all(|one| one.attempt <= 2), "{:?}", mind.got());
    all_settled(&next.bus).await;
    none_given_up(&next).await;
    assert!(next.stop().await);
}

#[tokio::test]
async fn a_declaration_that_changes_under_load_loses_nothing() {
    let mind = Mind::new(wanted(&json!({"ordered": true, "max_attempts": 50})));
    mind.answer_all();
    let here = app(&mind, 0).await;
    let mut sidecar = Sidecar::prepare().await;
    sidecar.run(Options::new(here.port));
    sidecar.ready().await;
    let done = AtomicBool::new(false);
    // How many events each key got.
    let load = async {
        let mut number = 0;
        while !done.load(Ordering::Relaxed) {
            number += 1;
            for key in ["a", "b", "c"] {
                keyed(&sidecar, key, number).await;
            }
        }
        number
    };
    let changes = async {
        for round in 0..6_usize {
            let path = ["/two", "/one"][round % 2];
            mind.want(wanted(&json!({
                "ordered": true, "max_attempts": 50, "path": path, "max_in_flight": 2 + round
            })));
            let (status, body) = sidecar.post("/v1/subscriptions/reload", &json!({})).await;
            assert_eq!((status, body["units"].as_array().map(Vec::len)), (200, Some(1)), "{body}");
            // The next change comes amid deliveries of this one.
            let before = mind.got().len();
            wait_for("deliveries go where they are wanted now", || async {
                mind.got()[before..].iter().any(|one| one.path == path).then_some(())
            })
            .await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let (each, ()) = tokio::join!(load, changes);
    let total = usize::try_from(each).unwrap() * 3;
    wait_for("all are handled", || async { (mind.ids().len() == total).then_some(()) }).await;
    // Order holds while a consumer runs. What is on its way at a restart may come after its successors.
    all_settled(&sidecar.bus).await;
    none_given_up(&sidecar).await;
    // A subscription that is gone stops; its events wait for it on the server.
    mind.want(json!({}));
    let (status, body) = sidecar.post("/v1/subscriptions/reload", &json!({})).await;
    assert_eq!((status, &body["units"]), (200, &json!([])), "{body}");
    keyed(&sidecar, "a", each + 1).await;
    assert_eq!(mind.ids().len(), total);
    mind.want(wanted(&json!({"ordered": true})));
    assert_eq!(sidecar.post("/v1/subscriptions/reload", &json!({})).await.0, 200);
    wait_for("it goes on where it stopped", || async {
        (mind.ids().len() == total + 1).then_some(())
    })
    .await;
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn an_app_that_comes_back_with_another_mind_is_asked_again() {
    let mind = Mind::new(wanted(&json!({})));
    mind.answer_all();
    let here = app(&mind, 0).await;
    let port = here.port;
    let mut sidecar = Sidecar::prepare().await;
    sidecar.run(Options::new(port));
    sidecar.ready().await;
    let asked = mind.asked.load(Ordering::Relaxed);
    here.leave().await;
    mind.want(wanted(&json!({"path": "/two"})));
    // The delivery finds nobody, which is how the sidecar learns of it; then it waits.
    sidecar.order("o1", &json!({})).await;
    gone(&sidecar).await;
    let _here = app(&mind, port).await;
    wait_for("the declaration is read", || async {
        (mind.asked.load(Ordering::Relaxed) > asked).then_some(())
    })
    .await;
    wait_for("o1 is handled", || async { (mind.ids() == ["o1"]).then_some(()) }).await;
    sidecar.ready().await;
    sidecar.order("o2", &json!({})).await;
    wait_for("o2 goes where the app wants it now", || async {
        mind.got().iter().any(|one| (one.path, one.id.as_str()) == ("/two", "o2")).then_some(())
    })
    .await;
    assert!(sidecar.stop().await);
}
