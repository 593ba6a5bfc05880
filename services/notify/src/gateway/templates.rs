//! `/v1/templates`: message templates, one source per channel.
//! Reads and writes: table `templates`. Writes: the news of a change. Never: renders; but a source that
//! does not parse is refused when it is written, not when it is used.

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use campana_bus::clock;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body;
use super::problem::{Code, FieldCode, Problem, ProblemDocument};
use super::query::Query;
use super::recipients::{name_cursor, next_name_cursor};
use super::state::App;
use super::status::store_problem;
use super::validate::FieldErrors;
use crate::plan;
use crate::render::CompiledTemplate;
use crate::store::changed::Changed;
use crate::store::{
    EmailTemplate, InAppTemplate, Template, TemplateChannels, TextTemplate, WebhookTemplate,
};

const SOURCE_BYTES_MAX: usize = 64 * 1024;

/// A template to write.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateIn {
    /// If given, it must be the key of the path.
    pub key: Option<String>,
    /// The sources (minijinja); at least one channel.
    pub channels: ChannelSources,
}

/// The sources of a template; a channel that is missing is not used.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelSources {
    /// The bell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_app: Option<InAppSource>,
    /// E-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailSource>,
    /// SMS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms: Option<TextSource>,
    /// WhatsApp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whatsapp: Option<TextSource>,
    /// Webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookSource>,
}

/// Sources of the bell's message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InAppSource {
    /// One line.
    #[schema(example = "Welcome, {{ name }}")]
    pub title: String,
    /// The text.
    #[serde(default)]
    pub body: String,
    /// Where a click leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Sources of an e-mail.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailSource {
    /// One line.
    pub subject: String,
    /// Plain text.
    #[serde(default)]
    pub text: String,
    /// HTML alternative; values are escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

/// Source of a message that is only text.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextSource {
    /// The text.
    pub text: String,
}

/// Sources of a webhook's message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSource {
    /// One line.
    pub title: String,
    /// The text.
    #[serde(default)]
    pub body: String,
}

/// A template.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateOut {
    /// Its name.
    pub key: String,
    /// The sources.
    pub channels: ChannelSources,
    /// When it was first written.
    pub created_at: String,
    /// When it was last written.
    pub updated_at: String,
}

/// A page of templates, by key.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplatePage {
    /// The page.
    pub data: Vec<TemplateOut>,
    /// Pass it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

impl From<Template> for TemplateOut {
    fn from(row: Template) -> Self {
        let TemplateChannels { in_app, email, sms, whatsapp, webhook } = row.channels;
        let text = |TextTemplate { text }| TextSource { text };
        Self {
            key: row.key,
            channels: ChannelSources {
                in_app: in_app.map(|InAppTemplate { title, body, url }| InAppSource {
                    title,
                    body,
                    url,
                }),
                email: email.map(|EmailTemplate { subject, text, html }| EmailSource {
                    subject,
                    text,
                    html,
                }),
                sms: sms.map(text),
                whatsapp: whatsapp.map(text),
                webhook: webhook
                    .map(|WebhookTemplate { title, body }| WebhookSource { title, body }),
            },
            created_at: row.created_at.to_rfc3339(),
            updated_at: row.updated_at.to_rfc3339(),
        }
    }
}

impl From<ChannelSources> for TemplateChannels {
    fn from(sources: ChannelSources) -> Self {
        let ChannelSources { in_app, email, sms, whatsapp, webhook } = sources;
        let text = |TextSource { text }| TextTemplate { text };
        Self {
            in_app: in_app.map(|InAppSource { title, body, url }| InAppTemplate {
                title,
                body,
                url,
            }),
            email: email.map(|EmailSource { subject, text, html }| EmailTemplate {
                subject,
                text,
                html,
            }),
            sms: sms.map(text),
            whatsapp: whatsapp.map(text),
            webhook: webhook.map(|WebhookSource { title, body }| WebhookTemplate { title, body }),
        }
    }
}

fn check(key: &str, input: TemplateIn, tenant: &str) -> Result<Template, Problem> {
    let mut errors = FieldErrors::default();
    errors.name("/key", key);
    if input.key.as_deref().is_some_and(|given| given != key) {
        errors.push("/key", FieldCode::Conflict, "the key differs from the one in the path");
    }
    let sources = sources(&input.channels);
    if sources.is_empty() {
        errors.push("/channels", FieldCode::Empty, "at least one channel is needed");
    }
    for (pointer, source) in sources {
        errors.text(pointer, source, SOURCE_BYTES_MAX);
    }
    errors.finish()?;
    let now = clock::now();
    let template = Template {
        tenant: tenant.to_owned(),
        key: key.to_owned(),
        channels: input.channels.into(),
        created_at: now,
        updated_at: now,
    };
    compiles(&template)?;
    Ok(template)
}

/// The dispatcher's own compiler decides, so that nothing is stored that would be a dead letter later.
fn compiles(template: &Template) -> Result<(), Problem> {
    let Err(error) = CompiledTemplate::compile(&plan::template_view(template)) else {
        return Ok(());
    };
    let (channel, part) = error.part.split_once('.').unwrap_or((error.part.as_str(), ""));
    let field = match (channel, part) {
        ("in_app" | "webhook", "text") => "body",
        ("email", "title") => "subject",
        (_, part) => part,
    };
    let mut errors = FieldErrors::default();
    errors.push(&format!("/channels/{channel}/{field}"), FieldCode::InvalidTemplate, error.reason);
    errors.finish()
}

