//! Every kind of bad input gets its documented error and leaves nothing behind.

use crate::GOOD;
use crate::batch_of;
use crate::field;
use crate::start;
use crate::support::problem;
use campana_bus::clock;
use campana_bus::ids::DeliveryId;
use campana_bus::subjects;
use campana_bus::topology;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn malformed_json_is_refused() {
    let (platform, gateway) = start().await;
    for body in ["", "{", "nope", "{\"to\":\"alice\",}", "{\"to\":\"a\u{1}\"}", "\u{feff}{}"] {
        let found = problem(gateway.post(body).send().await.unwrap()).await;
        assert_eq!(found, (400, "invalid_json".to_owned(), vec![]), "{body}");
    }
    let binary = problem(gateway.post(vec![0xff, 0xfe, 0x00]).send().await.unwrap()).await;
    assert_eq!((binary.0, binary.1.as_str()), (400, "invalid_json"));
    platform.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_refused() {
    let (platform, gateway) = start().await;
    for (body, pointer) in [
        (r#"{"to":"alice","content":{"title":"x"},"tpyo":1}"#, "/tpyo"),
        (r#"{"to":{"id":"alice","mail":"x"},"content":{"title":"x"}}"#, "/to/mail"),
        (r#"{"to":"alice","content":{"title":"x","html":"y"}}"#, "/content/html"),
    ] {
        let found = problem(gateway.post(body).send().await.unwrap()).await;
        assert_eq!(
            found,
            (422, "validation_failed".to_owned(), field(pointer, "unknown_field")),
            "{body}"
        );
    }
    platform.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_types_are_refused() {
    let (platform, gateway) = start().await;
    for (body, pointer) in [
        (r#"{"to":7,"content":{"title":"x"}}"#, "/to"),
        (r#"{"to":["alice",null],"content":{"title":"x"}}"#, "/to/1"),
        (r#"{"to":"alice","content":"x"}"#, "/content"),
        (r#"{"to":"alice","content":{"title":["x"]}}"#, "/content/title"),
        (r#"{"to":"alice","template":"t","delay_seconds":"60"}"#, "/delay_seconds"),
        (r#"{"to":"alice","template":"t","data":[]}"#, "/data"),
        (r#"{"to":"alice","template":"t","metadata":{"n":1}}"#, "/metadata/n"),
        ("[]", ""),
    ] {
        let found = problem(gateway.post(body).send().await.unwrap()).await;
        assert_eq!(
            found,
            (422, "validation_failed".to_owned(), field(pointer, "wrong_type")),
            "{body}"
        );
    }
    platform.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_bodies_are_refused() {
    let (platform, gateway) = start().await;
    let title = "x".repeat(300 * 1024);
    let body = json!({ "to": "alice", "content": { "title": title } }).to_string();
    let found = problem(gateway.post(body.clone()).send().await.unwrap()).await;
    assert_eq!((found.0, found.1.as_str()), (413, "payload_too_large"));
    // The same without a declared length.
    let chunks = futures::stream::iter(
        body.into_bytes()
            .chunks(64 * 1024)
            .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
            .collect::<Vec<_>>(),
    );
    let found =
        problem(gateway.post(reqwest::Body::wrap_stream(chunks)).send().await.unwrap()).await;
    assert_eq!((found.0, found.1.as_str()), (413, "payload_too_large"));
    // One item of a batch that is larger than a request may be.
    let item = json!({ "to": "alice", "template": "t", "data": { "x": title } });
    let batch = json!({ "notifications": [item] });
    let response = batch_of(&gateway, &batch).await;
    assert_eq!(response["results"][0]["error"]["errors"][0]["code"], "item_too_large");
    platform.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_recipient_or_template_is_refused() {
    let (platform, gateway) = start().await;
    for (body, errors) in [
        (json!({ "to": "nobody", "content": { "title": "x" } }), field("/to", "unknown_recipient")),
        (
            json!({ "to": ["alice", "nobody"], "content": { "title": "x" } }),
            field("/to/1", "unknown_recipient"),
        ),
        (json!({ "to": "alice", "template": "none" }), field("/template", "unknown_template")),
    ] {
        let found = problem(gateway.post(body.to_string()).send().await.unwrap()).await;
        assert_eq!(found, (422, "validation_failed".to_owned(), errors), "{body}");
    }
    platform.assert_nothing_stored().await;
    // Written just after it was missed, it is known at once; described in the request, it need not be.
    let put = gateway
        .admin(Method::PUT, "/v1/recipients/nobody", Some(json!({ "email": "n@example.com" })))
        .await;
    assert_eq!(put.status(), 201);
    assert_eq!(
        gateway.post(r#"{"to":"nobody","content":{"title":"x"}}"#).send().await.unwrap().status(),
        202
    );
    assert_eq!(
        gateway
            .post(r#"{"to":{"id":"guest"},"content":{"title":"x"}}"#)
            .send()
            .await
            .unwrap()
            .status(),
        202
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_email_or_phone_is_refused() {
    let (platform, gateway) = start().await;
    for (to, pointer, code) in [
        (json!({ "id": "a", "email": "not an address" }), "/to/email", "invalid_email"),
        (json!({ "id": "a", "email": "a@x.org\r\nBcc: b@x.org" }), "/to/email", "invalid_email"),
        (json!([{ "id": "a", "phone": "0123" }]), "/to/0/phone", "invalid_phone"),
        (
            json!({ "id": "a", "webhook_url": "file:///etc/passwd" }),
            "/to/webhook_url",
            "invalid_url",
        ),
    ] {
        let body = json!({ "to": to, "content": { "title": "x" } }).to_string();
        let found = problem(gateway.post(body).send().await.unwrap()).await;
        assert_eq!(found, (422, "validation_failed".to_owned(), field(pointer, code)), "{to}");
    }
    let put = gateway
        .admin(Method::PUT, "/v1/recipients/bob", Some(json!({ "email": "x", "phone": "y" })))
        .await;
    let found = problem(put).await;
    assert_eq!(
        found.2,
        [field("/email", "invalid_email"), field("/phone", "invalid_phone")].concat()
    );
    assert!(platform.store.recipient("default", "bob").await.unwrap().is_none());
    platform.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_never_become_subjects() {
    let (platform, gateway) = start().await;
    for (name, code) in
        [("a\nb", "invalid_name"), ("", "empty"), (&*"x".repeat(10_000), "too_long")]
    {
        let body = json!({ "to": { "id": name }, "content": { "title": "x" } }).to_string();
        let found = problem(gateway.post(body).send().await.unwrap()).await;
        assert_eq!(found, (422, "validation_failed".to_owned(), field("/to/id", code)));
    }
    platform.assert_nothing_stored().await;
    let names = ["*", ">", "a.b", "inbox.>", "🔔", "a b"];
    for name in names {
        let body = json!({ "to": { "id": name }, "content": { "title": "x" } }).to_string();
        assert_eq!(gateway.post(body).send().await.unwrap().status(), 202, "{name}");
        let read = json!({ "ids": [DeliveryId::fresh().to_string()] });
        let request = gateway
            .request(Method::POST, "/v1/inbox/read")
            .bearer_auth(platform.token(name))
            .json(&read);
        assert_eq!(request.send().await.unwrap().status(), 200, "{name}");
    }
    assert_eq!(platform.stored().await.len(), names.len());
    // Each person's message is on that person's own channel and on no other.
    for name in names {
        let subject = subjects::channel("default", &subjects::ChannelName::inbox(name).unwrap());
        let mut stream = platform.bus.jetstream().get_stream(topology::CHANNELS).await.unwrap();
        let last = stream.get_last_raw_message_by_subject(&subject).await.unwrap();
        assert_eq!(last.subject.as_str(), subject);
        assert_eq!(stream.info().await.unwrap().state.messages, names.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_expired_forged_or_unsigned_are_refused() {
    use base64::Engine as _;
    let (platform, gateway) = start().await;
    let part =
        |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let now = clock::now().0 / 1_000_000;
    let claims = json!({ "sub": "alice", "exp": now + 60 });
    let unsigned =
        format!("{}.{}.", part(json!({ "alg": "none", "typ": "JWT" })), part(claims.clone()));
    let spec = campana_identity::ConnectionSpec::default();
    let expired =
        platform.token_keys.mint_connection("alice", "default", 1, now - 600, &spec).unwrap();
    let other = campana_identity::TokenKeys::new(&[7; 32], None).unwrap();
    let forged = other.mint_connection("alice", "default", 60, now, &spec).unwrap();
    let genuine = platform.token("alice");
    let mut swapped: Vec<&str> = genuine.split('.').collect();
    let mallory = part(json!({ "sub": "mallory", "exp": now + 60 }));
    swapped[1] = &mallory;
    for token in [
        unsigned,
        expired,
        forged,
        swapped.join("."),
        "x".repeat(9_000),
        platform.keys[2].expose().to_owned(),
    ] {
        for mark in ["read", "seen", "archive", "unarchive"] {
            let body = json!({ "ids": [DeliveryId::fresh().to_string()] });
            let path = format!("/v1/inbox/{mark}");
            let request = gateway.request(Method::POST, &path).bearer_auth(&token).json(&body);
            let found = problem(request.send().await.unwrap()).await;
            assert_eq!((found.0, found.1.as_str()), (401, "unauthorized"), "{mark} {token}");
        }
    }
    platform.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_roles_are_checked() {
    let (platform, gateway) = start().await;
    let [reader, sender, _] = &platform.keys;
    let unknown = campana_identity::ApiKey::generate();
    for credential in [None, Some("nonsense"), Some(unknown.expose())] {
        let request = gateway.request(Method::POST, "/v1/notifications").body(GOOD);
        let request = match credential {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(problem(response).await.0, 401);
    }
    let post =
        gateway.request(Method::POST, "/v1/notifications").bearer_auth(reader.expose()).body(GOOD);
    assert_eq!(problem(post.send().await.unwrap()).await.1, "forbidden");
    let put = gateway
        .request(Method::PUT, "/v1/recipients/x")
        .bearer_auth(sender.expose())
        .json(&json!({}));
    assert_eq!(problem(put.send().await.unwrap()).await.1, "forbidden");
    let get = gateway.request(Method::GET, "/v1/notifications").bearer_auth(reader.expose());
    assert_eq!(get.send().await.unwrap().status(), 200);
    platform.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_methods_types_and_parameters_are_checked() {
    let (platform, gateway) = start().await;
    let code =
        async |method: Method, path: &str| problem(gateway.admin(method, path, None).await).await.1;
    assert_eq!(code(Method::GET, "/v2/nothing").await, "not_found");
    assert_eq!(code(Method::DELETE, "/v1/notifications").await, "method_not_allowed");
    assert_eq!(code(Method::GET, "/v1/notifications/nonsense").await, "not_found");
    assert_eq!(code(Method::GET, "/v1/recipients/none").await, "not_found");
    assert_eq!(code(Method::GET, "/v1/recipients/%ff").await, "invalid_parameter");
    for query in ["limit=0", "limit=1&limit=2", "cursor=x", "status=odd", "stauts=failed"] {
        assert_eq!(
            code(Method::GET, &format!("/v1/notifications?{query}")).await,
            "invalid_parameter",
            "{query}"
        );
    }
    let mut plain = gateway.post(GOOD).build().unwrap();
    plain.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let found = problem(gateway.client.execute(plain).await.unwrap()).await;
    assert_eq!((found.0, found.1.as_str()), (415, "unsupported_media_type"));
    platform.assert_nothing_stored().await;
}
