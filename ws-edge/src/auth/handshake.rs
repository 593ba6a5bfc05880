//! What an HTTP request that opens a connection says besides the protocol: a token, headers for services, where
//! it comes from.
//! Reads: the request's headers. Writes: nothing.
//! Never: takes a token out of a cookie unless the page that sent it belongs to a listed origin, because a
//! browser adds cookies to what any page asks for; keeps a header that no option names.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, header};

use super::origin;
use crate::options::EdgeOptions;

/// What the request that opened a connection said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// A token from a cookie or the `Authorization` header; one in the connect command is used instead.
    pub(crate) token: Option<String>,
    /// Headers that services are told, by their names in small letters: those of `proxy.headers`, no others.
    pub(crate) headers: BTreeMap<String, String>,
    /// The address at the other end of the socket; behind a proxy it is the proxy's.
    pub(crate) ip: IpAddr,
    /// How the client is connected, in Centrifugo's words.
    pub(crate) transport: &'static str,
}

impl Default for Handshake {
    /// Of nobody in particular: no token, no headers, the unspecified address.
    fn default() -> Self {
        Self {
            token: None,
            headers: BTreeMap::new(),
            ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            transport: "websocket",
        }
    }
}

impl Handshake {
    /// Reads a request. A token in an `Authorization` header goes before one in a cookie.
    pub(crate) fn of(headers: &HeaderMap, peer: SocketAddr, options: &EdgeOptions) -> Self {
        let token = bearer(headers, options).or_else(|| cookie(headers, options));
        let kept = |name: &String| {
            let values: Vec<&str> =
                headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            (!values.is_empty()).then(|| (name.clone(), values.join(", ")))
        };
        let headers = options.proxy.headers.iter().filter_map(kept).collect();
        Self { token, headers, ip: peer.ip(), ..Self::default() }
    }

    /// The same over this transport.
    pub(crate) fn over(self, transport: &'static str) -> Self {
        Self { transport, ..self }
    }
}

/// The token of an `Authorization: Bearer` header, if the option allows it.
fn bearer(headers: &HeaderMap, options: &EdgeOptions) -> Option<String> {
    if !options.token_header {
        return None;
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

/// The token of the cookie that the option names, if a page of a listed origin sent it. No origin, no cookie: a
/// page can have a browser ask for an image without saying where the page is from, and cookies go along. Where
/// browsers leave the origin out because the page is the server's own, they say so in `Sec-Fetch-Site`, which no
/// page can set.
fn cookie(headers: &HeaderMap, options: &EdgeOptions) -> Option<String> {
    if options.token_cookie.is_empty() {
        return None;
    }
    let own = || headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
    let trusted = match headers.get(header::ORIGIN) {
        Some(origin) => origin::listed(&options.allowed_origins, origin.as_bytes()),
        None => own(),
    };
    if !trusted {
        return None;
    }
    let texts = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim() == options.token_cookie)?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Some(quoted.unwrap_or(value).to_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                ((*name).parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
            })
            .collect()
    }

    fn read(options: &EdgeOptions, pairs: &[(&'static str, &str)]) -> Handshake {
        Handshake::of(&headers(pairs), "192.0.2.7:4711".parse().unwrap(), options)
    }

    fn with_cookie() -> EdgeOptions {
        EdgeOptions {
            token_cookie: "bell".to_owned(),
            allowed_origins: vec!["https://*.example".to_owned()],
            ..EdgeOptions::default()
        }
    }

    #[test]
    fn nothing_is_read_unless_an_option_says_so() {
        let all = [
            ("cookie", "bell=t"),
            ("authorization", "Bearer t"),
            ("origin", "https://app.example"),
            ("user-agent", "x"),
        ];
        let found = read(&EdgeOptions::default(), &all);
        let ip = "192.0.2.7".parse().unwrap();
        assert_eq!(found, Handshake { ip, ..Handshake::default() });
    }

    #[test]
    fn a_cookie_counts_only_from_a_page_of_a_listed_origin() {
        let options = with_cookie();
        let token = |pairs: &[(&'static str, &str)]| read(&options, pairs).token;
        let cookie = ("cookie", "a=1; bell=the.to.ken; b=2");
        let good = Some("the.to.ken".to_owned());
        assert_eq!(token(&[cookie, ("origin", "https://app.example")]), good);
        assert_eq!(token(&[cookie, ("sec-fetch-site", "same-origin")]), good);
        assert_eq!(token(&[cookie]), None);
        for other in ["https://evil.test", "null", "https://app.example.evil.test", "*"] {
            assert_eq!(token(&[cookie, ("origin", other)]), None, "{other}");
            // What a page says about itself counts more than what the browser guesses.
            let both = [cookie, ("origin", other), ("sec-fetch-site", "same-origin")];
            assert_eq!(token(&both), None, "{other}");
        }
        for site in ["cross-site", "same-site", "none"] {
            assert_eq!(token(&[cookie, ("sec-fetch-site", site)]), None, "{site}");
        }
        let any = EdgeOptions { allowed_origins: vec!["*".to_owned()], ..with_cookie() };
        assert_eq!(read(&any, &[cookie, ("origin", "https://evil.test")]).token, None);
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let options = with_cookie();
        let token = |cookie: &str| {
            read(&options, &[("cookie", cookie), ("origin", "https://a.example")]).token
        };
        assert_eq!(token("bell=t"), Some("t".to_owned()));
        assert_eq!(token("bell=\"t\""), Some("t".to_owned()));
        assert_eq!(token("x=1;bell=t"), Some("t".to_owned()));
        assert_eq!(token("bell=a=b"), Some("a=b".to_owned()));
        for none in ["bell=", "bells=t", "doorbell=t", "Bell=t", "bell", "x=bell=t", ""] {
            assert_eq!(token(none), None, "{none}");
        }
    }

    #[test]
    fn a_bearer_header_goes_before_a_cookie() {
        let options = EdgeOptions { token_header: true, ..with_cookie() };
        let token = |value: &str| {
            let origin = ("origin", "https://a.example");
            read(&options, &[("authorization", value), ("cookie", "bell=c"), origin]).token
        };
        assert_eq!(token("Bearer t"), Some("t".to_owned()));
        assert_eq!(token("bearer  t"), Some("t".to_owned()));
        for other in ["Basic dTpw", "Bearer ", "Bearer", "t"] {
            assert_eq!(token(other), Some("c".to_owned()), "{other}");
        }
    }

    #[test]
    fn named_headers_are_kept_and_no_others() {
        let mut options = with_cookie();
        options.proxy.headers = vec!["x-trace".to_owned(), "accept-language".to_owned()];
        let found =
            read(&options, &[("X-Trace", "1"), ("X-Trace", "2"), ("cookie", "s=1"), ("x-b", "1")]);
        assert_eq!(found.headers, BTreeMap::from([("x-trace".to_owned(), "1, 2".to_owned())]));
    }
}
