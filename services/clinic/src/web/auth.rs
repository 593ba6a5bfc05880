//! Who is asking: accounts, passwords, sessions in a cookie.
//! Reads and writes: the store. Never: stores or logs a password or a cookie's value, or says whether an e-mail
//! address has an account to somebody who does not know its password (who signs up with it must be told).

use std::net::SocketAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request, State};
use axum::http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use campana_bus::clock;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::App;
use super::fields::{self, EMAIL_BYTES_MAX};
use super::limits::Limit;
use super::problem::{Code, Problem};
use crate::appointment::Role;
use crate::passwords::{self, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};
use crate::setup;
use crate::store::accounts::{Account, NewSession};
use crate::words::Language;

/// How long a session lives.
const SESSION_SECONDS: i64 = 30 * 86_400;
const DEVICE_CHARS_MAX: usize = 160;

/// A request of somebody who is signed in.
#[derive(Debug)]
pub struct Signed {
    /// Who.
    pub account: Account,
    /// The session's public name.
    pub session: String,
}

impl FromRequestParts<App> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let secret = cookie(&parts.headers, app.secure).ok_or(Problem::of(Code::Unauthorized))?;
        let found = app.store.session(&passwords::digest(secret), clock::now()).await?;
        let (account, session) = found.ok_or(Problem::of(Code::Unauthorized))?;
        within(&app.limits.account, &account.id)?;
        Ok(Self { account, session })
    }
}

/// A body of JSON of exactly this form.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json =
            |kind: &str| kind.split(';').next().unwrap_or_default().trim() == "application/json";
        if !kind.is_some_and(is_json) {
            return Err(Problem::of(Code::UnsupportedMediaType));
        }
        let body = Bytes::from_request(request, app)
            .await
            .map_err(|_| Problem::of(Code::PayloadTooLarge))?;
        let read = serde_json::from_slice(&body);
        read.map(Self).map_err(|error| Problem::with(Code::InvalidJson, error.to_string()))
    }
}

/// Lets a request pass that is not one too many.
pub fn within(limit: &Limit, caller: &str) -> Result<(), Problem> {
    limit
        .count(caller, clock::monotonic())
        .map_err(|seconds| Problem::later(Code::RateLimited, seconds))
}

const fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-clinic_session" } else { "clinic_session" }
}

fn cookie(headers: &HeaderMap, secure: bool) -> Option<&str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == cookie_name(secure)).map(|(_, value)| value)
}

fn set_cookie(secure: bool, value: &str, seconds: i64) -> Option<HeaderValue> {
    let flag = if secure { "; Secure" } else { "" };
    let name = cookie_name(secure);
    HeaderValue::from_str(&format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{flag}"
    ))
    .ok()
}

/// How an account looks to its owner.
pub fn shown(account: &Account) -> Value {
    json!({
        "id": account.id, "role": account.role, "email": account.email, "name": account.name,
        "language": account.language, "phone": account.phone, "version": account.version,
        "wants": {
            "email": account.wants_email, "sms": account.wants_sms, "whatsapp": account.wants_whatsapp,
        },
    })
}

/// What a page must know at its start: whether somebody is signed in already, and whom the demo offers.
pub async fn setup(
    State(app): State<App>,
    signed: Result<Signed, Problem>,
) -> Result<Json<Value>, Problem> {
    let me = match signed {
        Ok(signed) => Some(shown(&signed.account)),
        Err(problem) if problem.is(Code::Unauthorized) => None,
        Err(problem) => return Err(problem),
    };
    let demo = if app.demo { setup::demo_accounts()? } else { Vec::new() };
    Ok(Json(json!({"demo": demo, "edge_url": app.edge_url, "me": me})))
}

/// `POST /api/accounts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    name: String,
    email: String,
    password: String,
    language: String,
}

