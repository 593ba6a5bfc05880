//! What the tests stand on: databases, people, and a platform that writes down what it is told.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{post, put};
use axum::{Json, Router};
use campana_bus::clock::{self, Micros};
use campana_clinic::appointment::{Appointment, Role, Status};
use campana_clinic::calendar::Hours;
use campana_clinic::store::Store;
use campana_clinic::store::accounts::Account;
use campana_clinic::store::clinics::Clinic;
use serde_json::{Value, json};

const DAY: i64 = 86_400;
pub const PATIENTS: usize = 50;

/// Waits for a condition, looking again and again; a minute is enough for any machine.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn sqlite(folder: &Path) -> String {
    format!("sqlite://{}/clinic.db", folder.display())
}

/// Half past some hour, so many days ahead.
pub fn time(days: i64) -> Micros {
    let half_hour = 1_800_000_000;
    Micros(clock::now().plus_seconds(days * DAY).0 / half_hour * half_hour + half_hour)
}

pub fn patient(number: usize) -> String {
    format!("pat_{number}")
}

pub fn account(id: &str, role: Role, language: &str) -> Account {
    Account {
        id: id.to_owned(),
        role,
        clinic_id: if role == Role::Dentist { "centro".to_owned() } else { String::new() },
        email: format!("{id}@example.com"),
        name: format!("Name of {id}"),
        password_hash: String::new(),
        language: language.to_owned(),
        phone: "+34600111222".to_owned(),
        wants_email: true,
        wants_sms: true,
        wants_whatsapp: false,
        version: 1,
    }
}

/// A clinic that is always open, two dentists and many patients.
pub async fn populated(url: &str) -> Store {
    let store = Store::open(url).await.unwrap();
    let hours = Hours { opens: 0, closes: 1_440, slot_minutes: 30, weekdays: 0b111_1111 };
    let clinic = Clinic {
        id: "centro".to_owned(),
        name: "AppDental Centro".to_owned(),
        address: "Calle Mayor 12".to_owned(),
        time_zone: "Europe/Madrid".to_owned(),
        hours,
    };
    store.save_clinic(&clinic).await.unwrap();
    for dentist in ["den_1", "den_2"] {
        store.create_account(&account(dentist, Role::Dentist, "es"), clock::now()).await.unwrap();
    }
    for number in 0..PATIENTS {
        let patient = account(&patient(number), Role::Patient, "es");
        store.create_account(&patient, clock::now()).await.unwrap();
    }
    store
}

pub fn asked(id: &str, dentist: &str, patient: &str, starts_at: Micros) -> Appointment {
    Appointment {
        id: id.to_owned(),
        clinic_id: "centro".to_owned(),
        dentist_id: dentist.to_owned(),
        patient_id: patient.to_owned(),
        status: Status::Requested,
        confirmed: false,
        starts_at,
        proposed_at: None,
        note: String::new(),
        message: String::new(),
        version: 1,
        created_at: clock::now(),
    }
}

/// The one number of a query.
pub async fn number(store: &Store, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(store.pool()).await.unwrap()
}

/// What the recorder was told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Idempotency key and body of every notification that was accepted first.
    pub notifications: Vec<(String, Value)>,
    /// Requests with a key that had been accepted before.
    pub repeats: usize,
    /// Recipients by id.
    pub recipients: Vec<(String, Value)>,
    /// Answers to give before all is well: the next requests for notifications get them.
    pub troubles: Vec<u16>,
}

/// A platform that records, with the answers of the real one.
pub struct Recorder {
    pub url: String,
    pub told: Arc<Mutex<Told>>,
}

impl Recorder {
    pub async fn start() -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let router = Router::new()
            .route("/v1/notifications", post(notify))
            .route("/v1/recipients/{id}", put(recipient))
            .route("/v1/tokens", post(async || Json(json!({"token": "t", "expires_at": "x"}))))
            .with_state(Arc::clone(&told));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, told }
    }

    pub fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }

    /// Titles told to somebody, in their order.
    pub fn titles(&self, to: &str) -> Vec<String> {
        let told = self.told();
        let own = told.notifications.iter().filter(|(_, body)| body["to"] == to);
        own.map(|(_, body)| body["content"]["title"].as_str().unwrap().to_owned()).collect()
    }
}

async fn recipient(
    State(told): State<Arc<Mutex<Told>>>,
    UrlPath(id): UrlPath<String>,
    Json(body): Json<Value>,
) -> StatusCode {
    told.lock().unwrap().recipients.push((id, body));
    StatusCode::NO_CONTENT
}

async fn notify(
    State(told): State<Arc<Mutex<Told>>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut told = told.lock().unwrap();
    if told.notifications.iter().any(|(known, _)| *known == key) {
        told.repeats += 1;
        return (StatusCode::ACCEPTED, Json(json!({"id": "ntf_1"})));
    }
    let to = body["to"].as_str().unwrap();
    if !told.recipients.iter().any(|(id, _)| id == to) {
        let errors = json!([{"pointer": "/to", "code": "unknown_recipient"}]);
        let problem = json!({"code": "validation_failed", "errors": errors});
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(problem));
    }
    let trouble = told.troubles.pop();
    // An answer of 502 comes after the effect: the request was stored, its answer lost.
    if trouble.is_none_or(|status| status == 502) {
        told.notifications.push((key, body));
    }
    match trouble {
        Some(status) => (StatusCode::from_u16(status).unwrap(), Json(json!({"code": "x"}))),
        None => (StatusCode::ACCEPTED, Json(json!({"id": "ntf_1"}))),
    }
}

/// The real program, killed when dropped.
pub struct Program {
    child: std::process::Child,
    pub url: String,
}

impl Program {
    /// Starts it and waits until it serves.
    pub async fn start(nats: &str, api: &str, database: &str) -> Self {
        let port = campana_bus::testing::free_port().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_campana-clinic"))
            .args(["--demo", "--listen", &format!("127.0.0.1:{port}"), "--nats-url", nats])
            .args(["--api-url", api, "--api-key", "key", "--database-url", database])
            .env("RUST_LOG", "warn")
            .stdin(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let program = Self { child, url };
        let http = browser();
        eventually("the clinic serves", async || {
            let answer = http.get(format!("{}/livez", program.url)).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        program
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Somebody without a session.
pub fn browser() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build().unwrap()
}

/// A browser that is signed in.
#[derive(Clone)]
pub struct Visitor {
    pub http: reqwest::Client,
    pub url: String,
    pub cookie: String,
}

impl Visitor {
    /// As one of the demo's people.
    pub async fn demo(url: &str, account: &str) -> Self {
        let answer = browser()
            .post(format!("{url}/api/demo-session"))
            .json(&json!({"account": account}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        Self::of(url, &answer)
    }

    /// With the cookie of this answer.
    pub fn of(url: &str, answer: &reqwest::Response) -> Self {
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { http: browser(), url: url.to_owned(), cookie }
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        request = request.header("cookie", &self.cookie);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, Some(body)).await
    }

    /// Free times of a dentist, the first day from `ahead` days on that has any.
    pub async fn times(&self, dentist: &str, ahead: i64) -> Vec<String> {
        for day in ahead..ahead + 7 {
            let date = clock::now().plus_seconds(day * DAY).to_rfc3339();
            let path = format!("/api/dentists/{dentist}/times?date={}", &date[..10]);
            let found = self.get(&path).await;
            let times = found["data"].as_array().unwrap();
            if !times.is_empty() {
                let text = |time: &Value| time["starts_at"].as_str().unwrap().to_owned();
                return times.iter().map(text).collect();
            }
        }
        panic!("a week without a free time")
    }
}
