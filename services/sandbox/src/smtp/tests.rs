//! The receiver over real TCP: a friendly client (lettre), a literal one and hostile ones.

use lettre::message::{MultiPart, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde_json::json;

use crate::testing::{Talk, TestSandbox};
use crate::{SandboxOptions, SmtpLimits};

fn limited(smtp: SmtpLimits) -> SandboxOptions {
    SandboxOptions { smtp, ..SandboxOptions::default() }
}

fn transport(sandbox: &TestSandbox) -> AsyncSmtpTransport<Tokio1Executor> {
    AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(sandbox.smtp.port())
        .credentials(Credentials::new("app".to_owned(), "secret".to_owned()))
        .build()
}

fn letter(to: &str) -> Message {
    Message::builder()
        .from("Campana <app@example.test>".parse().unwrap())
        .to(to.parse().unwrap())
        .subject("Grüße 🔔")
        .message_id(Some("<dlv-1@example.test>".to_owned()))
        .multipart(MultiPart::alternative_plain_html(
            ".dot first\nHello Ann".to_owned(),
            "<p>Hello <b>Ann</b></p>".to_owned(),
        ))
        .unwrap()
}

#[tokio::test]
async fn lettre_delivers_and_every_part_can_be_read() {
    let sandbox = TestSandbox::default().await;
    transport(&sandbox).send(letter("ann@example.test")).await.unwrap();
    let list = sandbox.messages("?channel=email&to=ann@").await;
    assert_eq!(list[0]["subject"], "Grüße 🔔");
    assert_eq!(list[0]["from"], "Campana <app@example.test>");
    assert!(list[0]["received_monotonic_ns"].as_u64().unwrap() > 0);
    let id = list[0]["id"].as_str().unwrap().to_owned();
    let mail = sandbox.get(&format!("/api/messages/{id}")).await["email"].clone();
    assert_eq!(mail["message_id"], "dlv-1@example.test");
    assert_eq!(mail["auth_user"], "app");
    assert_eq!(mail["envelope_to"], json!(["ann@example.test"]));
    assert!(mail["text"].as_str().unwrap().starts_with(".dot first"), "{}", mail["text"]);
    assert!(mail["html"].as_str().unwrap().contains("<b>Ann</b>"));
    assert!(mail["raw"].as_str().unwrap().contains("multipart/alternative"));
    let url = format!("{}/api/messages/{id}/html", sandbox.web);
    let page = sandbox.client.get(url).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("sandbox; default-src 'none'"), "{policy}");
    sandbox.stop().await;
}

#[tokio::test]
async fn many_clients_at_once() {
    let sandbox = TestSandbox::default().await;
    let transport = transport(&sandbox);
    let sends = (0..100).map(|n| {
        let transport = transport.clone();
        async move { transport.send(letter(&format!("user{n}@example.test"))).await.unwrap() }
    });
    futures::future::join_all(sends).await;
    assert_eq!(sandbox.messages("?limit=1000").await.len(), 100);
    assert_eq!(sandbox.get("/api/stats").await["received"]["email"], 100);
}

#[tokio::test]
async fn headers_only_and_plain_text_mails_show_no_html() {
    let sandbox = TestSandbox::default().await;
    let letter = Message::builder()
        .from("app@example.test".parse().unwrap())
        .to("ann@example.test".parse().unwrap())
        .header(header::ContentType::TEXT_PLAIN)
        .body("just text".to_owned())
        .unwrap();
    transport(&sandbox).send(letter).await.unwrap();
    let mail = sandbox.get("/api/messages/msg_1").await["email"].clone();
    assert_eq!((&mail["text"], &mail["html"]), (&json!("just text\r\n"), &json!(null)));
}

