//! What notes on channels' last messages prove, once the messages themselves are gone.
//! Reads: how far notes go. Writes: nothing. Never: takes a missing note for proof where notes may be missing.
//!
//! Age and size take a stream's oldest messages first. Before they come to a part of the stream, it is noted of each
//! channel in it which of its messages was the last one there (`hub/noter.rs`). So if notes go without a gap from `from`
//! to `upto`, who has everything up to a position in between has everything up to `upto`, unless the channel's note
//! names a later message.

use campana_bus::clock::Micros;
use campana_bus::fetch::StreamPosition;
use serde::{Deserialize, Serialize};

/// Points of time that are remembered within the time that notes are kept.
const POINTS: i64 = 32;
/// The part of that time by which clocks may differ.
const CLOCKS: i64 = 16;

/// How far notes go. Changes in one with the notes that it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    /// Incarnation of the stream.
    epoch: String,
    /// Notes are complete after this sequence.
    from: u64,
    /// And up to this one.
    upto: u64,
    /// Notes on messages after a sequence were not stored before a time. Oldest first.
    points: Vec<(Micros, u64)>,
}

impl Noted {
    /// None yet: they begin with what is there.
    pub(super) fn begin(stream: &StreamPosition, now: Micros) -> Self {
        let mut noted =
            Self { epoch: stream.epoch.clone(), from: 0, upto: 0, points: Vec::with_capacity(1) };
        noted.begin_at(stream.first.saturating_sub(1), now);
        noted
    }

    fn begin_at(&mut self, from: u64, now: Micros) {
        (self.from, self.upto) = (from, from);
        self.points = vec![(now, from)];
    }

    /// Whether it speaks of this stream. One that lost its end uses sequences again.
    pub(super) fn is_of(&self, stream: &StreamPosition) -> bool {
        self.epoch == stream.epoch && self.upto <= stream.last
    }

    pub(super) fn upto(&self) -> u64 {
        self.upto
    }

    /// Begins anew if messages went before they were noted. True if so.
    pub(super) fn skip(&mut self, stream: &StreamPosition, now: Micros) -> bool {
        let gap = stream.first > self.upto.saturating_add(1);
        if gap {
            self.begin_at(stream.first.saturating_sub(1), now);
        }
        gap
    }

    /// The messages after the last ones that were noted, up to `reached`, are noted with this. `stream` is how it was
    /// after they were read, `now` before they are stored, `ttl` how long notes are kept, in microseconds (0 for ever).
    pub(super) fn extend(&mut self, reached: u64, stream: &StreamPosition, now: Micros, ttl: i64) {
        // What went meanwhile was perhaps not seen.
        if stream.first > self.upto.saturating_add(1) {
            self.from = stream.first.saturating_sub(1);
        }
        if ttl > 0 {
            self.from = self.complete_from(now, ttl);
            self.points.retain(|(at, _)| *at >= oldest(now, ttl));
            if self.points.last().is_none_or(|(at, _)| now.since(*at) >= ttl / POINTS) {
                self.points.push((now, self.upto));
            }
        }
        self.upto = reached.max(self.from);
    }

    /// After which sequence no note can be missing, if they are kept for `ttl` microseconds (0 for ever).
    fn complete_from(&self, now: Micros, ttl: i64) -> u64 {
        if ttl <= 0 {
            return self.from;
        }
        let oldest = oldest(now, ttl);
        let kept = self.points.iter().find(|(at, _)| *at >= oldest);
        kept.map_or(self.upto, |(_, after)| *after).max(self.from)
    }

    /// Up to where a client has everything that has it up to `offset`, if the last message of the channel that was
    /// noted is `last` (0 for none); `None` if that is no further.
    pub(super) fn advance(&self, offset: u64, last: u64, now: Micros, ttl: i64) -> Option<u64> {
        let noted = offset >= self.complete_from(now, ttl) && offset < self.upto;
        (noted && last <= offset).then_some(self.upto)
    }
}

/// Notes that were stored before this time may be gone.
fn oldest(now: Micros, ttl: i64) -> Micros {
    Micros(now.0.saturating_sub(ttl - ttl / CLOCKS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn stream(first: u64, last: u64) -> StreamPosition {
        StreamPosition {
            first,
            last,
            epoch: "e".to_owned(),
            max_per_subject: 5,
            messages: last + 1 - first,
            bytes: 0,
            removes_singly: false,
            replicas: 1,
            max_age: Duration::from_secs(1),
            filling: false,
        }
    }

    const NOW: Micros = Micros(1_000_000_000);

    #[test]
    fn who_has_the_last_message_that_was_noted_has_everything_up_to_the_notes_end() {
        let mut noted = Noted::begin(&stream(11, 100), NOW);
        assert!(noted.is_of(&stream(11, 100)) && !noted.is_of(&stream(5, 9)));
        assert!(!noted.is_of(&StreamPosition { epoch: "f".to_owned(), ..stream(11, 100) }));
        assert_eq!(noted.advance(10, 0, NOW, 0), None);
        noted.extend(50, &stream(11, 100), NOW, 0);
        assert_eq!(noted.advance(10, 0, NOW, 0), Some(50));
        assert_eq!(noted.advance(20, 20, NOW, 0), Some(50));
        assert_eq!(noted.advance(20, 21, NOW, 0), None);
        assert_eq!(noted.advance(9, 0, NOW, 0), None);
        assert_eq!(noted.advance(50, 0, NOW, 0), None);
    }

    #[test]
    fn what_went_before_it_was_noted_makes_older_positions_unknown() {
        let mut noted = Noted::begin(&stream(1, 100), NOW);
        assert!(!noted.skip(&stream(1, 100), NOW));
        noted.extend(20, &stream(1, 100), NOW, 0);
        assert!(!noted.skip(&stream(21, 100), NOW));
        assert!(noted.skip(&stream(22, 100), NOW));
        assert_eq!((noted.from, noted.upto), (21, 21));
        // Messages went while they were read.
        noted.extend(40, &stream(30, 100), NOW, 0);
        assert_eq!(noted.advance(28, 0, NOW, 0), None);
        assert_eq!(noted.advance(29, 0, NOW, 0), Some(40));
        noted.extend(60, &stream(80, 100), NOW, 0);
        assert_eq!((noted.from, noted.upto), (79, 79));
    }

    proptest! {
        /// Notes are stored and end; whatever is proved is true.
        #[test]
        fn a_note_that_ended_is_no_proof(steps in prop::collection::vec((1_u64..6, 0_i64..40), 1..80), lasts in prop::collection::vec(any::<bool>(), 512), ttl in 64_i64..400) {
            let whole = stream(1, 1_000);
            let mut now = NOW;
            let mut noted = Noted::begin(&whole, now);
            // By sequence: when the note of the one channel, at its last message there, was stored.
            let mut stored = BTreeMap::new();
            for (count, passed) in steps {
                now = Micros(now.0 + passed);
                let reached = noted.upto() + count;
                let last = (noted.upto() + 1..=reached).rfind(|at| lasts[*at as usize % 512]);
                stored.extend(last.map(|last| (last, now)));
                noted.extend(reached, &whole, now, ttl);
                prop_assert!(noted.points.len() as i64 <= POINTS + 2);
                let kept = stored.last_key_value().filter(|(_, at)| now.since(**at) < ttl);
                let last = kept.map_or(0, |(last, _)| *last);
                for offset in 0..reached {
                    let missed = stored.keys().any(|at| *at > offset);
                    if noted.advance(offset, last, now, ttl).is_some() {
                        prop_assert!(!missed, "{offset} {noted:?}");
                    }
                }
            }
        }
    }
}
