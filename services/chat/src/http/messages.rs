//! Messages of a room: pages, changes, search, writing, reading.
//! Reads and writes: through the store. Never: answers about a room to somebody who is not in it.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use campana_bus::clock;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::App;
use super::signed::{Body, Signed};
use crate::problem::{Code, Problem};
use crate::secrets;
use crate::store::edits::Changed;
use crate::store::messages::{Draft, PAGE_MAX, Posted};
use crate::store::search::fold;
use crate::store::timeline::Change;
use crate::text::{self, Command};

/// Longest question of a search, in characters.
const SEARCH_CHARS_MAX: usize = 100;
/// Longest name that a client may give its message, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 64;

/// A query whose errors are problem documents.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, app).await;
        let refuse =
            |error: QueryRejection| Problem::because(Code::InvalidField, error.body_text());
        query.map(|Query(value)| Self(value)).map_err(refuse)
    }
}

#[derive(Deserialize)]
pub(super) struct Paging {
    #[serde(default)]
    before: i64,
    limit: Option<i64>,
}

/// `GET /api/rooms/{room}/messages?before=&limit=`
pub(super) async fn page(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(room): Path<String>,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    inside(&app, &signed, &room).await?;
    let page = app.store.page(&room, paging.before, paging.limit.unwrap_or(PAGE_MAX / 2)).await?;
    Ok(Json(page).into_response())
}

async fn inside(app: &App, signed: &Signed, room: &str) -> Result<(), Problem> {
    let is_in = app.store.is_member(room, &signed.person.id).await?;
    is_in.then_some(()).ok_or_else(|| Code::NotFound.into())
}

#[derive(Deserialize)]
pub(super) struct After {
    after: i64,
}

/// `GET /api/rooms/{room}/changes?after=`: what somebody missed who has everything up to a number.
pub(super) async fn changes(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(room): Path<String>,
    Asked(asked): Asked<After>,
) -> Result<Response, Problem> {
    inside(&app, &signed, &room).await?;
    let changes = app.store.changes(&room, asked.after.max(0)).await?;
    Ok(Json(json!({"changes": changes})).into_response())
}

#[derive(Deserialize)]
pub(super) struct Search {
    q: String,
    #[serde(default)]
    before: i64,
}

/// `GET /api/rooms/{room}/search?q=&before=`
pub(super) async fn search(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(room): Path<String>,
    Asked(asked): Asked<Search>,
) -> Result<Response, Problem> {
    signed.paced(&app)?;
    inside(&app, &signed, &room).await?;
    if asked.q.chars().count() > SEARCH_CHARS_MAX {
        return Err(Problem::field("q", "at most 100 characters"));
    }
    Ok(Json(app.store.search(&room, &asked.q, asked.before).await?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    client_id: String,
    #[serde(default)]
    text: String,
    file: Option<String>,
}

fn limited(text: &str) -> Result<&str, Problem> {
    let rule = "at most 4,000 characters, without control characters";
    text::message(text).ok_or_else(|| Problem::field("text", rule))
}

/// `POST /api/rooms/{room}/messages`
pub(super) async fn post(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(room): Path<String>,
    Body(asked): Body<NewMessage>,
) -> Result<Response, Problem> {
    let body = limited(&asked.text)?;
    if body.is_empty() && asked.file.is_none() {
        return Err(Problem::field("text", "a message needs a text or a file"));
    }
    let id = &asked.client_id;
    let visible = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if id.is_empty() || id.len() > CLIENT_ID_BYTES_MAX || !visible(id) {
        return Err(Problem::field("client_id", "1 to 64 bytes of visible ASCII"));
    }
    if asked.file.as_deref().is_some_and(|file| !visible(file)) {
        return Err(Problem::field("file", "there is no such upload"));
    }
    let (command, limit) = match text::command(body) {
        Command::None => (None, &app.limits.messages),
        Command::Job(name, argument) => (Some((name, argument)), &app.limits.commands),
        Command::Unknown => return Err(Code::UnknownCommand.into()),
    };
    let taken = limit.take(&signed.person.id, clock::monotonic());
    taken.map_err(|wait| Problem::after(Code::RateLimited, wait))?;
    // `//` at the beginning says that the text is no command.
    let body = if command.is_none() && body.starts_with("//") { &body[1..] } else { body };
    let draft = Draft {
        id: secrets::fresh_id("msg")?,
        room,
        author: signed.person.id.clone(),
        client_id: asked.client_id.clone(),
        text: body.to_owned(),
        folded: fold(body),
        file: asked.file.clone().filter(|_| command.is_none()),
        mentions: if command.is_none() { text::mentions(body) } else { Vec::new() },
        command,
    };
    let now = clock::now();
    let wait = |until: clock::Micros| {
        let micros = u64::try_from(until.0 - now.0).unwrap_or_default();
        std::time::Duration::from_micros(micros)
    };
    match app.store.post(&draft, now).await? {
        Posted::New(change) => Ok((StatusCode::CREATED, Json(change)).into_response()),
        Posted::Repeat(message) => {
            let (seq, at) = (message.seq, message.created_at);
            Ok(Json(json!({"seq": seq, "kind": "message", "at": at, "message": message}))
                .into_response())
        }
        Posted::NotMember => Err(Code::NotFound.into()),
        Posted::Muted(until) => Err(Problem::after(Code::Muted, wait(until))),
        Posted::TooFast(until) => Err(Problem::after(Code::RateLimited, wait(until))),
        Posted::NoFile => Err(Problem::field("file", "there is no such upload")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    text: String,
}

fn changed(changed: Changed) -> Result<(Change, Option<String>), Problem> {
    match changed {
        Changed::Done(change, file) => Ok((*change, file)),
        Changed::NotFound => Err(Code::NotFound.into()),
        Changed::Forbidden => Err(Code::Forbidden.into()),
    }
}

/// `PATCH /api/rooms/{room}/messages/{id}`
pub(super) async fn edit(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path((room, id)): Path<(String, String)>,
    Body(asked): Body<Edit>,
) -> Result<Response, Problem> {
    signed.paced(&app)?;
    let text = limited(&asked.text)?;
    if text.is_empty() {
        return Err(Problem::field("text", "delete a message instead of emptying it"));
    }
    let target = (room.as_str(), id.as_str());
    let done = app.store.edit(target, &signed.person.id, (text, &fold(text)), clock::now()).await?;
    Ok(Json(changed(done)?.0).into_response())
}

/// `DELETE /api/rooms/{room}/messages/{id}`
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path((room, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    signed.paced(&app)?;
    let done = app.store.delete(&room, &id, &signed.person.id, clock::now()).await?;
    let (change, file) = changed(done)?;
    if let Some(file) = file {
        // If this fails, nothing refers to the file, and the next look for such files removes it.
        if let Err(error) = app.files.forget(&app.store, &file).await {
            tracing::warn!(error = %error, "a deleted attachment stays until the next tidying");
        }
    }
    Ok(Json(change).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upto {
    seq: i64,
}

/// `POST /api/rooms/{room}/read`
pub(super) async fn read(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(room): Path<String>,
    Body(asked): Body<Upto>,
) -> Result<StatusCode, Problem> {
    signed.paced(&app)?;
    inside(&app, &signed, &room).await?;
    app.store.read_upto(&room, &signed.person.id, asked.seq).await?;
    Ok(StatusCode::NO_CONTENT)
}
