//! Error texts as logs and spans may show them: short, on one line, without addresses.
//! Reads: texts of handlers, providers and peers. Writes: nothing. Never: passes on a mail address or a
//! telephone number.

/// Characters of an error text in a log line or a span.
const ERROR_CHARS_MAX: usize = 200;
/// From this many digits in one word it may be somebody's number.
const DIGITS_MIN: usize = 7;

/// The text, cut, in one line, with everything masked that looks like an address or a telephone number.
#[must_use]
pub fn bounded(text: &str) -> String {
    let mut words = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .peekable();
    let mut shown = String::with_capacity(text.len().min(ERROR_CHARS_MAX));
    while let Some(word) = words.next() {
        if !shown.is_empty() {
            shown.push(' ');
        }
        // Digits in groups are one number.
        let (first, mut digits) = (shown.len(), digits(word));
        shown.push_str(word);
        while let Some(more) = words.next_if(|more| is_numeric(word) && is_numeric(more)) {
            digits += self::digits(more);
            shown.push(' ');
            shown.push_str(more);
            if shown.len() > ERROR_CHARS_MAX * 4 {
                break;
            }
        }
        if word.contains('@') || digits >= DIGITS_MIN {
            shown.truncate(first);
            shown.push_str("(masked)");
        }
        if shown.len() > ERROR_CHARS_MAX * 4 {
            break;
        }
    }
    match shown.char_indices().nth(ERROR_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &shown[..cut]),
        None => shown,
    }
}

fn digits(word: &str) -> usize {
    word.bytes().filter(u8::is_ascii_digit).count()
}

fn is_numeric(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit() || b"+-().,/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_are_masked() {
        let text = "rcpt:\r\n550 5.1.1 <bob@example.com>: no such user, call +1 (202) 555 0199 now";
        assert_eq!(bounded(text), "rcpt: 550 5.1.1 (masked) no such user, call (masked) now");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "é".repeat(10_000);
        assert_eq!(bounded(&text).chars().count(), ERROR_CHARS_MAX + 1);
        assert_eq!(bounded(&"word ".repeat(10_000)).chars().count(), ERROR_CHARS_MAX + 1);
    }
}
