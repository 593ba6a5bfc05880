//! The ring and its feed; the three receivers over real sockets.

use std::sync::Arc;

use campana_bus::clock::{self, Micros};
use serde_json::{Value, json};

use super::{OVERHEAD_BYTES, PAGE_BYTES_MAX, Receipt, Receipts, TEXT_BYTES_MAX};
use crate::SandboxOptions;
use crate::mailbox::Channel;
use crate::stamp::Stamp;
use crate::testing::{Talk, TestSandbox};

const SENT: &str = "boot=00000001;accepted=10;dispatched=20;worker=30;provider=40";

fn receipt(title: &str) -> Receipt<'_> {
    Receipt {
        channel: Channel::Sms,
        received: Stamp { at: Micros(0), monotonic_ns: 7 },
        recipient: "+1",
        title,
        body: "",
        stamps: None,
        answered: 201,
        reference: None,
    }
}

#[test]
fn a_reader_goes_on_where_it_stood_and_is_told_what_it_missed() {
    let ring = Receipts::new(3, usize::MAX);
    assert_eq!((ring.read(0, 10).next, ring.read(0, 10).lost), (0, 0));
    for title in ["a", "b"] {
        ring.add(&receipt(title));
    }
    let page = ring.read(0, 1);
    assert_eq!((page.first, page.lines.len(), page.next, page.lost), (1, 1, 1, 0));
    assert_eq!((ring.read(1, 10).first, ring.read(2, 10).lines.len()), (2, 0));
    for title in ["c", "d", "e", "f"] {
        ring.add(&receipt(title));
    }
    let page = ring.read(1, 10);
    assert_eq!((page.first, page.lines.len(), page.next, page.lost), (4, 3, 6, 2));
    assert!(page.lines[0].contains("\"title\":\"d\""), "{}", page.lines[0]);
    // A number from a former life: all that is here is new.
    let page = ring.read(99, 2);
    assert_eq!((page.first, page.next, page.lost), (4, 5, 3));
}

#[test]
fn bytes_are_limited_as_numbers_are() {
    let ring = Receipts::new(1_000, 10_000);
    for _ in 0..100 {
        ring.add(&receipt(&"x".repeat(900)));
    }
    let held = ring.held();
    assert!(held.kept_bytes <= 10_000 && held.kept < 11 && held.newest == 100, "{held:?}");
    ring.add(&receipt(&"é".repeat(TEXT_BYTES_MAX)));
    let page = ring.read(100, 10);
    assert!(page.lines[0].contains("\"cut\":true"));
    assert_eq!(ring.held().kept_bytes, page.lines[0].len() + OVERHEAD_BYTES);
    let ring = Receipts::new(1_000, usize::MAX);
    for _ in 0..400 {
        ring.add(&receipt(&"x".repeat(TEXT_BYTES_MAX)));
    }
    let page = ring.read(0, 1_000);
    assert!(page.lines.iter().map(|line| line.len()).sum::<usize>() <= PAGE_BYTES_MAX);
    assert!(page.next < 400 && ring.read(page.next, 1_000).first == page.next + 1);
}

#[test]
fn writers_and_a_reader_at_the_same_time_lose_and_double_nothing() {
    const EACH: u64 = 2_000;
    let ring = Arc::new(Receipts::new(1_000_000, usize::MAX));
    let writers = [(); 4].map(|()| {
        let ring = Arc::clone(&ring);
        std::thread::spawn(move || (0..EACH).for_each(|_| ring.add(&receipt("x"))))
    });
    let (mut after, mut read) = (0, 0);
    while read < 4 * EACH {
        let page = ring.read(after, 100);
        assert!(page.lost == 0 && page.first == after + 1);
        read += page.lines.len() as u64;
        after = page.next;
        std::thread::yield_now();
    }
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!((after, ring.held().newest), (4 * EACH, 4 * EACH));
}

async fn feed(sandbox: &TestSandbox, query: &str) -> Value {
    sandbox.get(&format!("/api/receipts{query}")).await
}

