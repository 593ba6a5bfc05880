//! Where the warm-up ends: MSER-5 (White 1997), which cuts off the beginning whose removal makes the
//! mean of the rest surest. Pure.

/// Values that are averaged before the search.
const BATCH: usize = 5;
/// Below this many batches any cut would be a guess.
const BATCHES_MIN: usize = 4;

/// How many values at the beginning still belong to the warm-up; nothing if there are too few, or
/// if the best cut lies in the second half, which means that the series never settled.
pub fn mser_5(values: &[f64]) -> Option<usize> {
    let batches: Vec<f64> =
        values.chunks_exact(BATCH).map(|chunk| chunk.iter().sum::<f64>() / BATCH as f64).collect();
    if batches.len() < BATCHES_MIN || batches.iter().any(|value| !value.is_finite()) {
        return None;
    }
    // The last batches alone would always look perfectly steady.
    let score = |cut: usize| {
        let rest = &batches[cut..];
        let count = rest.len() as f64;
        let mean = rest.iter().sum::<f64>() / count;
        rest.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count * count)
    };
    let best =
        (0..batches.len() - 2).min_by(|left, right| score(*left).total_cmp(&score(*right)))?;
    (best <= batches.len() / 2).then_some(best * BATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cut that NumPy finds for the same formula over the batch means
    /// 76, 26, 10.4, 10.2, 10, 9.8, 10, 10, 9.8, 10: four batches.
    #[test]
    fn the_warm_up_is_cut_off_where_numpy_cuts_it() {
        let values = [
            100, 90, 80, 60, 50, 40, 30, 25, 20, 15, 12, 11, 10, 9, 10, 11, 10, 9, 10, 11, 10, 9,
            11, 10, 10, 9, 10, 11, 10, 9, 10, 11, 9, 10, 10, 10, 11, 9, 10, 10, 9, 10, 11, 10, 9,
            10, 10, 11, 9, 10,
        ]
        .map(f64::from);
        assert_eq!(mser_5(&values), Some(20));
    }

    #[test]
    fn a_steady_series_keeps_all_and_a_growing_one_has_no_end() {
        let steady: Vec<f64> = (0..60).map(|i| 10.0 + f64::from(i % 5)).collect();
        assert_eq!(mser_5(&steady), Some(0));
        let growing: Vec<f64> = (0..60).map(|i| f64::from(i * i)).collect();
        assert_eq!(mser_5(&growing), None);
        assert_eq!(mser_5(&[1.0; 9]), None);
        assert_eq!(mser_5(&[f64::NAN; 60]), None);
    }
}
