//! Attachments: uploaded before the message that carries them, shown to the people of their room.
//! Reads and writes: the bucket, `files`. Never: lets a browser run what somebody uploaded.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY,
};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use campana_bus::clock;
use futures::Stream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

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
pub(super) const BODY_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of an attachment that are handed to a connection at a time.
const PIECE_BYTES: usize = 64 * 1024;

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
    let _turn = app.files.turn(&signed.person.id).await?;
    let _coming = app.files.coming().await?;
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
    // The row first: an upload that does not end is found by it, and forgotten.
    app.store.add_file(&file, &room, &signed.person.id, now).await?;
    let _place = app.files.place().await?;
    app.files.put(&file.id, &body).await?;
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
    let turn = app.files.turn(&signed.person.id).await?;
    let place = app.files.place().await?;
    let bytes = app.files.get(&id).await?;
    drop(place);
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
        // Whoever signs in on the same browser next is somebody else.
        (CACHE_CONTROL, "private, max-age=86400, immutable".to_owned()),
        (VARY, "Cookie".to_owned()),
        (CONTENT_LENGTH, bytes.len().to_string()),
    ];
    Ok((headers, Body::from_stream(slowly(bytes, turn))).into_response())
}

/// The bytes, piece by piece; the place is given back when the last one went.
fn slowly(
    bytes: Bytes,
    turn: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    futures::stream::unfold((bytes, turn), |(mut rest, turn)| async move {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((Ok(piece), (rest, turn)))
    })
}
