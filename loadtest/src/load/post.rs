//! The bytes of one request. Everything that does not depend on the slot is made once: at ten
//! thousand a second the generator shares its core with what it measures. Pure.

use std::fmt::Write as _;
use std::str::FromStr;

use super::Aim;
use crate::intake::Channel;
use crate::mark;
use crate::stamps;

/// How somebody is addressed on every channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// As the target names people, and as it mints tokens for them.
    pub id: String,
    /// The JSON by which a request of Campana describes him.
    pub json: String,
    /// Where the channels reach him, as the sandbox shows it.
    pub addresses: Vec<String>,
}

/// What a request says, for a target that wants it in a form of its own.
pub struct Post<'a> {
    pub recipients: &'a [Recipient],
    pub channels: &'a [Channel],
    pub title: &'a str,
    pub body: &'a str,
}

/// Writes a request's body. Title and body need no escaping in JSON.
pub type BodyWriter = fn(&Post<'_>, &mut String);

/// How many requests ask for stage stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamping {
    Off,
    /// Every n-th slot; 1 is every one.
    Every(u64),
}

impl FromStr for Stamping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::Every(1)),
            number => match number.parse() {
                Ok(every) if every > 0 => Ok(Self::Every(every)),
                _ => Err("write on, off, or a number n for every n-th request".to_owned()),
            },
        }
    }
}

/// Makes requests.
pub struct Poster {
    /// This run's number, in every mark.
    pub run: u32,
    pub payload_bytes: u32,
    pub recipients: Vec<Recipient>,
    pub stamping: Stamping,
    pub idempotency_keys: bool,
    /// Request line and the headers that never change.
    head: String,
    body: BodyWriter,
}

/// Reused from request to request.
#[derive(Default)]
pub struct Scratch {
    body: String,
    pub bytes: Vec<u8>,
}

impl Poster {
    /// For one target. An empty key sends no `Authorization`.
    pub fn new(run: u32, authority: &str, path: &str, api_key: &str, body: BodyWriter) -> Self {
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\n");
        if !api_key.is_empty() {
            head += &format!("Authorization: Bearer {api_key}\r\n");
        }
        head += "Content-Type: application/json\r\n";
        Self {
            run,
            payload_bytes: 0,
            recipients: Vec::new(),
            stamping: Stamping::Off,
            idempotency_keys: false,
            head,
            body,
        }
    }

    /// Writes the request of a slot into `scratch.bytes`.
    pub fn write(&self, slot: u64, aim: &Aim<'_>, scratch: &mut Scratch) {
        let content = mark::write(self.run, slot, self.payload_bytes);
        let from = aim.recipient as usize;
        let to = from + aim.fan_out as usize;
        let post = Post {
            recipients: self.recipients.get(from..to).unwrap_or_default(),
            channels: aim.channels,
            title: &content.title,
            body: &content.body,
        };
        scratch.body.clear();
        (self.body)(&post, &mut scratch.body);
        let bytes = &mut scratch.bytes;
        bytes.clear();
        bytes.extend_from_slice(self.head.as_bytes());
        if let Stamping::Every(every) = self.stamping
            && slot.is_multiple_of(every)
        {
            bytes.extend_from_slice(stamps::HEADER.as_bytes());
            bytes.extend_from_slice(b": 1\r\n");
        }
        if self.idempotency_keys {
            bytes.extend_from_slice(b"Idempotency-Key: ");
            bytes.extend_from_slice(content.title.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        let mut length = String::with_capacity(32);
        // Writing to a String cannot fail.
        let _ = write!(length, "Content-Length: {}\r\n\r\n", scratch.body.len());
        bytes.extend_from_slice(length.as_bytes());
        bytes.extend_from_slice(scratch.body.as_bytes());
    }
}

/// The body that Campana's `POST /v1/notifications` takes.
pub fn campana_body(post: &Post<'_>, out: &mut String) {
    out.push_str("{\"to\":[");
    for (index, recipient) in post.recipients.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&recipient.json);
    }
    out.push_str("],\"content\":{\"title\":\"");
    out.push_str(post.title);
    out.push_str("\",\"body\":\"");
    out.push_str(post.body);
    out.push_str("\"},\"channels\":[");
    for (index, channel) in post.channels.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(out, "{comma}\"{}\"", channel.name());
    }
    out.push_str("]}");
}

/// The recipients of a run: names that no earlier run used, so that nothing old can be taken for
/// new, and addresses that only a sandbox has.
pub fn recipients(
    run: u32,
    count: u32,
    channels: &[Channel],
    webhooks: Option<&str>,
) -> Vec<Recipient> {
    let has = |channel| channels.contains(&channel);
    let one = |index: u32| {
        let id = format!("lt-{run:08x}-{index}");
        let mut json = format!("{{\"id\":\"{id}\"");
        let mut addresses = Vec::new();
        if has(Channel::Email) {
            let email = format!("{id}@loadtest.example.com");
            json += &format!(",\"email\":\"{email}\"");
            addresses.push(email);
        }
        if has(Channel::Sms) || has(Channel::Whatsapp) {
            // Not one of the sandbox's numbers that misbehave: those begin with +1500.
            let phone = format!("+1202{index:07}");
            json += &format!(",\"phone\":\"{phone}\"");
            addresses.push(phone);
        }
        if let (true, Some(base)) = (has(Channel::Webhook), webhooks) {
            json += &format!(",\"webhook_url\":\"{base}{id}\"");
            addresses.push(id.clone());
        }
        json.push('}');
        Recipient { id, json, addresses }
    };
    (0..count).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_and_its_body_is_json() {
        let mut poster = Poster::new(7, "h:1", "/v1/notifications", "ck_x", campana_body);
        poster.payload_bytes = 200;
        let channels = [Channel::InApp, Channel::Email, Channel::Sms, Channel::Webhook];
        poster.recipients = recipients(7, 3, &channels, Some("http://s/webhook/"));
        poster.stamping = Stamping::Every(2);
        poster.idempotency_keys = true;
        let aim = Aim { recipient: 1, fan_out: 2, channels: &channels };
        let mut scratch = Scratch::default();
        poster.write(35, &aim, &mut scratch);
        assert!(!String::from_utf8_lossy(&scratch.bytes).contains(stamps::HEADER));
        poster.write(36, &aim, &mut scratch);
        let text = String::from_utf8(scratch.bytes.clone()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/notifications HTTP/1.1\r\nHost: h:1\r\n"), "{head}");
        assert!(head.contains("\r\nCampana-Stamps: 1\r\n"), "{head}");
        assert!(head.contains("\r\nIdempotency-Key: lt-00000007-10-"), "{head}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["to"].as_array().unwrap().len(), 2);
        assert_eq!(json["to"][0]["phone"], "+12020000001");
        assert_eq!(json["to"][0]["webhook_url"], "http://s/webhook/lt-00000007-1");
        assert_eq!(json["channels"][3], "webhook");
        let content = mark::write(7, 36, 200);
        assert_eq!(json["content"]["title"], content.title);
        assert_eq!(json["content"]["body"], content.body);
    }

    #[test]
    fn stamping_is_read() {
        assert_eq!("on".parse(), Ok(Stamping::Every(1)));
        assert_eq!("off".parse(), Ok(Stamping::Off));
        assert_eq!("20".parse(), Ok(Stamping::Every(20)));
        assert!("0".parse::<Stamping>().is_err() && "often".parse::<Stamping>().is_err());
    }
}
