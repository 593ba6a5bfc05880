//! The table of who may do what, and that nobody gets into the channel of another, whatever they are called.

use proptest::prelude::*;

use super::*;
use crate::tokens::Overrides;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

/// Namespaces that each show one way in.
fn rules() -> Rules {
    serde_json::from_value(serde_json::json!([
        {"name": ""},
        {"name": "token"},
        {"name": "inbox", "subscribe": ["own_user"], "publish": [], "history": ["own_user"]},
        {"name": "dialog", "user_lists": true, "subscribe": ["own_user"], "publish": ["subscriber"], "presence": ["own_user"]},
        {"name": "news", "subscribe": ["anonymous"], "publish": [], "history": ["anonymous"]},
        {"name": "club", "subscribe": ["authenticated"], "publish": ["authenticated", "subscriber"], "presence": ["subscriber"]},
        {"name": "closed", "subscribe": [], "publish": [], "history": [], "presence": []},
        {"name": "team", "subscribe": ["acl"], "publish": ["acl"], "acl": [
            {"channels": ["team:red-*"], "users": ["alice", "red-*"], "actions": ["subscribe", "publish"]},
            {"channels": ["team:*"], "users": ["*"], "actions": ["subscribe"]},
            {"channels": ["*"], "users": ["root"], "actions": ["subscribe", "publish", "history"]},
        ]},
    ]))
    .unwrap()
}

fn token(user: &str, channel: &str, allow: &[Action]) -> SubscriptionClaims {
    SubscriptionClaims {
        user: user.to_owned(),
        tenant: Tenant::default(),
        channel: channel.to_owned(),
        client: None,
        expires_at: None,
        info: None,
        data: None,
        overrides: Overrides::default(),
        allow: allow.to_vec(),
        id: None,
        issued_at: None,
    }
}

fn cap(channels: &[&str], allow: &[Action]) -> Capability {
    let channels = channels.iter().map(|text| pattern(text)).collect();
    Capability { channels, allow: allow.to_vec() }
}

#[derive(Default, Clone)]
struct Asking {
    caps: Vec<Capability>,
    token: Option<SubscriptionClaims>,
    subscribed: bool,
}

/// The code of the answer; 0 for yes.
fn ask(rules: &Rules, user: &str, action: Action, channel: &str, asking: &Asking) -> u16 {
    let tenant = Tenant::default();
    let who = Who {
        user,
        tenant: &tenant,
        client: "c1",
        caps: &asking.caps,
        token: asking.token.as_ref(),
        subscribed: asking.subscribed,
    };
    let channel = Channel::parse(channel);
    let answer = channel.and_then(|channel| allowed(rules, &who, action, &channel));
    answer.map_or_else(|denied| denied.code, |()| 0)
}

fn check(table: &[(u16, &str, Action, &str)], asking: &Asking) {
    let rules = rules();
    assert_eq!(rules.check(), Ok(()));
    for (expected, user, action, channel) in table {
        let answer = ask(&rules, user, *action, channel, asking);
        assert_eq!(answer, *expected, "{user:?} {action:?} {channel:?}");
    }
}

