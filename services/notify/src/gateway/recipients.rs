//! `/v1/recipients`: people, their addresses and preferences.
//! Reads and writes: table `recipients`. Writes: the news of a change. Never: shows a webhook secret.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use campana_bus::clock;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body;
use super::problem::{Code, FieldCode, Problem, ProblemDocument};
use super::query::Query;
use super::state::App;
use super::status::store_problem;
use super::validate::{FieldErrors, step};
use crate::contracts::Channel;
use crate::store::Recipient;
use crate::store::changed::Changed;

/// A recipient to write. The whole recipient is replaced, except that a missing `webhook_secret` keeps
/// the stored one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientIn {
    /// If given, it must be the id of the path.
    pub id: Option<String>,
    /// E-mail address.
    #[schema(example = "alice@example.com")]
    pub email: Option<String>,
    /// Phone number in E.164 form.
    #[schema(example = "+15551234567")]
    pub phone: Option<String>,
    /// WhatsApp number in E.164 form; default: `phone`.
    pub whatsapp: Option<String>,
    /// Where webhooks go.
    pub webhook_url: Option<String>,
    /// Secret that signs webhooks: `whsec_` and the base64 form of 24 to 64 bytes.
    pub webhook_secret: Option<String>,
    /// BCP 47 language tag.
    #[schema(example = "en-GB")]
    pub locale: Option<String>,
    /// Channel to wanted or not; a channel that is not listed is wanted.
    pub preferences: Option<BTreeMap<String, bool>>,
}

/// A recipient.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipientOut {
    /// As you name people.
    pub id: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number in E.164 form.
    pub phone: Option<String>,
    /// WhatsApp number in E.164 form.
    pub whatsapp: Option<String>,
    /// Where webhooks go.
    pub webhook_url: Option<String>,
    /// Whether a secret signs them; the secret itself is never shown.
    pub has_webhook_secret: bool,
    /// BCP 47 language tag.
    pub locale: Option<String>,
    /// Channel to wanted or not.
    pub preferences: BTreeMap<String, bool>,
    /// When it was first written.
    pub created_at: String,
    /// When it was last written.
    pub updated_at: String,
}

/// A page of recipients, by id.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipientPage {
    /// The page.
    pub data: Vec<RecipientOut>,
    /// Pass it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

impl From<Recipient> for RecipientOut {
    fn from(row: Recipient) -> Self {
        Self {
            id: row.id,
            email: row.email,
            phone: row.phone,
            whatsapp: row.whatsapp,
            webhook_url: row.webhook_url,
            has_webhook_secret: row.webhook_secret.is_some(),
            locale: row.locale,
            preferences: row.preferences,
            created_at: row.created_at.to_rfc3339(),
            updated_at: row.updated_at.to_rfc3339(),
        }
    }
}

fn check(id: &str, input: RecipientIn, tenant: &str) -> Result<Recipient, Problem> {
    let mut errors = FieldErrors::default();
    errors.name("/id", id);
    if input.id.as_deref().is_some_and(|given| given != id) {
        errors.push("/id", FieldCode::Conflict, "the id differs from the one in the path");
    }
    if let Some(email) = &input.email {
        errors.email("/email", email);
    }
    for (pointer, phone) in [("/phone", &input.phone), ("/whatsapp", &input.whatsapp)] {
        if let Some(phone) = phone {
            errors.phone(pointer, phone);
        }
    }
    if let Some(url) = &input.webhook_url {
        errors.url("/webhook_url", url);
    }
    if input.webhook_secret.as_deref().is_some_and(|secret| !is_webhook_secret(secret)) {
        errors.push(
            "/webhook_secret",
            FieldCode::InvalidSecret,
            "a secret is whsec_ and the base64 form of 24 to 64 bytes",
        );
    }
    if let Some(locale) = &input.locale
        && !is_language_tag(locale)
    {
        errors.push("/locale", FieldCode::UnknownValue, "a language tag has the form en or en-GB");
    }
    let preferences = input.preferences.unwrap_or_default();
    for name in preferences.keys() {
        if !Channel::ALL.iter().any(|channel| channel.as_str() == name) {
            errors.push(
                &format!("/preferences{}", step(name)),
                FieldCode::UnknownField,
                "there is no such channel",
            );
        }
    }
    errors.finish()?;
    let now = clock::now();
    Ok(Recipient {
        tenant: tenant.to_owned(),
        id: id.to_owned(),
        email: input.email,
        phone: input.phone,
        whatsapp: input.whatsapp,
        webhook_url: input.webhook_url,
        webhook_secret: input.webhook_secret,
        locale: input.locale,
        preferences,
        created_at: now,
        updated_at: now,
    })
}

/// Standard Webhooks: `whsec_` and base64 of 24 to 64 bytes.
fn is_webhook_secret(secret: &str) -> bool {
    secret
        .strip_prefix("whsec_")
        .and_then(|rest| STANDARD.decode(rest).ok())
        .is_some_and(|bytes| (24..=64).contains(&bytes.len()))
}

