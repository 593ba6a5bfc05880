//! How another machine's monotonic clock stands to ours: the round trip that took the shortest
//! time tells it best, and cannot be wrong by more than half of it (Cristian's algorithm). Pure.

/// One question and its answer: sent and received by our clock, answered by theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    pub sent_ns: u64,
    pub theirs_ns: u64,
    pub received_ns: u64,
}

impl Trip {
    fn took_ns(self) -> u64 {
        self.received_ns.saturating_sub(self.sent_ns)
    }
}

/// Their clock against ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// Theirs minus ours.
    pub ns: i64,
    /// The most by which it can be wrong.
    pub error_ns: u64,
    /// The shortest round trip.
    pub trip_ns: u64,
}

impl Offset {
    /// From several trips; nothing from none. `same` says that both read one clock, as processes
    /// of one machine do: then there is nothing to be estimated, unless the trips contradict.
    pub fn of(trips: &[Trip], same: bool) -> Option<Self> {
        let best = trips.iter().min_by_key(|trip| trip.took_ns())?;
        let trip_ns = best.took_ns();
        let middle = best.sent_ns.saturating_add(trip_ns / 2);
        let ns = i128::from(best.theirs_ns) - i128::from(middle);
        let ns = i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX });
        let error_ns = trip_ns.div_ceil(2);
        if same && ns.unsigned_abs() <= error_ns {
            return Some(Self { ns: 0, error_ns: 0, trip_ns });
        }
        Some(Self { ns, error_ns, trip_ns })
    }

    /// An instant of ours as their clock shows it.
    pub fn theirs(self, ours_ns: u64) -> u64 {
        ours_ns.saturating_add_signed(self.ns)
    }

    /// How wrong it can have been between two estimates: clocks of two machines drift.
    pub fn error_until(self, later: Self) -> u64 {
        let drift = i128::from(later.ns) - i128::from(self.ns);
        let drift = u64::try_from(drift.unsigned_abs()).unwrap_or(u64::MAX);
        // Two estimates differ by what they are wrong, too.
        self.error_ns.max(later.error_ns).saturating_add(drift)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Ways there and back of any length, over a clock that differs by anything.
        #[test]
        fn the_error_is_never_above_its_bound(
            differs in -1_000_000_000_000_i64..1_000_000_000_000,
            ways in proptest::collection::vec((0_u64..50_000_000, 0_u64..50_000_000), 1..20),
        ) {
            let start = 10_000_000_000_000_u64;
            let trips: Vec<Trip> = ways
                .iter()
                .enumerate()
                .map(|(index, (there, back))| {
                    let sent_ns = start + index as u64 * 1_000_000_000;
                    let theirs_ns = (sent_ns + there).saturating_add_signed(differs);
                    Trip { sent_ns, theirs_ns, received_ns: sent_ns + there + back }
                })
                .collect();
            let offset = Offset::of(&trips, false).unwrap();
            prop_assert!(offset.ns.abs_diff(differs) <= offset.error_ns);
            let now = start + 5;
            let truth = now.saturating_add_signed(differs);
            prop_assert!(offset.theirs(now).abs_diff(truth) <= offset.error_ns);
        }
    }

    #[test]
    fn one_machine_has_one_clock_and_drift_widens_the_bound() {
        let trip = |theirs_ns| Trip { sent_ns: 100, theirs_ns, received_ns: 300 };
        let same = Offset::of(&[trip(190)], true).unwrap();
        assert_eq!((same.ns, same.error_ns, same.trip_ns), (0, 0, 200));
        // A container with a clock of its own says that it is on the same machine.
        assert_eq!(Offset::of(&[trip(5_000)], true).unwrap().ns, 4_800);
        assert_eq!(Offset::of(&[], true), None);
        let (early, late) = (Offset::of(&[trip(1_200)], false), Offset::of(&[trip(1_700)], false));
        assert_eq!(early.unwrap().error_until(late.unwrap()), 600);
    }
}
