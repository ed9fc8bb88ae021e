//! Counts that vary more: the negative binomial with a variance of mu (1 + alpha), log link, and the beta-binomial, logit link.
//!
//! Both are made of log of products of mu + a j over j < y with a = phi^2, which tend to powers of mu: even in phi, and
//! zero, Poisson's and the binomial, is an ordinary point.

use crate::family::Responses;
use crate::family::counts::log_share;
use crate::family::density::{AtPhi, Density, LARGEST, Row, Sink};
use crate::family::links::shares;
use crate::special::{digamma, tetragamma, trigamma};
use libm::lgamma;

/// Factors that are multiplied one by one.
const FEW: f64 = 500.0;
/// mu / a from which on differences of log Gamma have lost digits.
const LARGE: f64 = 1e6;

/// A function of mu and a: its value, three derivatives in mu, and those in a, in both, in mu twice and a, in a twice.
#[derive(Clone, Copy, Default)]
struct Parts {
    value: f64,
    m: [f64; 3],
    a: f64,
    ma: f64,
    mma: f64,
    aa: f64,
}

impl Parts {
    /// sum_{j < y} log(mu + a j).
    fn rising(y: f64, mu: f64, a: f64) -> Parts {
        // t_mk = sum j^k / (mu + a j)^m
        let size = mu / a;
        let [value, t10, t20, t30, t11, t21, t31, t22] = if y <= FEW || size > LARGE {
            let mut sums = [0.0; 8];
            let mut j = 0.0;
            while j < y {
                let r = 1.0 / (mu + a * j);
                let s = r * r;
                let terms = [-r.ln(), r, s, s * r, j * r, j * s, j * s * r, j * j * s];
                sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
                j += 1.0;
            }
            sums
        } else {
            let top = y + size;
            let value = y * a.ln() + lgamma(top) - lgamma(size);
            let t10 = (digamma(top) - digamma(size)) / a;
            let t20 = (trigamma(size) - trigamma(top)) / (a * a);
            let t30 = (tetragamma(top) - tetragamma(size)) / (2.0 * a.powi(3));
            let (t11, t21, t31) = ((y - mu * t10) / a, (t10 - mu * t20) / a, (t20 - mu * t30) / a);
            [value, t10, t20, t30, t11, t21, t31, (t11 - mu * t21) / a]
        };
        Parts { value, m: [t10, -t20, 2.0 * t30], a: t11, ma: -t21, mma: 2.0 * t31, aa: -t22 }
    }

    /// The same function of 1 - mu.
    fn reflected(self) -> Parts {
        Parts { m: [-self.m[0], self.m[1], -self.m[2]], ma: -self.ma, ..self }
    }

    fn plus(self, other: Parts) -> Parts {
        let m = [0, 1, 2].map(|k| self.m[k] + other.m[k]);
        Parts {
            value: self.value + other.value,
            m,
            a: self.a + other.a,
            ma: self.ma + other.ma,
            mma: self.mma + other.mma,
            aa: self.aa + other.aa,
        }
    }

    /// In eta, given three derivatives of mu.
    fn row(&self, f: [f64; 3]) -> Row {
        let [m, mm, mmm] = self.m;
        Row {
            l: self.value,
            d1: m * f[0],
            d2: mm * f[0] * f[0] + m * f[1],
            d3: mmm * f[0].powi(3) + 3.0 * mm * f[0] * f[1] + m * f[2],
        }
    }

    /// In phi with a = phi^2.
    fn extra(&self, f: [f64; 3], phi: f64, out: &mut dyn Sink) {
        let by = 2.0 * phi;
        out.first(0, by * self.a, by * self.ma * f[0], by * (self.mma * f[0] * f[0] + self.ma * f[1]));
        out.second(0, 0, by * by * self.aa + 2.0 * self.a);
    }
}

/// Var = mu (1 + alpha).
#[derive(Clone, Copy, Debug)]
pub struct NegativeBinomial1;

/// At its phi.
#[derive(Clone, Copy, Debug)]
pub struct NegativeBinomial1At(f64);