async fn send_everywhere(sandbox: &TestSandbox, stamps: &str) {
    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(talk.code("MAIL FROM:<app@example.test>").await, "250");
    assert_eq!(talk.code("RCPT TO:<ann@example.test>").await, "250");
    assert_eq!(talk.code("DATA").await, "354");
    let mail = format!(
        "Subject: the title\r\nMessage-ID: <a@b>\r\nCampana-Stamps: {stamps}\r\n\r\nline one\r\nline two\r\n."
    );
    assert!(talk.ask(&mail).await.starts_with("250"));
    let options = SandboxOptions::default();
    let url =
        format!("{}/2010-04-01/Accounts/{}/Messages.json", sandbox.web, options.twilio_account_sid);
    let form = [
        ("To", "+12025550123"),
        ("From", "+12025550199"),
        ("Body", "the title\nline one\nline two"),
    ];
    let answer = sandbox
        .client
        .post(url)
        .basic_auth(&options.twilio_account_sid, Some(&options.twilio_auth_token))
        .header("Campana-Stamps", stamps)
        .form(&form)
        .send();
    assert_eq!(answer.await.unwrap().status(), 201);
    let event = json!({"type": "x", "data": {
        "title": "the title", "body": "line one\nline two", "recipient": "ann",
    }});
    for (name, status) in [("hook", 200), ("status-503", 503)] {
        let answer = sandbox
            .client
            .post(format!("{}/webhook/{name}", sandbox.web))
            .header("Campana-Stamps", stamps)
            .header("webhook-id", "dlv_1")
            .json(&event)
            .send();
        assert_eq!(answer.await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn every_receiver_says_what_came_and_when() {
    let sandbox = TestSandbox::default().await;
    let before = clock::monotonic_ns();
    send_everywhere(&sandbox, SENT).await;
    let after = clock::monotonic_ns();
    let answer = feed(&sandbox, "?after=0").await;
    assert_eq!(
        (&answer["schema_version"], &answer["next"], &answer["lost"]),
        (&json!(1), &json!(4), &json!(0))
    );
    assert_eq!(answer["boot"], format!("{:08x}", clock::boot()));
    let receipts = answer["receipts"].as_array().unwrap();
    let mut last = before;
    for (receipt, (channel, recipient, answered, reference)) in receipts.iter().zip([
        ("email", "ann@example.test", 250, json!("a@b")),
        ("sms", "+12025550123", 201, Value::Null),
        ("webhook", "ann", 200, json!("dlv_1")),
        ("webhook", "ann", 503, json!("dlv_1")),
    ]) {
        let expected = json!({
            "seq": receipt["seq"], "received_ns": receipt["received_ns"], "channel": channel,
            "title": "the title", "body": "line one\nline two", "recipient": recipient,
            "stamps": SENT, "answered": answered, "reference": reference,
        });
        assert_eq!(*receipt, expected);
        let received = receipt["received_ns"].as_u64().unwrap();
        assert!(last <= received && received <= after, "{receipt}");
        last = received;
    }
    assert_eq!(sandbox.get("/api/stats").await["receipts"]["newest"], 4);
}

#[tokio::test]
async fn hostile_stamps_are_dropped_and_the_message_is_kept() {
    let sandbox = TestSandbox::default().await;
    for stamps in ["1", "boot=x;accepted=1", "boot=00000001;accepted=-1", &"9".repeat(900)[..]] {
        send_everywhere(&sandbox, stamps).await;
    }
    let answer = feed(&sandbox, "?after=0").await;
    let receipts = answer["receipts"].as_array().unwrap();
    assert_eq!(receipts.len(), 16);
    assert!(receipts.iter().all(|one| one["stamps"].is_null()), "{answer}");
}

#[tokio::test]
async fn a_question_waits_for_the_next_receipt() {
    let sandbox = TestSandbox::default().await;
    send_everywhere(&sandbox, SENT).await;
    // Without a number the feed begins now.
    let now = feed(&sandbox, "").await;
    assert_eq!((&now["receipts"], &now["next"]), (&json!([]), &json!(4)));
    let waiting = feed(&sandbox, "?after=4&wait_ms=15000");
    let posting = async {
        let url = format!("{}/webhook/late", sandbox.web);
        sandbox.client.post(url).body("no JSON").send().await.unwrap()
    };
    let (answer, _) = tokio::join!(waiting, posting);
    let receipts = answer["receipts"].as_array().unwrap();
    assert_eq!((receipts.len(), &answer["next"]), (1, &json!(5)), "{answer}");
    assert_eq!(
        (&receipts[0]["recipient"], &receipts[0]["body"]),
        (&json!("late"), &json!("no JSON"))
    );
    for query in ["?limit=0", "?limit=10001", "?wait_ms=30001", "?after=-1", "?colour=red"] {
        let url = format!("{}/api/receipts{query}", sandbox.web);
        assert_eq!(sandbox.client.get(url).send().await.unwrap().status(), 400, "{query}");
    }
    // The soft stop does not wait for readers.
    let url = format!("{}/api/receipts?after=5&wait_ms=30000", sandbox.web);
    let reader = sandbox.client.get(url).send();
    let (_answered_or_not, ()) = tokio::join!(reader, sandbox.stop());
}
