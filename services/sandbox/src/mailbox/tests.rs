//! What the ring keeps, drops and finds.

use campana_bus::clock::Micros;

use super::query::Since;
use super::*;
use crate::stamp::Stamp;

fn draft(channel: Channel, to: &str, subject: &str, seconds: i64) -> Draft {
    let received = Stamp { at: Micros(seconds * 1_000_000), monotonic_ns: seconds as u64 };
    Draft {
        channel,
        from: "app@example.test".to_owned(),
        to: vec![to.to_owned()],
        subject: subject.to_owned(),
        preview: String::new(),
        received,
        content: Content::Sms(Sms::new("SM1".to_owned(), String::new(), 1, received)),
    }
}

fn ids(page: &Page) -> Vec<u64> {
    page.messages.iter().map(|message| message.id.0).collect()
}

#[test]
fn the_oldest_goes_first_when_the_count_is_reached() {
    let mailbox = Mailbox::new(3, usize::MAX);
    for n in 0..5 {
        mailbox.add(draft(Channel::Sms, "+1", "", n));
    }
    assert_eq!(ids(&mailbox.list(&Query::default())), [5, 4, 3]);
    assert!(mailbox.get(MessageId(2)).is_none());
    assert_eq!(mailbox.get(MessageId(4)).unwrap().id, MessageId(4));
    assert!(mailbox.get(MessageId(6)).is_none());
    let totals = mailbox.totals();
    assert_eq!((totals.kept, totals.evicted, totals.received), (3, 2, [0, 5, 0, 0]));
}

#[test]
fn bytes_are_bounded_but_the_newest_always_stays() {
    let mailbox = Mailbox::new(100, 10);
    mailbox.add(draft(Channel::Sms, "+1", "first", 0));
    mailbox.add(draft(Channel::Sms, "+1", "second", 1));
    assert_eq!(ids(&mailbox.list(&Query::default())), [2]);
    let kept = mailbox.totals();
    assert_eq!(kept.kept_bytes, mailbox.get(MessageId(2)).unwrap().size);
}

#[test]
fn lists_filter_and_page() {
    let mailbox = Mailbox::new(100, usize::MAX);
    mailbox.add(draft(Channel::Email, "Ann@Example.test", "Welcome", 10));
    mailbox.add(draft(Channel::Sms, "+15551234567", "", 20));
    mailbox.add(draft(Channel::Email, "bob@example.test", "Invoice", 30));
    let list = |query: Query| ids(&mailbox.list(&query));
    let email = Query { channel: Some(Channel::Email), ..Query::default() };
    assert_eq!(list(email), [3, 1]);
    assert_eq!(list(Query { to: Some("ann@".to_owned()), ..Query::default() }), [1]);
    assert_eq!(list(Query { text: Some("invoice".to_owned()), ..Query::default() }), [3]);
    assert_eq!(list(Query { since: "msg_1".parse().ok(), ..Query::default() }), [3, 2]);
    let since = Some(Since::At(Micros(20_000_000)));
    assert_eq!(list(Query { since, ..Query::default() }), [3]);
    let first = mailbox.list(&Query { limit: Some(2), ..Query::default() });
    assert_eq!((ids(&first), first.next_before), (vec![3, 2], Some(MessageId(2))));
    let last =
        mailbox.list(&Query { before: first.next_before, limit: Some(2), ..Query::default() });
    assert_eq!((ids(&last), last.next_before), (vec![1], None));
    assert!("yesterday".parse::<Since>().is_err());
}

#[test]
fn ids_go_on_after_clearing_and_followers_are_told() {
    let mailbox = Mailbox::new(10, usize::MAX);
    let mut live = mailbox.follow();
    mailbox.add(draft(Channel::Sms, "+1", "", 0));
    assert_eq!(mailbox.clear(), 1);
    let next = mailbox.add(draft(Channel::Sms, "+1", "", 1));
    assert_eq!(next.id, MessageId(2));
    assert!(matches!(live.try_recv(), Ok(Live::Arrived(message)) if message.id == MessageId(1)));
    assert!(matches!(live.try_recv(), Ok(Live::Cleared)));
    assert!(matches!(live.try_recv(), Ok(Live::Arrived(message)) if message.id == MessageId(2)));
}

#[test]
fn previews_fold_white_space_and_are_short() {
    assert_eq!(preview("  Hello\r\n\t you "), "Hello you");
    let long = preview(&"word ".repeat(100));
    assert!(long.ends_with('…') && long.chars().count() <= message::PREVIEW_CHARS);
    let one = preview(&"x".repeat(1_000));
    assert!(one.chars().count() <= message::PREVIEW_CHARS, "{}", one.chars().count());
}
