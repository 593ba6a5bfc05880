//! Rooms: mine, public ones, new ones, and what moderators do.
//! Reads and writes: rooms and members. Never: says of a private room that it exists.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use campana_bus::clock::{self, Micros};
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::accounts::person_id;
use super::signed::{Body, Signed};
use crate::edge::typing_channel;
use crate::problem::{Code, Problem};
use crate::secrets;
use crate::store::members::{Joined, RECEIPTS_PEOPLE_MAX};
use crate::store::moderation::Act;
use crate::store::people::Person;
use crate::store::rooms::{NewRoom, Room};
use crate::store::timeline::channel;
use crate::text;

/// Longest topic, in characters.
const TOPIC_CHARS_MAX: usize = 200;
/// Slowest pace of a room, in seconds.
const SLOW_SECONDS_MAX: i64 = 3_600;
/// Longest mute or ban, in seconds.
const MODERATION_SECONDS_MAX: i64 = 365 * 86_400;

/// The person's room.
pub(super) async fn room_of(app: &App, person: &Person, room: &str) -> Result<Room, Problem> {
    let found = app.store.room(&person.id, room).await?;
    found.ok_or_else(|| Code::NotFound.into())
}

/// `GET /api/rooms`
pub(super) async fn mine(State(app): State<Arc<App>>, signed: Signed) -> Result<Response, Problem> {
    let rooms = app.store.rooms(&signed.person.id).await?;
    Ok(Json(json!({"rooms": rooms})).into_response())
}

