//! The sender against a relay that follows a script, with the traps that were seen in practice.

mod relay;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use campana_bus::clock::Micros;
use campana_bus::ids::NotificationId;
use campana_bus::trace::TraceParent;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use self::relay::{Script, relay, relay_with};
use super::*;
use crate::channels::{Refusal, SmtpTls};
use crate::contracts::{Channel, Rendered};

fn options(address: SocketAddr) -> EmailOptions {
    EmailOptions {
        host: address.ip().to_string(),
        port: address.port(),
        tls: SmtpTls::None,
        from: "Bell <bell@campana.test>".to_owned(),
        body_timeout_seconds: 1,
        command_timeout_seconds: 5,
        ..EmailOptions::default()
    }
}

fn delivery(recipient: &str) -> Delivery {
    let notification_id = NotificationId::derived(&["n"]);
    Delivery {
        id: Delivery::derive_id(notification_id, recipient, Channel::Email),
        notification_id,
        tenant: "default".to_owned(),
        recipient: recipient.to_owned(),
        channel: Channel::Email,
        address: format!("{recipient}@example.test"),
        message: Rendered {
            title: "Hi".to_owned(),
            text: "line\r\n.dot\r\n".to_owned(),
            html: None,
            url: None,
        },
        accepted_at: Micros(0),
        expires_at: None,
        metadata: BTreeMap::new(),
        trace: TraceParent::fresh(),
    }
}

fn smtp_code(refusal: &Refusal) -> Option<u16> {
    match refusal.signal {
        Signal::Smtp { code, .. } => Some(code),
        _ => None,
    }
}

#[tokio::test]
async fn one_connection_serves_many_messages() {
    let relay = relay(vec![]).await;
    let sender =
        EmailSender::new(&EmailOptions { max_connections: 1, ..options(relay.address) }).unwrap();
    for number in 0..20 {
        let accepted = sender.send(&delivery(&format!("user{number}")), None).await.unwrap();
        assert_eq!(accepted.status, DeliveryStatus::Sent);
        assert!(accepted.provider_message_id.unwrap().ends_with("@campana.test>"));
    }
    let seen = relay.seen.lock().unwrap();
    assert_eq!((seen.opened, seen.messages.len()), (1, 20));
    assert!(seen.messages[0].contains("\r\n..dot\r\n"), "dots are stuffed: {}", seen.messages[0]);
}

#[tokio::test]
async fn the_number_of_connections_is_a_limit() {
    let relay = relay(vec![]).await;
    let sender = Arc::new(
        EmailSender::new(&EmailOptions { max_connections: 2, ..options(relay.address) }).unwrap(),
    );
    let sends = (0..50).map(|number| {
        let sender = Arc::clone(&sender);
        async move { sender.send(&delivery(&format!("user{number}")), None).await }
    });
    let results = futures::future::join_all(sends).await;
    assert!(results.iter().all(Result::is_ok));
    let seen = relay.seen.lock().unwrap();
    assert_eq!(seen.messages.len(), 50);
    assert!(seen.open_most <= 2, "{}", seen.open_most);
}

#[tokio::test]
async fn a_connection_is_replaced_after_its_messages() {
    let relay = relay(vec![]).await;
    let sender =
        EmailSender::new(&EmailOptions { messages_per_connection: 2, ..options(relay.address) })
            .unwrap();
    for number in 0..5 {
        sender.send(&delivery(&format!("user{number}")), None).await.unwrap();
    }
    assert_eq!(relay.seen.lock().unwrap().opened, 3);
}

#[tokio::test]
async fn a_silent_relay_meets_the_deadline_and_loses_the_connection() {
    let silent = Script { body: Some(""), ..Script::default() };
    let refused =
        Script { rcpt: Some("550 5.1.1 <bob@example.test> unknown"), ..Script::default() };
    let mut relay = relay(vec![silent, refused]).await;
    let sender = EmailSender::new(&options(relay.address)).unwrap();
    let refusal = sender.send(&delivery("alice"), None).await.unwrap_err();
    assert_eq!(refusal.signal, Signal::Lost { protocol: "smtp", unconfirmed: true });
    relay.closed.recv().await.unwrap();
    // The next message has a connection of its own and its own reply.
    let refusal = sender.send(&delivery("bob"), None).await.unwrap_err();
    assert_eq!(smtp_code(&refusal), Some(550));
    assert!(sender.send(&delivery("carol"), None).await.is_ok());
    assert_eq!(relay.seen.lock().unwrap().opened, 3);
}

