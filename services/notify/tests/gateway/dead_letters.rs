//! `/v1/dead-letters` and `/v1/redrives`: who sees what, corrections, jobs, refusals.

use std::time::{Duration, Instant};

use bytes::Bytes;
use campana_bus::consume::{self, ConsumerSpec, Failure, Meta};
use campana_bus::dlq::{self, Filter, jobs};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::topology::EVENTS;
use campana_bus::{clock, headers, subjects};
use campana_identity::{ApiKey, Role};
use campana_notify::gateway::GatewayOptions;
use campana_notify::store::KeyRow;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{Gateway, Platform, problem};
use crate::{field, start};

async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Parks one event for each tenant, and one on a subject without a tenant. Returns their ids.
async fn park(platform: &Platform, tenants: &[&str]) -> Vec<u64> {
    let bus = &platform.bus;
    for (n, tenant) in tenants.iter().enumerate() {
        let subject = match *tenant {
            "" => subjects::retry(EVENTS, "orders", "by-hand"),
            tenant => subjects::app_event(tenant, "shop", "order"),
        };
        let body = Bytes::from(format!("{{\"n\":{n}}}"));
        bus.publish(Outgoing::new(subject, format!("order-{n}"), body)).await.unwrap();
    }
    let lifecycle = Lifecycle::new();
    let running = lifecycle.spawn("consumer", {
        let (bus, mine) = (bus.clone(), lifecycle.clone());
        let filter = subjects::app_event_filter("shop", "order");
        let spec = ConsumerSpec::new(EVENTS, "orders", filter);
        let refuse = consume::from_fn(|_: Value, _: Meta| async {
            Err(Failure::dead("no_stock", "none left"))
        });
        async move { consume::run(&bus, spec, refuse, mine).await.unwrap() }
    });
    let letters = eventually("all are parked", async || {
        let letters = dlq::list(bus, &Filter::default(), 100).await.unwrap();
        (letters.len() == tenants.len()).then_some(letters)
    })
    .await;
    lifecycle.soft.cancel();
    running.await.unwrap();
    let mut letters = letters;
    letters.sort_by_key(|letter| letter.sequence);
    letters.into_iter().map(|letter| letter.id).collect()
}

/// An admin's key of another tenant.
async fn admin_of(platform: &Platform, tenant: &str) -> String {
    let key = ApiKey::generate();
    let row = KeyRow {
        id: format!("key_{}", key.id()),
        tenant: tenant.to_owned(),
        name: "other".to_owned(),
        role: Role::Admin.to_string(),
        hash: key.hash().to_string(),
        created_at: clock::now(),
        expires_at: None,
        revoked_at: None,
    };
    platform.store.insert_key(&row).await.unwrap();
    key.expose().to_owned()
}

async fn ids(response: Response) -> Vec<u64> {
    assert_eq!(response.status(), 200);
    let page: Value = response.json().await.unwrap();
    let data = page["data"].as_array().unwrap();
    let ids: Vec<u64> = data.iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted(), "oldest first");
    ids
}

fn sorted<const N: usize>(mut ids: [u64; N]) -> [u64; N] {
    ids.sort_unstable();
    ids
}

