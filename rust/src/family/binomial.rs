//! Successes among trials.

use crate::family::counts::{half_deviance, log_term};
use crate::family::density::{AtPhi, Density, Row};
use crate::family::links::{Link, tails};
use libm::lgamma;

/// Trials above which a row is formed as a deviance.
const FEW_TRIALS: f64 = 50.0;
/// exp(-|eta|) below which its logarithm is a series.
const SMALL: f64 = 1e-4;

/// `trials` a row.
#[derive(Clone, Copy, Debug)]
pub struct Binomial(pub Link);

/// Log density of the share y / m at its own mean, but for the binomial coefficient: what deviances leave out.
fn share(y: f64, m: f64) -> f64 {
    if m > FEW_TRIALS { log_term(y, y / m) + log_term(m - y, (m - y) / m) } else { 0.0 }
}

/// A row of few trials with the logit link, with one exponential and one logarithm.
#[inline]
fn logit_row(y: f64, m: f64, eta: f64) -> Row {
    let e = (-eta.abs()).exp();
    let large = 1.0 / (1.0 + e);
    let small = e * large;
    let log = if e < SMALL { e * (1.0 - e * (0.5 - e * (1.0 / 3.0 - 0.25 * e))) } else { -large.ln() };
    // l of a trial with the less likely result is that of the other less |eta|
    let (p, c, unlikely) = if eta > 0.0 { (large, small, m - y) } else { (small, large, y) };
    let d2 = -m * p * c;
    Row { l: -unlikely * eta.abs() - m * log, d1: y * c - (m - y) * p, d2, d3: d2 * (c - p) }
}

impl Density for Binomial {
    type At = Binomial;

    fn admits(self, y: f64, trials: f64) -> bool {
        y >= 0.0 && y <= trials
    }

    fn saturated(self, y: f64, trials: f64) -> f64 {
        lgamma(trials + 1.0) - lgamma(y + 1.0) - lgamma(trials - y + 1.0) + share(y, trials)
    }

    fn start_eta(self, y: f64, trials: f64) -> f64 {
        let p = (y + 0.5) / (trials + 1.0);
        match self.0 {
            Link::Logit => (p / (1.0 - p)).ln(),
            Link::Probit => (p - 0.5) * 2.5,
            Link::Cloglog => (-(-p).ln_1p()).ln(),
        }
    }

    fn at(self, _: &[f64]) -> Binomial {
        self
    }
}

impl AtPhi for Binomial {
    #[inline]
    fn row(&self, y: f64, m: f64, eta: f64) -> Row {
        if self.0 == Link::Logit && m <= FEW_TRIALS {
            return logit_row(y, m, eta);
        }
        let [f, c] = tails(self.0, eta);
        let (a, b) = (y, m - y);
        let sum = |j: usize| {
            let one = |n: f64, v: f64| if n > 0.0 { n * v } else { 0.0 };
            one(a, f[j]) + one(b, c[j])
        };
        let l =
            if m > FEW_TRIALS { -half_deviance(a, m * f[0].exp()) - half_deviance(b, m * c[0].exp()) } else { sum(0) };
        Row { l, d1: sum(1), d2: sum(2), d3: sum(3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logit_rows_are_made_of_both_tails() {
        for eta in [-1000.0, -40.0, -9.3, -9.1, -1.0, 0.0, 0.4, 9.1, 9.3, 40.0, 1000.0] {
            let [f, c] = tails(Link::Logit, eta);
            for (y, m) in [(0.0, 1.0), (1.0, 1.0), (3.0, 7.0)] {
                let row = logit_row(y, m, eta);
                for (k, got) in [row.l, row.d1, row.d2, row.d3].into_iter().enumerate() {
                    let expected = if y > 0.0 { y * f[k] } else { 0.0 } + if m > y { (m - y) * c[k] } else { 0.0 };
                    // log(1 + e) is rounded as a number near 1 is, down to e = 1e-4
                    assert!((got - expected).abs() <= 4e-12 * expected.abs(), "{eta} {y} {m} {k}: {got} {expected}");
                }
            }
        }
    }
}
