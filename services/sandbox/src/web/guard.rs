//! Keeps other web sites out of a server that listens on a developer's machine.
//!
//! A page from elsewhere can make a browser resolve its own name to 127.0.0.1 and read answers
//! as its own (DNS rebinding). So the read side answers only to names such a page cannot have:
//! addresses, names without a dot, localhost, and the public address that was configured. The
//! receivers stay open: senders use whatever name they were given.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::Url;

use super::problem::Problem;
use crate::state::Shared;

/// The page loads its own files only and runs no inline code.
const PAGE_POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

pub async fn known_host(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path.starts_with("/webhook/") || path.starts_with("/2010-04-01/") {
        return next.run(request).await;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let public = shared.options.public_web_url.as_deref();
    if host.is_none_or(|host| is_known(host, public)) {
        return next.run(request).await;
    }
    Problem::forbidden("this host name is not known here: set the public web URL").into_response()
}

/// Sets what every answer carries; an answer's own policy (a mail's HTML) stays.
pub async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(PAGE_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn is_known(host: &str, public: Option<&str>) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let configured = public
        .and_then(|url| Url::parse(url).ok())
        .and_then(|url| url.host_str().map(str::to_owned));
    name.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || name.ends_with(".localhost")
        || configured.is_some_and(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::is_known;

    #[test]
    fn names_that_a_foreign_page_cannot_have_are_known() {
        for host in ["127.0.0.1:8025", "localhost:8025", "[::1]:8025", "sandbox", "a.localhost"] {
            assert!(is_known(host, None), "{host}");
        }
        assert!(!is_known("evil.example:8025", None));
        assert!(!is_known("evil.example:8025", Some("https://mail.example.test/")));
        assert!(is_known("mail.example.test", Some("https://mail.example.test/")));
    }
}
