//! Revoked, forgotten in time, and the same on every node.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn token(id: &str, until: i64) -> Revocation {
    Revocation::Token { tenant: "acme".to_owned(), id: id.to_owned(), until }
}

fn user(name: &str, issued_before: i64, until: i64) -> Revocation {
    Revocation::User { tenant: "acme".to_owned(), user: name.to_owned(), issued_before, until }
}

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

#[test]
fn a_token_is_revoked_by_its_id_until_it_has_ended() {
    let mut set = Revocations::default();
    set.add(&token("t1", NOW + 60), NOW).unwrap();
    let find = |id, now| set.find(&acme(), "alice", id, Some(NOW), now);
    assert_eq!(find(Some("t1"), NOW + 59), Some(Revoked::Token));
    assert_eq!(find(Some("t1"), NOW + 60), None);
    assert_eq!(find(Some("t2"), NOW), None);
    assert_eq!(find(None, NOW), None);
    assert_eq!(
        set.find(&Tenant::default(), "alice", Some("t1"), None, NOW),
        None,
        "another tenant"
    );
}

#[test]
fn a_user_s_tokens_are_revoked_by_when_they_were_issued() {
    let mut set = Revocations::default();
    set.add(&user("alice", NOW, NOW + 3_600), NOW).unwrap();
    let find = |who: &str, issued_at| set.find(&acme(), who, None, issued_at, NOW + 1);
    assert_eq!(find("alice", Some(NOW - 1)), Some(Revoked::User));
    assert_eq!(find("alice", Some(NOW)), None);
    assert_eq!(find("alice", None), Some(Revoked::User), "it does not say when");
    assert_eq!(find("alice2", None), None);
    assert_eq!(set.find(&acme(), "alice", None, None, NOW + 3_600), None);
}

#[test]
fn a_full_set_says_so_and_makes_room_only_of_what_is_over() {
    let mut set = Revocations::new(2);
    set.add(&token("a", NOW + 10), NOW).unwrap();
    set.add(&user("a", NOW, NOW + 20), NOW).unwrap();
    assert_eq!(set.add(&token("b", NOW + 30), NOW), Err(RevokeError::Full(2)));
    set.add(&token("a", NOW + 15), NOW).unwrap();
    set.add(&token("over", NOW), NOW).unwrap();
    assert_eq!(set.len(), 2);
    assert_eq!(set.add(&token("b", NOW + 30), NOW + 14), Err(RevokeError::Full(2)));
    set.add(&token("b", NOW + 30), NOW + 15).unwrap();
    assert_eq!(set.entries(), [token("b", NOW + 30), user("a", NOW, NOW + 20)]);
    assert_eq!(set.prune(NOW + 30), 0);
    assert!(set.is_empty() && set.entries().is_empty());
    assert_eq!(set.add(&token("", NOW + 60), NOW), Err(RevokeError::Name));
    assert_eq!(set.add(&token(&"x".repeat(257), NOW + 60), NOW), Err(RevokeError::Name));
}

#[test]
fn revocations_can_be_stored() {
    let all = [token("t", NOW), user("u", NOW, NOW)];
    let text = serde_json::to_string(&all).unwrap();
    assert!(text.starts_with(r#"[{"kind":"token","tenant":"acme","id":"t","until":1800000000}"#));
    assert_eq!(serde_json::from_str::<Vec<Revocation>>(&text).unwrap(), all);
}

fn any_revocation() -> impl Strategy<Value = Revocation> {
    (0_u8..3, 0_i64..50, 1_i64..100, any::<bool>()).prop_map(|(name, before, until, of_user)| {
        let name = name.to_string();
        if of_user { user(&name, NOW + before, NOW + until) } else { token(&name, NOW + until) }
    })
}

proptest! {
    #[test]
    fn order_and_repetition_do_not_matter(
        all in proptest::collection::vec(any_revocation(), 0..40),
        turn: usize,
    ) {
        let take = |all: &[Revocation]| {
            let mut set = Revocations::default();
            all.iter().for_each(|one| set.add(one, NOW).unwrap());
            set
        };
        let mut other = all.clone();
        other.reverse();
        other.extend_from_within(..);
        let length = other.len().max(1);
        other.rotate_left(turn % length);
        let (mut one, two) = (take(&all), take(&other));
        prop_assert_eq!(one.entries(), two.entries());
        prop_assert_eq!(one.len(), one.entries().len());
        let left = one.prune(NOW + 50);
        prop_assert_eq!(left, one.entries().len());
        for revocation in &all {
            if let Revocation::Token { id, until, .. } = revocation {
                let found = one.find(&acme(), "nobody", Some(id), Some(NOW), NOW + 50);
                prop_assert!(*until <= NOW + 50 || found == Some(Revoked::Token));
            }
        }
    }
}
