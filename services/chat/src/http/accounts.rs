//! Accounts, sessions, and the token with which a browser connects to the edge.
//! Reads and writes: `people`, `sessions`. Never: says whether a handle exists to somebody who guesses passwords.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::{SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use campana_bus::clock;
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::signed::{Body, Signed};
use crate::problem::{Code, Problem};
use crate::secrets;
use crate::store::people::{Person, Session};
use crate::store::timeline::personal_channel;
use crate::text;

/// A session ends by itself after 30 days.
const SESSION_SECONDS: i64 = 30 * 86_400;
const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_BYTES_MAX: usize = 256;
/// Characters kept of what a browser calls itself.
const LABEL_CHARS_MAX: usize = 160;
/// What a password is compared with if there is no such handle, so that the answer takes as long.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
                      8R2o1hPzRC2FTfTMTB5hAsjTRf2MuH0o2cJkH2S0dKE";

/// The id of the account with this handle: also the user at the edge and the recipient of notifications, where other
/// services have their own users.
pub(crate) fn person_id(handle: &str) -> String {
    format!("chat-{handle}")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    handle: String,
    name: String,
    password: String,
}

/// `POST /api/accounts`
pub(super) async fn register(
    State(app): State<Arc<App>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Body(asked): Body<Registration>,
) -> Result<Response, Problem> {
    if !app.options.registration {
        return Err(Code::Forbidden.into());
    }
    let taken = app.limits.accounts.take(&address.ip().to_string(), clock::monotonic());
    taken.map_err(|wait| Problem::after(Code::RateLimited, wait))?;
    if !text::is_handle(&asked.handle) {
        let rule = "2 to 32 small letters, digits, - or _, beginning with a letter";
        return Err(Problem::field("handle", rule));
    }
    let name = text::name(&asked.name).ok_or(Problem::field("name", "1 to 60 characters"))?;
    let length = asked.password.chars().count();
    if length < PASSWORD_CHARS_MIN || asked.password.len() > PASSWORD_BYTES_MAX {
        return Err(Problem::field("password", "at least 8 characters, at most 256 bytes"));
    }
    let person = Person {
        id: person_id(&asked.handle),
        handle: asked.handle.clone(),
        name: name.to_owned(),
    };
    let password = asked.password.clone();
    let hash = hashing(&app, move || secrets::hash_password(&password)).await??;
    match app.store.add_person(&person, &hash, false, clock::now()).await {
        Err(error) if error.is_taken() => Err(Code::HandleTaken.into()),
        Err(error) => Err(error.into()),
        Ok(()) => begin(&app, &headers, person, StatusCode::CREATED).await,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    handle: String,
    password: String,
}

/// `POST /api/session`
pub(super) async fn sign_in(
    State(app): State<Arc<App>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Body(asked): Body<SignIn>,
) -> Result<Response, Problem> {
    let taken = app.limits.addresses.take(&address.ip().to_string(), clock::monotonic());
    taken.map_err(|wait| Problem::after(Code::RateLimited, wait))?;
    if !text::is_handle(&asked.handle) || asked.password.len() > PASSWORD_BYTES_MAX {
        return Err(Code::WrongPassword.into());
    }
    let taken = app.limits.sign_ins.take(&asked.handle, clock::monotonic());
    taken.map_err(|wait| Problem::after(Code::RateLimited, wait))?;
    let found = app.store.person_by_handle(&asked.handle).await?;
    let (person, hash) =
        found.map_or((None, NOBODY.to_owned()), |(person, hash)| (Some(person), hash));
    let fits = hashing(&app, move || secrets::is_password(&asked.password, &hash)).await?;
    match person.filter(|_| fits) {
        None => Err(Code::WrongPassword.into()),
        Some(person) => begin(&app, &headers, person, StatusCode::OK).await,
    }
}

/// Does what takes a processor for a while, few at a time.
async fn hashing<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let _place = app.hashes.acquire().await.map_err(|_| Code::Unavailable)?;
    tokio::task::spawn_blocking(work).await.map_err(|_| Code::Internal.into())
}

