//! The API without an app: state, publishing, limits, and what hostile callers try.

use std::io::Write as _;

use campana_bus::lifecycle::Lifecycle;
use campana_sidecar::{Options, Source};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{PATIENCE, Sidecar, wait_for};

/// A port on which nobody listens is an app that is away.
async fn alone(change: impl FnOnce(&mut Options)) -> Sidecar {
    let mut sidecar = Sidecar::prepare().await;
    let mut options = Options::new(campana_bus::testing::free_port().unwrap());
    change(&mut options);
    sidecar.run(options);
    wait_for("the sidecar answers", || async {
        (sidecar.get("/healthz").await.0 == 200).then_some(())
    })
    .await;
    sidecar
}

fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn state_is_compared_and_set_by_etag() {
    let mut sidecar = alone(|_| {}).await;
    let url = sidecar.at("/v1/kv/carts/..%2F..%2Fali%20ce%3E%2A");
    let put = |body: &'static str| sidecar.http.put(&url).body(body);
    let tag =
        |response: &reqwest::Response| response.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(sidecar.get("/v1/kv/carts/x").await.0, 404);
    assert_eq!(sidecar.get("/v1/kv/carts").await.1, json!({"keys": []}));
    assert_eq!(sidecar.send(put("1").header("if-match", "*")).await.0, 412);
    let first = put("[1]").header("if-none-match", "*").send().await.unwrap();
    assert_eq!(first.status(), 204);
    assert_eq!(sidecar.send(put("[2]").header("if-none-match", "*")).await.0, 412);
    let got = sidecar.http.get(&url).send().await.unwrap();
    assert_eq!((got.status().as_u16(), tag(&got)), (200, tag(&first)));
    assert_eq!(got.headers()["content-type"], "application/json");
    assert_eq!(got.text().await.unwrap(), "[1]");
    let same = sidecar.http.get(&url).header("if-none-match", tag(&first));
    assert_eq!(sidecar.send(same).await.0, 304);
    let second = put("\u{1}not json").header("if-match", tag(&first)).send().await.unwrap();
    assert_eq!(second.status(), 204);
    let (status, body) = sidecar.send(put("x").header("if-match", tag(&first))).await;
    assert_eq!((status, code(&body)), (412, "precondition_failed"));
    assert_eq!(sidecar.send(put("x").header("if-match", "W/\"1\"")).await.0, 412);
    assert_eq!(sidecar.send(put("x").header("if-none-match", "\"1\"")).await.0, 400);
    let got = sidecar.http.get(&url).send().await.unwrap();
    assert_eq!(got.headers()["content-type"], "application/octet-stream");
    let (_, keys) = sidecar.get("/v1/kv/carts?prefix=..").await;
    assert_eq!(keys, json!({"keys": ["../../ali ce>*"]}));
    let delete = |etag: String| sidecar.http.delete(&url).header("if-match", etag);
    assert_eq!(sidecar.send(delete(tag(&first))).await.0, 412);
    assert_eq!(sidecar.send(delete(tag(&second))).await.0, 204);
    assert_eq!(sidecar.send(sidecar.http.get(&url)).await.0, 404);
    assert_eq!(sidecar.send(sidecar.http.delete(&url)).await.0, 204);
    for bucket in ["..", "a.b", "a b", "%00", &"x".repeat(61)] {
        let (status, body) = sidecar.get(&format!("/v1/kv/{bucket}/key")).await;
        assert!(matches!(status, 400 | 404), "{bucket}: {status} {body}");
    }
    // The platform's own buckets are out of reach.
    assert_eq!(sidecar.get("/v1/kv/idempotency/x").await.0, 404);
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn events_come_in_three_forms_and_batches() {
    let mut sidecar = alone(|_| {}).await;
    let publish = sidecar.at("/v1/publish/shop/order_created");
    let (status, body) = sidecar.post("/v1/publish/shop/order_created", &json!({"n": 1})).await;
    assert_eq!((status, &body["stream"]), (200, &json!("EVENTS")), "{body}");
    assert!(body["id"].as_str().unwrap().starts_with("msg_"));
    let event =
        json!({"specversion": "1.0", "id": "e1", "source": "/shop", "type": "t", "data": {"n": 1}});
    let structured = || {
        sidecar
            .http
            .post(&publish)
            .header("content-type", "application/cloudevents+json")
            .body(event.to_string())
    };
    let (status, body) = sidecar.send(structured()).await;
    assert_eq!((status, &body["id"], &body["duplicate"]), (200, &json!("e1"), &json!(false)));
    assert_eq!(sidecar.send(structured()).await.1["duplicate"], json!(true));
    let binary = sidecar
        .http
        .post(format!("{publish}?tenant=acme&key=k1"))
        .header("ce-specversion", "1.0")
        .header("ce-id", "e2")
        .header("ce-source", "/shop")
        .header("ce-type", "t")
        .header("content-type", "image/png")
        .body(vec![0_u8, 1]);
    assert_eq!(sidecar.send(binary).await.0, 200);
    let subject = campana_bus::subjects::app_event_keyed("acme", "shop", "order_created", "k1");
    let stored = sidecar.bus.last("EVENTS", &subject).await.unwrap().unwrap();
    assert_eq!(&stored.payload[..], [0, 1]);
    let entry =
        |id: &str| json!({"service": "shop", "event": "order_created", "id": id, "data": 1});
    let (status, body) = sidecar
        .post("/v1/publish", &json!({"events": [entry("b1"), entry("b2"), entry("b1")]}))
        .await;
    let duplicates: Vec<bool> = body["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["duplicate"].as_bool().unwrap())
        .collect();
    assert_eq!((status, duplicates), (200, vec![false, false, true]), "{body}");
    let (status, body) =
        sidecar.post("/v1/publish", &json!({"events": [entry("b3"), entry("")]})).await;
    assert_eq!((status, &body["pointer"]), (400, &json!("/events/1")), "{body}");
    let (status, body) = sidecar.post("/v1/publish", &json!({"events": []})).await;
    assert_eq!((status, code(&body)), (422, "validation_failed"));
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_problem_documents() {
    let mut sidecar = alone(|options| options.limits.body_bytes_max = 1_000).await;
    let json_post = |path: &str, body: String| {
        sidecar.http.post(sidecar.at(path)).header("content-type", "application/json").body(body)
    };
    let publish = "/v1/publish/shop/order_created";
    let long = format!("{publish}?id={}", "x".repeat(5_000));
    let cases = [
        (json_post(publish, "{".to_owned()), 400, "invalid_json"),
        (json_post(publish, format!("\"{}\"", "x".repeat(2_000))), 413, "payload_too_large"),
        (sidecar.http.post(sidecar.at(publish)).body("x"), 415, "unsupported_media_type"),
        (
            json_post("/v1/publish/shop/order_created?idd=1", "1".to_owned()),
            400,
            "invalid_parameter",
        ),
        (
            json_post("/v1/publish/shop/order_created?delay=-1", "1".to_owned()),
            400,
            "invalid_parameter",
        ),
        (
            json_post("/v1/publish/shop/order_created?delay=1&at=x", "1".to_owned()),
            400,
            "invalid_parameter",
        ),
        (json_post("/v1/publish/sh%0Aop/order_created", "1".to_owned()), 400, "invalid_parameter"),
        (json_post("/v1/publish/%FF/order_created", "1".to_owned()), 400, "invalid_parameter"),
        (json_post(&long, "1".to_owned()), 400, "invalid_parameter"),
        (
            json_post(publish, "1".to_owned()).header("campana-id", "a%0D%0Ab"),
            400,
            "invalid_parameter",
        ),
        (json_post(publish, "1".to_owned()).header("ce-specversion", "9"), 400, "invalid_event"),
        (
            json_post(publish, "1".to_owned()).header("origin", "http://evil.example"),
            403,
            "foreign_origin",
        ),
        (json_post(publish, "1".to_owned()).header("host", "evil.example"), 403, "foreign_origin"),
        (sidecar.http.get(sidecar.at(publish)), 405, "method_not_allowed"),
        (sidecar.http.get(sidecar.at("/v1/nothing")), 404, "not_found"),
        (sidecar.http.get(sidecar.at("/metrics")), 404, "not_found"),
        (sidecar.http.post(sidecar.at("/v1/deliveries/hnd_1/ack")), 404, "not_found"),
        (sidecar.http.get(sidecar.at("/v1/dead-letters?subscription=other")), 404, "not_found"),
        (json_post("/v1/call/a.b/c", "1".to_owned()), 400, "invalid_parameter"),
        (json_post("/v1/call/a/c?timeout=0x10", "1".to_owned()), 400, "invalid_parameter"),
    ];
    for (request, status, expected) in cases {
        let shown = format!("{request:?}");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{shown}");
        let found = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        assert_eq!((found, code(&body)), (status, expected), "{shown}: {body}");
        assert!(body["type"].as_str().unwrap().ends_with(expected));
    }
    // A name with dots and slashes is one harmless token.
    let (status, _) =
        sidecar.send(json_post("/v1/publish/..%2F..%2Fshop/a.%3E.%2A", "1".to_owned())).await;
    assert_eq!(status, 200);
    // An endless body is cut off where the limit is.
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'1'; 512]));
    let request = sidecar
        .http
        .post(sidecar.at(publish))
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(futures::StreamExt::take(endless, 8)));
    assert_eq!(sidecar.send(request).await.0, 413);
    assert!(sidecar.stop().await);
}