/// Makes a patient's account and signs in.
pub async fn sign_up(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(form): Form<SignUp>,
) -> Result<Response, Problem> {
    within(&app.limits.address, &peer.ip().to_string())?;
    let name = fields::name(&form.name)?;
    let email = fields::email(&form.email)?;
    if form.password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(Problem::field("/password", "at least 8 characters"));
    }
    if form.password.len() > PASSWORD_BYTES_MAX {
        return Err(Problem::field("/password", "at most 256 bytes"));
    }
    let account = Account {
        id: passwords::id("pat"),
        role: Role::Patient,
        clinic_id: String::new(),
        email,
        name,
        password_hash: app.passwords.hash(form.password).await?,
        language: Language::of(&form.language).tag().to_owned(),
        phone: String::new(),
        wants_email: true,
        wants_sms: false,
        wants_whatsapp: false,
        version: 1,
    };
    if !app.store.create_account(&account, clock::now()).await? {
        return Err(Problem::at(Code::EmailTaken, "/email"));
    }
    open(&app, &headers, &account, StatusCode::CREATED).await
}

/// `POST /api/session`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    email: String,
    password: String,
}

/// Signs in with a password.
pub async fn sign_in(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(form): Form<SignIn>,
) -> Result<Response, Problem> {
    within(&app.limits.address, &peer.ip().to_string())?;
    let email = form.email.trim().to_lowercase();
    within(&app.limits.sign_in, &passwords::digest(&email))?;
    let wrong = Problem::of(Code::WrongCredentials);
    let odd = email.len() > EMAIL_BYTES_MAX || email.chars().any(char::is_control);
    if form.password.len() > PASSWORD_BYTES_MAX || odd {
        return Err(wrong);
    }
    let account = app.store.account_of(&email).await?;
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    let right = app.passwords.verify(form.password, hash).await?;
    match account.filter(|_| right) {
        Some(account) => open(&app, &headers, &account, StatusCode::OK).await,
        None => Err(wrong),
    }
}

/// `POST /api/demo-session`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInAs {
    account: String,
}

/// Signs in as one of the demo's people; there is no such thing without `--demo`.
pub async fn sign_in_as(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(form): Form<SignInAs>,
) -> Result<Response, Problem> {
    within(&app.limits.address, &peer.ip().to_string())?;
    let offered = app.demo && setup::demo_accounts()?.iter().any(|one| one.id == form.account);
    let account = if offered { app.store.account(&form.account).await? } else { None };
    match account {
        Some(account) => open(&app, &headers, &account, StatusCode::OK).await,
        None => Err(Problem::of(Code::NotFound)),
    }
}

/// Ends the session of this browser. Without one there is nothing to end.
pub async fn sign_out(
    State(app): State<App>,
    signed: Result<Signed, Problem>,
) -> Result<Response, Problem> {
    if let Ok(Signed { account, session }) = signed {
        app.store.end_session(&account.id, &session).await?;
    }
    let mut answer = StatusCode::NO_CONTENT.into_response();
    answer.headers_mut().extend(set_cookie(app.secure, "", 0).map(|value| (SET_COOKIE, value)));
    Ok(answer)
}

async fn open(
    app: &App,
    headers: &HeaderMap,
    account: &Account,
    status: StatusCode,
) -> Result<Response, Problem> {
    let (secret, id, now) = (passwords::secret(), passwords::id("ses"), clock::now());
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let device: String = agent.chars().take(DEVICE_CHARS_MAX).collect();
    let new = NewSession {
        secret_hash: &passwords::digest(&secret),
        id: &id,
        account: &account.id,
        device: &device,
        now,
        expires_at: now.plus_seconds(SESSION_SECONDS),
    };
    app.store.open_session(new).await?;
    let mut answer = (status, Json(shown(account))).into_response();
    let cookie = set_cookie(app.secure, &secret, SESSION_SECONDS);
    answer.headers_mut().extend(cookie.map(|value| (SET_COOKIE, value)));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, "a=b; clinic_session=xyz; c=d".parse().unwrap());
        assert_eq!(cookie(&headers, false), Some("xyz"));
        assert_eq!(cookie(&headers, true), None, "not without its prefix");
        let set = set_cookie(true, "xyz", 60).unwrap();
        assert_eq!(
            set.to_str().unwrap(),
            "__Host-clinic_session=xyz; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
        );
    }
}
