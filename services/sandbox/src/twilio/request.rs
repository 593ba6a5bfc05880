//! What a form posted to Messages.json asks for, or Twilio's error for it. Pure.

use url::Url;

use super::errors::TwilioError;
use super::segments;
use crate::faults::magic_twilio_sender;
use crate::mailbox::Channel;

/// Characters of the longest body.
const MAX_BODY: usize = 1_600;
/// Media of one message.
const MAX_MEDIA: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendRequest {
    pub channel: Channel,
    pub to: String,
    pub from: String,
    pub messaging_service_sid: Option<String>,
    pub body: String,
    pub num_segments: u32,
    pub num_media: u32,
    pub status_callback: Option<String>,
}

impl SendRequest {
    /// The recipient's number without a channel prefix.
    pub fn number(&self) -> &str {
        number(&self.to)
    }
}

/// The number without `whatsapp:`.
pub fn number(address: &str) -> &str {
    address.strip_prefix("whatsapp:").unwrap_or(address)
}

/// Reads the form. Checks come in Twilio's order: recipient, sender, content, callback.
pub fn parse(fields: &[(String, String)]) -> Result<SendRequest, TwilioError> {
    let field = |name: &str| {
        fields.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, v)| v.clone())
    };
    let to = field("To").ok_or_else(|| TwilioError::of(21_604))?;
    if !is_e164(number(&to)) {
        return Err(TwilioError::of(21_211));
    }
    let service = field("MessagingServiceSid");
    let from = field("From");
    let whatsapp = to.starts_with("whatsapp:");
    match (&from, &service) {
        (None, None) => return Err(TwilioError::of(21_603)),
        (Some(from), _) => check_sender(from, whatsapp)?,
        (None, Some(_)) => {}
    }
    let media = fields.iter().filter(|(name, _)| name == "MediaUrl").take(MAX_MEDIA).count();
    let body = match (field("Body"), field("ContentSid")) {
        (Some(body), _) => body,
        (None, Some(content)) => {
            let variables = field("ContentVariables").unwrap_or_else(|| "{}".to_owned());
            format!("[content {content} {variables}]")
        }
        (None, None) if media > 0 => String::new(),
        (None, None) => return Err(TwilioError::of(21_602)),
    };
    if body.chars().count() > MAX_BODY {
        return Err(TwilioError::of(21_617));
    }
    let status_callback = field("StatusCallback");
    if status_callback.as_deref().is_some_and(|url| !is_callback_url(url)) {
        return Err(TwilioError::of(21_609));
    }
    Ok(SendRequest {
        channel: if whatsapp { Channel::Whatsapp } else { Channel::Sms },
        num_segments: segments::count(&body),
        num_media: u32::try_from(media).unwrap_or(0),
        from: from.or_else(|| service.clone()).unwrap_or_default(),
        messaging_service_sid: service,
        to,
        body,
        status_callback,
    })
}

fn check_sender(from: &str, whatsapp: bool) -> Result<(), TwilioError> {
    if from.starts_with("whatsapp:") != whatsapp {
        return Err(TwilioError::of(21_910));
    }
    let plain = number(from);
    let short_code = (5..=6).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_digit());
    // An alphanumeric sender: up to 11 letters, digits and spaces with at least one letter.
    let name = plain.len() <= 11
        && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ')
        && plain.bytes().any(|b| b.is_ascii_alphabetic());
    if !is_e164(plain) && (whatsapp || !(short_code || name)) {
        return Err(TwilioError::of(21_212));
    }
    magic_twilio_sender(plain).map_or(Ok(()), |code| Err(TwilioError::of(code)))
}

fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

/// Twilio refuses hosts with an underscore.
fn is_callback_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.contains('_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn code(pairs: &[(&str, &str)]) -> u32 {
        parse(&form(pairs)).unwrap_err().code
    }

    const TO: (&str, &str) = ("To", "+15551234567");
    const FROM: (&str, &str) = ("From", "+15005550006");
    const BODY: (&str, &str) = ("Body", "hello");

    #[test]
    fn a_whole_request() {
        let callback = ("StatusCallback", "http://127.0.0.1:9/v1/callbacks/twilio/dlv_1");
        let request = parse(&form(&[TO, FROM, BODY, callback])).unwrap();
        assert_eq!((request.channel, request.num_segments), (Channel::Sms, 1));
        let to = ("To", "whatsapp:+15551234567");
        let from = ("From", "whatsapp:+15005550006");
        let content = [to, from, ("ContentSid", "HX1"), ("ContentVariables", "{\"1\":\"a\"}")];
        let request = parse(&form(&content)).unwrap();
        assert_eq!((request.channel, request.number()), (Channel::Whatsapp, "+15551234567"));
        let named = parse(&form(&[TO, ("From", "Campana"), BODY])).unwrap();
        assert_eq!(named.from, "Campana");
    }

    #[test]
    fn twilios_refusals() {
        assert_eq!(code(&[FROM, BODY]), 21_604);
        assert_eq!(code(&[("To", "5551234"), FROM, BODY]), 21_211);
        assert_eq!(code(&[("To", "+0123456789"), FROM, BODY]), 21_211);
        assert_eq!(code(&[TO, BODY]), 21_603);
        assert_eq!(code(&[TO, ("From", "+123"), BODY]), 21_212);
        assert_eq!(code(&[TO, ("From", "+15005550007"), BODY]), 21_606);
        assert_eq!(code(&[TO, ("From", "whatsapp:+15005550006"), BODY]), 21_910);
        assert_eq!(code(&[TO, FROM]), 21_602);
        assert_eq!(code(&[TO, FROM, ("Body", &"x".repeat(1_601))]), 21_617);
        assert_eq!(code(&[TO, FROM, BODY, ("StatusCallback", "ftp://x/")]), 21_609);
        assert_eq!(code(&[TO, FROM, BODY, ("StatusCallback", "http://a_b/")]), 21_609);
    }
}