#[test]
fn rules_alone() {
    use Action::{History, Presence, Publish, Subscribe};
    check(
        &[
            (107, "alice", Subscribe, ""),
            (107, "alice", Subscribe, ":x"),
            (107, "alice", Subscribe, "$:x"),
            (107, "alice", Subscribe, "news:"),
            (107, "alice", Subscribe, "news:a\nb"),
            (107, "alice", Subscribe, "news:\u{0}"),
            (102, "alice", Subscribe, "other:x"),
            (102, "alice", Subscribe, "$$news:x"),
            (102, "alice", Subscribe, "#alice:x"),
            (103, "alice", Subscribe, "x"),
            (103, "alice", Subscribe, "token:x"),
            (0, "alice", Subscribe, "inbox:#alice"),
            (0, "alice", History, "inbox:#alice"),
            (103, "alice", Publish, "inbox:#alice"),
            (103, "alice", Presence, "inbox:#alice"),
            (103, "alice", Subscribe, "inbox:#bob"),
            (103, "alice", Subscribe, "inbox:alice"),
            (103, "alice", Subscribe, "inbox:#Alice"),
            (103, "alice", Subscribe, "inbox:#alice,bob"),
            (103, "alice", Subscribe, "inbox:#bob#alice"),
            (103, "alice", Subscribe, "$inbox:#alice"),
            (103, "", Subscribe, "inbox:#"),
            (0, "a,b", Subscribe, "inbox:#a,b"),
            (103, "a", Subscribe, "inbox:#a,b"),
            (0, "a#b", Subscribe, "inbox:#a#b"),
            (103, "b", Subscribe, "inbox:#a#b"),
            (0, "a:b", Subscribe, "inbox:#a:b"),
            (103, "zoe\u{301}", Subscribe, "inbox:#zo\u{e9}"),
            (0, "42", Subscribe, "dialog:7#42,43"),
            (0, "43", Subscribe, "dialog:7#42,43"),
            (0, "43", Presence, "dialog:7#42,43"),
            (103, "4", Subscribe, "dialog:7#42,43"),
            (103, "42,43", Subscribe, "dialog:7#42,43"),
            (103, " 42", Subscribe, "dialog:7#42,43"),
            (103, "", Subscribe, "dialog:7#42,,43"),
            (103, "42", Publish, "dialog:7#42,43"),
            (0, "", Subscribe, "news:x"),
            (103, "", Subscribe, "news:#alice"),
            (0, "alice", Subscribe, "news:#alice"),
            (103, "alice", Subscribe, "$news:x"),
            (103, "alice", Publish, "news:x"),
            (0, "alice", Subscribe, "club:x"),
            (103, "", Subscribe, "club:x"),
            (0, "alice", Publish, "club:x"),
            (103, "alice", Publish, "club:#bob"),
            (103, "alice", Presence, "club:x"),
            (103, "alice", Subscribe, "closed:x"),
            (0, "alice", Subscribe, "team:red-1"),
            (0, "alice", Publish, "team:red-1"),
            (0, "red-9", Publish, "team:red-1"),
            (0, "bob", Subscribe, "team:red-1"),
            (103, "bob", Publish, "team:red-1"),
            (103, "bob", Subscribe, "team:#alice"),
            (103, "root", Subscribe, "team:#alice"),
            (103, "", Subscribe, "team:red-1"),
            (103, "root", History, "team:x"),
            (103, "root", Subscribe, "token:x"),
        ],
        &Asking::default(),
    );
}

#[test]
fn a_subscriber_has_what_subscribers_have() {
    use Action::{History, Presence, Publish, Subscribe};
    let asking = Asking { subscribed: true, ..Asking::default() };
    check(
        &[
            (0, "42", Publish, "dialog:7#42,43"),
            (0, "", Publish, "club:x"),
            (0, "alice", Presence, "club:x"),
            (0, "alice", History, "$token:x"),
            (103, "alice", Subscribe, "token:x"),
            (103, "alice", Publish, "token:x"),
        ],
        &asking,
    );
}

#[test]
fn a_subscription_token_is_for_one_user_and_one_channel() {
    use Action::{History, Presence, Publish, Subscribe};
    let with = |user: &str, channel: &str| Asking {
        token: Some(token(user, channel, &[Publish, Presence])),
        ..Asking::default()
    };
    let table = |channel: &'static str| {
        [
            (0, "alice", Subscribe, channel),
            (0, "alice", Publish, channel),
            (0, "alice", Presence, channel),
            (103, "alice", History, channel),
            (103, "bob", Subscribe, channel),
        ]
    };
    for channel in ["token:x", "$token:x", "x", "$x", "token:#bob"] {
        let mut rows = table(channel);
        if channel == "token:#bob" {
            // Bob owns it, but this namespace asks for a token all the same.
            rows[4] = (103, "bob", Subscribe, channel);
        }
        check(&rows, &with("alice", channel));
        check(&[(103, "alice", Subscribe, channel)], &with("alice", "token:other"));
        check(&[(103, "alice", Subscribe, channel)], &with("bob", channel));
    }
    check(&[(103, "alice", Subscribe, "closed:x")], &with("alice", "closed:x"));
    check(&[(103, "alice", Subscribe, "inbox:#bob")], &with("alice", "inbox:#bob"));
    let mut foreign = with("alice", "token:x");
    foreign.token = foreign
        .token
        .map(|claims| SubscriptionClaims { tenant: Tenant::parse("other").unwrap(), ..claims });
    check(&[(103, "alice", Subscribe, "token:x")], &foreign);
    foreign.token = Some(SubscriptionClaims {
        client: Some("c2".to_owned()),
        ..token("alice", "token:x", &[])
    });
    check(&[(103, "alice", Subscribe, "token:x")], &foreign);
}