/// Sends bytes as they are; everything that comes back.
async fn raw(sidecar: &Sidecar, bytes: &[u8]) -> String {
    let address = sidecar.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn broken_http_is_refused() {
    let mut sidecar = alone(|_| {}).await;
    let head = "POST /v1/publish/shop/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    assert!(
        raw(&sidecar, format!("{head}{many}\r\n").as_bytes()).await.starts_with("HTTP/1.1 431")
    );
    let folded = format!("{head}ce-id: a\r\n b: c\r\nContent-Length: 0\r\n\r\n");
    assert!(raw(&sidecar, folded.as_bytes()).await.starts_with("HTTP/1.1 4"));
    let twice = format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n1");
    assert!(raw(&sidecar, twice.as_bytes()).await.starts_with("HTTP/1.1 400"));
    assert!(raw(&sidecar, b"\x16\x03\x01 nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert_eq!(sidecar.get("/healthz").await.0, 200);
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn a_peer_that_takes_no_answers_loses_its_place() {
    let mut sidecar = alone(|options| {
        options.limits.connections_max = 1;
        options.limits.read_timeout = std::time::Duration::from_millis(500);
    })
    .await;
    // It asks for far more than the buffers of both sides hold, and reads nothing.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let address = sidecar.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut deaf = socket.connect(address).await.unwrap();
    let request = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    deaf.write_all(request.repeat(500).as_bytes()).await.unwrap();
    // The next one is accepted when the place is free.
    let health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(raw(&sidecar, health).await.starts_with("HTTP/1.1 200"));
    drop(deaf);
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn a_client_that_waits_for_permission_is_told_at_once() {
    let mut sidecar = alone(|_| {}).await;
    let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
                Expect: 100-continue\r\n";
    let large =
        format!("POST /v1/publish/shop/x HTTP/1.1\r\n{head}Content-Length: 99999999\r\n\r\n");
    // Refused without a byte of the body, and without asking for it.
    assert!(raw(&sidecar, large.as_bytes()).await.starts_with("HTTP/1.1 413"));
    let fine = format!("POST /v1/publish/shop/x HTTP/1.1\r\n{head}Content-Length: 1\r\n\r\n1");
    let answer = raw(&sidecar, fine.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 ") && answer.contains("HTTP/1.1 200"), "{answer}");
    // What is said about a delivery is small, because it is let in beyond the number of requests.
    let settle = "POST /v1/deliveries/hnd_1/extend HTTP/1.1\r\n";
    let large = format!("{settle}{head}Content-Length: 100000\r\n\r\n");
    assert!(raw(&sidecar, large.as_bytes()).await.starts_with("HTTP/1.1 413"));
    // One request stays one: a length beside chunks does not begin another.
    let smuggled = "POST /v1/publish/shop/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                    Content-Type: application/json\r\nContent-Length: 60\r\n\
                    Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n\
                    DELETE /v1/kv/carts/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = raw(&sidecar, smuggled.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn too_many_requests_are_turned_away_while_health_answers() {
    let mut sidecar = alone(|options| {
        options.limits.requests_max = 1;
        options.limits.read_timeout = PATIENCE;
    })
    .await;
    // A request whose body does not come holds the only place.
    let address = sidecar.url.strip_prefix("http://").unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = "POST /v1/publish/shop/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n1";
    slow.write_all(head.as_bytes()).await.unwrap();
    let refused = wait_for("the place is taken", || async {
        let response = sidecar.http.get(sidecar.at("/v1/subscriptions")).send().await.unwrap();
        (response.status() == 503).then_some(response)
    })
    .await;
    assert!(refused.headers().contains_key("retry-after"));
    let body: Value = refused.json().await.unwrap();
    assert_eq!(code(&body), "overloaded");
    assert_eq!(sidecar.get("/healthz").await.0, 200);
    drop(slow);
    wait_for("the place is free", || async {
        (sidecar.get("/v1/subscriptions").await.0 == 200).then_some(())
    })
    .await;
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn a_token_is_asked_for_and_health_is_not() {
    let mut sidecar = alone(|options| options.api_token = Some("s3cret".into())).await;
    for request in [
        sidecar.http.get(sidecar.at("/v1/subscriptions")),
        sidecar.http.get(sidecar.at("/v1/subscriptions")).bearer_auth("wrong"),
        sidecar.http.get(sidecar.at("/nothing")).header("campana-api-token", ""),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key("www-authenticate"));
    }
    for request in [
        sidecar.http.get(sidecar.at("/v1/subscriptions")).bearer_auth("s3cret"),
        sidecar.http.get(sidecar.at("/v1/subscriptions")).header("campana-api-token", "s3cret"),
        sidecar.http.get(sidecar.at("/healthz")),
    ] {
        assert_eq!(sidecar.send(request).await.0, 200);
    }
    assert!(sidecar.stop().await);
}

#[tokio::test]
async fn without_a_token_nobody_else_is_served() {
    let sidecar = Sidecar::prepare().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused =
        campana_sidecar::run(listener, Options::new(1), sidecar.bus.clone(), Lifecycle::new())
            .await;
    assert!(refused.unwrap_err().to_string().contains("--api-token-file"));
}

#[tokio::test]
async fn a_bad_declaration_does_not_replace_a_good_one() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[[subscriptions]]\nname = \"a b\"\n").unwrap();
    let path = file.path().to_owned();
    let source = Source::File(path.clone());
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = app.local_addr().unwrap().port();
    let mut sidecar = alone(|options| {
        options.source = source;
        options.app.port = port;
    })
    .await;
    let error = wait_for("the mistake is seen", || async {
        sidecar.get("/v1/subscriptions").await.1["error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(error.contains("line 1"), "{error}");
    assert_eq!(sidecar.get("/readyz").await.0, 503);
    let good = "[[subscriptions]]\nname = \"one\"\npath = \"/one\"\nevents = [{ service = \"a\", event = \"b\" }]\n";
    std::fs::write(&path, good).unwrap();
    assert_eq!(sidecar.post("/v1/subscriptions/reload", &json!({})).await.0, 200);
    sidecar.ready().await;
    std::fs::write(&path, good.replace("/one", "one")).unwrap();
    let (status, body) = sidecar.post("/v1/subscriptions/reload", &json!({})).await;
    assert_eq!((status, code(&body)), (422, "validation_failed"));
    assert!(body["detail"].as_str().unwrap().contains("subscriptions[0].path"), "{body}");
    let (_, status) = sidecar.get("/v1/subscriptions").await;
    assert_eq!(
        (&status["units"][0]["name"], &status["units"][0]["state"]),
        (&json!("one"), &json!("running"))
    );
    std::fs::write(&path, good.replace("\"one\"", "\"two\"")).unwrap();
    let (status, body) = sidecar.post("/v1/subscriptions/reload", &json!({})).await;
    assert_eq!((status, &body["units"][0]["name"]), (200, &json!("two")));
    assert_eq!(body["units"].as_array().unwrap().len(), 1);
    tokio::time::timeout(PATIENCE, sidecar.stop()).await.unwrap();
}
