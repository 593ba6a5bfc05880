//! The order of one channel: which message may go out now.
//! Reads: sequences. Writes: nothing. Never: lets a message out of order, twice, or past a hole.

/// Messages that may wait for a hole to be filled; more are forgotten and read from the stream again.
const HELD_MAX: usize = 4_096;

/// Follows one channel.
#[derive(Debug)]
pub(super) struct Sequencer<T> {
    /// Everything up to here was let out.
    position: u64,
    /// A hole is being filled, or the position is not known yet.
    waiting: bool,
    held: Vec<Held<T>>,
    /// Up to here held messages were forgotten.
    forgotten_upto: u64,
}

#[derive(Debug)]
struct Held<T> {
    sequence: u64,
    previous: u64,
    message: T,
}

/// What to do with a message that just came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<T> {
    /// Let it out.
    Deliver(T),
    /// It was let out before, or waits.
    Nothing,
    /// It waits behind a hole: fill it.
    Repair,
}

impl<T> Sequencer<T> {
    /// Messages wait until [`Sequencer::start`].
    pub(super) fn new() -> Self {
        Self { position: 0, waiting: true, held: Vec::new(), forgotten_upto: 0 }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// The channel's last stored message is known. See [`Sequencer::finish`].
    pub(super) fn start(&mut self, position: u64) -> (Vec<T>, bool) {
        self.position = self.position.max(position);
        self.finish()
    }

    /// A live message came; `previous` is the one before it in its channel.
    pub(super) fn live(&mut self, sequence: u64, previous: u64, message: T) -> Verdict<T> {
        if sequence <= self.position {
            return Verdict::Nothing;
        }
        if !self.waiting && previous <= self.position {
            self.position = sequence;
            return Verdict::Deliver(message);
        }
        if self.held.len() >= HELD_MAX {
            self.forgotten_upto = self.held.last().map_or(0, |last| last.sequence);
            self.held.clear();
        }
        self.held.push(Held { sequence, previous, message });
        if std::mem::replace(&mut self.waiting, true) { Verdict::Nothing } else { Verdict::Repair }
    }

    /// There is a message up to here, somewhere: true if the stream must be read, false if that happens already.
    pub(super) fn news(&mut self, sequence: u64) -> bool {
        if sequence <= self.position {
            return false;
        }
        self.forgotten_upto = self.forgotten_upto.max(sequence);
        self.suspect()
    }

    /// The stream was looked through up to here.
    pub(super) fn reached(&mut self, sequence: u64) {
        self.position = self.position.max(sequence);
    }

    /// The stream holds messages after the position: begins to wait. False if it waits already.
    pub(super) fn suspect(&mut self) -> bool {
        !std::mem::replace(&mut self.waiting, true)
    }

    /// Messages read from the stream, in order: gives those that may go out.
    pub(super) fn fetched(&mut self, messages: Vec<(u64, T)>) -> Vec<T> {
        let mut out = Vec::with_capacity(messages.len());
        for (sequence, message) in messages {
            if sequence > self.position {
                self.position = sequence;
                out.push(message);
            }
        }
        out
    }

    /// The stream had no more: lets out what waited, as far as it is without a hole. True if there is
    /// still one, and it goes on waiting.
    pub(super) fn finish(&mut self) -> (Vec<T>, bool) {
        if self.forgotten_upto > self.position {
            return (Vec::new(), true);
        }
        let mut out = Vec::new();
        let mut rest = std::mem::take(&mut self.held).into_iter();
        for held in rest.by_ref() {
            if held.sequence <= self.position {
                continue;
            }
            if held.previous > self.position {
                self.held.push(held);
                break;
            }
            self.position = held.sequence;
            out.push(held.message);
        }
        self.held.extend(rest);
        self.waiting = !self.held.is_empty();
        (out, self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn started(position: u64) -> Sequencer<u64> {
        let mut sequencer = Sequencer::new();
        assert_eq!(sequencer.start(position), (Vec::new(), false));
        sequencer
    }

    #[test]
    fn a_chain_goes_straight_through() {
        let mut sequencer = started(4);
        assert_eq!(sequencer.live(7, 4, 7), Verdict::Deliver(7));
        assert_eq!(sequencer.live(7, 4, 7), Verdict::Nothing);
        assert_eq!(sequencer.live(12, 7, 12), Verdict::Deliver(12));
    }

    #[test]
    fn a_hole_is_filled_before_what_follows() {
        let mut sequencer = started(4);
        assert_eq!(sequencer.live(12, 9, 12), Verdict::Repair);
        assert_eq!(sequencer.live(13, 12, 13), Verdict::Nothing);
        assert_eq!(sequencer.fetched(vec![(7, 7), (9, 9)]), [7, 9]);
        assert_eq!(sequencer.finish(), (vec![12, 13], false));
        assert_eq!(sequencer.live(14, 13, 14), Verdict::Deliver(14));
    }

    #[test]
    fn a_hole_that_the_stream_does_not_show_yet_goes_on_waiting() {
        let mut sequencer = started(4);
        assert_eq!(sequencer.live(12, 9, 12), Verdict::Repair);
        assert_eq!(sequencer.finish(), (Vec::new(), true));
        assert_eq!(sequencer.fetched(vec![(9, 9), (12, 12)]), [9, 12]);
        assert_eq!(sequencer.finish(), (Vec::new(), false));
    }

    #[test]
    fn what_comes_before_the_start_waits() {
        let mut sequencer = Sequencer::new();
        assert_eq!(sequencer.live(5, 4, 5), Verdict::Nothing);
        assert_eq!(sequencer.live(6, 5, 6), Verdict::Nothing);
        assert_eq!(sequencer.start(5), (vec![6], false));
        assert!(sequencer.suspect());
        assert!(!sequencer.suspect());
    }

    #[test]
    fn news_are_read_until_they_are_reached() {
        let mut sequencer = started(4);
        assert!(!sequencer.news(4) && sequencer.news(9) && !sequencer.news(12));
        assert_eq!(sequencer.fetched(vec![(9, 9)]), [9]);
        assert_eq!(sequencer.finish(), (Vec::new(), true));
        sequencer.reached(12);
        assert_eq!(sequencer.finish(), (Vec::new(), false));
        assert!(!sequencer.news(12) && sequencer.news(13));
    }

    #[test]
    fn too_much_waiting_is_forgotten_and_read_again() {
        let mut sequencer = started(1);
        for at in 3..(HELD_MAX as u64 + 10) {
            sequencer.live(at, at - 1, at);
        }
        assert!(sequencer.finish().1);
        let all: Vec<(u64, u64)> = (2..=(HELD_MAX as u64 + 2)).map(|at| (at, at)).collect();
        let mut out = sequencer.fetched(all);
        let (rest, again) = sequencer.finish();
        out.extend(rest);
        assert!(!again);
        assert_eq!(out, (2..(HELD_MAX as u64 + 10)).collect::<Vec<_>>());
    }

    proptest! {
        /// Whatever is lost on the way, once the stream was read every message is out once, in order.
        #[test]
        fn nothing_is_lost_doubled_or_reordered(gaps in prop::collection::vec(1_u64..4, 1..60), lost in prop::collection::vec(any::<bool>(), 60), start in 0_usize..5) {
            let mut sequences = vec![0];
            for gap in gaps {
                sequences.push(sequences.last().unwrap() + gap);
            }
            let start = start.min(sequences.len() - 1);
            let mut sequencer = started(sequences[start]);
            let mut out = Vec::new();
            for at in start + 1..sequences.len() {
                if lost[at % lost.len()] {
                    continue;
                }
                match sequencer.live(sequences[at], sequences[at - 1], sequences[at]) {
                    Verdict::Deliver(message) => out.push(message),
                    Verdict::Nothing => {}
                    Verdict::Repair => {
                        let missed = sequences[..=at].iter().filter(|s| **s > sequencer.position()).map(|s| (*s, *s)).collect();
                        out.extend(sequencer.fetched(missed));
                        let (rest, again) = sequencer.finish();
                        prop_assert!(!again);
                        out.extend(rest);
                    }
                }
            }
            if sequencer.suspect() {
                let missed = sequences.iter().map(|s| (*s, *s)).collect();
                out.extend(sequencer.fetched(missed));
                prop_assert!(!sequencer.finish().1);
            }
            prop_assert_eq!(out, &sequences[start + 1..]);
        }
    }
}
