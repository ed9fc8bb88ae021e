//! Successes among trials.

use crate::family::counts::{half_deviance, log_term};
use crate::family::density::{AtPhi, Density, Row};
use crate::family::links::{Link, tails};
use libm::lgamma;

/// Trials above which a row is formed as a deviance.
const FEW_TRIALS: f64 = 20.0;

/// `trials` a row.
#[derive(Clone, Copy, Debug)]
pub struct Binomial(pub Link);

/// Log density of the share y / m at its own mean, but for the binomial coefficient.
fn share(y: f64, m: f64) -> f64 {
    log_term(y, y / m) + log_term(m - y, (m - y) / m)
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
        let [f, c] = tails(self.0, eta);
        let (a, b) = (y, m - y);
        let sum = |j: usize| {
            let one = |n: f64, v: f64| if n > 0.0 { n * v } else { 0.0 };
            one(a, f[j]) + one(b, c[j])
        };
        let l = if m > FEW_TRIALS {
            -half_deviance(a, m * f[0].exp()) - half_deviance(b, m * c[0].exp())
        } else {
            sum(0) - share(y, m)
        };
        Row { l, d1: sum(1), d2: sum(2), d3: sum(3) }
    }
}
