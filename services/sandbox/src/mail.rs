//! What a mail says: the short form for the list when it arrives, the long form when opened.
//!
//! Parsing is mail-parser's and never fails hard: a mail that is no MIME at all is shown raw.

use std::sync::Arc;

use bytes::Bytes;
use campana_bus::headers::STAMPS;
use mail_parser::{Address, Message as Parsed, MessageParser, MimeHeaders, PartType};
use serde::Serialize;

use crate::mailbox::{Channel, Content, Draft, Email, Message, preview};
use crate::receipts::Receipt;
use crate::smtp::Envelope;
use crate::stamp::Stamp;
use crate::state::Shared;

/// What a sender is told when its mail is kept.
pub const KEPT: u16 = 250;
/// Attachments that the detail lists.
const MAX_ATTACHMENTS: usize = 50;

/// The long form of a mail.
#[derive(Debug, Serialize)]
pub struct MailView {
    pub message_id: Option<String>,
    pub envelope_from: String,
    pub envelope_to: Vec<String>,
    pub helo: String,
    pub auth_user: Option<String>,
    pub headers: Vec<(String, String)>,
    pub text: Option<String>,
    pub html: Option<String>,
    pub attachments: Vec<Attachment>,
    pub raw: String,
}

#[derive(Debug, Serialize)]
pub struct Attachment {
    pub name: Option<String>,
    pub content_type: Option<String>,
    pub size: usize,
}

/// Keeps a mail that was just received, and a receipt for each recipient.
pub fn keep(
    shared: &Shared,
    (helo, auth_user): (&str, Option<String>),
    envelope: Envelope,
    raw: Vec<u8>,
    received: Stamp,
) -> Arc<Message> {
    let parsed = MessageParser::default().parse(&raw);
    let parsed = parsed.as_ref();
    let from = parsed.and_then(|mail| mail.from()).map(addresses).filter(|from| !from.is_empty());
    let body = parsed.and_then(|mail| mail.body_text(0)).unwrap_or_default();
    let subject = parsed.and_then(|mail| mail.subject()).unwrap_or_default().to_owned();
    // Lines of a mail end as the protocol wants, not as the author wrote.
    let lines = body.replace("\r\n", "\n");
    let stamps = parsed.and_then(|mail| mail.header(STAMPS)).and_then(|value| value.as_text());
    for recipient in &envelope.to {
        shared.receipts.add(&Receipt {
            channel: Channel::Email,
            received,
            recipient,
            title: &subject,
            body: lines.trim_end_matches('\n'),
            stamps,
            answered: KEPT,
            reference: parsed.and_then(|mail| mail.message_id()),
        });
    }
    shared.mailbox.add(Draft {
        channel: Channel::Email,
        from: from.unwrap_or_else(|| envelope.from.clone()),
        to: envelope.to,
        subject,
        preview: preview(&body),
        received,
        content: Content::Email(Email {
            helo: helo.to_owned(),
            mail_from: envelope.from,
            auth_user,
            raw: Bytes::from(raw),
        }),
    })
}

pub fn view(email: &Email, to: &[String]) -> MailView {
    let parsed = MessageParser::default().parse(&email.raw[..]);
    let mail = parsed.as_ref();
    MailView {
        message_id: mail.and_then(|mail| mail.message_id()).map(str::to_owned),
        envelope_from: email.mail_from.clone(),
        envelope_to: to.to_vec(),
        helo: email.helo.clone(),
        auth_user: email.auth_user.clone(),
        headers: mail.map(headers).unwrap_or_default(),
        text: mail.and_then(own_text),
        html: mail.and_then(own_html),
        attachments: mail.map(attachments).unwrap_or_default(),
        raw: String::from_utf8_lossy(&email.raw).into_owned(),
    }
}

/// The HTML part as the sender wrote it, or nothing if there is none.
pub fn html(email: &Email) -> Option<String> {
    MessageParser::default().parse(&email.raw[..]).as_ref().and_then(own_html)
}

/// The library offers each part converted to the other kind; only what was sent is shown.
fn own_text(mail: &Parsed<'_>) -> Option<String> {
    let part = mail.part(*mail.text_body.first()?)?;
    match &part.body {
        PartType::Text(text) => Some(text.clone().into_owned()),
        _ => None,
    }
}

fn own_html(mail: &Parsed<'_>) -> Option<String> {
    let part = mail.part(*mail.html_body.first()?)?;
    match &part.body {
        PartType::Html(html) => Some(html.clone().into_owned()),
        _ => None,
    }
}

fn headers(mail: &Parsed<'_>) -> Vec<(String, String)> {
    mail.headers_raw().map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn attachments(mail: &Parsed<'_>) -> Vec<Attachment> {
    mail.attachments()
        .take(MAX_ATTACHMENTS)
        .map(|part| Attachment {
            name: part.attachment_name().map(str::to_owned),
            content_type: part.content_type().map(|kind| match kind.subtype() {
                Some(subtype) => format!("{}/{subtype}", kind.ctype()),
                None => kind.ctype().to_owned(),
            }),
            size: part.len(),
        })
        .collect()
}

fn addresses(address: &Address<'_>) -> String {
    let one = |addr: &mail_parser::Addr<'_>| match (addr.name(), addr.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (None, Some(address)) => address.to_owned(),
        (Some(name), None) => name.to_owned(),
        (None, None) => String::new(),
    };
    address.iter().map(one).collect::<Vec<_>>().join(", ")
}
