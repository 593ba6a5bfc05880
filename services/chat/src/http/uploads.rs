//! Attachments: uploaded before the message that carries them, shown to the people of their room.
//! Reads and writes: the bucket, `files`. Never: lets a browser run what somebody uploaded.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
};
use axum::response::{IntoResponse, Response};
use campana_bus::clock;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::App;
use super::messages::Asked;
use super::signed::Signed;
use crate::files::{FILE_BYTES_MAX, is_picture, media_type};
use crate::problem::{Code, Problem};
use crate::secrets;
use crate::store::timeline::FileCard;

/// Longest name of a file, in characters.
const NAME_CHARS_MAX: usize = 120;
/// How long an upload may take.
const BODY_WITHIN: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
}

/// `POST /api/rooms/{room}/files?name=`: the body is the file.
pub(super) async fn add(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(room): Path<String>,
    Asked(named): Asked<Named>,
    body: Body,
) -> Result<Response, Problem> {
    let taken = app.limits.uploads.take(&signed.person.id, clock::monotonic());
    taken.map_err(|wait| Problem::after(Code::RateLimited, wait))?;
    let name = named.name.trim();
    let fits = !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX;
    if !fits || name.chars().any(|letter| letter.is_control() || letter == '/') {
        return Err(Problem::field("name", "1 to 120 characters without /"));
    }
    let found = app.store.room(&signed.person.id, &room).await?.ok_or(Code::NotFound)?;
    let now = clock::now();
    if found.muted_until > now.0 {
        return Err(Code::Muted.into());
    }
    // Only now is the body read: nobody fills our memory who may not upload.
    let _place = app.files.place().await?;
    let read = tokio::time::timeout(BODY_WITHIN, to_bytes(body, FILE_BYTES_MAX)).await;
    let body = read.map_err(|_| Code::TooSlow)?.map_err(|_| Code::TooLarge)?;
    if body.is_empty() {
        return Err(Problem::field("body", "the file is empty"));
    }
    let file = FileCard {
        id: secrets::fresh_id("file")?,
        name: name.to_owned(),
        media_type: media_type(&body).to_owned(),
        size: i64::try_from(body.len()).unwrap_or(i64::MAX),
    };
    app.files.put(&file.id, &body).await?;
    app.store.add_file(&file, &room, &signed.person.id, now).await?;
    Ok((StatusCode::CREATED, Json(file)).into_response())
}

/// `GET /api/files/{id}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (room, file) = app.store.file(&id).await?.ok_or(Code::NotFound)?;
    if !app.store.is_member(&room, &signed.person.id).await? {
        return Err(Code::NotFound.into());
    }
    let _place = app.files.place().await?;
    let bytes = app.files.get(&id).await?;
    let how = if is_picture(&file.media_type) { "inline" } else { "attachment" };
    let name = utf8_percent_encode(&file.name, NON_ALPHANUMERIC);
    let kind = match file.media_type.as_str() {
        "text/plain" => "text/plain; charset=utf-8",
        other => other,
    };
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_DISPOSITION, format!("{how}; filename*=UTF-8''{name}")),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
        (CACHE_CONTROL, "private, max-age=86400, immutable".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}
