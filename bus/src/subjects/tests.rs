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

#[test]
fn a_stream_s_name_is_one_token() {
    assert!(is_stream_name("EVENTS") && is_stream_name("KV_carts"));
    for name in ["", "a.b", "*", ">", "a b", "a\nb", "a/b", &"x".repeat(256)] {
        assert!(!is_stream_name(name), "{name:?}");
    }
}

#[test]
fn schedules_and_keys_parse_back() {
    for key in ["a.b", "*", "Zo\u{eb}", "="] {
        let subject = schedule("EVENTS", key);
        assert_eq!(parse_schedule(&subject), Some(("EVENTS".to_owned(), key.to_owned())));
        assert!(is_internal(&subject));
        assert_eq!(parse_kv("b", &kv("b", key)).as_deref(), Some(key));
    }
    assert_eq!(parse_schedule("_schedule.EVENTS"), None);
    assert_eq!(parse_schedule("_schedule.EVENTS.a.b"), None);
    assert_eq!(parse_kv("b", "$KV.bb.k"), None);
    assert_eq!(parse_kv("b", "$KV.b.k.l"), None);
    assert_eq!(service("a.b", "c"), "svc.a=2Eb.c");
    assert!(!is_internal("app.default.shop.order"));
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

#[test]
fn filters_take_subjects_by_the_rules_of_nats() {
    for (filter, subject, takes) in [
        ("a.b", "a.b", true),
        ("a.b", "a.b.c", false),
        ("a.*", "a.b", true),
        ("a.*", "a", false),
        ("a.*", "a.b.c", false),
        ("a.>", "a.b.c", true),
        ("a.>", "a", false),
        (">", "a", true),
        ("*.b", "a.c", false),
    ] {
        assert_eq!(matches(filter, subject), takes, "{filter} {subject}");
    }
}

#[test]
fn a_subject_s_tenant_is_found_or_there_is_none() {
    assert_eq!(tenant_of(&deliver("email", "a.b")).as_deref(), Some("a.b"));
    assert_eq!(tenant_of(&outcome("acme", "ntf_1")).as_deref(), Some("acme"));
    assert_eq!(tenant_of(&outcomes("a.b")).as_deref(), Some("a.b"));
    assert_eq!(tenant_of(&app_event("acme", "shop", "order")).as_deref(), Some("acme"));
    assert_eq!(tenant_of("app.acme.shop.order.key").as_deref(), Some("acme"));
    let inbox = ChannelName::inbox("alice").unwrap();
    assert_eq!(tenant_of(&channel("acme", &inbox)).as_deref(), Some("acme"));
    for other in ["", "notify.request.normal", "_retry.EVENTS.c.1", "app.acme", "foreign.acme.x"] {
        assert_eq!(tenant_of(other), None, "{other}");
    }
}

#[test]
fn messages_that_wait_for_their_time_are_known_by_their_subject() {
    assert!(is_waiting(&delay("EVENTS", "c", "1")) && is_waiting("_schedule.EVENTS.k"));
    assert!(!is_waiting(&retry("EVENTS", "c", "1")) && !is_waiting("app.a.b.c"));
}

#[test]
fn documented_addresses_are_what_is_built() {
    let fill = |address: &str, pairs: &[(&str, &str)]| {
        pairs.iter().fold(address.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
    };
    assert_eq!(fill(REQUEST_ADDRESS, &[("priority", "bulk")]), request("bulk"));
    let names = [("channel", "sms"), ("tenant", "t")];
    assert_eq!(fill(DELIVER_ADDRESS, &names), deliver("sms", "t"));
    let names = [("tenant", "t"), ("notification", "n")];
    assert_eq!(fill(OUTCOME_ADDRESS, &names), outcome("t", "n"));
    assert_eq!(fill(OUTCOMES_ADDRESS, &names), outcomes("t"));
    let name = ChannelName::parse("a:b").unwrap();
    let names = [("tenant", "t"), ("namespace", "a"), ("channel", "b")];
    assert_eq!(fill(CHANNEL_ADDRESS, &names), channel("t", &name));
    let address = app_event_address("shop", "ordered");
    assert_eq!(fill(&address, &[("tenant", "t")]), app_event("t", "shop", "ordered"));
    assert!(address.starts_with(APP_PREFIX));
}
