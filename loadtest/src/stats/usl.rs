//! The Universal Scalability Law (Gunther 1993): throughput of N users is
//! λN / (1 + σ(N−1) + κN(N−1)), where σ is what has to queue and κ what has to agree. Fitted to
//! closed steps by Levenberg and Marquardt; pure. The parameters are not forced above zero, so that
//! an interval of κ may cover zero and say that no knee was seen.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::bootstrap::{middle_95, redraw};
use crate::model::Interval;

/// Gunther's advice for three parameters.
pub const POINTS_MIN: usize = 6;
const ITERATIONS_MAX: usize = 200;
const RESAMPLES: usize = 500;
const SEED: u64 = 0x05_1A11;

/// A fit.
#[derive(Clone, Debug)]
pub struct Usl {
    /// Throughput of one user, per second.
    pub lambda: f64,
    pub sigma: f64,
    pub kappa: f64,
    pub sigma_interval: Interval,
    pub kappa_interval: Interval,
    pub r_squared: f64,
    /// Users and throughput at the peak, if κ's interval lies above zero and the peak is near enough
    /// to the measured range to be believed.
    pub knee: Option<(f64, f64)>,
}

impl Usl {
    /// Throughput of `users`.
    pub fn at(&self, users: f64) -> f64 {
        curve([self.lambda, self.sigma, self.kappa], users)
    }
}

/// How far beyond the last point a peak is still named.
const EXTRAPOLATION_MAX: f64 = 1.5;

/// Fits points of users and throughput; nothing for fewer than [`POINTS_MIN`] different numbers of
/// users, or if no curve fits.
pub fn fit(points: &[(f64, f64)]) -> Option<Usl> {
    let mut users: Vec<f64> = points.iter().map(|(n, _)| *n).collect();
    users.sort_by(f64::total_cmp);
    users.dedup();
    let sound = points.iter().all(|(n, x)| *n >= 1.0 && *x > 0.0 && n.is_finite() && x.is_finite());
    if users.len() < POINTS_MIN || !sound {
        return None;
    }
    let [lambda, sigma, kappa] = solve(points)?;
    let fitted: Vec<f64> = points.iter().map(|(n, _)| curve([lambda, sigma, kappa], *n)).collect();
    let (sigma_interval, kappa_interval) = intervals(points, &fitted);
    let last = users[users.len() - 1];
    let top = ((1.0 - sigma) / kappa).sqrt();
    let seen = kappa_interval.low > 0.0 && top.is_finite() && top <= EXTRAPOLATION_MAX * last;
    Some(Usl {
        lambda,
        sigma,
        kappa,
        sigma_interval,
        kappa_interval,
        r_squared: r_squared(points, &fitted),
        knee: seen.then(|| (top, curve([lambda, sigma, kappa], top))),
    })
}

/// Draws the distances from the fit anew, widened for the three parameters that were fitted. In the unit
/// of the throughput, as the fit itself weighs them.
fn intervals(points: &[(f64, f64)], fitted: &[f64]) -> (Interval, Interval) {
    let freedom = (points.len() as f64 / (points.len() as f64 - 3.0)).sqrt();
    let distances: Vec<f64> =
        points.iter().zip(fitted).map(|((_, x), fit)| (x - fit) * freedom).collect();
    let mut random = StdRng::seed_from_u64(SEED);
    let mut drawn = distances.clone();
    let fits: Vec<[f64; 3]> = (0..RESAMPLES)
        .filter_map(|_| {
            redraw(&distances, &mut drawn, &mut random);
            let again: Vec<(f64, f64)> = (points.iter().zip(fitted).zip(&drawn))
                .map(|(((n, _), fit), distance)| (*n, fit + distance))
                .collect();
            solve(&again)
        })
        .collect();
    let of = |index: usize| middle_95(fits.iter().map(|fit| fit[index]).collect());
    (of(1), of(2))
}

fn r_squared(points: &[(f64, f64)], fitted: &[f64]) -> f64 {
    let mean = points.iter().map(|(_, x)| x).sum::<f64>() / points.len() as f64;
    let around = |centre: &dyn Fn(usize) -> f64| -> f64 {
        points.iter().enumerate().map(|(index, (_, x))| (x - centre(index)).powi(2)).sum()
    };
    1.0 - around(&|index| fitted[index]) / around(&|_| mean)
}

fn curve([lambda, sigma, kappa]: [f64; 3], n: f64) -> f64 {
    lambda * n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0))
}

