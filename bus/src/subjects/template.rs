//! The pattern behind a subject, for labels and the names of spans.
//! Reads: subjects and filters. Writes: nothing. Never: returns a part of the subject: what users named stays
//! out of labels, and the number of templates is fixed.

use crate::topology;

/// Patterns by their first tokens; the first that fits counts.
const TEMPLATES: [(&str, &str); 15] = [
    ("notify.request.", "notify.request.{priority}"),
    ("notify.deliver.", "notify.deliver.{channel}.{tenant}"),
    ("notify.outcome.", "notify.outcome.{tenant}.{notification}"),
    ("notify.outcomes.", "notify.outcomes.{tenant}"),
    ("live.ch.", "live.ch.{tenant}.{namespace}.{rest}"),
    ("ch.", "ch.{tenant}.{namespace}.{rest}"),
    ("app.", "app.{tenant}.{service}.{event}"),
    ("part.", "part.{stream}.{partition}.{tenant}.{service}.{event}.{key}"),
    ("dlq.", "dlq.{stream}.{consumer}.{sequence}"),
    ("_delay.", "_delay.{stream}.{consumer}.{key}"),
    ("_retry.", "_retry.{stream}.{consumer}.{key}"),
    ("_schedule.", "_schedule.{stream}.{key}"),
    ("svc.", "svc.{service}.{endpoint}"),
    ("$KV.", "$KV.{bucket}.{key}"),
    ("$JS.", "$JS.{api}"),
];

/// The template of a subject or of a filter; `other` if it is none of ours.
#[must_use]
pub fn template(subject: &str) -> &'static str {
    TEMPLATES
        .iter()
        .find(|(prefix, _)| subject.starts_with(prefix))
        .map_or("other", |(_, template)| template)
}

/// The token of a subject that stands where its template has `{name}`.
#[must_use]
pub fn template_value<'a>(subject: &'a str, name: &str) -> Option<&'a str> {
    template(subject)
        .split('.')
        .zip(subject.split('.'))
        .find(|(place, _)| place.strip_prefix('{').and_then(|p| p.strip_suffix('}')) == Some(name))
        .map(|(_, token)| token)
}

/// The stream that stores a subject, as far as the topology says; empty if it does not.
#[must_use]
pub fn stream_of(subject: &str) -> &str {
    match template(subject).split('.').next() {
        Some("notify") if subject.starts_with("notify.request.") => topology::REQUESTS,
        Some("notify") if subject.starts_with("notify.deliver.") => topology::DELIVERIES,
        Some("notify") => topology::OUTCOMES,
        Some("ch" | "live") => topology::CHANNELS,
        Some("app") => topology::EVENTS,
        Some("dlq") => topology::DLQ,
        Some("_delay" | "_retry" | "_schedule") => {
            template_value(subject, "stream").unwrap_or_default()
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subjects;

    #[test]
    fn users_names_are_in_no_template() {
        assert_eq!(
            template(&subjects::deliver("email", "acme")),
            "notify.deliver.{channel}.{tenant}"
        );
        assert_eq!(
            template(&subjects::deliver_filter("email")),
            "notify.deliver.{channel}.{tenant}"
        );
        assert_eq!(template("ch.acme.inbox.=23alice"), "ch.{tenant}.{namespace}.{rest}");
        assert_eq!(template("orders.alice"), "other");
    }

    #[test]
    fn streams_follow_from_subjects() {
        assert_eq!(stream_of(&subjects::request("bulk")), topology::REQUESTS);
        assert_eq!(stream_of(&subjects::delay("EVENTS", "c", "1")), "EVENTS");
        assert_eq!(stream_of("svc.a.b"), "");
    }

    #[test]
    fn values_are_found_by_name() {
        let subject = subjects::outcome("acme", "ntf_1");
        assert_eq!(template_value(&subject, "tenant"), Some("acme"));
        assert_eq!(template_value(&subject, "notification"), Some("ntf_1"));
        assert_eq!(template_value(&subject, "channel"), None);
        assert_eq!(template_value("_schedule.EVENTS.k", "stream"), Some("EVENTS"));
    }
}
