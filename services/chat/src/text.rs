//! What people type: handles, names, messages, mentions, commands.
//! Reads and writes: nothing. Never: changes a text beyond trimming; what cannot stay is refused.

/// Longest handle, in bytes.
const HANDLE_BYTES_MAX: usize = 32;
/// Longest name of a person or room, in characters.
const NAME_CHARS_MAX: usize = 60;
/// Longest message, in characters.
pub const MESSAGE_CHARS_MAX: usize = 4_000;
/// Mentions of one message that count.
const MENTIONS_MAX: usize = 20;

/// What a text that begins with `/` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// No command.
    None,
    /// One that runs as a job, and its argument.
    Job(&'static str, String),
    /// One that nobody knows.
    Unknown,
}

/// Commands that run as jobs.
pub const COMMANDS: [&str; 2] = ["export", "thumbnail"];

/// Whether this can be a handle: 2 to 32 small letters, digits, `-`, `_`, beginning with a letter.
#[must_use]
pub fn is_handle(text: &str) -> bool {
    (2..=HANDLE_BYTES_MAX).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text.bytes().all(is_handle_byte)
}

const fn is_handle_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
}

/// The name without white space around it; `None` if nothing is left, or too much.
#[must_use]
pub fn name(text: &str) -> Option<&str> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX;
    (fits && !text.chars().any(char::is_control)).then_some(text)
}

/// A message without white space at its end; `None` if it is too long or holds control characters other than line
/// ends and tabs. Empty is allowed: an attachment says enough.
#[must_use]
pub fn message(text: &str) -> Option<&str> {
    let text = text.trim_end();
    let bad = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
    (text.chars().count() <= MESSAGE_CHARS_MAX && !text.chars().any(bad)).then_some(text)
}

/// Handles after an `@`, each once, in their order, at most 20.
#[must_use]
pub fn mentions(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        // `anna@example.com` names nobody.
        if letter == '@' && !before.is_alphanumeric() {
            let rest = text[at + 1..].to_ascii_lowercase();
            let end = rest.bytes().position(|byte| !is_handle_byte(byte)).unwrap_or(rest.len());
            let handle = rest[..end].trim_end_matches(['-', '_']);
            if is_handle(handle) && !found.iter().any(|known| known == handle) {
                found.push(handle.to_owned());
            }
            if found.len() == MENTIONS_MAX {
                break;
            }
        }
        before = letter;
    }
    found
}

/// Whether a text is a command. `//` begins a text that begins with `/`.
#[must_use]
pub fn command(text: &str) -> Command {
    let Some(rest) = text.strip_prefix('/').filter(|rest| !rest.starts_with('/')) else {
        return Command::None;
    };
    let (word, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let known = COMMANDS.into_iter().find(|known| known.eq_ignore_ascii_case(word));
    known.map_or(Command::Unknown, |known| Command::Job(known, argument.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_harmless() {
        assert!(["al", "ana-2", "a_b"].into_iter().all(is_handle));
        assert!(!["a", "2ana", "Ana", "añb", "", "a b"].into_iter().any(is_handle));
        assert!(!is_handle(&"a".repeat(33)));
    }

    #[test]
    fn mentions_are_found_once_each() {
        assert_eq!(mentions("@ana and (@Bob), @ana: see a@b.com, @x @ñu"), ["ana", "bob"]);
        assert_eq!(mentions("¿@luis?"), ["luis"]);
        assert_eq!(mentions(&"@aa @bb ".repeat(50)).len(), 2);
    }

    #[test]
    fn commands_are_known_or_refused() {
        assert_eq!(command("hello /export"), Command::None);
        assert_eq!(command("/Export"), Command::Job("export", String::new()));
        assert_eq!(command("/thumbnail  80 "), Command::Job("thumbnail", "80".to_owned()));
        assert_eq!(command("/rm -rf"), Command::Unknown);
        assert_eq!(command("//not a command"), Command::None);
    }

    #[test]
    fn texts_are_bounded() {
        assert_eq!(message("a\n\tb \n"), Some("a\n\tb"));
        assert_eq!(message("a\u{0}"), None);
        assert_eq!(message(&"ñ".repeat(4_001)), None);
        assert_eq!((name("  Ana "), name(" "), name("a\nb")), (Some("Ana"), None, None));
    }
}