#[test]
fn the_first_capability_that_matches_decides() {
    use Action::{History, Publish, Subscribe};
    let caps = vec![
        cap(&["token:a"], &[Publish]),
        cap(&["token:*"], &[Subscribe, History]),
        cap(&["*"], &Action::ALL),
    ];
    check(
        &[
            (0, "alice", Publish, "token:a"),
            (103, "alice", Subscribe, "token:a"),
            (0, "alice", Subscribe, "token:b"),
            (0, "", History, "token:b"),
            (103, "alice", Publish, "token:b"),
            (0, "alice", Publish, "x"),
            (103, "alice", Subscribe, "$x"),
            (0, "alice", History, "$x"),
            (103, "alice", Subscribe, "token:#bob"),
            (0, "bob", Subscribe, "token:#bob"),
            (103, "alice", Subscribe, "closed:x"),
            (103, "alice", Publish, "inbox:#alice"),
        ],
        &Asking { caps, ..Asking::default() },
    );
}

#[test]
fn patterns_know_one_sign_only() {
    let fits = |text: &str, name: &str| pattern(text).matches(name);
    for (text, name) in [
        ("*", "x"),
        ("*", ""),
        ("a*", "a"),
        ("a*", "a:b"),
        ("*b", "ab"),
        ("a*b*c", "abc"),
        ("a*b*c", "aXbYbZc"),
        ("a**c", "ac"),
        ("a.c", "a.c"),
        ("🔔*", "🔔x"),
    ] {
        assert!(fits(text, name), "{text} {name}");
    }
    for (text, name) in [
        ("a", "b"),
        ("a", "ab"),
        ("a*", "ba"),
        ("ab*ba", "aba"),
        ("a*b*c", "acb"),
        ("a.c", "abc"),
        ("?", "x"),
        ("[a]", "a"),
    ] {
        assert!(!fits(text, name), "{text} {name}");
    }
    assert!(Pattern::exact("a*").unwrap().matches("a*"));
    assert!(!Pattern::exact("a*").unwrap().matches("ab"));
    assert_eq!(Pattern::parse(""), Err(PatternError::Length));
    assert_eq!(Pattern::parse(&"x".repeat(256)), Err(PatternError::Length));
    assert_eq!(Pattern::parse("*********"), Err(PatternError::Stars));
    // What makes a backtracking matcher slow.
    let evil = pattern("a*a*a*a*a*a*a*a*b");
    assert!(!evil.matches(&"a".repeat(100_000)));
}

