//! What senders write for Centrifugo, which does not take Campana's own request, and how it is set up. Pure.

use std::fmt::Write as _;

use crate::load::post::Post;

/// The body of Centrifugo's `publish`; one recipient, because `broadcast` is another method.
pub fn centrifugo_body(post: &Post<'_>, out: &mut String) {
    let user = post.recipients.first().map_or("", |recipient| recipient.id.as_str());
    // Writing to a String cannot fail.
    let _ = write!(out, r##"{{"channel":"inbox:#{user}","data":"##);
    notification(post, out);
    out.push('}');
}

/// Titles and bodies of the harness need no escaping in JSON.
fn notification(post: &Post<'_>, out: &mut String) {
    let Post { title, body, .. } = post;
    let _ = write!(
        out,
        r#"{{"type":"notification","notification_id":"{title}","title":"{title}","body":"{body}"}}"#
    );
}

/// Centrifugo 6: everyone is subscribed to the personal channel on connect; no history, one process in memory.
pub fn centrifugo_config(port: u16, key: &str) -> String {
    serde_json::json!({
        "http_server": {"address": "127.0.0.1", "port": port.to_string()},
        "http_api": {"key": key},
        "client": {
            "token": {"hmac_secret_key": key},
            "allowed_origins": ["*"],
            "subscribe_to_user_personal_channel":
                {"enabled": true, "personal_channel_namespace": "inbox"},
        },
        "channel": {"namespaces": [{"name": "inbox", "allow_user_limited_channels": true}]},
        "engine": {"type": "memory"},
        "log": {"level": "warn"},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::load::post::Recipient;

    fn with_post(write: impl Fn(&Post<'_>, &mut String)) -> Value {
        let recipients =
            [Recipient { id: "a-1".to_owned(), json: String::new(), addresses: Vec::new() }];
        let post = Post { recipients: &recipients, channels: &[], title: "t", body: "+ b #0" };
        let mut out = String::new();
        write(&post, &mut out);
        serde_json::from_str(&out).unwrap()
    }

    #[test]
    fn requests_and_configuration_are_json() {
        let publish = with_post(centrifugo_body);
        let data = &publish["data"];
        assert_eq!(publish["channel"], "inbox:#a-1");
        assert_eq!((&data["type"], &data["title"]), (&"notification".into(), &"t".into()));
        let config: Value = serde_json::from_str(&centrifugo_config(1, "k")).unwrap();
        assert_eq!(config["http_server"]["port"], "1");
    }
}
