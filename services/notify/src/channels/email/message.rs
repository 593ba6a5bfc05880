//! The text of an e-mail.
//! Reads: a delivery. Writes: nothing. Never: lets user text make a header; lettre encodes every value.

use std::time::{Duration, UNIX_EPOCH};

use campana_bus::clock::Micros;
use campana_bus::headers::STAMPS;
use lettre::Message;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, message};

use crate::contracts::Delivery;

/// Tells auto-responders not to answer (RFC 3834).
#[derive(Clone, Debug)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// When the message reached each stage of its way.
#[derive(Clone, Debug)]
struct StageStamps(String);

impl Header for StageStamps {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str(STAMPS)
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

/// The same for every attempt, so that receivers can drop a second copy and people can trace one.
pub(super) fn message_id(delivery: &Delivery, from: &Mailbox) -> String {
    format!("<{}@{}>", delivery.id, from.email.domain())
}

/// The whole message. `now` is the date of this attempt; `stamps` are its own text, not a user's.
pub(super) fn compose(
    delivery: &Delivery,
    from: &Mailbox,
    to: Address,
    now: Micros,
    stamps: Option<&str>,
) -> Result<Vec<u8>, String> {
    let content = &delivery.message;
    let date = UNIX_EPOCH + Duration::from_micros(u64::try_from(now.0).unwrap_or_default());
    let builder = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(one_line(&content.title))
        .message_id(Some(message_id(delivery, from)))
        .date(date)
        .header(AutoSubmitted);
    let builder = match stamps {
        Some(stamps) => builder.header(StageStamps(stamps.to_owned())),
        None => builder,
    };
    let text = match &content.url {
        Some(url) if !content.text.contains(url.as_str()) => {
            format!("{}\n\n{url}\n", content.text.trim_end())
        }
        _ => content.text.clone(),
    };
    let built = match &content.html {
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(text, html.clone())),
        None => builder.singlepart(
            SinglePart::builder().header(message::header::ContentType::TEXT_PLAIN).body(text),
        ),
    };
    built.map(|message| message.formatted()).map_err(|error| error.to_string())
}

fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use campana_bus::ids::NotificationId;
    use campana_bus::trace::TraceParent;

    use super::*;
    use crate::contracts::{Channel, Rendered};

    const STAMPS_TEXT: &str = "boot=0badcafe;accepted=1234567890123456;dispatched=1234567890123457;worker=1234567890123458;provider=1234567890123459";

    fn composed(message: Rendered) -> String {
        let notification_id = NotificationId::derived(&["n"]);
        let delivery = Delivery {
            id: Delivery::derive_id(notification_id, "alice", Channel::Email),
            notification_id,
            tenant: "default".to_owned(),
            recipient: "alice".to_owned(),
            channel: Channel::Email,
            address: "alice@example.test".to_owned(),
            message,
            accepted_at: Micros(0),
            expires_at: None,
            metadata: BTreeMap::new(),
            trace: TraceParent::fresh(),
        };
        let from: Mailbox = "Bell <bell@campana.test>".parse().unwrap();
        let body = compose(
            &delivery,
            &from,
            "alice@example.test".parse().unwrap(),
            Micros(1_700_000_000_000_000),
            Some(STAMPS_TEXT),
        )
        .unwrap();
        let text = String::from_utf8(body).unwrap();
        assert!(
            text.contains(&format!("Message-ID: <{}@campana.test>\r\n", delivery.id)),
            "{text}"
        );
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"));
        assert!(text.contains(&format!("Campana-Stamps: {STAMPS_TEXT}\r\n")), "{text}");
        assert!(text.contains("Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"), "{text}");
        text
    }

    #[test]
    fn plain_text_first_and_html_last() {
        let text = composed(Rendered {
            title: "Hi".to_owned(),
            text: "plain".to_owned(),
            html: Some("<p>rich</p>".to_owned()),
            url: Some("https://x.test/".to_owned()),
        });
        assert!(text.contains("multipart/alternative"));
        assert!(text.find("plain").unwrap() < text.find("<p>rich</p>").unwrap());
        assert!(text.contains("https://x.test/"));
    }

    #[test]
    fn text_from_users_never_becomes_a_header() {
        for title in [
            "a\r\nBcc: eve@example.test",
            "a\nBcc: eve@example.test",
            "a\u{2028}Bcc: x",
            "é\r\n\r\nbody",
            "a\0b",
            &"long ".repeat(2_000),
        ] {
            let text = composed(Rendered {
                title: title.to_owned(),
                text: "b".to_owned(),
                html: None,
                url: None,
            });
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
            assert_eq!(head.matches("\r\nSubject:").count(), 1, "{head}");
            assert!(text.is_ascii());
        }
    }
}
