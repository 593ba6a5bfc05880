//! What a message that a schedule fired says about itself.
//! Reads: its headers. Writes: the lateness metric. Never: trusts a header to be well formed.
//!
//! The server strips `Nats-Msg-Id` from a fired copy, so the library's own headers carry the id: a schedule that
//! fires once passes the message's own id on; one that recurs gives every firing an id of its own, made of the
//! schedule's id and the time of the following firing, which the server writes into the copy. A firing that is
//! stored twice (a server that dies between storing it and noting it) has the same id twice, and an inbox drops
//! the second.

use async_nats::HeaderMap;

use super::when;
use crate::clock::Micros;
use crate::{headers, subjects, telemetry};

/// The schedule's subject in a fired copy.
const SCHEDULER: &str = "Nats-Scheduler";
/// When the schedule fires next; `purge` if never again.
const NEXT: &str = "Nats-Schedule-Next";

/// The id of one firing of a recurring schedule; `None` for any other message.
pub(crate) fn message_id(all: &HeaderMap) -> Option<String> {
    let schedule = headers::get(all, headers::SCHEDULE_ID)?;
    let next = headers::get(all, NEXT).filter(|next| *next != "purge")?;
    Some(format!("{schedule}@{next}"))
}

/// Key of the schedule that fired this message; `None` if none of [`crate::Bus::schedule`] did.
#[must_use]
pub fn key(all: &HeaderMap) -> Option<String> {
    subjects::parse_schedule(headers::get(all, SCHEDULER)?).map(|(_, key)| key)
}

/// When this message was due; `None` if no schedule fired it, or if it cannot be told.
#[must_use]
pub fn due_at(all: &HeaderMap, stored_at: Micros) -> Option<Micros> {
    key(all)?;
    if let Some(due) = headers::get(all, headers::SCHEDULE_DUE) {
        return Micros::from_rfc3339(due);
    }
    let next = Micros::from_rfc3339(headers::get(all, NEXT)?)?;
    when::due_before(headers::get(all, headers::SCHEDULE_RECURS)?, next, stored_at)
}

/// Records how late the server was with a message that a consumer takes for the first time.
pub(crate) fn measure(all: &HeaderMap, stored_at: Micros, consumer: &str) {
    if let Some(due) = due_at(all, stored_at) {
        telemetry::schedule_lateness(consumer, stored_at.since(due));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut all = HeaderMap::new();
        for (name, value) in pairs {
            headers::set(&mut all, name, value);
        }
        all
    }

    #[test]
    fn each_firing_of_a_recurring_schedule_has_an_id_of_its_own() {
        let of = |next: &str| message_id(&map(&[(headers::SCHEDULE_ID, "msg_1"), (NEXT, next)]));
        assert_eq!(of("2026-01-01T00:00:01Z").as_deref(), Some("msg_1@2026-01-01T00:00:01Z"));
        assert_ne!(of("2026-01-01T00:00:01Z"), of("2026-01-01T00:00:02Z"));
        assert_eq!(of("purge"), None, "a copy that waited for a retry keeps its original id");
        assert_eq!(message_id(&map(&[(NEXT, "2026-01-01T00:00:01Z")])), None);
    }

    #[test]
    fn only_schedules_are_late() {
        let due = "2026-01-01T00:00:00Z";
        let stored = Micros::from_rfc3339("2026-01-01T00:00:00.2Z").unwrap();
        let fired = [(SCHEDULER, "_schedule.EVENTS.k"), (headers::SCHEDULE_DUE, due)];
        assert_eq!(due_at(&map(&fired), stored), Micros::from_rfc3339(due));
        assert_eq!(key(&map(&fired)).as_deref(), Some("k"));
        let retried = [(SCHEDULER, "_delay.EVENTS.c.7"), (headers::SCHEDULE_DUE, due)];
        assert_eq!(due_at(&map(&retried), stored), None);
        assert_eq!(due_at(&map(&[(SCHEDULER, "_schedule.=zz"), (NEXT, "soon")]), stored), None);
    }
}
