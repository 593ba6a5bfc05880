//! The search for the highest rate that meets an objective: double until it misses, bisect to
//! 5 %, then three passes there and one miss at 1.1 times the rate confirm it. Pure.

use crate::model::Saturation;

/// How near the two ends come before the lower one is tried again.
const RESOLUTION: f64 = 1.05;
const OVER: f64 = 1.1;
const PASSES: u32 = 3;
const MISSES: u32 = 1;
/// Enough for doublings from 1/s to 100,000/s, the bisection and three changes of mind.
const PROBES_MAX: usize = 40;
/// Below this there is nothing to be found.
const RATE_MIN: f64 = 1.0;

/// The state of the search.
#[derive(Clone, Debug)]
pub struct Search {
    start: f64,
    most: f64,
    found: Saturation,
}

impl Search {
    /// From a first rate, never above `most`.
    pub fn new(start: f64, most: f64) -> Self {
        Self { start: start.min(most), most, found: Saturation::default() }
    }

    fn pass(&self) -> Option<f64> {
        Some(self.found.rate_per_s).filter(|rate| *rate > 0.0)
    }

    /// The rate to try next; nothing when the search is over.
    pub fn next(&self) -> Option<f64> {
        if self.found.probes.len() >= PROBES_MAX {
            return None;
        }
        match (self.pass(), self.found.missed_at_per_s) {
            (None, None) => Some(self.start),
            (Some(pass), None) if pass >= self.most => None,
            (Some(pass), None) => Some((pass * 2.0).min(self.most)),
            (None, Some(miss)) if miss / 2.0 < RATE_MIN => None,
            (None, Some(miss)) => Some(rounded(miss / 2.0)),
            (Some(pass), Some(miss)) if miss / pass > RESOLUTION => {
                let middle = rounded((pass + miss) / 2.0);
                // Whole numbers leave nothing between neighbours.
                if middle > pass && middle < miss { Some(middle) } else { self.confirm(pass) }
            }
            (Some(pass), Some(_)) => self.confirm(pass),
        }
    }

    fn confirm(&self, pass: f64) -> Option<f64> {
        if self.found.confirmed_passes < PASSES {
            return Some(pass);
        }
        (self.found.confirmed_misses < MISSES).then(|| over(pass))
    }

    /// Enters how a probe went.
    pub fn enter(&mut self, rate: f64, passed: bool) {
        self.found.probes.push((rate, passed));
        let (pass, same) = (self.pass(), |other: f64| (other - rate).abs() < f64::EPSILON * rate);
        if passed && pass.is_some_and(same) {
            self.found.confirmed_passes += 1;
        } else if !passed && pass.is_some_and(|pass| same(over(pass))) {
            self.found.confirmed_misses += 1;
            self.found.missed_at_per_s =
                Some(self.found.missed_at_per_s.map_or(rate, |miss| miss.min(rate)));
        } else if passed {
            // Higher than believed: what missed below it was chance.
            self.settle(rate, self.lowest(|other, passed| !passed && other > rate));
        } else {
            let below = self.highest(|other, passed| passed && other < rate);
            self.settle(below.unwrap_or(0.0), Some(rate));
        }
    }

    fn settle(&mut self, pass: f64, miss: Option<f64>) {
        if (self.found.rate_per_s - pass).abs() > f64::EPSILON {
            (self.found.confirmed_passes, self.found.confirmed_misses) = (0, 0);
        }
        self.found.rate_per_s = pass;
        self.found.missed_at_per_s = miss;
    }

    fn lowest(&self, wanted: impl Fn(f64, bool) -> bool) -> Option<f64> {
        let probes = self.found.probes.iter().filter(|(rate, passed)| wanted(*rate, *passed));
        probes.map(|(rate, _)| *rate).min_by(f64::total_cmp)
    }

    fn highest(&self, wanted: impl Fn(f64, bool) -> bool) -> Option<f64> {
        let probes = self.found.probes.iter().filter(|(rate, passed)| wanted(*rate, *passed));
        probes.map(|(rate, _)| *rate).max_by(f64::total_cmp)
    }

    /// What was found so far.
    pub fn found(&self) -> &Saturation {
        &self.found
    }

    /// Whether passes and misses have confirmed it.
    pub fn confirmed(&self) -> bool {
        self.found.confirmed_passes >= PASSES && self.found.confirmed_misses >= MISSES
    }
}

fn over(pass: f64) -> f64 {
    rounded(pass * OVER)
}

/// Rates that people can say: three digits are enough for 5 %.
fn rounded(rate: f64) -> f64 {
    let scale = 10_f64.powf(rate.max(1.0).log10().floor() - 2.0).max(1e-2);
    (rate / scale).round() * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a search against a platform that passes up to `knee`.
    fn search(start: f64, most: f64, knee: f64) -> Search {
        let mut search = Search::new(start, most);
        while let Some(rate) = search.next() {
            search.enter(rate, rate <= knee);
        }
        search
    }

    #[test]
    fn the_knee_is_found_to_five_percent_and_confirmed() {
        for knee in [7.0, 130.0, 4_321.0, 18_000.0] {
            let search = search(250.0, 100_000.0, knee);
            let rate = search.found().rate_per_s;
            assert!(rate <= knee && rate * RESOLUTION * 1.01 >= knee, "{rate} for {knee}");
            assert!(search.confirmed(), "{:?}", search.found());
            assert!(search.found().probes.len() <= 20, "{:?}", search.found().probes);
        }
    }

    #[test]
    fn nothing_to_find_is_said_and_a_ceiling_is_kept() {
        let nothing = search(250.0, 100_000.0, 0.0);
        assert!(nothing.found().rate_per_s < RATE_MIN);
        let ceiling = search(250.0, 1_500.0, 99_999.0);
        assert!((ceiling.found().rate_per_s - 1_500.0).abs() < 1e-9);
        assert_eq!(ceiling.found().missed_at_per_s, None);
        assert!(!ceiling.confirmed());
    }

    #[test]
    fn a_pass_that_was_chance_is_taken_back() {
        let mut search = Search::new(100.0, 10_000.0);
        let mut lucky = true;
        while let Some(rate) = search.next() {
            // Passes once at 200, and never again above 150.
            let passed =
                rate <= 150.0 || ((rate - 200.0).abs() < 1.0 && std::mem::take(&mut lucky));
            search.enter(rate, passed);
        }
        let rate = search.found().rate_per_s;
        assert!((142.0..=150.0).contains(&rate), "{:?}", search.found());
        assert!(search.confirmed());
    }

    #[test]
    fn a_platform_that_tosses_coins_comes_to_an_end() {
        let mut search = Search::new(100.0, 1e6);
        let mut coin = 12_345_u64;
        while let Some(rate) = search.next() {
            coin = coin.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            search.enter(rate, coin >> 63 == 1);
        }
        assert!(search.found().probes.len() <= PROBES_MAX);
    }
}
