//! Field checks: values in, field errors out.
//! Reads and writes: nothing; pure. Never: puts the wrong value itself into an error, because it may be
//! an address.

use std::borrow::Cow;
use std::fmt::Write as _;

use campana_bus::subjects::{self, NameError};

use super::problem::{FieldCode, FieldError, Problem};

/// Errors of one body that are reported at once.
pub(super) const ERRORS_MAX: usize = 20;
/// Bytes of an e-mail address (RFC 5321, 4.5.3.1.3: a path has 256 with its angle brackets).
const EMAIL_BYTES_MAX: usize = 254;
/// Bytes of a URL.
const URL_BYTES_MAX: usize = 2_048;

/// Collects errors under a prefix of the body.
#[derive(Debug, Default)]
pub(super) struct FieldErrors {
    prefix: String,
    list: Vec<FieldError>,
}

impl FieldErrors {
    /// For a part of a body that begins at `prefix` (empty for the whole).
    pub(super) fn at(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), list: Vec::new() }
    }

    /// Adds an error; those beyond the limit are dropped.
    pub(super) fn push(
        &mut self,
        pointer: &str,
        code: FieldCode,
        detail: impl Into<Cow<'static, str>>,
    ) {
        if self.list.len() < ERRORS_MAX {
            let pointer = format!("{}{pointer}", self.prefix);
            self.list.push(FieldError { pointer, code, detail: detail.into() });
        }
    }

    /// Ok if there is none.
    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.list.is_empty() { Ok(()) } else { Err(Problem::fields(self.list)) }
    }

    /// A name that a user chose: printable, not too long.
    pub(super) fn name(&mut self, pointer: &str, name: &str) {
        match subjects::check_name(name) {
            Ok(()) => {}
            Err(NameError::Empty) => {
                self.push(pointer, FieldCode::Empty, "a name must not be empty")
            }
            Err(NameError::TooLong) => {
                self.push(pointer, FieldCode::TooLong, NameError::TooLong.to_string());
            }
            Err(other) => self.push(pointer, FieldCode::InvalidName, other.to_string()),
        }
    }

    /// A text of at most `max` bytes, possibly empty.
    pub(super) fn text(&mut self, pointer: &str, text: &str, max: usize) {
        if text.len() > max {
            self.push(pointer, FieldCode::TooLong, format!("at most {max} bytes are allowed"));
        }
    }

    /// A text of at most `max` bytes that is not blank.
    pub(super) fn required_text(&mut self, pointer: &str, text: &str, max: usize) {
        if text.trim().is_empty() {
            self.push(pointer, FieldCode::Empty, "a text is needed here");
        }
        self.text(pointer, text, max);
    }

    /// An e-mail address.
    pub(super) fn email(&mut self, pointer: &str, email: &str) {
        if !is_email(email) {
            self.push(
                pointer,
                FieldCode::InvalidEmail,
                "this is not an e-mail address that SMTP can carry",
            );
        }
    }

    /// A phone number.
    pub(super) fn phone(&mut self, pointer: &str, phone: &str) {
        if !is_e164(phone) {
            self.push(
                pointer,
                FieldCode::InvalidPhone,
                "a phone number has the form +15551234567 (E.164)",
            );
        }
    }

    /// An absolute http or https URL.
    pub(super) fn url(&mut self, pointer: &str, url: &str) {
        if !is_http_url(url) {
            self.push(
                pointer,
                FieldCode::InvalidUrl,
                "an absolute http or https URL is needed here",
            );
        }
    }

    /// Where a click leads: an absolute http or https URL, or a path on the page's own site.
    pub(super) fn link(&mut self, pointer: &str, link: &str) {
        let path = link.starts_with('/')
            && !link.starts_with("//")
            && !link.contains('\\')
            && link.len() <= URL_BYTES_MAX
            && !link.chars().any(char::is_control);
        if !path {
            self.url(pointer, link);
        }
    }
}

/// Whether SMTP can carry mail to this address; syntax only.
pub(super) fn is_email(email: &str) -> bool {
    email.len() <= EMAIL_BYTES_MAX
        && !email.chars().any(|ch| ch.is_control() || ch.is_whitespace())
        && email.parse::<lettre::Address>().is_ok()
}

/// ITU-T E.164: a plus sign and up to 15 digits, the first of which is not zero.
pub(super) fn is_e164(phone: &str) -> bool {
    let Some(digits) = phone.strip_prefix('+') else {
        return false;
    };
    (7..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

/// An absolute http or https URL with a host and no credentials.
pub(super) fn is_http_url(text: &str) -> bool {
    text.len() <= URL_BYTES_MAX
        && !text.chars().any(|ch| ch.is_control() || ch.is_whitespace())
        && url::Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        })
}

/// One step of a JSON pointer (RFC 6901): `/` and the escaped name.
pub(super) fn step(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 1);
    out.push('/');
    for ch in name.chars() {
        match ch {
            '~' => out.push_str("~0"),
            '/' => out.push_str("~1"),
            // A pointer is shown to people: control characters would break their terminals.
            ch if ch.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(ch));
            }
            ch => out.push(ch),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails() {
        for good in ["a@x.org", "first.last+tag@mail.example.com", "o'neil@example.com"] {
            assert!(is_email(good), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in [
            "",
            "a",
            "@x.org",
            "a@",
            "a b@x.org",
            "a@x.org\nBcc: b@x.org",
            "a@x..org",
            "a@@x.org",
            &long,
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn phones() {
        for good in ["+15551234567", "+491701234567", "+1234567"] {
            assert!(is_e164(good), "{good}");
        }
        for bad in [
            "",
            "15551234567",
            "+0123456789",
            "+1 555 123",
            "+1555123456789012",
            "+12345",
            "+1555１23456",
        ] {
            assert!(!is_e164(bad), "{bad}");
        }
    }

    #[test]
    fn urls() {
        for good in ["https://x.org", "http://127.0.0.1:8025/hook?a=b"] {
            assert!(is_http_url(good), "{good}");
        }
        for bad in [
            "",
            "x.org",
            "ftp://x.org",
            "javascript:alert(1)",
            "https://u:p@x.org",
            "http://",
            "https://x.org/ a",
        ] {
            assert!(!is_http_url(bad), "{bad}");
        }
        for (link, good) in
            [("/a/b", true), ("//evil.example", false), ("/\\evil", false), ("a/b", false)]
        {
            let mut errors = FieldErrors::default();
            errors.link("/url", link);
            assert_eq!(errors.finish().is_ok(), good, "{link}");
        }
    }

    #[test]
    fn names_and_pointers() {
        let long = "x".repeat(10_000);
        for (name, code) in [
            ("", Some(FieldCode::Empty)),
            (long.as_str(), Some(FieldCode::TooLong)),
            ("a\nb", Some(FieldCode::InvalidName)),
            ("*.>", None),
            ("🔔", None),
        ] {
            let mut errors = FieldErrors::at("/to");
            errors.name("/0", name);
            assert_eq!(errors.list.first().map(|error| error.code), code, "{name}");
        }
        assert_eq!(step("a/b~c\n"), "/a~1b~0c\\u000a");
    }

    #[test]
    fn no_more_than_the_limit_is_reported() {
        let mut errors = FieldErrors::default();
        for at in 0..50 {
            errors.push(&format!("/{at}"), FieldCode::Empty, "");
        }
        assert_eq!(errors.finish().unwrap_err().errors.len(), ERRORS_MAX);
    }
}