#[tokio::test]
async fn a_conversation_word_by_word() {
    let sandbox = TestSandbox::default().await;
    let mut talk = Talk::open(sandbox.smtp).await;
    assert_eq!(talk.reply().await, "220 campana-sandbox ESMTP\r\n");
    assert_eq!(talk.code("MAIL FROM:<a@x.test>").await, "503");
    let ehlo = talk.ask("EHLO me").await;
    for offer in
        ["SIZE 10485760", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN"]
    {
        assert!(ehlo.contains(&format!("250-{offer}\r\n")), "{ehlo}");
    }
    assert_eq!(talk.code("RCPT TO:<b@x.test>").await, "503");
    assert_eq!(talk.code("DATA").await, "503");
    assert_eq!(talk.ask("MAIL FROM:<a@x.test> SIZE=100").await, "250 2.1.0 sender ok\r\n");
    assert_eq!(talk.code("MAIL FROM:<a@x.test>").await, "503");
    assert_eq!(talk.ask("DATA").await, "554 5.5.1 no valid recipients\r\n");
    assert_eq!(talk.code("RCPT TO:<b@x.test>").await, "250");
    assert_eq!(talk.code("RSET").await, "250");
    assert_eq!(talk.code("RCPT TO:<b@x.test>").await, "503");
    assert_eq!(talk.code("NOOP").await, "250");
    assert_eq!(talk.code("MAIL FROM:<a@x.test> SIZE=99999999").await, "552");
    assert_eq!(talk.mail("b@x.test").await, "250 2.0.0 ok queued as msg_1\r\n");
    assert_eq!(talk.mail("c@x.test").await, "250 2.0.0 ok queued as msg_2\r\n");
    assert_eq!(talk.ask("QUIT").await, "221 2.0.0 good bye\r\n");
    assert_eq!(talk.reply().await, "");
}

#[tokio::test]
async fn authentication() {
    let sandbox = TestSandbox::default().await;
    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(talk.ask("AUTH LOGIN").await, "334 VXNlcm5hbWU6\r\n");
    assert_eq!(talk.ask("YXBw").await, "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(talk.code("c2VjcmV0").await, "235");
    assert_eq!(talk.code("AUTH PLAIN AGFwcABzZWNyZXQ=").await, "503");

    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(talk.ask("AUTH PLAIN").await, "334 \r\n");
    assert_eq!(talk.code("*").await, "501");
    assert_eq!(talk.code("AUTH PLAIN ???").await, "501");
    // The user named "deny".
    assert_eq!(talk.code("AUTH PLAIN AGRlbnkAeA==").await, "535");
    assert_eq!(talk.code("AUTH PLAIN AGFwcABzZWNyZXQ=").await, "235");
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let sandbox = TestSandbox::default().await;
    let mut talk = Talk::greeted(sandbox.smtp).await;
    talk.send(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<bounce@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
        .await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(talk.reply().await[..3].to_owned());
    }
    assert_eq!(codes, ["250", "550", "250", "354"]);
    talk.send(b"Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n").await;
    assert_eq!(talk.reply().await, "250 2.0.0 ok queued as msg_1\r\n");
    assert_eq!(&talk.reply().await[..3], "221");
    let mail = sandbox.get("/api/messages/msg_1").await;
    assert_eq!(mail["to"], json!(["b@x.test"]));
    assert!(mail["email"]["raw"].as_str().unwrap().ends_with("\r\n.dot\r\n"));
}

#[tokio::test]
async fn hostile_input_is_refused_and_the_server_lives_on() {
    let sandbox = TestSandbox::default().await;
    // Ten megabytes without a line end.
    let mut talk = Talk::greeted(sandbox.smtp).await;
    talk.try_send(&vec![b'x'; 10 * 1024 * 1024]).await;
    let end = talk.reply().await;
    assert!(end.is_empty() || end.starts_with("421 4.7.0"), "{end}");

    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(talk.code(&"x".repeat(5_000)).await, "500");
    talk.send(b"NOOP\n").await;
    assert_eq!(talk.reply().await, "500 5.5.2 lines end with CRLF and contain no NUL\r\n");
    assert_eq!(talk.code("NO\0OP").await, "500");
    assert_eq!(talk.code("GET / HTTP/1.1").await, "500");
    talk.send(b"EHLO \xff\xff\r\n").await;
    assert_eq!(&talk.reply().await[..3], "500");
    assert_eq!(talk.code("NOOP").await, "250");

    // A message with another one hidden behind a bare line feed.
    assert_eq!(talk.code("MAIL FROM:<a@x.test>").await, "250");
    assert_eq!(talk.code("RCPT TO:<b@x.test>").await, "250");
    assert_eq!(talk.code("DATA").await, "354");
    talk.send(b"Subject: one\r\n\r\nx\n.\nMAIL FROM:<evil@x.test>\r\n.\r\n").await;
    assert_eq!(&talk.reply().await[..10], "550 5.6.11");
    assert_eq!(talk.mail("b@x.test").await, "250 2.0.0 ok queued as msg_1\r\n");

    // Half a message and a closed half of the connection.
    assert_eq!(talk.code("MAIL FROM:<a@x.test>").await, "250");
    assert_eq!(talk.code("RCPT TO:<b@x.test>").await, "250");
    assert_eq!(talk.code("DATA").await, "354");
    talk.send(b"Subject: half\r\n").await;
    talk.finish().await;
    assert_eq!(talk.reply().await, "");
    assert_eq!(sandbox.messages("").await.len(), 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn commands_before_a_closed_half_are_still_answered() {
    let sandbox = TestSandbox::default().await;
    let mut talk = Talk::open(sandbox.smtp).await;
    talk.send(b"EHLO x\r\nNOOP\r\n").await;
    talk.finish().await;
    assert_eq!(&talk.reply().await[..3], "220");
    assert_eq!(&talk.reply().await[..3], "250");
    assert_eq!(&talk.reply().await[..3], "250");
    assert_eq!(talk.reply().await, "");
}

#[tokio::test]
async fn too_many_errors_end_the_connection() {
    let limits = SmtpLimits { bad_commands: 3, ..SmtpLimits::default() };
    let sandbox = TestSandbox::start(limited(limits)).await;
    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(talk.code("ONE").await, "500");
    assert_eq!(talk.code("TWO").await, "500");
    assert_eq!(talk.code("THREE").await, "500");
    assert_eq!(talk.reply().await, "421 4.7.0 too many errors\r\n");
    assert_eq!(talk.reply().await, "");
}

#[tokio::test]
async fn size_recipient_and_connection_limits() {
    let limits =
        SmtpLimits { message_bytes: 1_000, recipients: 2, connections: 1, ..SmtpLimits::default() };
    let sandbox = TestSandbox::start(limited(limits)).await;
    let mut talk = Talk::greeted(sandbox.smtp).await;
    let mut second = Talk::open(sandbox.smtp).await;
    assert_eq!(second.reply().await, "421 4.3.2 too many connections\r\n");
    assert_eq!(second.reply().await, "");
    assert_eq!(talk.code("MAIL FROM:<a@x.test> SIZE=1001").await, "552");
    assert_eq!(talk.code("MAIL FROM:<a@x.test>").await, "250");
    for (to, code) in [("b", "250"), ("c", "250"), ("d", "452")] {
        assert_eq!(talk.code(&format!("RCPT TO:<{to}@x.test>")).await, code);
    }
    assert_eq!(talk.code("DATA").await, "354");
    talk.send("twenty octets of it\r\n".repeat(60).as_bytes()).await;
    assert_eq!(&talk.ask(".").await[..9], "552 5.3.4");
    assert_eq!(talk.mail("b@x.test").await, "250 2.0.0 ok queued as msg_1\r\n");
    let stats = sandbox.get("/api/stats").await;
    assert_eq!(
        stats["smtp"],
        json!({"open": 1, "accepted": 1, "refused": 1, "rejected_messages": 1})
    );
}

#[tokio::test]
async fn messages_in_transfer_share_a_budget() {
    let limits = SmtpLimits { in_flight_bytes: 64 * 1024, ..SmtpLimits::default() };
    let sandbox = TestSandbox::start(limited(limits)).await;
    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(talk.code("MAIL FROM:<a@x.test>").await, "250");
    assert_eq!(talk.code("RCPT TO:<b@x.test>").await, "250");
    assert_eq!(talk.code("DATA").await, "354");
    talk.try_send("twenty octets of it\r\n".repeat(20_000).as_bytes()).await;
    let end = talk.reply().await;
    assert!(end.is_empty() || end.starts_with("452 4.3.1"), "{end}");
    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(&talk.mail("b@x.test").await[..3], "250");
}

#[tokio::test]
async fn scripted_faults_at_every_stage() {
    let sandbox = TestSandbox::default().await;
    let once = |stage: &str, code: u16| {
        json!({"channel": "smtp", "times": 1,
               "effect": {"kind": "reply", "stage": stage, "code": code, "enhanced": format!("{}.7.1", code / 100)}})
    };
    sandbox
        .faults(json!([
            once("connect", 421),
            once("mail", 451),
            once("rcpt", 550),
            once("data", 451),
            once("after_dot", 554)
        ]))
        .await;
    let mut talk = Talk::open(sandbox.smtp).await;
    assert_eq!(talk.reply().await, "421 4.7.1 scripted fault\r\n");
    assert_eq!(talk.reply().await, "");
    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(talk.code("MAIL FROM:<a@x.test>").await, "451");
    assert_eq!(talk.code("RCPT TO:<b@x.test>").await, "503");
    assert_eq!(talk.code("MAIL FROM:<a@x.test>").await, "250");
    assert_eq!(talk.code("RCPT TO:<b@x.test>").await, "550");
    assert_eq!(talk.code("RCPT TO:<b@x.test>").await, "250");
    assert_eq!(talk.code("DATA").await, "451");
    assert_eq!(talk.code("DATA").await, "354");
    assert_eq!(talk.ask("x\r\n.").await, "554 5.7.1 scripted fault\r\n");
    assert_eq!(&talk.mail("b@x.test").await[..3], "250");
    assert_eq!(sandbox.messages("").await.len(), 1);
}

#[tokio::test]
async fn answers_can_be_lost_after_the_message_was_kept() {
    let sandbox = TestSandbox::default().await;
    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(talk.mail("lost@x.test").await, "");
    assert_eq!(sandbox.messages("").await.len(), 1);
    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(talk.mail("drop@x.test").await, "");
    assert_eq!(sandbox.messages("").await.len(), 1);
}

#[tokio::test]
async fn magic_recipients_over_the_wire() {
    let sandbox = TestSandbox::default().await;
    let mut talk = Talk::greeted(sandbox.smtp).await;
    assert_eq!(talk.code("MAIL FROM:<a@x.test>").await, "250");
    assert_eq!(talk.ask("RCPT TO:<bounce@x.test>").await, "550 5.1.1 no such user here\r\n");
    assert_eq!(&talk.ask("RCPT TO:<greylist@x.test>").await[..9], "451 4.7.1");
    assert_eq!(talk.code("RCPT TO:<greylist@x.test>").await, "250");
}

#[tokio::test]
async fn a_hanging_answer_and_an_idle_client_do_not_hold_the_stop_up() {
    let sandbox = TestSandbox::default().await;
    let mut idle = Talk::greeted(sandbox.smtp).await;
    let mut hanging = Talk::greeted(sandbox.smtp).await;
    assert_eq!(hanging.code("MAIL FROM:<a@x.test>").await, "250");
    assert_eq!(hanging.code("RCPT TO:<hang@x.test>").await, "250");
    assert_eq!(hanging.code("DATA").await, "354");
    hanging.send(b"x\r\n.\r\n").await;
    sandbox.stop().await;
    assert_eq!(idle.reply().await, "421 4.3.2 shutting down\r\n");
    assert_eq!(hanging.reply().await, "");
}
