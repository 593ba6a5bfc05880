//! Whether everything after a position is still in the stream.
//! Reads: what the stream says about itself. Writes: nothing. Never: takes silence for proof: who asks after a
//! position from which messages are gone gets the next ones that exist, and must be told.
//!
//! A stream forgets by itself only from its beginning (age, size) and, channel by channel, what is oldest there
//! (number). So one message of the channel at or before the position proves the rest, and so does a stream that
//! has every sequence since then. See docs/guide-history.md.

use campana_bus::fetch::StreamPosition;
use serde::{Deserialize, Serialize};

/// What is known about one position in one channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// Everything up to here is known to the client.
    pub(super) offset: u64,
    /// Messages of the channel (or pattern) after it that are there now.
    pub(super) after: u64,
    /// Up to here messages of the channel were removed on purpose.
    pub(super) mark: u64,
    /// Up to here messages of any channel may have been removed by somebody who did not say so.
    pub(super) suspected: u64,
    /// Nothing but a stream without a missing sequence is believed.
    pub(super) strict: bool,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing after the position is gone.
    Whole,
    /// Something is, or the position is none.
    Lost,
    /// The stream has to be asked for more.
    Ask {
        /// One message at or before the position would prove it.
        by_oldest: bool,
    },
}

/// Judges what a snapshot that is not older than the count of messages shows.
pub(super) fn judge(at: Position, stream: &StreamPosition) -> Verdict {
    if at.offset > stream.last || at.offset < at.mark {
        return Verdict::Lost;
    }
    let not_aged = at.offset.saturating_add(1) >= stream.first;
    if at.offset == stream.last || (not_aged && stream.missing() == 0) {
        return Verdict::Whole;
    }
    // Only limits take the oldest first.
    if at.strict || stream.removes_singly || at.offset < at.suspected {
        return Verdict::Ask { by_oldest: false };
    }
    // A channel from which the limit took a message after the position has only messages after it, and as many
    // as the limit is.
    let not_pushed_out = match u64::try_from(stream.max_per_subject) {
        Ok(max) if max > 0 => at.after < max,
        _ => true,
    };
    if not_aged && not_pushed_out {
        return Verdict::Whole;
    }
    Verdict::Ask { by_oldest: true }
}

/// The stream as it was once, to compare it with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    epoch: String,
    first: u64,
    last: u64,
    messages: u64,
    max_per_subject: i64,
    /// See [`Position::suspected`].
    #[serde(default)]
    suspected: u64,
    /// Messages that were removed with notice, ever.
    #[serde(default)]
    announced: u64,
    /// Those of them that may still be seen to go: who removes says so first.
    #[serde(default)]
    credit: u64,
}

impl Seen {
    /// What is seen now, with what was seen before. More messages are gone than the stream's own limits explain,
    /// or the limit is another one: then everything before now is suspected.
    pub(super) fn now(before: Option<&Self>, stream: &StreamPosition, announced: u64) -> Self {
        let seen = Self {
            epoch: stream.epoch.clone(),
            first: stream.first,
            last: stream.last,
            messages: stream.messages,
            max_per_subject: stream.max_per_subject,
            suspected: 0,
            announced,
            credit: 0,
        };
        let Some(before) = before.filter(|before| before.epoch == seen.epoch) else {
            return seen;
        };
        let explained = before.gone().saturating_add(seen.explained_since(before));
        let excess = seen.gone().saturating_sub(explained);
        let announced = announced.saturating_sub(before.announced).saturating_add(before.credit);
        let unexplained = seen.last < before.last
            || excess > announced
            || seen.max_per_subject != before.max_per_subject;
        Self {
            suspected: if unexplained { seen.last } else { before.suspected },
            credit: announced.saturating_sub(excess),
            ..seen
        }
    }

    /// See [`Position::suspected`].
    pub(super) fn suspected(&self) -> u64 {
        self.suspected
    }

    fn gone(&self) -> u64 {
        self.last.saturating_sub(self.messages)
    }