async fn begin(
    app: &App,
    headers: &HeaderMap,
    person: Person,
    status: StatusCode,
) -> Result<Response, Problem> {
    let now = clock::now();
    let secret = secrets::secret()?;
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let session = Session {
        id: secrets::fresh_id("ses")?,
        label: agent.chars().take(LABEL_CHARS_MAX).collect(),
        created_at: now.0,
        seen_at: now.0,
        expires_at: now.plus_seconds(SESSION_SECONDS).0,
    };
    app.store.add_session(&session, &secrets::digest(&secret), &person.id).await?;
    let cookie = set_cookie(app, &secret, SESSION_SECONDS);
    Ok((status, AppendHeaders([(SET_COOKIE, cookie)]), Json(json!({"person": person})))
        .into_response())
}

fn set_cookie(app: &App, value: &str, seconds: i64) -> String {
    let secure = if app.public_url.starts_with("https:") { "; Secure" } else { "" };
    let name = app.cookie;
    format!("{name}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}{secure}")
}

/// `GET /api/session`: what the page needs before anything else, also for somebody who is not signed in.
pub(super) async fn current(
    State(app): State<Arc<App>>,
    signed: Result<Signed, Problem>,
) -> Result<Response, Problem> {
    let demo = if app.options.demo { app.store.demo_people().await? } else { Vec::new() };
    let mut body = match signed {
        Ok(signed) => json!({"person": signed.person, "session": signed.session.id}),
        Err(problem) if problem.is_unauthorized() => json!({"person": null}),
        // Somebody who is signed in must not look signed out because the database is away.
        Err(problem) => return Err(problem),
    };
    body["edge"] = app.options.edge_url.clone().into();
    if let Some(gateway) = app.options.browsers_gateway() {
        body["gateway"] = gateway.into();
    }
    body["registration"] = app.options.registration.into();
    if !demo.is_empty() {
        body["demo"] = json!({"people": demo, "password": crate::demo::PASSWORD});
    }
    Ok(Json(body).into_response())
}

/// `DELETE /api/session`
pub(super) async fn sign_out(
    State(app): State<Arc<App>>,
    signed: Signed,
) -> Result<Response, Problem> {
    end(&app, &signed.person, &signed.session.id).await?;
    let cookie = set_cookie(&app, "", 0);
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(SET_COOKIE, cookie)])).into_response())
}

/// `GET /api/sessions`
pub(super) async fn sessions(
    State(app): State<Arc<App>>,
    signed: Signed,
) -> Result<Response, Problem> {
    let all = app.store.sessions(&signed.person.id, clock::now()).await?;
    Ok(Json(json!({"sessions": all, "current": signed.session.id})).into_response())
}

/// `DELETE /api/sessions/{id}`
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    signed.paced(&app)?;
    end(&app, &signed.person, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end(app: &App, person: &Person, session: &str) -> Result<(), Problem> {
    if !app.store.end_session(&person.id, session).await? {
        return Err(Code::NotFound.into());
    }
    // No request is answered any more; `access_ended` sees to the open connection.
    Ok(())
}

/// `POST /api/token`: for `getToken` of the SDK.
pub(super) async fn token(
    State(app): State<Arc<App>>,
    signed: Signed,
) -> Result<Response, Problem> {
    let now = clock::now();
    let token = app.edge.connection(&signed.person, &signed.session, now)?;
    let personal = app.edge.personal(&signed.person, now)?;
    let channel = personal_channel(&signed.person.id);
    let body = json!({"token": token, "personal_channel": channel, "personal_token": personal});
    Ok(Json(body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_a_hash_that_takes_as_long() {
        assert!(argon2::password_hash::PasswordHash::new(NOBODY).is_ok());
        assert!(!secrets::is_password("", NOBODY));
    }
}