#[tokio::test]
async fn silence_before_the_text_is_not_ambiguous() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = EmailOptions { connect_timeout_seconds: 1, ..options(address) };
    let refusal =
        EmailSender::new(&limits).unwrap().send(&delivery("alice"), None).await.unwrap_err();
    assert_eq!(refusal.signal, Signal::Lost { protocol: "smtp", unconfirmed: false });
    drop(listener);
    let refusal =
        EmailSender::new(&limits).unwrap().send(&delivery("alice"), None).await.unwrap_err();
    assert_eq!(refusal.signal, Signal::Lost { protocol: "smtp", unconfirmed: false });
}

#[tokio::test]
async fn a_send_that_is_cancelled_leaves_no_reply_for_the_next_one() {
    let silent = Script { body: Some(""), ..Script::default() };
    let refused = Script { data: Some("550 5.7.1 refused"), ..Script::default() };
    let mut relay = relay(vec![Script::default(), silent, refused]).await;
    let sender =
        EmailSender::new(&EmailOptions { body_timeout_seconds: 60, ..options(relay.address) })
            .unwrap();
    sender.send(&delivery("first"), None).await.unwrap();
    relay.received.recv().await.unwrap();
    let (alice, bob) = (delivery("alice"), delivery("bob"));
    tokio::select! {
        _ = sender.send(&alice, None) => unreachable!("the relay never answers"),
        _ = relay.received.recv() => {}
    }
    relay.closed.recv().await.unwrap();
    let refusal = sender.send(&bob, None).await.unwrap_err();
    assert_eq!(smtp_code(&refusal), Some(550), "never the reply to another message");
    assert_eq!(relay.seen.lock().unwrap().messages.len(), 1);
}

#[tokio::test]
async fn a_reply_that_belongs_to_another_step_is_no_success() {
    for script in [
        Script { data: Some("250 ok"), ..Script::default() },
        Script { body: Some("354 go on"), ..Script::default() },
        Script { rcpt: Some("354 go on"), ..Script::default() },
    ] {
        let relay = relay(vec![script.clone()]).await;
        let refusal = EmailSender::new(&options(relay.address))
            .unwrap()
            .send(&delivery("alice"), None)
            .await
            .unwrap_err();
        assert!(matches!(refusal.signal, Signal::Lost { .. }), "{script:?}: {refusal:?}");
    }
}

#[tokio::test]
async fn refusals_keep_their_codes_and_name_the_step() {
    for (script, code, detail) in [
        (Script { mail: Some("421 4.7.0 slow down"), ..Script::default() }, 421, "mail: 421"),
        (Script { rcpt: Some("452 4.2.2 full"), ..Script::default() }, 452, "rcpt: 452"),
        (Script { data: Some("554 5.3.4 too big"), ..Script::default() }, 554, "data: 554"),
        (Script { body: Some("451 4.7.1 greylisted"), ..Script::default() }, 451, "body: 451"),
    ] {
        let relay = relay(vec![script]).await;
        let sender = EmailSender::new(&options(relay.address)).unwrap();
        let refusal = sender.send(&delivery("alice"), None).await.unwrap_err();
        assert_eq!(smtp_code(&refusal), Some(code), "{refusal:?}");
        assert!(refusal.detail.starts_with(detail), "{refusal:?}");
        // Whatever it was, the connection is not used again.
        sender.send(&delivery("bob"), None).await.unwrap();
        assert_eq!(relay.seen.lock().unwrap().opened, 2);
    }
}

#[tokio::test]
async fn a_relay_that_hung_up_meanwhile_costs_nothing() {
    let mut relay = relay(vec![Script { close: true, ..Script::default() }]).await;
    let sender = EmailSender::new(&options(relay.address)).unwrap();
    sender.send(&delivery("alice"), None).await.unwrap();
    relay.closed.recv().await.unwrap();
    sender.send(&delivery("bob"), None).await.unwrap();
    assert_eq!(relay.seen.lock().unwrap().messages.len(), 2);
}

