//! The fields of forms: what is taken, and the words of a refusal.
//! Reads: text. Writes: nothing. Never: changes more than white space and the case of addresses.

use campana_bus::clock::Micros;

use super::problem::Problem;

const NAME_CHARS_MAX: usize = 80;
/// Most bytes of an e-mail address, as SMTP has it.
pub const EMAIL_BYTES_MAX: usize = 254;
const NOTE_CHARS_MAX: usize = 500;
const ID_BYTES_MAX: usize = 64;

/// A person's name.
pub fn name(text: &str) -> Result<String, Problem> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
        return Err(Problem::field("/name", "1 to 80 characters"));
    }
    if name.chars().any(char::is_control) {
        return Err(Problem::field("/name", "no control characters"));
    }
    Ok(name.to_owned())
}

pub fn email(text: &str) -> Result<String, Problem> {
    let email = text.trim().to_lowercase();
    let looks_right = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.contains('.')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
    });
    let fits =
        email.len() <= EMAIL_BYTES_MAX && email.is_ascii() && email.matches('@').count() == 1;
    let clean = !email
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';' | '"'));
    if looks_right && fits && clean {
        Ok(email)
    } else {
        Err(Problem::field("/email", "an address such as ana@example.com"))
    }
}

/// A number in E.164 form, spaces and hyphens left out; or nothing.
pub fn phone(text: &str) -> Result<String, Problem> {
    let phone: String =
        text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
    if phone.is_empty() {
        return Ok(phone);
    }
    let digits = phone.strip_prefix('+').unwrap_or_default();
    let fits = (7..=15).contains(&digits.len()) && !digits.starts_with('0');
    if fits && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(phone);
    }
    Err(Problem::field("/phone", "a number with its country, such as +34 600 111 222"))
}

/// A point in time.
pub fn time(text: &str) -> Result<Micros, Problem> {
    Micros::from_rfc3339(text)
        .ok_or_else(|| Problem::field("/starts_at", "a time such as 2026-12-01T09:30:00Z"))
}

/// A few words of somebody.
pub fn text(pointer: &'static str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.chars().count() > NOTE_CHARS_MAX {
        return Err(Problem::field(pointer, "at most 500 characters"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Problem::field(pointer, "no control characters but line breaks"));
    }
    Ok(text.to_owned())
}

/// A name that a program chose.
pub fn id(pointer: &'static str, text: &str) -> Result<(), Problem> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > ID_BYTES_MAX || !visible {
        return Err(Problem::field(pointer, "1 to 64 bytes of visible ASCII"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        assert_eq!(email(" Ana@Example.com ").unwrap(), "ana@example.com");
        for bad in ["", "ana", "@example.com", "a@b", "a b@c.de", "a@b@c.de", "a@.de", "a,b@c.de"] {
            assert!(email(bad).is_err(), "{bad}");
        }
        assert!(name(" ").is_err() && name(&"x".repeat(81)).is_err() && name("a\nb").is_err());
    }

    #[test]
    fn numbers_are_checked() {
        assert_eq!(phone(" +34 600-111 222 ").unwrap(), "+34600111222");
        assert_eq!(phone("  ").unwrap(), "");
        for bad in ["600111222", "+0600111222", "+34", "+34 600 abc 222", "+1234567890123456"] {
            assert!(phone(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_and_ids_are_bounded() {
        assert_eq!(text("/note", " a\nb ").unwrap(), "a\nb");
        assert!(text("/note", "a\0b").is_err() && text("/note", &"ñ".repeat(501)).is_err());
        assert!(id("/request_id", "form-1").is_ok());
        for bad in ["", "a b", "a\0", "ñ", &"x".repeat(65)] {
            assert!(id("/request_id", bad).is_err(), "{bad}");
        }
    }
}
