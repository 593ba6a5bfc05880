//! Which share of a run's load one generator has. Pure. Recipients and users are dealt out like
//! cards, so that every size of a wave is spread evenly; arrivals of open load go to whoever has
//! their recipient. A slot carries its generator's number, so that each knows its own slots from
//! those of others without asking.

use serde::{Deserialize, Serialize};

/// Most generators of a run.
pub const PARTS_MAX: u32 = 64;
/// A slot's upper bits name its generator; the lower ones are enough for every run.
const OWNER_SHIFT: u32 = 48;

/// One of several generators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// From 0.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

impl Part {
    /// The only generator of a run.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Whether such a generator can be.
    pub fn is_possible(self) -> bool {
        self.index < self.of && self.of <= PARTS_MAX
    }

    /// How many of `all` things, numbered from 0, are this one's.
    pub fn count(self, all: u32) -> u32 {
        let others_before = self.of.saturating_sub(1).saturating_sub(self.index);
        all.saturating_add(others_before) / self.of.max(1)
    }

    /// Whether the thing with this number is this one's.
    pub fn owns(self, number: u32) -> bool {
        number % self.of.max(1) == self.index
    }

    /// The number in the whole run of this one's n-th thing.
    pub fn number(self, place: usize) -> u64 {
        (place as u64).saturating_mul(u64::from(self.of)).saturating_add(u64::from(self.index))
    }

    /// Which of this one's things a number of its own is.
    pub fn place(self, number: u32) -> u32 {
        number / self.of.max(1)
    }

    /// This one's things.
    pub fn own<T>(self, all: Vec<T>) -> Vec<T> {
        all.into_iter().skip(self.index as usize).step_by(self.of.max(1) as usize).collect()
    }

    /// The slot of a notification with this number in the run.
    pub fn slot(self, number: u64) -> u64 {
        u64::from(self.index) << OWNER_SHIFT | (number & ((1 << OWNER_SHIFT) - 1))
    }

    /// Whether this one sent the slot. Of one generator alone every slot is its own: whether it
    /// sent it, its ledger knows.
    pub fn sent(self, slot: u64) -> bool {
        self.of <= 1 || slot >> OWNER_SHIFT == u64::from(self.index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(of: u32) -> impl Iterator<Item = Part> {
        (0..of).map(move |index| Part { index, of })
    }

    proptest! {
        #[test]
        fn everything_belongs_to_exactly_one(all in 0_u32..5_000, of in 1_u32..=PARTS_MAX) {
            let counts: Vec<u32> = parts(of).map(|part| part.count(all)).collect();
            prop_assert_eq!(counts.iter().sum::<u32>(), all);
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            let mut numbers: Vec<u64> = Vec::new();
            for part in parts(of) {
                let own = part.own((0..all).collect());
                prop_assert_eq!(own.len(), part.count(all) as usize);
                for (place, number) in own.into_iter().enumerate() {
                    prop_assert!(part.owns(number) && part.place(number) as usize == place);
                    prop_assert_eq!(part.number(place), u64::from(number));
                    numbers.push(u64::from(number));
                }
            }
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (0..u64::from(all)).collect::<Vec<_>>());
        }

        #[test]
        fn a_slot_names_its_generator(number in 0_u64..1 << 40, of in 2_u32..=PARTS_MAX) {
            for part in parts(of) {
                let slot = part.slot(number);
                let owners: Vec<Part> = parts(of).filter(|other| other.sent(slot)).collect();
                prop_assert_eq!(owners, vec![part]);
            }
            prop_assert_eq!(Part::WHOLE.slot(number), number);
        }
    }
}
