//! Asking for an appointment, answering, calling off, and looking.
//! Reads and writes: the store. Never: shows an appointment to anybody but its two sides, or decides by itself:
//! `Appointment::decide` says what may happen, the store whether it did.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use campana_bus::clock;
use campana_bus::clock::Micros;
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::auth::{Form, Signed, within};
use super::clinics;
use super::fields;
use super::problem::{Code, Problem};
use crate::appointment::{Action, Appointment, Refusal, Role, Status};
use crate::passwords;
use crate::store::appointments::Booked;
use crate::store::lists::{Cursor, Listed, PAGE, Which};

/// An appointment as one of its sides sees it.
fn shown(listed: &Listed, role: Role, now: Micros) -> Value {
    let Listed { appointment, .. } = listed;
    json!({
        "id": appointment.id, "status": appointment.status, "confirmed": appointment.confirmed,
        "starts_at": appointment.starts_at.to_rfc3339(),
        "proposed_at": appointment.proposed_at.map(Micros::to_rfc3339),
        "note": appointment.note, "message": appointment.message, "version": appointment.version,
        "clinic": {
            "id": appointment.clinic_id, "name": listed.clinic_name,
            "address": listed.clinic_address, "time_zone": listed.time_zone,
        },
        "dentist": {"id": appointment.dentist_id, "name": listed.dentist_name},
        "patient": {"id": appointment.patient_id, "name": listed.patient_name},
        "actions": appointment.actions(role, now),
    })
}

/// An appointment that somebody may see; for others there is none.
async fn find(app: &App, signed: &Signed, id: &str) -> Result<Listed, Problem> {
    let found = app.store.listed(id).await?;
    let own = found.filter(|listed| {
        let Appointment { patient_id, dentist_id, .. } = &listed.appointment;
        match signed.account.role {
            Role::Patient => *patient_id == signed.account.id,
            Role::Dentist => *dentist_id == signed.account.id,
        }
    });
    own.ok_or(Problem::of(Code::NotFound))
}

/// Which page of which list.
#[derive(Debug, Deserialize)]
pub struct Page {
    #[serde(default)]
    which: String,
    #[serde(default)]
    after: String,
}

/// `GET /api/appointments?which=ahead|over&after=…`.
pub async fn list(
    State(app): State<App>,
    signed: Signed,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Problem> {
    let which = match page.which.as_str() {
        "" | "ahead" => Which::Ahead,
        "over" => Which::Over,
        _ => return Err(Problem::field("/which", "ahead or over")),
    };
    let after = match page.after.split_once('.') {
        Some((at, id)) => {
            let starts_at =
                at.parse().map_err(|_| Problem::field("/after", "what `next` said before"))?;
            Some(Cursor { starts_at, id: id.to_owned() })
        }
        None => None,
    };
    let (role, now) = (signed.account.role, clock::now());
    let all =
        app.store.appointments((role, &signed.account.id), which, now, after.as_ref()).await?;
    let full = i64::try_from(all.len()).unwrap_or(i64::MAX) >= PAGE;
    let last = all.last().filter(|_| full).map(|listed| &listed.appointment);
    let next = last.map(|appointment| format!("{}.{}", appointment.starts_at.0, appointment.id));
    let all: Vec<Value> = all.iter().map(|listed| shown(listed, role, now)).collect();
    Ok(Json(json!({"data": all, "next": next})))
}

/// `GET /api/appointments/{id}`.
pub async fn one(
    State(app): State<App>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let listed = find(&app, &signed, &id).await?;
    Ok(Json(shown(&listed, signed.account.role, clock::now())))
}

/// `POST /api/appointments`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    dentist: String,
    starts_at: String,
    #[serde(default)]
    note: String,
    /// Chosen by the page for each filled form: the same one again books nothing new.
    request_id: String,
}

