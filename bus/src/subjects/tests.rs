//! Properties of the subject table: no name escapes its token, and every subject parses back.

use proptest::prelude::*;

use super::*;

#[test]
fn hostile_names_stay_one_token() {
    for name in ["*", ">", ".", "a.b", "a b", "a\nb", "\u{1F514}", "$SYS", "_INBOX", "=", "=2A", ""]
    {
        let token = escape(name);
        assert!(!token.contains(['.', '*', '>', ' ', '\n', '$']), "{name:?} became {token}");
        assert_eq!(unescape(&token).as_deref(), Some(name));
    }
}

#[test]
fn tokens_that_escape_never_makes_are_refused() {
    for token in ["", "=4", "=zz", "=41", "=2a", "a.b", "=FF", "=="] {
        assert_eq!(unescape(token), None, "{token}");
    }
}

#[test]
fn names_have_rules() {
    assert_eq!(check_name(""), Err(NameError::Empty));
    assert_eq!(check_name(&"x".repeat(256)), Err(NameError::TooLong));
    assert_eq!(check_name("a\nb"), Err(NameError::Control));
    assert_eq!(check_name("Zoë 🔔 * >"), Ok(()));
}

#[test]
fn the_inbox_of_a_user_is_a_personal_channel() {
    let inbox = ChannelName::inbox("alice").unwrap();
    assert_eq!(inbox.as_str(), "inbox:#alice");
    assert_eq!(channel("default", &inbox), "ch.default.inbox.=23alice");
    assert_eq!(live("default", &inbox), "live.ch.default.inbox.=23alice");
}

proptest! {
    #[test]
    fn escaping_is_injective_and_safe(a in any::<String>(), b in any::<String>()) {
        let (token_a, token_b) = (escape(&a), escape(&b));
        prop_assert!(token_a.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_=".contains(&c)));
        prop_assert_eq!(unescape(&token_a), Some(a.clone()));
        prop_assert_eq!(a == b, token_a == token_b);
    }

    #[test]
    fn channels_parse_back(tenant in "[^\\p{Cc}]{1,40}", name in "[^\\p{Cc}]{1,60}") {
        let Ok(name) = ChannelName::parse(&name) else {
            prop_assert!(name.starts_with(':') || name.find(':') == Some(name.len() - 1) || name.len() > NAME_BYTES_MAX);
            return Ok(());
        };
        let subject = live(&tenant, &name);
        prop_assert_eq!(subject.split('.').count(), 5);
        prop_assert_eq!(parse_channel(&subject), Some((tenant, name)));
    }

    #[test]
    fn dead_letters_parse_back(stream in ".{1,20}", consumer in ".{1,20}", sequence in any::<u64>()) {
        let subject = dead_letter(&stream, &consumer, sequence);
        prop_assert_eq!(parse_dead_letter(&subject), Some((stream, consumer, sequence)));
    }

    #[test]
    fn any_text_is_parsed_without_panic(text in any::<String>()) {
        let _ = parse_channel(&text);
        let _ = parse_dead_letter(&text);
        let _ = unescape(&text);
    }
}
