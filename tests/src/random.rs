//! Chance that can be repeated: SplitMix64 with a printed seed.
//! Reads: `CAMPANA_TEST_SEED`, else the clock. Writes: standard error. Never: differs for the same seed.

use campana_bus::clock;

/// A small generator (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// With the seed of the environment, or a new one; says which, so that a failure can be repeated.
    #[must_use]
    #[expect(
        clippy::print_stderr,
        reason = "a failed run is repeated with the seed that it printed"
    )]
    pub fn seeded(what: &str) -> Self {
        let given = std::env::var("CAMPANA_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| clock::now().0.unsigned_abs());
        eprintln!("{what}: CAMPANA_TEST_SEED={seed}");
        Self { state: seed }
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `low` up to, not including, `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next_number() % (high - low).max(1)
    }

    /// Puts a list into another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            let other = usize::try_from(self.between(0, at as u64 + 1)).unwrap_or(0);
            list.swap(at, other);
        }
    }
}
