//! Header values of CloudEvents: percent-encoded as the NATS binding asks (§3.1.3.2 of
//! `cloudevents/bindings/nats-protocol-binding.md`).
//! Reads and writes: texts. Never: accepts bytes that are no UTF-8, overlong forms included.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Space, double quote, percent and everything outside U+0021 to U+007E.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The form that travels; most values are their own.
pub fn encode(value: &str) -> Cow<'_, str> {
    utf8_percent_encode(value, ENCODED).into()
}

/// One round of decoding, after the double quotes that older writers use; `None` for what is no UTF-8.
pub fn decode(value: &str) -> Option<Cow<'_, str>> {
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(quoted) = quoted else {
        return percent_encoding::percent_decode_str(value).decode_utf8().ok();
    };
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next()? } else { character });
    }
    let decoded = percent_encoding::percent_decode_str(&text).decode_utf8().ok()?;
    Some(Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        let text = "Euro € 😀";
        assert_eq!(encode(text), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(decode(&encode(text)).unwrap(), text);
        assert!(matches!(encode("shop.order_created.v1"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_older_writers_send_is_read() {
        assert_eq!(decode(r#""a \"b\" \\ c%41""#).unwrap(), r#"a "b" \ cA"#);
        assert_eq!(decode("%e2%82%ac %7e").unwrap(), "€ ~");
        // A percent sign that starts no pair stands for itself.
        assert_eq!(decode("100%").unwrap(), "100%");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(decode("%C0%A0"), None);
        assert_eq!(decode("%FF"), None);
        assert_eq!(decode("\"\\\""), None);
    }
}
