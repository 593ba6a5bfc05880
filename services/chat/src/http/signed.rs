//! Who asks: the session behind the cookie, and whether the request comes from the page.
//! Reads: the cookie, `Origin`, `Sec-Fetch-Site`. Writes: when a session was last used. Never: lets a session live in
//! memory: one that was revoked is gone with the next request, and one that was not survives every restart.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use campana_bus::clock;
use serde::de::DeserializeOwned;

use super::App;
use crate::problem::{Code, Problem};
use crate::secrets;
use crate::store::people::{Person, Session};

/// Name of the session's cookie. Over TLS its prefix keeps neighbours from setting it.
pub(super) fn cookie_name(public_url: &str) -> &'static str {
    if public_url.starts_with("https:") { "__Host-chat_session" } else { "chat_session" }
}

/// The time of last use is written at most so often, in microseconds.
const TOUCH_AFTER: i64 = 60_000_000;

/// Somebody with a good session.
pub(super) struct Signed {
    pub(super) person: Person,
    pub(super) session: Session,
}

impl FromRequestParts<Arc<App>> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let secret = cookie(&parts.headers, app.cookie).ok_or(Code::Unauthorized)?;
        let now = clock::now();
        let found = app.store.session(&secrets::digest(secret), now).await?;
        let (person, session) = found.ok_or(Code::Unauthorized)?;
        let taken = app.limits.requests.take(&person.id, clock::monotonic());
        taken.map_err(|wait| Problem::after(Code::RateLimited, wait))?;
        if now.0 - session.seen_at > TOUCH_AFTER {
            app.store.touch_session(&session.id, now).await?;
        }
        Ok(Self { person, session })
    }
}

impl Signed {
    /// Takes one of the person's requests.
    ///
    /// # Errors
    /// If there were too many.
    pub(super) fn paced(&self, app: &App) -> Result<(), Problem> {
        let taken = app.limits.others.take(&self.person.id, clock::monotonic());
        taken.map_err(|wait| Problem::after(Code::RateLimited, wait))
    }
}

/// The secret in the cookie.
fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// JSON whose errors are problem documents.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, app).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::BytesRejection(_)) => Err(Code::TooLarge.into()),
            Err(error) => Err(Problem::because(Code::InvalidBody, error.body_text())),
        }
    }
}

/// Refuses what another site makes a browser send: cookies come along with that. Programs send neither header.
pub(super) async fn same_origin(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads || is_own(request.headers(), &app.public_url) {
        next.run(request).await
    } else {
        Problem::from(Code::ForeignOrigin).into_response()
    }
}

fn is_own(headers: &HeaderMap, public_url: &str) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text("sec-fetch-site".parse().unwrap_or(HOST)).is_some_and(|site| site == "cross-site") {
        return false;
    }
    let Some(origin) = text(ORIGIN) else { return true };
    let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
    origin == public_url || text(HOST).is_some_and(|host| host == authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_page_and_programs_are_believed() {
        let own = |pairs: &[(&'static str, &str)]| is_own(&headers(pairs), "https://chat.example");
        assert!(own(&[("host", "a:1")]));
        assert!(own(&[("host", "a:1"), ("origin", "http://a:1")]));
        assert!(own(&[("host", "inside:1"), ("origin", "https://chat.example")]));
        assert!(!own(&[("host", "a:1"), ("origin", "http://evil")]));
        assert!(!own(&[("host", "a:1"), ("origin", "null")]));
        assert!(!own(&[("host", "a:1"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let all = headers(&[("cookie", "a=b; chat_session=xyz; c=d")]);
        let (plain, over_tls) = (cookie_name("http://a"), cookie_name("https://a"));
        assert_eq!((cookie(&all, plain), cookie(&all, over_tls)), (Some("xyz"), None));
        assert_eq!(cookie(&headers(&[("cookie", "xchat_session=1")]), plain), None);
    }
}
