//! What the server says on its own: advisories, and the API's answers about streams and consumers.
//! Reads and writes: text. Never: names a stream or consumer that the caller did not.

/// Advisories about messages that reached their consumer's `max_deliver`.
pub const ADVISORIES_MAX_DELIVERIES: &str = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>";
/// Advisories about messages that were terminated, or removed while a consumer still had them.
pub const ADVISORIES_TERMINATED: &str = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>";

/// Advisories that are counted: what each is called, and where the server sends it. Behind these prefixes follow
/// the stream and, for consumers, the consumer (nats-server, `jetstream_api.go`).
pub const ADVISORIES_COUNTED: [(&str, &str); 6] = [
    ("max_deliveries", "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."),
    ("terminated", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED."),
    ("nak", "$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED."),
    ("consumer_quorum_lost", "$JS.EVENT.ADVISORY.CONSUMER.QUORUM_LOST."),
    ("stream_quorum_lost", "$JS.EVENT.ADVISORY.STREAM.QUORUM_LOST."),
    ("stream_leader_elected", "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."),
];

/// Every subject of one kind of [`ADVISORIES_COUNTED`].
#[must_use]
pub fn advisories_of(prefix: &str) -> String {
    format!("{prefix}>")
}

/// Which of [`ADVISORIES_COUNTED`] this is, and of which stream.
#[must_use]
pub fn parse_advisory(subject: &str) -> Option<(&'static str, &str)> {
    ADVISORIES_COUNTED.iter().find_map(|(kind, prefix)| {
        let stream = subject.strip_prefix(prefix)?.split('.').next()?;
        Some((*kind, stream))
    })
}

/// Behind the API's prefix: the streams of the account, a page at a time.
pub const API_STREAM_LIST: &str = "STREAM.LIST";
/// Who the server takes this connection for.
pub const USER_INFO: &str = "$SYS.REQ.USER.INFO";

/// Behind the API's prefix: the consumers of a stream, a page at a time.
#[must_use]
pub fn api_consumer_list(stream: &str) -> String {
    format!("CONSUMER.LIST.{stream}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advisory_tells_its_kind_and_stream() {
        let read = parse_advisory;
        assert_eq!(
            read("$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.WORK.mailer"),
            Some(("nak", "WORK"))
        );
        assert_eq!(
            read("$JS.EVENT.ADVISORY.STREAM.QUORUM_LOST.WORK"),
            Some(("stream_quorum_lost", "WORK"))
        );
        assert_eq!(read("$JS.EVENT.ADVISORY.API"), None);
        for (kind, prefix) in ADVISORIES_COUNTED {
            assert_eq!(parse_advisory(&advisories_of(prefix)), Some((kind, ">")));
        }
    }
}