/// Least squares by damped Gauss steps.
fn solve(points: &[(f64, f64)]) -> Option<[f64; 3]> {
    let per_user = points.iter().map(|(n, x)| x / n).fold(0.0, f64::max);
    let mut at = [per_user, 0.02, 1e-6];
    let mut cost = squares(points, at);
    let mut damping = 1e-3;
    for _ in 0..ITERATIONS_MAX {
        let (normal, gradient) = equations(points, at);
        let mut damped = normal;
        for (index, row) in damped.iter_mut().enumerate() {
            row[index] *= 1.0 + damping;
        }
        let step = cramer(damped, gradient)?;
        let next = [at[0] + step[0], at[1] + step[1], at[2] + step[2]];
        let next_cost = squares(points, next);
        if next_cost.is_finite() && next_cost <= cost {
            let gained = (cost - next_cost) / cost.max(f64::MIN_POSITIVE);
            (at, cost) = (next, next_cost);
            damping = (damping / 10.0).max(1e-12);
            if gained < 1e-14 {
                break;
            }
        } else {
            damping *= 10.0;
            if damping > 1e12 {
                break;
            }
        }
    }
    at.iter().all(|value| value.is_finite()).then_some(at)
}

fn squares(points: &[(f64, f64)], at: [f64; 3]) -> f64 {
    points.iter().map(|(n, x)| (x - curve(at, *n)).powi(2)).sum()
}

/// JᵀJ and Jᵀr.
fn equations(points: &[(f64, f64)], at: [f64; 3]) -> ([[f64; 3]; 3], [f64; 3]) {
    let (mut normal, mut gradient) = ([[0.0; 3]; 3], [0.0; 3]);
    for (n, x) in points {
        let below = 1.0 + at[1] * (n - 1.0) + at[2] * n * (n - 1.0);
        let slope = [
            n / below,
            -at[0] * n * (n - 1.0) / (below * below),
            -at[0] * n * n * (n - 1.0) / (below * below),
        ];
        let rest = x - at[0] * n / below;
        for row in 0..3 {
            gradient[row] += slope[row] * rest;
            for column in 0..3 {
                normal[row][column] += slope[row] * slope[column];
            }
        }
    }
    (normal, gradient)
}

/// Solves three equations; nothing if they depend on each other.
fn cramer(rows: [[f64; 3]; 3], right: [f64; 3]) -> Option<[f64; 3]> {
    let whole = determinant(&rows);
    let mut solved = [0.0; 3];
    for (column, value) in solved.iter_mut().enumerate() {
        let mut replaced = rows;
        for row in 0..3 {
            replaced[row][column] = right[row];
        }
        *value = determinant(&replaced) / whole;
    }
    (whole != 0.0 && solved.iter().all(|value| value.is_finite())).then_some(solved)
}

fn determinant(m: &[[f64; 3]; 3]) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPEC SDM91 on a Sun machine (Gunther, Guerrilla Capacity Planning, and the vignette of R's
    /// package usl). scipy 1.17.1 `curve_fit`: 89.995, 0.027728, 0.000104366; R² 0.98956; top 96.52.
    #[test]
    fn a_published_example_is_fitted_as_scipy_and_r_do() {
        let points = [
            (1.0, 64.9),
            (18.0, 995.9),
            (36.0, 1_652.4),
            (72.0, 1_853.2),
            (108.0, 1_828.9),
            (144.0, 1_775.0),
            (216.0, 1_702.2),
        ];
        let fit = fit(&points).unwrap();
        assert!((fit.lambda - 89.995_12).abs() < 1e-3, "{fit:?}");
        assert!((fit.sigma - 0.027_728_405).abs() < 1e-6, "{fit:?}");
        assert!((fit.kappa - 0.000_104_365_5).abs() < 1e-8, "{fit:?}");
        assert!((fit.r_squared - 0.989_561).abs() < 1e-4, "{fit:?}");
        let (users, _) = fit.knee.unwrap();
        assert!((users - 96.5).abs() < 0.1, "{users}");
        assert!(fit.kappa_interval.low < fit.kappa && fit.kappa < fit.kappa_interval.high);
    }

    /// The ray tracer of Gunther's book; scipy 1.17.1 `curve_fit`: 24.766, 0.078148, −0.000201.
    #[test]
    fn without_a_fall_there_is_no_knee() {
        let users = [1.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 48.0, 64.0];
        let rates = [20.0, 78.0, 130.0, 170.0, 190.0, 200.0, 210.0, 230.0, 260.0, 280.0, 310.0];
        let points: Vec<(f64, f64)> = users.into_iter().zip(rates).collect();
        let fit = fit(&points).unwrap();
        assert!((fit.sigma - 0.078_147_9).abs() < 1e-4, "{fit:?}");
        assert!(fit.kappa_interval.low <= 0.0 && fit.knee.is_none(), "{fit:?}");
    }

    #[test]
    fn too_few_or_broken_points_are_refused() {
        assert!(fit(&[(1.0, 10.0), (2.0, 19.0), (4.0, 30.0)]).is_none());
        assert!(fit(&[(1.0, 10.0); 9]).is_none());
        let broken: Vec<(f64, f64)> = (1..=8).map(|n| (f64::from(n), f64::NAN)).collect();
        assert!(fit(&broken).is_none());
        let flat: Vec<(f64, f64)> = (1..=8).map(|n| (f64::from(n), 5.0)).collect();
        if let Some(fit) = fit(&flat) {
            assert!(fit.at(3.0).is_finite());
        }
    }
}
