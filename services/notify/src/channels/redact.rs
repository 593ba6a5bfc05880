//! Provider answers without personal data.
//! Reads: a text. Writes: nothing. Never: lets an address, a phone number, a URL or a line break through.

/// Longest detail that is kept.
const DETAIL_CHARS_MAX: usize = 200;
/// So many digits in a row are taken for a phone number.
const NUMBER_DIGITS_MIN: usize = 7;

/// The text with addresses, numbers and URLs replaced, on one line, cut.
#[must_use]
pub(super) fn redact(text: &str) -> String {
    let words = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .map(word);
    let line = words.collect::<Vec<_>>().join(" ");
    if line.chars().count() <= DETAIL_CHARS_MAX {
        return line;
    }
    let mut cut: String = line.chars().take(DETAIL_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

fn word(word: &str) -> &str {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    if word.contains('@') {
        "<address>"
    } else if word.contains("://") {
        "<url>"
    } else if digits >= NUMBER_DIGITS_MIN
        && word.bytes().all(|byte| byte.is_ascii_digit() || b"+-().,:;'\"<>".contains(&byte))
    {
        "<number>"
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn personal_data_goes_and_the_reason_stays() {
        for (text, expected) in [
            (
                "550 5.1.1 <bob@example.com>: Recipient address rejected",
                "550 5.1.1 <address> Recipient address rejected",
            ),
            ("The number +15551234567 is\r\nnot valid", "The number <number> is not valid"),
            ("see https://example.test/bob for more", "see <url> for more"),
            ("queued as 4F2A1B9C77D", "queued as 4F2A1B9C77D"),
        ] {
            assert_eq!(redact(text), expected);
        }
        assert_eq!(redact(&"é ".repeat(500)).chars().count(), 200);
    }
}