#[tokio::test]
async fn required_tls_means_that_nothing_goes_without_it() {
    let relay = relay(vec![]).await;
    let required = EmailOptions { tls: SmtpTls::Required, ..options(relay.address) };
    let refusal =
        EmailSender::new(&required).unwrap().send(&delivery("alice"), None).await.unwrap_err();
    assert_eq!(refusal.signal, Signal::Misconfigured("smtp_no_tls"));
    let opportunistic = EmailOptions { tls: SmtpTls::Opportunistic, ..options(relay.address) };
    assert!(EmailSender::new(&opportunistic).unwrap().send(&delivery("alice"), None).await.is_ok());
    // A relay that offers TLS and then does not speak it.
    let broken = relay_with(STARTTLS, None, vec![]).await;
    let required = EmailOptions {
        tls: SmtpTls::Required,
        connect_timeout_seconds: 1,
        ..options(broken.address)
    };
    let refusal =
        EmailSender::new(&required).unwrap().send(&delivery("alice"), None).await.unwrap_err();
    assert!(
        matches!(refusal.signal, Signal::Misconfigured("smtp_tls_failed") | Signal::Smtp { .. }),
        "{refusal:?}"
    );
    assert!(broken.seen.lock().unwrap().messages.is_empty());
}

const STARTTLS: &str = "250-relay.test\r\n250 STARTTLS\r\n";
const NO_STARTTLS: &str = "250-relay.test\r\n250 8BITMIME\r\n";

/// A certificate for the loopback address that its own file vouches for.
fn certificate(folder: &tempfile::TempDir) -> (TlsAcceptor, std::path::PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), path)
}

#[tokio::test]
async fn both_forms_of_tls_deliver_and_check_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    for (tls, ehlo) in [(SmtpTls::Implicit, NO_STARTTLS), (SmtpTls::Required, STARTTLS)] {
        let (acceptor, ca_file) = certificate(&folder);
        let relay = relay_with(ehlo, Some(acceptor), vec![]).await;
        let trusting = EmailOptions { tls, ca_file: Some(ca_file), ..options(relay.address) };
        let sender = EmailSender::new(&trusting).unwrap();
        for user in ["alice", "bob", "carol"] {
            sender.send(&delivery(user), None).await.unwrap();
        }
        assert_eq!(relay.seen.lock().unwrap().messages.len(), 3);
        assert_eq!(relay.seen.lock().unwrap().opened, 1);
        let wary = EmailOptions { ca_file: None, ..trusting };
        let refusal =
            EmailSender::new(&wary).unwrap().send(&delivery("dave"), None).await.unwrap_err();
        assert_eq!(refusal.signal, Signal::Misconfigured("smtp_tls_failed"), "{tls:?}");
        assert_eq!(relay.seen.lock().unwrap().messages.len(), 3);
    }
}

#[tokio::test]
async fn addresses_that_are_none_are_refused_before_anything_is_opened() {
    let relay = relay(vec![]).await;
    let sender = EmailSender::new(&options(relay.address)).unwrap();
    for address in [
        "",
        "alice",
        "alice@",
        "@example.test",
        "a@b\r\nRCPT TO:<eve@example.test>",
        "a b@example.test",
        "a@b@c",
    ] {
        let bad = Delivery { address: address.to_owned(), ..delivery("alice") };
        let refusal = sender.send(&bad, None).await.unwrap_err();
        assert_eq!(refusal.signal, Signal::Refused("bad_address"), "{address:?}");
    }
    assert_eq!(relay.seen.lock().unwrap().opened, 0);
    let foreign = Delivery { address: "jürgen@example.test".to_owned(), ..delivery("alice") };
    assert_eq!(
        sender.send(&foreign, None).await.unwrap_err().signal,
        Signal::Refused("smtp_no_utf8")
    );
}

#[tokio::test]
async fn small_messages_do_not_wait_for_delayed_acknowledgements() {
    let relay = relay(vec![]).await;
    let sender = EmailSender::new(&EmailOptions {
        max_connections: 1,
        messages_per_connection: 1_000,
        ..options(relay.address)
    })
    .unwrap();
    sender.send(&delivery("warm"), None).await.unwrap();
    let started = campana_bus::clock::monotonic();
    for number in 0..50 {
        sender.send(&delivery(&format!("user{number}")), None).await.unwrap();
    }
    // With Nagle's algorithm each message takes more than 40 ms.
    assert!(started.elapsed() < Duration::from_millis(50 * 35), "{:?}", started.elapsed());
}

impl EmailSender {
    async fn send(&self, delivery: &Delivery, stamps: Option<&str>) -> Result<Accepted, Refusal> {
        let place = self.place().await?;
        self.deliver(place, delivery, stamps).await
    }
}
