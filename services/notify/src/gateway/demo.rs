//! `POST /demo/session`: what the demo page needs to ring its bell. Off unless configured.
//! Reads: the demo's API key. Writes: table `recipients` (the demo's user, if missing).

use std::net::IpAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use campana_bus::clock;
use campana_identity::DEFAULT_TENANT;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use url::Url;

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

/// Whether a `Host` header names this machine. A page of a foreign site whose name was pointed here (DNS
/// rebinding) would otherwise be of our origin for the browser, and could read the key.
fn is_own_name(host: &str, public_url: &str) -> bool {
    let Some(name) = host_name(&format!("http://{host}")) else {
        return false;
    };
    let local =
        name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost");
    local || host_name(public_url).is_some_and(|public| public == name)
}

fn host_name(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(url.host_str()?.trim_matches(['[', ']']).to_ascii_lowercase())
}

pub(super) async fn post_session(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SessionOut>, Problem> {
    let Some(demo) = app.deps.demo.clone() else {
        return Err(Problem::new(Code::NotFound, "the demo is switched off"));
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_own_name(host, &app.deps.public_url) {
        return Err(Problem::new(
            Code::Forbidden,
            "the demo answers only under the name of this machine or public.gateway_url",
        ));
    }
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

#[cfg(test)]
mod tests {
    use super::is_own_name;

    #[test]
    fn only_names_of_this_machine_get_a_key() {
        let public = "https://bell.example.org";
        for own in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "localhost:8080",
            "192.168.1.5",
            "BELL.example.org",
            "a.localhost",
        ] {
            assert!(is_own_name(own, public), "{own}");
        }
        for foreign in [
            "evil.example:8080",
            "localhost.evil.example",
            "bell.example.org.evil.example",
            "",
            "127.0.0.1.evil.example",
            "a b",
        ] {
            assert!(!is_own_name(foreign, public), "{foreign}");
        }
    }
}
