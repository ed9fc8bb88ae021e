//! Functions of one number that the standard library lacks, each to nearly all digits.

use libm::erfc;
use std::f64::consts::{PI, SQRT_2};

/// Where the normal tail is taken from a continued fraction.
const FAR: f64 = -5.0;
/// Terms of that fraction, enough at its nearest.
const TERMS: usize = 120;
/// Arguments are raised to this before an asymptotic series is taken.
const LARGE: f64 = 12.0;

/// log Phi(x) and its three derivatives.
pub fn log_normal(x: f64) -> [f64; 4] {
    let log_density = -0.5 * x * x - 0.5 * (2.0 * PI).ln();
    // r = phi / Phi, and x + r without cancellation
    let (log, r, lift) = if x < FAR {
        // 1 / (z + 2 / (z + 3 / (z + ...))) with z = -x (Laplace)
        let z = -x;
        let lift = (1..=TERMS).rev().fold(0.0, |below, k| k as f64 / (z + below));
        let r = z + lift;
        (log_density - r.ln(), r, lift)
    } else {
        let tail = 0.5 * erfc(x.abs() / SQRT_2);
        let log = if x > 0.0 { (-tail).ln_1p() } else { tail.ln() };
        let r = (log_density - log).exp();
        (log, r, x + r)
    };
    let r1 = -r * lift;
    [log, r, r1, -r1 * lift - r * (1.0 + r1)]
}

/// d log Gamma(x) / dx for x > 0.
pub fn digamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < LARGE {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let v = 1.0 / (x * x);
    let series = v
        * (1.0 / 12.0
            - v * (1.0 / 120.0 - v * (1.0 / 252.0 - v * (1.0 / 240.0 - v * (1.0 / 132.0 - v * (691.0 / 32760.0))))));
    sum + x.ln() - 0.5 / x - series
}

/// Its derivative.
pub fn trigamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < LARGE {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let v = 1.0 / (x * x);
    let series = v
        * (1.0 / 6.0
            - v * (1.0 / 30.0 - v * (1.0 / 42.0 - v * (1.0 / 30.0 - v * (5.0 / 66.0 - v * (691.0 / 2730.0))))));
    sum + (1.0 + 0.5 / x + series) / x
}

/// And the next.
pub fn tetragamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < LARGE {
        sum -= 2.0 / (x * x * x);
        x += 1.0;
    }
    let v = 1.0 / (x * x);
    let series = v * (0.5 - v * (1.0 / 6.0 - v * (1.0 / 6.0 - v * (0.3 - v * (5.0 / 6.0 - v * (691.0 / 210.0))))));
    sum - v * (1.0 + 1.0 / x + series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms() {
        let euler = 0.577_215_664_901_532_9;
        assert!((digamma(1.0) + euler).abs() < 1e-14);
        assert!((digamma(0.5) + euler + 2.0 * f64::ln(2.0)).abs() < 1e-14);
        assert!((trigamma(1.0) - PI * PI / 6.0).abs() < 1e-14);
        assert!((trigamma(0.5) - PI * PI / 2.0).abs() < 1e-13);
        assert!((tetragamma(1.0) + 2.0 * 1.202_056_903_159_594_2).abs() < 1e-13);
        assert!((tetragamma(0.5) + 14.0 * 1.202_056_903_159_594_2).abs() < 1e-12);
    }

    #[test]
    fn normal_tails_meet_where_they_change() {
        let (far, near) = (log_normal(FAR - 1e-9), log_normal(FAR + 1e-9));
        far.iter().zip(near).for_each(|(a, b)| assert!((a - b).abs() < 2e-8 * (1.0 + a.abs())));
        assert!((log_normal(0.0)[0] + f64::ln(2.0)).abs() < 1e-15);
    }
}
