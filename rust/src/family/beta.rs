//! Shares: Beta(mu nu, (1 - mu) nu) with the precision nu = exp(phi). Logit link.

use crate::family::Responses;
use crate::family::density::{AtPhi, Density, Row, Sink};
use crate::family::links::shares;
use crate::special::{digamma, tetragamma, trigamma};
use libm::lgamma;

#[derive(Clone, Copy, Debug)]
pub struct Beta;

#[derive(Clone, Copy, Debug)]
pub struct BetaAt {
    precision: f64,
    /// log Gamma of it, with two derivatives.
    constant: [f64; 3],
}

/// In the mean and in the precision.
struct Parts {
    /// mu, 1 - mu, and derivatives of mu in eta.
    m: f64,
    c: f64,
    f: [f64; 3],
    /// Of l in mu.
    lm: [f64; 3],
    logs: [f64; 2],
    psi: [f64; 2],
    tri: [f64; 2],
    tetra: [f64; 2],
}

impl Density for Beta {
    type At = BetaAt;

    fn n_extra(self) -> usize {
        1
    }

    fn admits(self, y: f64, _: f64) -> bool {
        y > 0.0 && y < 1.0
    }

    fn start_eta(self, y: f64, _: f64) -> f64 {
        y.ln() - (-y).ln_1p()
    }

    fn start_phi(self, _: &Responses, _: f64) -> Vec<f64> {
        vec![1.0]
    }

    fn at(self, phi: &[f64]) -> BetaAt {
        let nu = phi[0].exp();
        BetaAt { precision: nu, constant: [lgamma(nu), digamma(nu), trigamma(nu)] }
    }
}

impl BetaAt {
    fn parts(&self, y: f64, eta: f64) -> Parts {
        let nu = self.precision;
        let [m, c] = shares(eta);
        let (a, b) = (m * nu, c * nu);
        let logs = [y.ln(), (-y).ln_1p()];
        let both = |f: fn(f64) -> f64| [f(a), f(b)];
        let (psi, tri, tetra) = (both(digamma), both(trigamma), both(tetragamma));
        Parts {
            f: [m * c, m * c * (c - m), m * c * (1.0 - 6.0 * m * c)],
            lm: [
                nu * (logs[0] - logs[1] - psi[0] + psi[1]),
                -nu * nu * (tri[0] + tri[1]),
                -nu.powi(3) * (tetra[0] - tetra[1]),
            ],
            m,
            c,
            logs,
            psi,
            tri,
            tetra,
        }
    }
}

impl AtPhi for BetaAt {
    fn row(&self, y: f64, _: f64, eta: f64) -> Row {
        let p = self.parts(y, eta);
        let (a, b) = (p.m * self.precision, p.c * self.precision);
        let [f1, f2, f3] = p.f;
        let [lm, lmm, lmmm] = p.lm;
        Row {
            l: self.constant[0] - lgamma(a) - lgamma(b) + (a - 1.0) * p.logs[0] + (b - 1.0) * p.logs[1],
            d1: lm * f1,
            d2: lmm * f1 * f1 + lm * f2,
            d3: lmmm * f1.powi(3) + 3.0 * lmm * f1 * f2 + lm * f3,
        }
    }

    fn extra(&self, y: f64, _: f64, eta: f64, out: &mut dyn Sink) {
        let (p, nu) = (self.parts(y, eta), self.precision);
        let Parts { m, c, tri, tetra, .. } = p;
        let l = nu * (self.constant[1] - m * p.psi[0] - c * p.psi[1] + m * p.logs[0] + c * p.logs[1]);
        let lm = p.lm[0] + nu * nu * (c * tri[1] - m * tri[0]);
        let lmm = 2.0 * p.lm[1] - nu.powi(3) * (m * tetra[0] + c * tetra[1]);
        out.first(0, l, lm * p.f[0], lmm * p.f[0] * p.f[0] + lm * p.f[1]);
        out.second(0, 0, l + nu * nu * (self.constant[2] - m * m * tri[0] - c * c * tri[1]));
    }
}
