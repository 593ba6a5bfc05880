//! The pages' API as a browser and as a stranger see it: sessions, origins, fields, limits, and who sees what.

use campana_bus::Durability;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::testing::NatsServer;
use campana_clinic::Clinic;
use campana_clinic::options::Options;
use clap::Parser as _;
use serde_json::{Value, json};

use crate::world::{Recorder, Visitor, browser, sqlite};

struct Open {
    url: String,
    lifecycle: Lifecycle,
    _nats: NatsServer,
    _folder: tempfile::TempDir,
}

/// Somebody who is signed in may name only their own sessions, and only with a cookie that nobody ended.
async fn sessions_are_ones_own(clinic: &Open) {
    let ana = Visitor::demo(&clinic.url, "pat_demo_ana").await;
    let ben = Visitor::demo(&clinic.url, "pat_demo_ben").await;
    let sessions = ana.get("/api/sessions").await;
    let path = format!("/api/sessions/{}", sessions["data"][0]["id"].as_str().unwrap());
    assert_eq!(ben.send("DELETE", &path, None).await.0, 404);
    assert_eq!(ana.send("GET", "/api/me", None).await.0, 200);
    let nobody = Visitor { cookie: "clinic_session=".to_owned(), ..ana.clone() };
    for path in ["/api/me", "/api/sessions", "/api/appointments", "/api/clinics"] {
        assert_eq!(nobody.send("GET", path, None).await.0, 401, "{path}");
    }
    assert_eq!(nobody.post("/api/edge-token", &json!({})).await.0, 401);
    assert_eq!(nobody.post("/v1/inbox/read", &json!({})).await.0, 401);
}

async fn open(demo: bool) -> Open {
    let nats = NatsServer::start_with(Durability::Process).unwrap();
    nats.bus_with_topology("clinic-test").await.unwrap();
    let (folder, platform) = (tempfile::tempdir().unwrap(), Recorder::start().await);
    let (nats_url, database) = (nats.url(), sqlite(folder.path()));
    let mut words = vec!["campana-clinic", "--listen", "127.0.0.1:0", "--api-key", "key"];
    words.extend([
        "--nats-url",
        &nats_url,
        "--api-url",
        &platform.url,
        "--database-url",
        &database,
    ]);
    if demo {
        words.push("--demo");
    }
    let lifecycle = Lifecycle::new();
    let clinic = Clinic::start(Options::parse_from(words), lifecycle.clone()).await.unwrap();
    let url = format!("http://{}", clinic.address);
    Open { url, lifecycle, _nats: nats, _folder: folder }
}

fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_sessions_that_end() {
    let clinic = open(false).await;
    let http = browser();
    let post = async |path: &str, body: Value| {
        http.post(format!("{}{path}", clinic.url)).json(&body).send().await.unwrap()
    };
    let form = json!({"name": "Eva", "email": "Eva@Example.com", "password": "long enough", "language": "es"});
    let answer = post("/api/accounts", form.clone()).await;
    assert_eq!(answer.status(), 201);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for word in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    let eva = Visitor::of(&clinic.url, &answer);
    assert_eq!(eva.get("/api/me").await["email"], "eva@example.com");
    assert_eq!(post("/api/accounts", form).await.status(), 409);

    for (email, password) in [("eva@example.com", "wrong"), ("nobody@example.com", "long enough")] {
        let answer = post("/api/session", json!({"email": email, "password": password})).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(code(&answer.json().await.unwrap()), "wrong_credentials");
    }
    let right = json!({"email": "eva@example.com", "password": "long enough"});
    let phone = Visitor::of(&clinic.url, &post("/api/session", right).await);

    let sessions = eva.get("/api/sessions").await["data"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 2);
    let other = sessions.iter().find(|one| one["current"] == false).unwrap();
    let path = format!("/api/sessions/{}", other["id"].as_str().unwrap());
    assert_eq!(eva.send("DELETE", &path, None).await.0, 204);
    assert_eq!(phone.send("GET", "/api/me", None).await.0, 401, "revoked");
    assert_eq!(eva.send("DELETE", "/api/session", None).await.0, 204);
    assert_eq!(eva.send("GET", "/api/me", None).await.0, 401, "signed out");

    // There is no demo without the flag.
    assert_eq!(post("/api/demo-session", json!({"account": "pat_demo_ana"})).await.status(), 404);
    clinic.lifecycle.stop(std::time::Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_from_the_form_to_the_answer() {
    let clinic = open(true).await;
    let ana = Visitor::demo(&clinic.url, "pat_demo_ana").await;
    let ben = Visitor::demo(&clinic.url, "pat_demo_ben").await;
    let ruiz = Visitor::demo(&clinic.url, "den_demo_ruiz").await;
    let clinics = ana.get("/api/clinics").await;
    assert_eq!(clinics["data"][0]["dentists"].as_array().unwrap().len(), 2);
    let times = ana.times("den_demo_ruiz", 2).await;
    let form = |at: &str, id: &str| json!({"dentist": "den_demo_ruiz", "starts_at": at, "note": "Me duele", "request_id": id});
    let (status, booked) = ana.post("/api/appointments", &form(&times[0], "1")).await;
    assert_eq!((status, booked["status"].as_str()), (201, Some("requested")), "{booked}");
    let (status, again) = ana.post("/api/appointments", &form(&times[0], "1")).await;
    assert_eq!((status, &again["id"]), (200, &booked["id"]), "the same form");
    let (status, taken) = ben.post("/api/appointments", &form(&times[0], "1")).await;
    assert_eq!((status, code(&taken)), (409, "time_taken"));
    assert!(!ben.times("den_demo_ruiz", 2).await.contains(&times[0]), "not offered any more");

    let path = format!("/api/appointments/{}", booked["id"].as_str().unwrap());
    assert_eq!(ben.send("GET", &path, None).await.0, 404, "somebody else's");
    let costa = Visitor::demo(&clinic.url, "den_demo_costa").await;
    for stranger in [&ben, &costa] {
        for action in
            ["accept", "decline", "propose", "cancel", "accept_proposal", "decline_proposal"]
        {
            let form = json!({"version": 1, "starts_at": times[1]});
            let (status, _) = stranger.post(&format!("{path}/{action}"), &form).await;
            assert_eq!(status, 404, "{action}");
        }
        assert_eq!(stranger.get("/api/appointments").await["data"], json!([]));
    }
    assert_eq!(ana.get(&path).await["version"], 1, "nobody touched it");
    let other = json!({"dentist": "den_demo_ruiz", "starts_at": times[3], "request_id": "1"});
    assert_eq!(code(&ana.post("/api/appointments", &other).await.1), "request_reused");
    let act = async |who: &Visitor, action: &str, body: Value| {
        who.post(&format!("{path}/{action}"), &body).await
    };
    assert_eq!(code(&act(&ana, "accept", json!({"version": 1})).await.1), "not_possible");
    let (status, proposed) = act(
        &ruiz,
        "propose",
        json!({"version": 1, "starts_at": times[1], "message": "Mejor más tarde"}),
    )
    .await;
    assert_eq!((status, &proposed["proposed_at"]), (200, &json!(times[1])), "{proposed}");
    assert_eq!(code(&act(&ruiz, "decline", json!({"version": 1})).await.1), "changed_meanwhile");
    let (_, agreed) = act(&ana, "accept_proposal", json!({"version": 2})).await;
    assert_eq!((&agreed["status"], &agreed["starts_at"]), (&json!("accepted"), &json!(times[1])));
    assert_eq!(agreed["actions"], json!(["cancel"]));
    assert!(ben.times("den_demo_ruiz", 2).await.contains(&times[0]), "free again");

    let (status, refused) = ruiz.post("/api/appointments", &form(&times[2], "2")).await;
    assert_eq!((status, code(&refused)), (403, "only_patients"));
    let ahead = ruiz.get("/api/appointments?which=ahead").await;
    assert_eq!(ahead["data"][0]["patient"]["name"], "Ana García");
    clinic.lifecycle.stop(std::time::Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_nonsense_are_refused() {
    let clinic = open(true).await;
    sessions_are_ones_own(&clinic).await;
    let ana = Visitor::demo(&clinic.url, "pat_demo_ana").await;
    let times = ana.times("den_demo_ruiz", 2).await;
    let ask = async |body: Value| {
        let (status, body) = ana.post("/api/appointments", &body).await;
        (status, code(&body).to_owned())
    };
    let good = json!({"dentist": "den_demo_ruiz", "starts_at": times[0], "request_id": "1"});
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let refused = |status, code: &str| (status, code.to_owned());
    assert_eq!(ask(with("dentist", json!("den_nobody"))).await, refused(422, "validation_failed"));
    assert_eq!(ask(with("starts_at", json!("tomorrow"))).await, refused(422, "validation_failed"));
    let past = json!("2020-01-01T09:00:00Z");
    assert_eq!(ask(with("starts_at", past)).await, refused(422, "time_is_past"));
    let never = json!("2999-01-01T09:00:00Z");
    assert_eq!(ask(with("starts_at", never)).await, refused(422, "too_far_ahead"));
    let odd = times[0].replace(":00Z", ":07Z").replace(":30:", ":31:");
    assert_eq!(ask(with("starts_at", json!(odd))).await, refused(422, "no_such_time"));
    assert_eq!(ask(with("note", json!("x".repeat(501)))).await, refused(422, "validation_failed"));
    assert_eq!(
        ask(with("note", json!("x".repeat(20_000)))).await,
        refused(413, "payload_too_large")
    );
    assert_eq!(ask(with("more", json!(1))).await, refused(400, "invalid_json"));

    let raw = async |origin: Option<&str>, kind: &str| {
        let mut request = browser().post(format!("{}/api/appointments", clinic.url));
        request = request.header("cookie", &ana.cookie).header("content-type", kind);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let answer = request.body(good.to_string()).send().await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        (answer.status().as_u16(), code(&answer.json().await.unwrap()).to_owned())
    };
    let foreign = raw(Some("https://evil.example"), "application/json").await;
    assert_eq!(foreign, refused(403, "foreign_origin"));
    assert_eq!(raw(None, "text/plain").await, refused(415, "unsupported_media_type"));
    assert_eq!(raw(Some(&clinic.url), "application/json").await.0, 201);

    let page = browser().get(&clinic.url).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("ws://127.0.0.1:8000") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(ask(with("request_id", json!("\0"))).await, refused(422, "validation_failed"));
    assert_eq!(ask(with("dentist", json!("\0"))).await, refused(422, "validation_failed"));
    let odd = ["/assets/..%2fCargo.toml", "/api/nothing", "/nothing", "/api/appointments/%00"];
    for path in odd {
        let answer = browser().get(format!("{}{path}", clinic.url)).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    let wrong = json!({"email": "ana@example.com", "password": "x"});
    let mut last = 0;
    for _ in 0..11 {
        let request = browser().post(format!("{}/api/session", clinic.url)).json(&wrong);
        last = request.send().await.unwrap().status().as_u16();
    }
    assert_eq!(last, 429, "guessing passwords");
    clinic.lifecycle.stop(std::time::Duration::from_secs(30)).await;
}