/// A patient asks for an appointment.
pub async fn book(
    State(app): State<App>,
    signed: Signed,
    Form(form): Form<Ask>,
) -> Result<Response, Problem> {
    within(&app.limits.changes, &signed.account.id)?;
    if signed.account.role != Role::Patient {
        return Err(Problem::of(Code::OnlyPatients));
    }
    let now = clock::now();
    let starts_at = fields::time(&form.starts_at)?;
    let note = fields::text("/note", &form.note)?;
    fields::id("/request_id", &form.request_id)?;
    fields::id("/dentist", &form.dentist)?;
    let clinic =
        clinics::clinic_of(&app, &form.dentist).await.map_err(|problem| match problem {
            missing if missing.is(Code::NotFound) => {
                Problem::field("/dentist", "there is no such dentist")
            }
            other => other,
        })?;
    clinics::check(&clinic, starts_at, now)?;
    let new = Appointment {
        id: passwords::id("apt"),
        clinic_id: clinic.id,
        dentist_id: form.dentist,
        patient_id: signed.account.id.clone(),
        status: Status::Requested,
        confirmed: false,
        starts_at,
        proposed_at: None,
        note,
        message: String::new(),
        version: 1,
        created_at: now,
    };
    let done = app.store.book(&new, &form.request_id).await?;
    // A form whose answer was lost and that was filled in anew is another wish: the page must not take the first
    // appointment for it.
    if let Booked::Before(before) = &done
        && (before.starts_at != new.starts_at || before.dentist_id != new.dentist_id)
    {
        return Err(Problem::of(Code::RequestReused));
    }
    booked(&app, &signed, done, StatusCode::CREATED).await
}

/// `POST /api/appointments/{id}/{action}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// The version that the page shows: who acts on something older is told so.
    version: i64,
    /// Of `propose`.
    #[serde(default)]
    starts_at: Option<String>,
    /// A word of the dentist.
    #[serde(default)]
    message: Option<String>,
}

/// Somebody answers, or calls off.
pub async fn act(
    State(app): State<App>,
    signed: Signed,
    Path((id, action)): Path<(String, String)>,
    Form(form): Form<Act>,
) -> Result<Response, Problem> {
    within(&app.limits.changes, &signed.account.id)?;
    let (role, now) = (signed.account.role, clock::now());
    let appointment = find(&app, &signed, &id).await?.appointment;
    if appointment.version != form.version {
        return Err(Problem::of(Code::ChangedMeanwhile));
    }
    let action = match action.as_str() {
        "accept" => Action::Accept,
        "decline" => Action::Decline,
        "accept_proposal" => Action::AcceptProposal,
        "decline_proposal" => Action::DeclineProposal,
        "cancel" => Action::Cancel,
        "propose" => {
            let at = fields::time(form.starts_at.as_deref().unwrap_or_default())?;
            clinics::check(&clinics::clinic_of(&app, &appointment.dentist_id).await?, at, now)?;
            Action::Propose(at)
        }
        _ => return Err(Problem::of(Code::NotFound)),
    };
    let next = appointment.decide(role, action, now).map_err(|refusal| match refusal {
        Refusal::NotPossible => Problem::of(Code::NotPossible),
        Refusal::Past => Problem::of(Code::TimeIsPast),
        Refusal::SameTime => Problem::at(Code::SameTime, "/starts_at"),
    })?;
    // A patient's word stays in the note; the message is the dentist's.
    let message = match (role, form.message) {
        (Role::Dentist, Some(message)) => Some(fields::text("/message", &message)?),
        _ => None,
    };
    let done = app.store.change(&appointment, next, message.as_deref(), now).await?;
    booked(&app, &signed, done, StatusCode::OK).await
}

async fn booked(
    app: &App,
    signed: &Signed,
    booked: Booked,
    status: StatusCode,
) -> Result<Response, Problem> {
    let (appointment, status) = match booked {
        Booked::Done(appointment) => (appointment, status),
        Booked::Before(appointment) => (appointment, StatusCode::OK),
        Booked::Taken => return Err(Problem::at(Code::TimeTaken, "/starts_at")),
        Booked::Busy => return Err(Problem::at(Code::PatientBusy, "/starts_at")),
        Booked::TooMany => return Err(Problem::of(Code::TooManyOpen)),
        Booked::Stale => return Err(Problem::of(Code::ChangedMeanwhile)),
    };
    let listed = find(app, signed, &appointment.id).await?;
    Ok((status, Json(shown(&listed, signed.account.role, clock::now()))).into_response())
}
