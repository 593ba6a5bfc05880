//! `POST /demo/session`: what the demo page needs to ring its bell. Off unless configured.
//! Reads: the demo's API key. Writes: table `recipients` (the demo's user, if missing).

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use campana_bus::clock;
use campana_identity::DEFAULT_TENANT;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::body;
use super::problem::{Code, Problem};
use super::recipients::announce;
use super::state::App;
use super::tokens;
use super::validate::FieldErrors;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionIn {
    user: String,
}

#[derive(Debug, Serialize)]
pub(super) struct SessionOut {
    token: String,
    user: String,
    ws_url: String,
    channel: String,
    api_key: String,
    api_base: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics_url: Option<String>,
}

pub(super) async fn post_session(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SessionOut>, Problem> {
    let Some(demo) = app.deps.demo.clone() else {
        return Err(Problem::new(Code::NotFound, "the demo is switched off"));
    };
    let json = body::json_bytes(&headers, body, app.options.body_bytes_max, &app.options).await?;
    let user = body::decode::<SessionIn>(&json, "")?.user;
    let mut errors = FieldErrors::default();
    errors.name("/user", &user);
    errors.finish()?;
    let token = tokens::mint(&app, &user, DEFAULT_TENANT, app.options.token_ttl_seconds)?;
    // The page posts to the user's id, so there must be such a recipient. Without a database the bell
    // still rings: the gateway then accepts what it cannot look up.
    match app.deps.store.ensure_recipient(DEFAULT_TENANT, &user, clock::now()).await {
        Ok(()) => announce(&app, DEFAULT_TENANT, &user).await,
        Err(error) => tracing::warn!("the demo's user was not written: {error}"),
    }
    Ok(Json(SessionOut {
        token: token.token,
        user,
        ws_url: token.ws_url,
        channel: token.channel,
        api_key: demo.api_key.expose_secret().to_owned(),
        api_base: "",
        sandbox_url: demo.sandbox_url,
        metrics_url: demo.metrics_url,
    }))
}
