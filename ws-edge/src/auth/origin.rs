//! Which pages may connect, by the origin that their browser states.
//! Reads: the `Origin` header and the configured list. Writes: nothing.
//! Never: matches a part of a name. A star stands for whole labels in front of the domain and for nothing else.

use http::{HeaderMap, header};

/// Whether this request may connect: a browser always says its origin, and only a browser carries a stranger's
/// page, so a request without an origin may.
pub(crate) fn allowed(list: &[String], headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    list.iter().any(|one| one == "*") || listed(list, origin.as_bytes())
}

/// Whether the list names this origin, itself or by a pattern; `*` for all names nobody.
pub(crate) fn listed(list: &[String], origin: &[u8]) -> bool {
    list.iter().filter(|one| *one != "*").any(|one| matches(one, origin))
}

/// Whether an entry of the list can be meant.
pub(crate) fn check(entry: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("allowed_origins: {entry:?} {why}"));
    if entry == "*" || entry == "null" {
        return Ok(());
    }
    let Some((scheme, host)) = entry.split_once("://") else {
        return wrong("is no origin: write it as https://app.example.com");
    };
    if scheme.is_empty() || host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
        return wrong("is no origin: scheme, host and perhaps port, nothing after them");
    }
    let domain = match host.strip_prefix("*.") {
        None => return if entry.contains('*') { wrong(STAR) } else { Ok(()) },
        Some(domain) => domain,
    };
    let name = domain.split(':').next().unwrap_or_default();
    if entry.matches('*').count() > 1 {
        return wrong(STAR);
    }
    if !name.contains('.') && name != "localhost" {
        return wrong("would let in everybody under a top-level domain");
    }
    Ok(())
}

const STAR: &str = "has a `*` elsewhere than in front of a domain, as in https://*.example.com";

fn matches(entry: &str, origin: &[u8]) -> bool {
    let Some((scheme, domain)) = entry.split_once("://*.") else {
        return entry.as_bytes() == origin;
    };
    let labels = origin
        .strip_prefix(scheme.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"://"))
        .and_then(|rest| rest.strip_suffix(domain.as_bytes()))
        .and_then(|rest| rest.strip_suffix(b"."));
    // Browsers write host names in small letters of ASCII.
    let label = |one: &[u8]| {
        let plain =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(byte);
        !one.is_empty() && one.iter().all(plain)
    };
    labels.is_some_and(|labels| labels.split(|byte| *byte == b'.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, origin.parse().unwrap())])
    }

    #[test]
    fn only_listed_origins_may_connect() {
        let list = vec!["https://app.example".to_owned()];
        assert!(allowed(&list, &from("https://app.example")));
        for other in [
            "https://app.example.evil.example",
            "http://app.example",
            "https://app.example:444",
            "null",
            "*",
        ] {
            assert!(!allowed(&list, &from(other)), "{other}");
        }
        assert!(allowed(&list, &HeaderMap::new()));
        assert!(allowed(&["*".to_owned()], &from("https://any.example")));
        assert!(!allowed(&[], &from("https://any.example")));
    }

    #[test]
    fn a_star_stands_for_sub_domains_and_nothing_that_looks_like_them() {
        let list = vec!["https://*.example.com".to_owned(), "http://*.localhost:3000".to_owned()];
        for good in [
            "https://app.example.com",
            "https://a.b-1.example.com",
            "https://xn--mnchen-3ya.example.com",
            "http://shop.localhost:3000",
        ] {
            assert!(allowed(&list, &from(good)), "{good}");
        }
        for other in [
            "https://example.com",
            "https://.example.com",
            "https://a..example.com",
            "https://evilexample.com",
            "https://app.example.com.evil.test",
            "https://app.example.com:8443",
            "http://app.example.com",
            "https://evil.test/.example.com",
            "https://evil.test?.example.com",
            "https://evil.test#.example.com",
            "https://evil.test:1.example.com",
            "https://user@app.example.com",
            "https://evil.test\\.example.com",
            "https://*.example.com",
            "https://app.example.com ",
            "https://APP.example.com",
            "xhttps://app.example.com",
            "https://https://app.example.com",
            "http://shop.localhost",
            "http://shop.localhost:30001",
        ] {
            let origin = http::HeaderValue::from_bytes(other.as_bytes()).unwrap();
            assert!(!listed(&list, origin.as_bytes()), "{other}");
        }
        assert!(!listed(&["*".to_owned()], b"https://app.example.com"));
    }

    #[test]
    fn entries_that_cannot_be_meant_are_refused() {
        for good in [
            "*",
            "null",
            "https://app.example.com",
            "http://localhost:3000",
            "https://*.example.com",
            "https://*.example.com:8443",
            "http://*.localhost:3000",
            "capacitor://localhost",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://*",
            "https://*.com",
            "https://*example.com",
            "https://app.*.com",
            "https://*.*.example.com",
            "*.example.com",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