impl NegativeBinomial1At {
    fn parts(self, y: f64, mu: f64) -> Parts {
        let a = self.0 * self.0;
        // -(mu / a + y) log(1 + a)
        let share = log_share(1.0, a);
        let one = 1.0 + a;
        let rest = Parts {
            value: -mu * share[0] - y * a.ln_1p(),
            m: [-share[0], 0.0, 0.0],
            a: -mu * share[1] - y / one,
            ma: -share[1],
            mma: 0.0,
            aa: -mu * share[2] + y / (one * one),
        };
        Parts::rising(y, mu, a).plus(rest)
    }
}

impl Density for NegativeBinomial1 {
    type At = NegativeBinomial1At;
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

    fn at(self, phi: &[f64]) -> NegativeBinomial1At {
        NegativeBinomial1At(phi[0])
    }
}

impl AtPhi for NegativeBinomial1At {
    fn row(&self, y: f64, _: f64, eta: f64) -> Row {
        let mu = eta.min(LARGEST).exp();
        self.parts(y, mu).row([mu; 3])
    }

    fn extra(&self, y: f64, _: f64, eta: f64, out: &mut dyn Sink) {
        let mu = eta.min(LARGEST).exp();
        self.parts(y, mu).extra([mu; 3], self.0, out);
    }
}

/// Successes whose chance is drawn from Beta(mu / a, (1 - mu) / a).
#[derive(Clone, Copy, Debug)]
pub struct BetaBinomial;

/// At its phi.
#[derive(Clone, Copy, Debug)]
pub struct BetaBinomialAt(f64);

impl BetaBinomialAt {
    fn parts(self, y: f64, trials: f64, eta: f64) -> (Parts, [f64; 3]) {
        let a = self.0 * self.0;
        let [m, c] = shares(eta);
        let all = Parts::rising(trials, 1.0, a);
        let none = Parts { value: -all.value, m: [0.0; 3], a: -all.a, ma: 0.0, mma: 0.0, aa: -all.aa };
        let parts = Parts::rising(y, m, a).plus(Parts::rising(trials - y, c, a).reflected()).plus(none);
        (parts, [m * c, m * c * (c - m), m * c * (1.0 - 6.0 * m * c)])
    }
}

impl Density for BetaBinomial {
    type At = BetaBinomialAt;
    const EVEN: bool = true;

    fn n_extra(self) -> usize {
        1
    }

    fn admits(self, y: f64, trials: f64) -> bool {
        y >= 0.0 && y <= trials
    }

    fn saturated(self, y: f64, trials: f64) -> f64 {
        lgamma(trials + 1.0) - lgamma(y + 1.0) - lgamma(trials - y + 1.0)
    }

    fn start_eta(self, y: f64, trials: f64) -> f64 {
        let p = (y + 0.5) / (trials + 1.0);
        (p / (1.0 - p)).ln()
    }

    fn start_phi(self, _: &Responses, _: f64) -> Vec<f64> {
        vec![0.3]
    }

    fn at(self, phi: &[f64]) -> BetaBinomialAt {
        BetaBinomialAt(phi[0])
    }
}

impl AtPhi for BetaBinomialAt {
    fn row(&self, y: f64, trials: f64, eta: f64) -> Row {
        let (parts, slopes) = self.parts(y, trials, eta);
        parts.row(slopes)
    }

    fn extra(&self, y: f64, trials: f64, eta: f64, out: &mut dyn Sink) {
        let (parts, slopes) = self.parts(y, trials, eta);
        parts.extra(slopes, self.0, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_products_agree() {
        for (mu, a) in [(2.0, 0.3), (40.0, 0.01), (0.2, 4.0)] {
            let (many, h) = (Parts::rising(FEW + 1.0, mu, a), 1e-5);
            let few = Parts::rising(FEW, mu, a);
            assert!((many.value - few.value - (mu + a * FEW).ln()).abs() < 1e-9 * many.value.abs());
            let near = |got: f64, up: f64, down: f64| {
                let expected = (up - down) / (2.0 * h);
                assert!((got - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{mu} {a} {got} {expected}");
            };
            let in_mu = |by: f64| Parts::rising(FEW + 1.0, mu + by, a);
            near(many.m[0], in_mu(h).value, in_mu(-h).value);
            near(many.m[1], in_mu(h).m[0], in_mu(-h).m[0]);
            near(many.m[2], in_mu(h).m[1], in_mu(-h).m[1]);
            near(many.ma, in_mu(h).a, in_mu(-h).a);
            near(many.mma, in_mu(h).ma, in_mu(-h).ma);
        }
    }
}
