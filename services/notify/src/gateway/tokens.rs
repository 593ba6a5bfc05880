//! `POST /v1/tokens`: connection tokens for browsers, minted for a caller's own users.
//! Reads: the signing keys. Writes: nothing.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use campana_bus::clock::{self, Micros};
use campana_bus::subjects::ChannelName;
use campana_identity::{ConnectionSpec, MintError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body;
use super::problem::{Code, FieldCode, Problem, ProblemDocument};
use super::state::App;
use super::validate::FieldErrors;

/// Whose token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenIn {
    /// The user, by the recipient's id.
    #[schema(example = "alice")]
    pub user: String,
    /// How long it lives; default one hour, at most one day.
    pub ttl_seconds: Option<u64>,
}

/// A connection token.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenOut {
    /// The token: hand it to the browser.
    pub token: String,
    /// When it ends; get a new one before.
    pub expires_at: String,
    /// Where to connect.
    #[schema(example = "ws://127.0.0.1:8000/connection/websocket")]
    pub ws_url: String,
    /// The user's inbox channel, subscribed by the server.
    #[schema(example = "inbox:#alice")]
    pub channel: String,
}

/// Mint a connection token
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens", request_body = TokenIn,
    responses(
        (status = 201, description = "The token", body = TokenOut),
        (status = 422, description = "Wrong fields", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn post_token(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<TokenOut>), Problem> {
    let json = body::json_bytes(&headers, body, app.options.body_bytes_max, &app.options).await?;
    let input = body::decode::<TokenIn>(&json, "")?;
    let mut errors = FieldErrors::default();
    errors.name("/user", &input.user);
    let ttl = input.ttl_seconds.unwrap_or(app.options.token_ttl_seconds);
    if ttl == 0 || ttl > app.options.token_ttl_seconds_max {
        let detail = format!("1 to {} seconds are allowed", app.options.token_ttl_seconds_max);
        errors.push("/ttl_seconds", FieldCode::OutOfRange, detail);
    }
    errors.finish()?;
    Ok((StatusCode::CREATED, Json(mint(&app, &input.user, caller.tenant(), ttl)?)))
}

/// Mints a token for a user whose name was checked.
pub(super) fn mint(
    app: &App,
    user: &str,
    tenant: &str,
    ttl_seconds: u64,
) -> Result<TokenOut, Problem> {
    let now = clock::now();
    let ttl = i64::try_from(ttl_seconds).unwrap_or(i64::MAX);
    let policy = &app.deps.tokens.claim_rules().policy;
    let spec = ConnectionSpec {
        audience: policy.audience.clone(),
        issuer: policy.issuer.clone(),
        ..ConnectionSpec::default()
    };
    let token = app
        .deps
        .token_keys
        .mint_connection(user, tenant, ttl, now.0.div_euclid(1_000_000), &spec)
        .map_err(|error| match error {
            MintError::Name(why) => {
                let mut errors = FieldErrors::default();
                errors.push("/user", FieldCode::InvalidName, why.to_string());
                errors
                    .finish()
                    .err()
                    .unwrap_or_else(|| Problem::new(Code::Internal, "no token could be made"))
            }
            MintError::Lifetime | MintError::Sign => {
                Problem::new(Code::Internal, "no token could be made")
            }
        })?;
    let channel = ChannelName::inbox(user)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?
        .as_str()
        .to_owned();
    let expires_at = Micros(now.0 - now.0.rem_euclid(1_000_000)).plus_seconds(ttl).to_rfc3339();
    Ok(TokenOut { token, expires_at, ws_url: app.deps.ws_url.clone(), channel })
}
