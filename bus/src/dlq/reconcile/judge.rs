//! Which messages nobody will take: pure.
//! Reads: its arguments. Writes: nothing. Never: takes an absence of news for news.

use crate::subjects;

/// Stands for the consumer of a message that no consumer wants.
pub const NOBODY: &str = "(nobody)";

/// Why nobody will take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It is settled as far as its consumer is concerned, and still there.
    BelowFloor,
    /// No consumer's filter takes its subject.
    Unwanted,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::BelowFloor, Self::Unwanted];

    /// The name in letters and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BelowFloor => "below_floor",
            Self::Unwanted => "no_consumer",
        }
    }

    pub(super) const fn explained(self) -> &'static str {
        match self {
            Self::BelowFloor => "its consumer has no deliveries left for it",
            Self::Unwanted => "no consumer of the work queue takes its subject",
        }
    }
}

/// A message that nobody will take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stranded {
    /// The work queue.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// The consumer that would have had to take it, or [`NOBODY`].
    pub consumer: String,
    /// When that consumer was created, Unix nanoseconds: another incarnation may offer it again.
    pub incarnation: i128,
    /// Why nobody takes it.
    pub why: Why,
}

/// A consumer of a work queue, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    pub name: String,
    /// Empty: everything.
    pub filters: Vec<String>,
    /// Everything up to here is settled.
    pub floor: u64,
    pub incarnation: i128,
}

impl Reader {
    pub(super) fn reads(&self, subject: &str) -> bool {
        self.filters.is_empty()
            || self.filters.iter().any(|filter| subjects::matches(filter, subject))
    }
}

/// Whether a stored message of a work queue is one that nobody will take.
pub(super) fn judge(
    stream: &str,
    readers: &[Reader],
    subject: &str,
    sequence: u64,
) -> Option<Stranded> {
    if subjects::is_waiting(subject) {
        return None;
    }
    let stranded = |consumer: &str, incarnation, why| Stranded {
        stream: stream.to_owned(),
        sequence,
        consumer: consumer.to_owned(),
        incarnation,
        why,
    };
    let mut takers = readers.iter().filter(|reader| reader.reads(subject)).peekable();
    if takers.peek().is_none() {
        return Some(stranded(NOBODY, 0, Why::Unwanted));
    }
    // A work queue has one reader for each subject. If there were more, all of them must be done with it.
    let mut last = None;
    for taker in takers {
        if sequence > taker.floor {
            return None;
        }
        last = Some(stranded(&taker.name, taker.incarnation, Why::BelowFloor));
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(name: &str, filter: &str, floor: u64) -> Reader {
        let filters = if filter.is_empty() { Vec::new() } else { vec![filter.to_owned()] };
        Reader { name: name.to_owned(), filters, floor, incarnation: 7 }
    }

    #[test]
    fn only_settled_and_unwanted_messages_are_stranded() {
        let readers = [reader("mail", "work.mail.*", 10), reader("sms", "work.sms.*", 3)];
        let why = |subject: &str, sequence| {
            judge("WORK", &readers, subject, sequence).map(|one| (one.consumer, one.why))
        };
        let below = |name: &str| Some((name.to_owned(), Why::BelowFloor));
        assert_eq!(why("work.mail.a", 10), below("mail"));
        assert_eq!(why("work.mail.a", 11), None, "pending or new");
        assert_eq!(why("work.sms.a", 4), None, "another consumer's floor does not count");
        assert_eq!(why("work.sms.a", 3), below("sms"));
        assert_eq!(why("work.fax.a", 1), Some((NOBODY.to_owned(), Why::Unwanted)));
        assert_eq!(why("_delay.WORK.mail.1", 1), None, "it waits for its time");
        assert_eq!(why("_schedule.WORK.daily", 1), None);
    }

    #[test]
    fn a_reader_of_everything_wants_everything() {
        assert_eq!(judge("WORK", &[reader("all", "", 0)], "work.x", 1), None);
        assert!(judge("WORK", &[reader("all", "", 1)], "work.x", 1).is_some());
        let two = [reader("all", "", 5), reader("mail", "work.mail", 1)];
        assert_eq!(judge("WORK", &two, "work.mail", 3), None, "one of them is not done");
    }
}