fn sources(channels: &ChannelSources) -> Vec<(&'static str, &str)> {
    let ChannelSources { in_app, email, sms, whatsapp, webhook } = channels;
    let mut list = Vec::new();
    if let Some(InAppSource { title, body, url }) = in_app {
        list.push(("/channels/in_app/title", title.as_str()));
        list.push(("/channels/in_app/body", body));
        list.extend(url.as_deref().map(|url| ("/channels/in_app/url", url)));
    }
    if let Some(EmailSource { subject, text, html }) = email {
        list.push(("/channels/email/subject", subject));
        list.push(("/channels/email/text", text));
        list.extend(html.as_deref().map(|html| ("/channels/email/html", html)));
    }
    list.extend(sms.iter().map(|source| ("/channels/sms/text", source.text.as_str())));
    list.extend(whatsapp.iter().map(|source| ("/channels/whatsapp/text", source.text.as_str())));
    if let Some(WebhookSource { title, body }) = webhook {
        list.push(("/channels/webhook/title", title));
        list.push(("/channels/webhook/body", body));
    }
    list
}

fn not_found() -> Problem {
    Problem::new(Code::NotFound, "there is no such template")
}

async fn announce(app: &App, tenant: &str, key: &str) {
    let changed = Changed::Template { tenant: tenant.to_owned(), key: key.to_owned() };
    app.lookups.forget(&changed);
    changed.announce(&app.deps.bus).await;
}

/// Write a template
#[utoipa::path(
    put, path = "/v1/templates/{key}", tag = "templates", request_body = TemplateIn,
    params(("key" = String, Path, description = "Its name; at most 255 bytes")),
    responses(
        (status = 200, description = "Replaced", body = TemplateOut),
        (status = 201, description = "Created", body = TemplateOut),
        (status = 422, description = "Wrong fields", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn put_template(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<TemplateOut>), Problem> {
    let json = body::json_bytes(&headers, body, app.options.body_bytes_max, &app.options).await?;
    let template = check(&key, body::decode(&json, "")?, caller.tenant())?;
    let store = &app.deps.store;
    let is_new = store.put_template(&template).await.map_err(|error| store_problem(&error))?;
    announce(&app, caller.tenant(), &key).await;
    let stored =
        store.template(caller.tenant(), &key).await.map_err(|error| store_problem(&error))?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(stored.unwrap_or(template).into())))
}

/// Read a template
#[utoipa::path(
    get, path = "/v1/templates/{key}", tag = "templates",
    params(("key" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The template", body = TemplateOut),
        (status = 404, description = "There is none", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn get_template(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
) -> Result<Json<TemplateOut>, Problem> {
    let found = app
        .deps
        .store
        .template(caller.tenant(), &key)
        .await
        .map_err(|error| store_problem(&error))?;
    found.map(|row| Json(row.into())).ok_or_else(not_found)
}

/// Delete a template
#[utoipa::path(
    delete, path = "/v1/templates/{key}", tag = "templates",
    params(("key" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "There is none", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn delete_template(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
) -> Result<StatusCode, Problem> {
    let existed = app
        .deps
        .store
        .delete_template(caller.tenant(), &key)
        .await
        .map_err(|error| store_problem(&error))?;
    announce(&app, caller.tenant(), &key).await;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

/// List templates by key
#[utoipa::path(
    get, path = "/v1/templates", tag = "templates",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200, default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = TemplatePage)),
    security(("api_key" = []))
)]
pub(super) async fn list_templates(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<TemplatePage>, Problem> {
    let mut query = Query::parse(query.as_deref())?;
    let after = name_cursor(&mut query)?;
    let limit = query.limit()?;
    query.finish()?;
    let mut rows = app
        .deps
        .store
        .list_templates(caller.tenant(), after.as_deref(), limit + 1)
        .await
        .map_err(|error| store_problem(&error))?;
    let next_cursor = next_name_cursor(&mut rows, limit, |row| &row.key);
    Ok(Json(TemplatePage { data: rows.into_iter().map(TemplateOut::from).collect(), next_cursor }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_does_not_parse_is_refused_with_its_place() {
        for (json, pointer, code) in [
            (r#"{"channels":{}}"#, "/channels", FieldCode::Empty),
            (
                r#"{"channels":{"sms":{"text":"{{ name"}}}"#,
                "/channels/sms/text",
                FieldCode::InvalidTemplate,
            ),
            (
                r#"{"channels":{"email":{"subject":"{% if %}"}}}"#,
                "/channels/email/subject",
                FieldCode::InvalidTemplate,
            ),
            (r#"{"key":"other","channels":{"sms":{"text":"x"}}}"#, "/key", FieldCode::Conflict),
        ] {
            let problem = check("t", serde_json::from_str(json).unwrap(), "acme").unwrap_err();
            assert_eq!(
                (problem.errors[0].pointer.as_str(), problem.errors[0].code),
                (pointer, code),
                "{json}"
            );
        }
        assert!(
            check(
                "t",
                serde_json::from_str(r#"{"channels":{"sms":{"text":"Hi {{ name }}"}}}"#).unwrap(),
                "a"
            )
            .is_ok()
        );
    }
}
