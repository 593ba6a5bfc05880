//! Whether two groups of runs differ: the rank test of Mann and Whitney (1947), and Holm's (1979)
//! correction for having looked at several figures. Pure.

use statrs::function::erf::erfc;

/// Up to this many pairs without ties the exact distribution is counted out.
const EXACT_PAIRS_MAX: usize = 2_500;

/// Two-sided p-value of the hypothesis that neither side tends to larger values; 1 if a side is
/// empty or everything is equal.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    if a.is_empty() || b.is_empty() || a.iter().chain(b).any(|value| value.is_nan()) {
        return 1.0;
    }
    let above: f64 =
        a.iter().map(|left| b.iter().map(|right| wins(*left, *right)).sum::<f64>()).sum();
    let ties = tie_sizes(a, b);
    if ties.is_empty() && a.len() * b.len() <= EXACT_PAIRS_MAX {
        return exact(above as usize, a.len(), b.len());
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let total = n + m;
    let tied: f64 = ties.iter().map(|size| size.powi(3) - size).sum();
    let variance = n * m / 12.0 * (total + 1.0 - tied / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    // Half a step towards the middle: the sum moves in steps, the normal curve does not.
    let distance = ((above - n * m / 2.0).abs() - 0.5).max(0.0);
    erfc(distance / variance.sqrt() / std::f64::consts::SQRT_2).min(1.0)
}

/// The smallest p-value that so many runs a side can give.
pub fn smallest_p(a: usize, b: usize) -> f64 {
    let ways: f64 = (1..=a).map(|i| (b + i) as f64 / i as f64).product();
    (2.0 / ways).min(1.0)
}

/// Each p-value multiplied as much as its rank among all asks, never above 1.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|left, right| p[*left].total_cmp(&p[*right]));
    let mut adjusted = vec![1.0; p.len()];
    let mut floor = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        floor = floor.max(p[index] * (p.len() - rank) as f64).min(1.0);
        adjusted[index] = floor;
    }
    adjusted
}

fn wins(left: f64, right: f64) -> f64 {
    match left.total_cmp(&right) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    }
}

fn tie_sizes(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut all: Vec<f64> = a.iter().chain(b).copied().collect();
    all.sort_by(f64::total_cmp);
    all.chunk_by(|left, right| left.total_cmp(right).is_eq())
        .map(|group| group.len() as f64)
        .filter(|size| *size > 1.0)
        .collect()
}

/// Counts how many orders of n and m values give each sum: row by row, as Mann and Whitney did.
fn exact(above: usize, n: usize, m: usize) -> f64 {
    // ways[i][u]: orders of i values of one side among the j of the other seen so far.
    let mut ways = vec![vec![0.0_f64; n * m + 1]; n + 1];
    for row in &mut ways {
        row[0] = 1.0;
    }
    for j in 1..=m {
        for i in 1..=n {
            for u in (0..=i * j).rev() {
                // The largest belongs to the first side (beats all j), or to the second.
                let first = if u >= j { ways[i - 1][u - j] } else { 0.0 };
                ways[i][u] += first;
            }
        }
    }
    let row = &ways[n];
    let total: f64 = row.iter().sum();
    let extreme = above.min(n * m - above);
    let tail: f64 = row[..=extreme].iter().sum();
    (2.0 * tail / total).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy 1.17.1: `mannwhitneyu(a, b, method="exact")`.
    #[test]
    fn exact_values_are_those_of_scipy() {
        let p = mann_whitney(&[10.1, 11.2, 9.8, 10.5, 10.9], &[12.0, 12.3, 11.9, 10.8, 12.8]);
        assert!((p - 0.031_746_031_746).abs() < 1e-9, "{p}");
        let p = mann_whitney(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]);
        assert!((p - 0.007_936_507_937).abs() < 1e-9, "{p}");
        assert!((smallest_p(5, 5) - 0.007_936_507_937).abs() < 1e-9);
    }

    /// scipy 1.17.1: `mannwhitneyu(a, b, method="asymptotic", use_continuity=True)`.
    #[test]
    fn with_ties_the_normal_curve_is_used_as_scipy_does() {
        let a = [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 5.0, 6.0];
        let b = [2.0, 4.0, 5.0, 5.0, 6.0, 7.0, 8.0, 8.0];
        let p = mann_whitney(&a, &b);
        assert!((p - 0.062_704_521_747).abs() < 1e-6, "{p}");
    }

    #[test]
    fn nothing_to_tell_apart_is_no_difference() {
        assert!((mann_whitney(&[1.0, 1.0], &[1.0, 1.0]) - 1.0).abs() < 1e-12);
        assert!((mann_whitney(&[], &[1.0]) - 1.0).abs() < 1e-12);
        assert!((mann_whitney(&[f64::NAN], &[1.0]) - 1.0).abs() < 1e-12);
        assert!((smallest_p(1, 1) - 1.0).abs() < 1e-12);
    }

    /// R 4: `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")` is 0.03 0.06 0.06 0.02.
    #[test]
    fn holm_multiplies_as_r_does() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, wanted) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - wanted).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(holm(&[]).is_empty());
    }
}
