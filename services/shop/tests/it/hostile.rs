//! Visitors who do not mean well.

use campana_bus::testing::TestBus;
use serde_json::{Value, json};

use crate::harness::{Database, Shop, order};

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_name_and_stored_nowhere() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let shop = Shop::start(&test, &database, &[]).await;
    let with = |name: &str, value: Value| {
        let mut changed = order(1);
        changed[name] = value;
        changed
    };
    let cases = [
        (with("key", json!("short")), 422, "/key", "out_of_range"),
        (with("name", json!("")), 422, "/name", "empty"),
        (with("name", json!("a\u{0}b")), 422, "/name", "too_long"),
        (with("email", json!("nobody")), 422, "/email", "invalid_email"),
        (with("lines", json!([])), 422, "/lines", "empty"),
        (with("lines", json!([{"sku": "x", "quantity": 1}])), 422, "/lines", "unknown_value"),
        (
            with("lines", json!([{"sku": "bell-door", "quantity": 100}])),
            422,
            "/lines",
            "out_of_range",
        ),
    ];
    for (body, status, pointer, code) in cases {
        let (found, problem) = shop.post("/api/orders", &body).await;
        assert_eq!((found, &problem["code"]), (status, &json!("validation_failed")), "{problem}");
        assert_eq!(problem["errors"], json!([{"pointer": pointer, "code": code}]));
    }
    for body in ["", "{", "[]", "null", r#"{"key":1}"#] {
        let (status, problem) = shop.send(shop.request("/api/orders").body(body)).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_json")), "{body}");
    }
    let (status, problem) = shop.send(shop.request("/api/orders").body("x".repeat(20_000))).await;
    assert_eq!((status, &problem["code"]), (413, &json!("payload_too_large")));
    let foreign = shop.request("/api/orders").header("origin", "https://evil.example");
    let (status, problem) = shop.send(foreign.json(&order(1))).await;
    assert_eq!((status, &problem["code"]), (403, &json!("foreign_origin")));
    let mut placed = order(1);
    assert_eq!(shop.post("/api/orders", &placed).await.0, 201);
    placed["email"] = json!("eva@example.com");
    let (status, problem) = shop.post("/api/orders", &placed).await;
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(shop.get("/api/nothing").await.0, 404);
    assert_eq!(shop.get("/api/orders").await.0, 405);
    assert_eq!(shop.post("/api/demo/format", &json!({})).await.0, 404);
    let (_, picture) = shop.get("/api/floor").await;
    assert_eq!(picture["totals"]["orders"], 1);
    shop.stop().await;
}

#[tokio::test]
async fn one_visitor_cannot_take_everything() {
    let (test, database) = (TestBus::start().await.unwrap(), Database::sqlite());
    let shop = Shop::start(&test, &database, &[]).await;
    // The share is taken before the body is looked at, so these cost the shop nothing.
    let asking = (0..200).map(|_| shop.send(shop.request("/api/orders").body("{")));
    let answers = futures::future::join_all(asking).await;
    assert!(answers.iter().all(|(status, _)| matches!(status, 400 | 429)));
    let refused = answers.iter().filter(|(status, _)| *status == 429).count();
    assert!(refused > 0);
    // The same share is for what costs the bus more.
    let asking = (0..100).map(|_| shop.send(shop.request("/api/demo/restock")));
    let answers = futures::future::join_all(asking).await;
    assert!(answers.iter().any(|(status, _)| *status == 429));
    shop.stop().await;
}
