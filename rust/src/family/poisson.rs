//! Counts: Poisson's, and the negative binomial with a variance of mu + alpha mu^2. Log links.

use crate::family::Responses;
use crate::family::counts::{half_deviance, log_share, log_term, rising};
use crate::family::density::{AtPhi, Density, LARGEST, Row, Sink};
use libm::lgamma;

#[derive(Clone, Copy, Debug)]
pub struct Poisson;

impl Density for Poisson {
    type At = Poisson;

    fn admits(self, y: f64, _: f64) -> bool {
        y >= 0.0
    }

    fn saturated(self, y: f64, _: f64) -> f64 {
        log_term(y, y) - y - lgamma(y + 1.0)
    }

    fn start_eta(self, y: f64, _: f64) -> f64 {
        (y + 0.1).ln()
    }

    fn at(self, _: &[f64]) -> Poisson {
        self
    }
}

impl AtPhi for Poisson {
    #[inline]
    fn row(&self, y: f64, _: f64, eta: f64) -> Row {
        let mu = eta.min(LARGEST).exp();
        Row { l: -half_deviance(y, mu), d1: y - mu, d2: -mu, d3: -mu }
    }
}

/// alpha = phi^2: even in phi, and zero, Poisson's, is an ordinary point.
#[derive(Clone, Copy, Debug)]
pub struct NegativeBinomial;

#[derive(Clone, Copy, Debug)]
pub struct NegativeBinomialAt {
    root: f64,
}

impl Density for NegativeBinomial {
    type At = NegativeBinomialAt;
    const EVEN: bool = true;

    fn n_extra(self) -> usize {
        1
    }

    fn admits(self, y: f64, _: f64) -> bool {
        y >= 0.0
    }

    fn saturated(self, y: f64, _: f64) -> f64 {
        -lgamma(y + 1.0)
    }

    fn start_eta(self, y: f64, _: f64) -> f64 {
        (y + 0.1).ln()
    }

    fn start_phi(self, _: &Responses, _: f64) -> Vec<f64> {
        vec![0.5]
    }

    fn at(self, phi: &[f64]) -> NegativeBinomialAt {
        NegativeBinomialAt { root: phi[0] }
    }
}

impl AtPhi for NegativeBinomialAt {
    #[inline]
    fn row(&self, y: f64, _: f64, eta: f64) -> Row {
        let (a, mu) = (self.root * self.root, eta.min(LARGEST).exp());
        let am = a * mu;
        let d2 = -mu * (1.0 + a * y) / ((1.0 + am) * (1.0 + am));
        Row {
            l: rising(y, a)[0] + y * eta - y * am.ln_1p() - log_share(mu, a)[0],
            d1: (y - mu) / (1.0 + am),
            d2,
            d3: d2 * (1.0 - am) / (1.0 + am),
        }
    }

    fn extra(&self, y: f64, _: f64, eta: f64, out: &mut dyn Sink) {
        let (r, mu) = (self.root, eta.min(LARGEST).exp());
        let a = r * r;
        let one = 1.0 + a * mu;
        let (sums, share) = (rising(y, a), log_share(mu, a));
        let l = sums[1] - y * mu / one - share[1];
        let ll = sums[2] + y * mu * mu / (one * one) - share[2];
        let d1 = -2.0 * r * (y - mu) * mu / (one * one);
        let d2 = 2.0 * r * (2.0 * mu * mu * (1.0 + a * y) / one - mu * y) / (one * one);
        out.first(0, 2.0 * r * l, d1, d2);
        out.second(0, 0, 4.0 * r * r * ll + 2.0 * l);
    }
}
