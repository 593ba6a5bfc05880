//! What a good request gets, endpoint by endpoint.

use crate::GOOD;
use crate::batch_of;
use crate::field;
use crate::start;
use crate::support::PUBLIC_URL;
use crate::support::TWILIO_TOKEN;
use crate::support::problem;
use campana_bus::clock;
use campana_bus::ids::NotificationId;
use campana_notify::contracts::Channel;
use campana_notify::contracts::Delivery;
use campana_notify::contracts::DeliveryStatus;
use campana_notify::contracts::OutcomeEvent;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use std::collections::HashSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_notification_is_stored_before_it_is_accepted() {
    let (platform, gateway) = start().await;
    let response = gateway
        .post(GOOD)
        .header("x-request-id", "my-request")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-request-id"), "my-request");
    assert!(header("traceparent").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_eq!(header("ratelimit-limit"), "40000");
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["status"], &body["recipients"]), (&json!("accepted"), &json!(1)));
    assert_eq!(body["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(
        body["links"]["self"],
        format!("/v1/notifications/{}", body["id"].as_str().unwrap())
    );
    let stored = platform.stored().await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].id.to_string(), body["id"].as_str().unwrap());
    assert_eq!(
        (stored[0].tenant.as_str(), stored[0].to[0].id.as_str(), stored[0].to[0].inline),
        ("default", "alice", false)
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_each_by_itself() {
    let (platform, gateway) = start().await;
    let good = json!({ "to": "alice", "content": { "title": "x" } });
    let batch = json!({ "notifications": [good, { "to": "nobody", "content": { "title": "x" } }, { "to": 5 }, good] });
    let answer = batch_of(&gateway, &batch).await;
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(2)));
    let line = |index: usize, name: &str| answer["results"][index][name].clone();
    assert_eq!(
        [0, 1, 2, 3].map(|index| line(index, "status")),
        ["accepted", "rejected", "rejected", "accepted"]
    );
    assert_eq!(line(1, "error")["errors"][0]["pointer"], "/notifications/1/to");
    assert_eq!(line(2, "error")["errors"][0]["code"], "wrong_type");
    assert_eq!(line(2, "error")["errors"][0]["pointer"], "/notifications/2/to");
    assert_eq!(platform.stored().await.len(), 2);
    let many = json!({ "notifications": vec![good; 1_000] });
    assert_eq!(batch_of(&gateway, &many).await["accepted"], 1_000);
    let ids: HashSet<_> = platform.stored().await.iter().map(|request| request.id).collect();
    assert_eq!(ids.len(), 1_002);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_callback_becomes_an_outcome_and_no_other_does() {
    use base64::Engine as _;
    use hmac::Mac as _;
    let (platform, gateway) = start().await;
    let notification = NotificationId::fresh();
    let delivery = Delivery::derive_id(notification, "alice", Channel::Sms);
    let path = format!("/v1/callbacks/twilio/default/{notification}/{delivery}?generation=1");
    let sign = |url: &str| {
        let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(TWILIO_TOKEN.as_bytes()).unwrap();
        mac.update(format!("{url}ErrorCode30003MessageSidSM1MessageStatusundelivered").as_bytes());
        base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
    };
    let form = [("MessageStatus", "undelivered"), ("MessageSid", "SM1"), ("ErrorCode", "30003")];
    let post = |signature: Option<String>| {
        let request = gateway.request(Method::POST, &path).form(&form);
        match signature {
            Some(signature) => request.header("x-twilio-signature", signature).send(),
            None => request.send(),
        }
    };
    for forged in [None, Some("AAAA".to_owned()), Some(sign(&format!("{}{path}", gateway.url)))] {
        let found = problem(post(forged).await.unwrap()).await;
        assert_eq!((found.0, found.1.as_str()), (403, "invalid_signature"));
    }
    platform.assert_nothing_stored().await;
    for _ in 0..2 {
        assert_eq!(post(Some(sign(&format!("{PUBLIC_URL}{path}")))).await.unwrap().status(), 204);
    }
    let outcomes = platform.outcomes().await;
    assert_eq!(outcomes.len(), 1, "a repeated callback is stored once");
    let expected = OutcomeEvent::Confirmed {
        delivery_id: delivery,
        status: DeliveryStatus::Failed,
        reason: Some("twilio_30003".to_owned()),
        generation: 1,
    };
    assert_eq!((&outcomes[0].event, outcomes[0].notification_id), (&expected, notification));
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_can_be_written_read_listed_and_deleted() {
    let (_platform, gateway) = start().await;
    let template = json!({ "channels": { "in_app": { "title": "Hi {{ name }}", "body": "" } } });
    assert_eq!(
        gateway.admin(Method::PUT, "/v1/templates/welcome", Some(template.clone())).await.status(),
        201
    );
    assert_eq!(
        gateway.admin(Method::PUT, "/v1/templates/welcome", Some(template.clone())).await.status(),
        200
    );
    let found: Value =
        gateway.admin(Method::GET, "/v1/templates/welcome", None).await.json().await.unwrap();
    assert_eq!(found["channels"], template["channels"]);
    let sent = gateway
        .post(r#"{"to":"alice","template":"welcome","data":{"name":"A"}}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 202);
    let broken = json!({ "channels": { "sms": { "text": "{{" } } });
    let found =
        problem(gateway.admin(Method::PUT, "/v1/templates/broken", Some(broken)).await).await;
    assert_eq!(found.2, field("/channels/sms/text", "invalid_template"));
    assert_eq!(gateway.admin(Method::DELETE, "/v1/templates/welcome", None).await.status(), 204);
    let gone = gateway.post(r#"{"to":"alice","template":"welcome"}"#).send().await.unwrap();
    assert_eq!(problem(gone).await.2, field("/template", "unknown_template"));
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_can_be_written_read_listed_and_deleted() {
    let (_platform, gateway) = start().await;
    let bob = json!({ "email": "bob@example.com", "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "preferences": { "sms": false } });
    assert_eq!(gateway.admin(Method::PUT, "/v1/recipients/bob%2Fb", Some(bob)).await.status(), 201);
    let found: Value =
        gateway.admin(Method::GET, "/v1/recipients/bob%2Fb", None).await.json().await.unwrap();
    assert_eq!((&found["id"], &found["has_webhook_secret"]), (&json!("bob/b"), &json!(true)));
    assert!(!found.to_string().contains("whsec_"), "the secret is never shown");
    let page: Value =
        gateway.admin(Method::GET, "/v1/recipients?limit=1", None).await.json().await.unwrap();
    let next = format!("/v1/recipients?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let page: Value = gateway.admin(Method::GET, &next, None).await.json().await.unwrap();
    assert_eq!((&page["data"][0]["id"], &page["next_cursor"]), (&json!("bob/b"), &Value::Null));
    assert_eq!(gateway.admin(Method::DELETE, "/v1/recipients/bob%2Fb", None).await.status(), 204);
    assert_eq!(gateway.admin(Method::DELETE, "/v1/recipients/bob%2Fb", None).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_tokens_are_minted() {
    let (platform, gateway) = start().await;
    let minted = gateway
        .admin(Method::POST, "/v1/tokens", Some(json!({ "user": "alice", "ttl_seconds": 60 })))
        .await;
    assert_eq!(minted.status(), 201);
    let minted: Value = minted.json().await.unwrap();
    assert_eq!(minted["channel"], "inbox:#alice");
    let policy = campana_identity::TokenPolicy::default();
    let claims = platform.token_keys.verify_connection(
        minted["token"].as_str().unwrap(),
        clock::now().0 / 1_000_000,
        &policy,
    );
    assert_eq!(claims.unwrap().user, "alice");
    let long = gateway
        .admin(Method::POST, "/v1/tokens", Some(json!({ "user": "", "ttl_seconds": 999_999 })))
        .await;
    assert_eq!(
        problem(long).await.2,
        [field("/user", "empty"), field("/ttl_seconds", "out_of_range")].concat()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_s_session_can_ring_its_user() {
    let (_platform, gateway) = start().await;
    let session = gateway
        .request(Method::POST, "/demo/session")
        .json(&json!({ "user": "dora" }))
        .send()
        .await
        .unwrap();
    let session: Value = session.json().await.unwrap();
    let ring = gateway
        .request(Method::POST, "/v1/notifications")
        .bearer_auth(session["api_key"].as_str().unwrap());
    let ring =
        ring.json(&json!({ "to": "dora", "content": { "title": "Ring" } })).send().await.unwrap();
    assert_eq!(ring.status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_and_the_pages_are_served() {
    let (_platform, gateway) = start().await;
    let document: Value =
        gateway.request(Method::GET, "/openapi.json").send().await.unwrap().json().await.unwrap();
    assert!(document["paths"]["/v1/notifications"]["post"].is_object());
    let docs = gateway.request(Method::GET, "/docs/").send().await.unwrap().text().await.unwrap();
    assert!(docs.contains("swagger-ui"), "{docs}");
    for path in
        ["/docs/swagger-ui-bundle.js", "/docs/swagger-initializer.js", "/docs/swagger-ui.css"]
    {
        assert_eq!(
            gateway.request(Method::GET, path).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
    for path in ["/examples", "/demo", "/bell", "/"] {
        let page = gateway.request(Method::GET, path).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("connect-src 'self' ws://127.0.0.1:8000;"), "{path}: {policy}");
    }
    let page = gateway.request(Method::GET, "/demo").send().await.unwrap();
    let etag = page.headers()["etag"].clone();
    let again =
        gateway.request(Method::GET, "/").header("if-none-match", etag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    let missing =
        gateway.request(Method::GET, "/assets/..%2f..%2fCargo.toml").send().await.unwrap();
    assert_eq!(problem(missing).await.0, 404);
}