#[test]
fn contradictions_in_rules_are_named() {
    let check = |one: NamespaceRules| Rules { namespaces: vec![one] }.check();
    let named = |name: &str| NamespaceRules { name: name.to_owned(), ..NamespaceRules::default() };
    assert_eq!(check(named("a")), Ok(()));
    for name in ["a:b", "a#b", "$a", "a,b", "a\n"] {
        assert!(check(named(name)).is_err(), "{name:?}");
    }
    assert!(check(named(&"x".repeat(65))).is_err());
    assert!(Rules { namespaces: vec![named("a"), named("a")] }.check().is_err());
    assert!(check(NamespaceRules { history: vec![Allow::Acl], ..named("a") }).is_err());
    assert!(check(NamespaceRules { subscribe: vec![Allow::Subscriber], ..named("a") }).is_err());
    let unknown = serde_json::from_str::<Rules>(r#"[{"name":"a","subscribers":[]}]"#);
    assert!(unknown.is_err());
    assert!(serde_json::from_str::<Rules>(r#"[{"subscribe":["everyone"]}]"#).is_err());
}

/// Names that are near each other, with the signs that mean something.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab,#:$*]{0,5}",
        "\\PC{0,8}",
        Just("e\u{301}".to_owned()),
        Just("\u{e9}".to_owned()),
        Just("\u{202e}a".to_owned()),
        Just(" a".to_owned()),
    ]
}

fn ways() -> impl Strategy<Value = Vec<Allow>> {
    use Allow::{Acl, Anonymous, Authenticated, OwnUser, Subscriber, Token};
    proptest::sample::subsequence(
        vec![Token, OwnUser, Subscriber, Authenticated, Anonymous, Acl],
        0..=6,
    )
}

fn any_rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), ways(), ways(), ways(), ways()).prop_map(
        |(user_lists, subscribe, publish, history, presence)| {
            let acl = AclRule {
                channels: vec![pattern("*")],
                users: vec![pattern("*")],
                actions: Action::ALL.to_vec(),
            };
            let one = |name: &str| NamespaceRules {
                name: name.to_owned(),
                user_lists,
                subscribe: subscribe.clone(),
                publish: publish.clone(),
                history: history.clone(),
                presence: presence.clone(),
                acl: vec![acl.clone()],
            };
            Rules { namespaces: vec![one(""), one("a"), one("inbox")] }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The channel made for `owner` opens to `owner` alone: not to any other name, by any rule, list,
    /// capability, or token for another channel.
    #[test]
    fn nobody_gets_into_the_personal_channel_of_another(
        rules in any_rules(),
        owner in name(),
        user in name(),
        prefix in prop_oneof![Just("inbox:"), Just("a:x"), Just(""), Just("$a:")],
        action in proptest::sample::select(&Action::ALL),
        other in name(),
    ) {
        let mut rules = rules;
        rules.namespaces.iter_mut().for_each(|one| one.user_lists = false);
        let channel = format!("{prefix}#{owner}");
        prop_assume!(user != owner || user.is_empty());
        let elsewhere = format!("{channel}{other}x");
        let asking = Asking {
            caps: vec![cap(&["*"], &Action::ALL)],
            token: Some(token(&user, &elsewhere, &Action::ALL)),
            subscribed: false,
        };
        prop_assert_ne!(ask(&rules, &user, action, &channel, &asking), 0, "{} in {}", user, channel);
    }

    /// In a list, exactly the users between the commas, and nobody without a name or with a comma in it.
    #[test]
    fn a_list_of_users_is_exactly_that(
        rules in any_rules(),
        owners in proptest::collection::vec(name(), 1..4),
        stranger in name(),
        pick in proptest::option::of(any::<proptest::sample::Index>()),
        action in proptest::sample::select(&Action::ALL),
    ) {
        let mut rules = rules;
        rules.namespaces.iter_mut().for_each(|one| one.user_lists = true);
        let user = pick.map_or(stranger, |pick| pick.get(&owners).clone());
        let channel = format!("a:x#{}", owners.join(","));
        let asking = Asking { caps: vec![cap(&["*"], &Action::ALL)], ..Asking::default() };
        // Taken apart by hand, letter by letter.
        let mut listed = vec![String::new()];
        for letter in owners.join(",").chars() {
            match letter {
                ',' => listed.push(String::new()),
                other => listed.last_mut().unwrap().push(other),
            }
        }
        let theirs = !user.is_empty() && listed.contains(&user);
        let answer = ask(&rules, &user, action, &channel, &asking);
        if answer == 0 {
            prop_assert!(theirs, "{} in {}", user, channel);
        }
        let namespace = &rules.namespaces[1];
        if theirs && namespace.ways(action).contains(&Allow::OwnUser) && channel.len() <= CHANNEL_BYTES_MAX {
            prop_assert!(answer == 0 || answer == 107, "{} not in {}", user, channel);
        }
    }

    /// A private channel is entered with a subscription token for it or not at all.
    #[test]
    fn no_rule_opens_a_private_channel(rules in any_rules(), user in name(), rest in name()) {
        let asking = Asking { caps: vec![cap(&["*"], &Action::ALL)], ..Asking::default() };
        for channel in [format!("$a:{rest}"), format!("${rest}")] {
            prop_assert_ne!(ask(&rules, &user, Action::Subscribe, &channel, &asking), 0);
        }
    }

    /// The matcher agrees with the plainest one there is.
    #[test]
    fn patterns_agree_with_their_definition(text in "[ab*]{1,7}", name in "[ab]{0,8}") {
        fn plain(pattern: &[u8], name: &[u8]) -> bool {
            match pattern.split_first() {
                None => name.is_empty(),
                Some((b'*', rest)) => (0..=name.len()).any(|at| plain(rest, &name[at..])),
                Some((letter, rest)) => name.first() == Some(letter) && plain(rest, &name[1..]),
            }
        }
        prop_assert_eq!(pattern(&text).matches(&name), plain(text.as_bytes(), name.as_bytes()));
    }

    /// Who may not subscribe by any way gets in by none: an empty list is for the server alone.
    #[test]
    fn an_empty_list_is_for_nobody(user in name(), channel in name(), action in proptest::sample::select(&Action::ALL)) {
        let closed = NamespaceRules {
            name: "closed".to_owned(),
            subscribe: vec![], publish: vec![], history: vec![], presence: vec![],
            ..NamespaceRules::default()
        };
        let rules = Rules { namespaces: vec![closed] };
        let channel = format!("closed:{channel}");
        let asking = Asking {
            caps: vec![cap(&["*"], &Action::ALL)],
            token: Some(token(&user, &channel, &Action::ALL)),
            subscribed: true,
        };
        prop_assert_ne!(ask(&rules, &user, action, &channel, &asking), 0);
    }
}
