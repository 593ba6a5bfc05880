//! Histograms that only grow, handed on by what is new in them. Pure but for the handle it writes to.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::model;

/// What has been handed on already, by name; a new step begins with an empty one.
#[derive(Default)]
pub(super) struct Growing(BTreeMap<String, Histogram<u64>>);

impl Growing {
    /// Records what `all` has more than the last time, in seconds; `all` is in nanoseconds.
    pub fn hand_on(&mut self, name: &str, all: &Histogram<u64>, to: &metrics::Histogram) {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), model::histogram());
        }
        let Some(known) = self.0.get_mut(name).filter(|known| known.len() != all.len()) else {
            return;
        };
        for point in all.iter_recorded() {
            let value = point.value_iterated_to();
            let fresh = point.count_at_value().saturating_sub(known.count_at(value));
            if fresh > 0 {
                known.saturating_record_n(value, fresh);
                let seconds = all.median_equivalent(value) as f64 / 1e9;
                to.record_many(seconds, usize::try_from(fresh).unwrap_or(usize::MAX));
            }
        }
    }
}
