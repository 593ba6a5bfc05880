//! The Message resource in Twilio's JSON. Pure.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use campana_bus::clock::Micros;

use crate::mailbox::{Message, Sms};

pub const API_VERSION: &str = "2010-04-01";

/// The resource as POST, GET and list answer it.
pub fn message(account_sid: &str, message: &Message, sms: &Sms) -> Value {
    let state = sms.state();
    let uri = format!("/{API_VERSION}/Accounts/{account_sid}/Messages/{}", sms.sid);
    let sent = !matches!(state.status, "queued" | "accepted");
    json!({
        "account_sid": account_sid,
        "api_version": API_VERSION,
        "body": sms.body,
        "date_created": rfc2822(message.received.at),
        "date_sent": sent.then(|| rfc2822(message.received.at)),
        "date_updated": rfc2822(state.updated.at),
        "direction": "outbound-api",
        "error_code": state.error_code,
        "error_message": state.error_code.map(|code| format!("see https://www.twilio.com/docs/errors/{code}")),
        "from": message.from,
        "messaging_service_sid": sms.messaging_service_sid,
        "num_media": sms.num_media.to_string(),
        "num_segments": sms.num_segments.to_string(),
        "price": null,
        "price_unit": "USD",
        "sid": sms.sid,
        "status": state.status,
        "subresource_uris": {"media": format!("{uri}/Media.json")},
        "to": message.to.first(),
        "uri": format!("{uri}.json"),
    })
}

fn rfc2822(at: Micros) -> String {
    OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1_000_000))
        .ok()
        .and_then(|at| at.format(&Rfc2822).ok())
        .unwrap_or_default()
}