    /// Each stored message pushes out one of its channel at most; age and size move the beginning.
    fn explained_since(&self, before: &Self) -> u64 {
        (self.last.saturating_sub(before.last))
            .saturating_add(self.first.saturating_sub(before.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `missing` sequences of `first..=last` are gone.
    fn stream(first: u64, last: u64, missing: u64) -> StreamPosition {
        StreamPosition {
            first,
            last,
            epoch: "e".to_owned(),
            max_per_subject: 5,
            messages: last + 1 - first - missing,
            bytes: 0,
            removes_singly: false,
            replicas: 1,
            max_age: std::time::Duration::ZERO,
            filling: false,
        }
    }

    fn at(offset: u64, after: u64) -> Position {
        Position { offset, after, mark: 0, suspected: 0, strict: false }
    }

    const ASK: Verdict = Verdict::Ask { by_oldest: true };

    #[test]
    fn a_position_is_whole_exactly_if_nothing_after_it_can_be_gone() {
        let young = stream(1, 100, 0);
        for (offset, after) in [(0, 5), (17, 0), (99, 1), (100, 0)] {
            assert_eq!(judge(at(offset, after), &young), Verdict::Whole, "{offset}");
        }
        // Something is missing somewhere: fewer than the limit cannot have pushed one out, as many can.
        let holey = stream(1, 100, 3);
        assert_eq!(judge(at(4, 4), &holey), Verdict::Whole);
        assert_eq!(judge(at(4, 5), &holey), ASK);
        assert_eq!(judge(at(100, 0), &holey), Verdict::Whole);
        let aged = stream(40, 100, 3);
        assert_eq!(judge(at(38, 1), &aged), ASK);
        assert_eq!(judge(at(39, 1), &aged), Verdict::Whole);
        assert_eq!(judge(at(101, 0), &aged), Verdict::Lost);
        assert_eq!(judge(at(u64::MAX, 0), &aged), Verdict::Lost);
        let unlimited = StreamPosition { max_per_subject: -1, ..holey };
        assert_eq!(judge(at(4, 90), &unlimited), Verdict::Whole);
    }

    #[test]
    fn what_was_removed_on_purpose_is_gone_whatever_the_stream_looks_like() {
        let young = stream(1, 100, 0);
        assert_eq!(judge(Position { mark: 17, ..at(16, 0) }, &young), Verdict::Lost);
        assert_eq!(judge(Position { mark: 17, ..at(17, 0) }, &young), Verdict::Whole);
        let holey = stream(1, 100, 3);
        assert_eq!(judge(Position { suspected: 50, ..at(50, 0) }, &holey), Verdict::Whole);
        let ask = Verdict::Ask { by_oldest: false };
        assert_eq!(judge(Position { suspected: 50, ..at(49, 0) }, &holey), ask);
        assert_eq!(judge(Position { strict: true, ..at(50, 0) }, &holey), ask);
        let single = StreamPosition { removes_singly: true, ..holey };
        assert_eq!(judge(at(50, 0), &single), ask);
    }

    #[test]
    fn removals_that_the_limits_do_not_explain_are_noticed() {
        let seen = |stream: &StreamPosition| Seen::now(None, stream, 0);
        let suspected =
            |before: &Seen, now: &StreamPosition| Seen::now(Some(before), now, 0).suspected();
        let before = seen(&stream(1, 100, 0));
        // Ten more, each pushing one out; ten aged; both.
        for now in [stream(1, 110, 10), stream(11, 100, 0), stream(11, 110, 10)] {
            assert_eq!(suspected(&before, &now), 0, "{now:?}");
        }
        for now in [stream(1, 100, 1), stream(1, 110, 11), stream(101, 100, 0), stream(1, 99, 0)] {
            let expected = if now.first == 101 { 0 } else { now.last };
            assert_eq!(suspected(&before, &now), expected, "{now:?}");
        }
        let raised = StreamPosition { max_per_subject: 9, ..stream(1, 100, 0) };
        assert_eq!(suspected(&before, &raised), 100);
        // It stays, for this incarnation of the stream.
        let doubtful = Seen::now(Some(&before), &raised, 0);
        let later = StreamPosition { max_per_subject: 9, ..stream(1, 120, 0) };
        assert_eq!(suspected(&doubtful, &later), 100);
        assert_eq!(suspected(&doubtful, &StreamPosition { epoch: "f".to_owned(), ..later }), 0);
    }

    #[test]
    fn removals_with_notice_raise_no_suspicion_whenever_they_are_seen() {
        let before = Seen::now(None, &stream(1, 100, 0), 2);
        // Seven are announced; four of them are gone at the first look, all at the second, one more at the third.
        let first = Seen::now(Some(&before), &stream(1, 100, 4), 9);
        let second = Seen::now(Some(&first), &stream(1, 100, 7), 9);
        let third = Seen::now(Some(&second), &stream(1, 100, 8), 9);
        let suspected = [&first, &second, &third].map(Seen::suspected);
        assert_eq!(suspected, [0, 0, 100]);
    }
}