async fn as_key(gateway: &Gateway, key: &str, method: Method, path: &str) -> Response {
    gateway.request(method, path).bearer_auth(key).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_the_letters_of_the_own_tenant_only() {
    let (platform, gateway) = start().await;
    let all = park(&platform, &["default", "acme", "", "default"]).await;
    let mine = ids(gateway.admin(Method::GET, "/v1/dead-letters", None).await).await;
    assert_eq!(mine, sorted([all[0], all[3]]));
    let acme = admin_of(&platform, "acme").await;
    let theirs = ids(as_key(&gateway, &acme, Method::GET, "/v1/dead-letters").await).await;
    assert_eq!(theirs, [all[1]]);
    for foreign in [all[1], all[2]] {
        for (method, path) in [
            (Method::GET, format!("/v1/dead-letters/{foreign}")),
            (Method::DELETE, format!("/v1/dead-letters/{foreign}")),
            (Method::POST, format!("/v1/dead-letters/{foreign}/redrive")),
        ] {
            let refused = problem(gateway.admin(method, &path, None).await).await;
            assert_eq!((refused.0, refused.1.as_str()), (404, "not_found"), "{path}");
        }
    }
    assert_eq!(dlq::list(&platform.bus, &Filter::default(), 100).await.unwrap().len(), 4);
    // A job of one tenant redrives that tenant's letters, and only that tenant sees it.
    let job = gateway.admin(Method::POST, "/v1/redrives", Some(json!({"all": true}))).await;
    assert_eq!(job.status(), 202);
    let job: Value = job.json().await.unwrap();
    let path = format!("/v1/redrives/{}", job["id"].as_str().unwrap());
    let ended = jobs::work_here(&platform.bus, job["id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(ended.unwrap().counts.redriven, 2);
    let left = dlq::list(&platform.bus, &Filter::default(), 100).await.unwrap();
    let left: Vec<u64> = left.into_iter().map(|letter| letter.id).collect();
    assert_eq!(left, sorted([all[1], all[2]]));
    assert_eq!(as_key(&gateway, &acme, Method::GET, &path).await.status(), 404);
    assert_eq!(
        as_key(&gateway, &acme, Method::POST, &format!("{path}/cancel")).await.status(),
        404
    );
    let list: Value =
        as_key(&gateway, &acme, Method::GET, "/v1/redrives").await.json().await.unwrap();
    assert_eq!(list["data"], json!([]));
    let shown: Value = gateway.admin(Method::GET, &path, None).await.json().await.unwrap();
    assert_eq!((&shown["state"], &shown["redriven"]), (&json!("done"), &json!(2)));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_tenant_sees_everything_and_weaker_keys_nothing() {
    let options =
        GatewayOptions { operator_tenant: "default".to_owned(), ..GatewayOptions::default() };
    let platform = Platform::start(options).await;
    let gateway = platform.gateway().await;
    let all = park(&platform, &["default", "acme", ""]).await;
    let seen = ids(gateway.admin(Method::GET, "/v1/dead-letters", None).await).await;
    assert_eq!(seen, sorted([all[0], all[1], all[2]]));
    let one = gateway.admin(Method::GET, &format!("/v1/dead-letters/{}", all[2]), None).await;
    assert_eq!(one.status(), 200);
    for key in &platform.keys[..2] {
        for (method, path) in [
            (Method::GET, "/v1/dead-letters".to_owned()),
            (Method::GET, format!("/v1/dead-letters/{}", all[0])),
            (Method::DELETE, format!("/v1/dead-letters/{}", all[0])),
            (Method::POST, format!("/v1/dead-letters/{}/redrive", all[0])),
            (Method::GET, "/v1/redrives".to_owned()),
            (Method::POST, "/v1/redrives".to_owned()),
        ] {
            let refused = as_key(&gateway, key.expose(), method, &path).await;
            assert_eq!(problem(refused).await.1, "forbidden", "{path}");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_shown_corrected_and_redriven_once() {
    let (platform, gateway) = start().await;
    let id = park(&platform, &["default"]).await[0];
    let path = format!("/v1/dead-letters/{id}");
    let shown: Value = gateway.admin(Method::GET, &path, None).await.json().await.unwrap();
    assert_eq!(shown["json"], json!({"n": 0}));
    assert_eq!(shown["base64"], "eyJuIjowfQ==");
    assert_eq!((&shown["class"], &shown["reason"]), (&json!("permanent"), &json!("no_stock")));
    assert_eq!(shown["headers"]["Campana-Dead-Reason"], json!(["no_stock"]));

    let redrive = format!("{path}/redrive");
    let post = async |body: Value| gateway.admin(Method::POST, &redrive, Some(body)).await;
    for (body, pointer, code) in [
        (json!({"json": {}, "base64": ""}), "/base64", "conflict"),
        (json!({"base64": "?"}), "/base64", "wrong_type"),
        (json!({"note": "why"}), "/note", "conflict"),
        (json!({"json": 1, "note": "x".repeat(513)}), "/note", "too_long"),
        (json!({"body": {}}), "/body", "unknown_field"),
    ] {
        let refused = problem(post(body.clone()).await).await;
        assert_eq!((refused.0, refused.2), (422, field(pointer, code)), "{body}");
    }
    let large = problem(post(json!({"json": "x".repeat(1_100_000)})).await).await;
    assert_eq!(large.1, "payload_too_large");
    assert_eq!(gateway.admin(Method::GET, &path, None).await.status(), 200, "it stays");

    let done = post(json!({"json": {"n": 7}, "note": "the number was wrong"})).await;
    assert_eq!(done.status(), 204);
    assert_eq!(gateway.admin(Method::GET, &path, None).await.status(), 404);
    assert_eq!(post(json!({})).await.status(), 404);
    let stored = platform
        .bus
        .fetch_after(EVENTS, &subjects::retry_filter(EVENTS, "orders"), 0, 10)
        .await
        .unwrap()
        .messages;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].payload, "{\"n\":7}");
    assert!(headers::get(&stored[0].headers, headers::EDITED_FROM).is_some());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_filtered_and_paged_and_discarded() {
    let (platform, gateway) = start().await;
    let all = park(&platform, &["default"; 5]).await;
    let get = async |query: &str| {
        gateway.admin(Method::GET, &format!("/v1/dead-letters{query}"), None).await
    };
    assert_eq!(ids(get("?consumer=orders&class=permanent&error=none*left").await).await.len(), 5);
    assert!(ids(get("?reason=other").await).await.is_empty());
    assert!(ids(get("?to=2020-01-01T00:00:00Z").await).await.is_empty());
    assert_eq!(ids(get("?from=2020-01-01T00:00:00Z").await).await.len(), 5);
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page: Value = get(&format!("?limit=2&cursor={cursor}")).await.json().await.unwrap();
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        seen.extend(data.iter().map(|one| one["id"].as_u64().unwrap()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert!(pages >= 3);
    assert_eq!(seen, sorted([all[0], all[1], all[2], all[3], all[4]]));
    for bad in ["?limit=0", "?from=yesterday", "?cursor=%21", "?cursor=eA", "?stat=1", "?to=1"] {
        assert_eq!(problem(get(bad).await).await.1, "invalid_parameter", "{bad}");
    }
    let path = format!("/v1/dead-letters/{}", all[0]);
    assert_eq!(gateway.admin(Method::DELETE, &path, None).await.status(), 204);
    assert_eq!(gateway.admin(Method::DELETE, &path, None).await.status(), 404);
    for bad in ["/v1/dead-letters/x", "/v1/dead-letters/-1"] {
        assert!(gateway.admin(Method::GET, bad, None).await.status().is_client_error(), "{bad}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_checked_started_and_canceled() {
    let (platform, gateway) = start().await;
    park(&platform, &["default"; 3]).await;
    let post = async |body: Value| gateway.admin(Method::POST, "/v1/redrives", Some(body)).await;
    for (body, pointer, code) in [
        (json!({}), "/filter", "empty"),
        (json!({"all": true, "rate": 0}), "/rate", "out_of_range"),
        (json!({"all": true, "rate": 5_001}), "/rate", "out_of_range"),
        (json!({"all": true, "stop_ratio": 2}), "/stop_ratio", "out_of_range"),
        (json!({"all": true, "limit": 0}), "/limit", "out_of_range"),
        (json!({"filter": {"from": "soon"}}), "/filter/from", "invalid_time"),
        (json!({"filter": {"tenant": "acme"}}), "/filter/tenant", "unknown_field"),
    ] {
        let refused = problem(post(body.clone()).await).await;
        assert_eq!((refused.0, refused.2), (422, field(pointer, code)), "{body}");
    }
    let dry: Value = post(json!({"dry_run": true})).await.json().await.unwrap();
    let id: campana_bus::ids::RedriveId = dry["id"].as_str().unwrap().parse().unwrap();
    jobs::work_here(&platform.bus, id).await.unwrap();
    let path = format!("/v1/redrives/{id}");
    let shown: Value = gateway.admin(Method::GET, &path, None).await.json().await.unwrap();
    assert_eq!((&shown["state"], &shown["matched"]), (&json!("done"), &json!(3)));
    assert_eq!(
        shown["groups"],
        json!([{"stream": "EVENTS", "consumer": "orders", "class": "permanent", "count": 3}])
    );
    assert_eq!(shown["sample"].as_array().unwrap().len(), 3);

    let pending: Value =
        post(json!({"filter": {"reason": "no_stock"}})).await.json().await.unwrap();
    assert_eq!(pending["state"], "pending");
    let cancel = format!("/v1/redrives/{}/cancel", pending["id"].as_str().unwrap());
    let canceled: Value = gateway.admin(Method::POST, &cancel, None).await.json().await.unwrap();
    assert_eq!(canceled["state"], "canceled");
    let list: Value =
        gateway.admin(Method::GET, "/v1/redrives?limit=1", None).await.json().await.unwrap();
    assert_eq!(list["data"][0]["id"], pending["id"], "newest first");
    let unknown = gateway.admin(Method::GET, "/v1/redrives/rdv_x", None).await;
    assert_eq!(problem(unknown).await.1, "not_found");
    assert_eq!(dlq::list(&platform.bus, &Filter::default(), 100).await.unwrap().len(), 3);
    gateway.stop().await;
}