/// The shape of BCP 47, not its registry.
fn is_language_tag(tag: &str) -> bool {
    tag.len() <= 35
        && tag.split('-').all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
        && tag
            .split('-')
            .next()
            .is_some_and(|part| part.len() >= 2 && part.bytes().all(|b| b.is_ascii_alphabetic()))
}

fn not_found() -> Problem {
    Problem::new(Code::NotFound, "there is no such recipient")
}

/// Write a recipient
#[utoipa::path(
    put, path = "/v1/recipients/{id}", tag = "recipients", request_body = RecipientIn,
    params(("id" = String, Path, description = "As you name people; at most 255 bytes")),
    responses(
        (status = 200, description = "Replaced", body = RecipientOut),
        (status = 201, description = "Created", body = RecipientOut),
        (status = 422, description = "Wrong fields", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn put_recipient(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<RecipientOut>), Problem> {
    let json = body::json_bytes(&headers, body, app.options.body_bytes_max, &app.options).await?;
    let recipient = check(&id, body::decode(&json, "")?, caller.tenant())?;
    let store = &app.deps.store;
    let is_new = store.put_recipient(&recipient).await.map_err(|error| store_problem(&error))?;
    announce(&app, caller.tenant(), &id).await;
    let stored =
        store.recipient(caller.tenant(), &id).await.map_err(|error| store_problem(&error))?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(stored.unwrap_or(recipient).into())))
}

pub(super) async fn announce(app: &App, tenant: &str, id: &str) {
    let changed = Changed::Recipient { tenant: tenant.to_owned(), id: id.to_owned() };
    app.lookups.forget(&changed);
    changed.announce(&app.deps.bus).await;
}

/// Read a recipient
#[utoipa::path(
    get, path = "/v1/recipients/{id}", tag = "recipients",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The recipient", body = RecipientOut),
        (status = 404, description = "There is none", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn get_recipient(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<RecipientOut>, Problem> {
    let found = app
        .deps
        .store
        .recipient(caller.tenant(), &id)
        .await
        .map_err(|error| store_problem(&error))?;
    found.map(|row| Json(row.into())).ok_or_else(not_found)
}

/// Delete a recipient
#[utoipa::path(
    delete, path = "/v1/recipients/{id}", tag = "recipients",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "There is none", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn delete_recipient(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let existed = app
        .deps
        .store
        .delete_recipient(caller.tenant(), &id)
        .await
        .map_err(|error| store_problem(&error))?;
    announce(&app, caller.tenant(), &id).await;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

/// List recipients by id
#[utoipa::path(
    get, path = "/v1/recipients", tag = "recipients",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200, default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = RecipientPage)),
    security(("api_key" = []))
)]
pub(super) async fn list_recipients(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<RecipientPage>, Problem> {
    let mut query = Query::parse(query.as_deref())?;
    let after = name_cursor(&mut query)?;
    let limit = query.limit()?;
    query.finish()?;
    let mut rows = app
        .deps
        .store
        .list_recipients(caller.tenant(), after.as_deref(), limit + 1)
        .await
        .map_err(|error| store_problem(&error))?;
    let next_cursor = next_name_cursor(&mut rows, limit, |row| &row.id);
    Ok(Json(RecipientPage {
        data: rows.into_iter().map(RecipientOut::from).collect(),
        next_cursor,
    }))
}

/// The name after which a page begins.
pub(super) fn name_cursor(query: &mut Query) -> Result<Option<String>, Problem> {
    query
        .text("cursor")
        .map(|text| {
            URL_SAFE_NO_PAD
                .decode(&text)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| {
                    Problem::new(
                        Code::InvalidParameter,
                        "cursor: pass the next_cursor of the page before",
                    )
                })
        })
        .transpose()
}

/// Cuts the one row that was read beyond the page and says where the next page begins.
pub(super) fn next_name_cursor<T>(
    rows: &mut Vec<T>,
    limit: u32,
    name: impl Fn(&T) -> &str,
) -> Option<String> {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    rows.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(name(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_language_tags() {
        assert!(is_webhook_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        for bad in ["", "whsec_", "whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(!is_webhook_secret(bad), "{bad}");
        }
        for (tag, good) in [
            ("en", true),
            ("pt-BR", true),
            ("zh-Hans-CN", true),
            ("", false),
            ("e", false),
            ("en_GB", false),
            ("1a", false),
        ] {
            assert_eq!(is_language_tag(tag), good, "{tag}");
        }
    }

    #[test]
    fn a_recipient_s_wrong_fields_are_all_named() {
        let input = serde_json::from_str(
            r#"{"id":"b","email":"x","phone":"1","whatsapp":"2","webhook_url":"x","webhook_secret":"x",
                "locale":"?","preferences":{"fax":true}}"#,
        )
        .unwrap();
        let problem = check("a", input, "acme").unwrap_err();
        let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/id",
                "/email",
                "/phone",
                "/whatsapp",
                "/webhook_url",
                "/webhook_secret",
                "/locale",
                "/preferences/fax"
            ]
        );
    }
}