/// `GET /api/directory`
pub(super) async fn directory(
    State(app): State<Arc<App>>,
    signed: Signed,
) -> Result<Response, Problem> {
    signed.paced(&app)?;
    let rooms = app.store.directory(&signed.person.id).await?;
    Ok(Json(json!({"rooms": rooms})).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    name: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    private: bool,
}

/// Rooms stay, so nobody makes many.
fn sparing(app: &App, signed: &Signed) -> Result<(), Problem> {
    let taken = app.limits.rooms.take(&signed.person.id, clock::monotonic());
    taken.map_err(|wait| Problem::after(Code::RateLimited, wait))
}

fn topic(text: &str) -> Result<&str, Problem> {
    let text = text.trim();
    let fits = text.chars().count() <= TOPIC_CHARS_MAX && !text.chars().any(char::is_control);
    fits.then_some(text).ok_or_else(|| Problem::field("topic", "at most 200 characters"))
}

/// `POST /api/rooms`
pub(super) async fn add(
    State(app): State<Arc<App>>,
    signed: Signed,
    Body(asked): Body<Asked>,
) -> Result<Response, Problem> {
    sparing(&app, &signed)?;
    let name = text::name(&asked.name).ok_or(Problem::field("name", "1 to 60 characters"))?;
    let id = secrets::fresh_id("room")?;
    let kind = if asked.private { "private" } else { "public" };
    let new = NewRoom { id: &id, kind, name, topic: topic(&asked.topic)? };
    app.store.add_room(&new, &signed.person.id, clock::now()).await?;
    let room = room_of(&app, &signed.person, &id).await?;
    Ok((StatusCode::CREATED, Json(room)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Handle {
    handle: String,
}

async fn named(app: &App, handle: &str) -> Result<Person, Problem> {
    let found =
        if text::is_handle(handle) { app.store.person(&person_id(handle)).await? } else { None };
    found.ok_or_else(|| Problem::field("handle", "nobody is called so"))
}

/// `POST /api/direct`
pub(super) async fn direct(
    State(app): State<Arc<App>>,
    signed: Signed,
    Body(asked): Body<Handle>,
) -> Result<Response, Problem> {
    sparing(&app, &signed)?;
    let other = named(&app, &asked.handle).await?;
    if other.id == signed.person.id {
        return Err(Problem::field("handle", "that is you"));
    }
    let fresh = secrets::fresh_id("room")?;
    let id = app.store.direct(&fresh, &signed.person, &other, clock::now()).await?;
    Ok(Json(room_of(&app, &signed.person, &id).await?).into_response())
}

/// `GET /api/rooms/{room}`
pub(super) async fn one(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let room = room_of(&app, &signed.person, &id).await?;
    let members = app.store.members(&id).await?;
    let receipts = room.people <= RECEIPTS_PEOPLE_MAX;
    Ok(Json(json!({"room": room, "members": members, "receipts": receipts})).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    topic: Option<String>,
    slow_seconds: Option<i64>,
}

/// `PATCH /api/rooms/{room}`
pub(super) async fn set(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(id): Path<String>,
    Body(asked): Body<Settings>,
) -> Result<Response, Problem> {
    signed.paced(&app)?;
    let room = room_of(&app, &signed.person, &id).await?;
    if room.role == "member" {
        return Err(Code::Forbidden.into());
    }
    let new_topic = topic(asked.topic.as_deref().unwrap_or(&room.topic))?;
    let slow = asked.slow_seconds.unwrap_or(room.slow_seconds);
    if !(0..=SLOW_SECONDS_MAX).contains(&slow) {
        return Err(Problem::field("slow_seconds", "0 to 3,600"));
    }
    app.store.set_room(&id, &signed.person.id, new_topic, slow, clock::now()).await?;
    Ok(Json(room_of(&app, &signed.person, &id).await?).into_response())
}

/// `POST /api/rooms/{room}/join`
pub(super) async fn join(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    signed.paced(&app)?;
    match app.store.join(&id, &signed.person.id, false, clock::now()).await? {
        Joined::Yes => Ok(Json(room_of(&app, &signed.person, &id).await?).into_response()),
        Joined::NoRoom => Err(Code::NotFound.into()),
        Joined::Banned => Err(Code::Banned.into()),
    }
}

/// `POST /api/rooms/{room}/leave`
pub(super) async fn leave(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    signed.paced(&app)?;
    if !app.store.leave(&id, &signed.person.id, clock::now()).await? {
        return Err(Code::NotFound.into());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/rooms/{room}/members`: a moderator of a private room, or anybody in a public one, brings somebody in.
pub(super) async fn invite(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(id): Path<String>,
    Body(asked): Body<Handle>,
) -> Result<StatusCode, Problem> {
    signed.paced(&app)?;
    let room = room_of(&app, &signed.person, &id).await?;
    if room.kind == "direct" || room.kind == "private" && room.role == "member" {
        return Err(Code::Forbidden.into());
    }
    let person = named(&app, &asked.handle).await?;
    match app.store.join(&id, &person.id, true, clock::now()).await? {
        Joined::Yes => Ok(StatusCode::NO_CONTENT),
        Joined::NoRoom => Err(Code::NotFound.into()),
        Joined::Banned => Err(Code::Banned.into()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Mute,
    Unmute,
    Ban,
    Unban,
    Promote,
    Demote,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Moderation {
    action: Action,
    handle: String,
    #[serde(default)]
    seconds: i64,
}

/// `POST /api/rooms/{room}/moderation`
pub(super) async fn moderate(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(id): Path<String>,
    Body(asked): Body<Moderation>,
) -> Result<StatusCode, Problem> {
    signed.paced(&app)?;
    room_of(&app, &signed.person, &id).await?;
    let target = named(&app, &asked.handle).await?;
    let timed = matches!(asked.action, Action::Mute | Action::Ban);
    if timed && !(1..=MODERATION_SECONDS_MAX).contains(&asked.seconds) {
        return Err(Problem::field("seconds", "1 to 31,536,000"));
    }
    let now = clock::now();
    let until = now.plus_seconds(asked.seconds);
    let act = match asked.action {
        Action::Mute => Act::Mute(until),
        Action::Unmute => Act::Mute(Micros(0)),
        Action::Ban => Act::Ban(until),
        Action::Unban => Act::Unban,
        Action::Promote => Act::Promote,
        Action::Demote => Act::Demote,
    };
    if !app.store.moderate(&id, &signed.person.id, &target.id, act, now).await? {
        return Err(Code::Forbidden.into());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/rooms/{room}/token`: for `getToken` of the room's subscriptions.
pub(super) async fn token(
    State(app): State<Arc<App>>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let room = room_of(&app, &signed.person, &id).await?;
    let now = clock::now();
    let (token, typing) = app.edge.subscription(&signed.person, &room, now)?;
    Ok(Json(json!({
        "channel": channel(&id), "token": token,
        "typing_channel": typing_channel(&id), "typing_token": typing,
    }))
    .into_response())
}
