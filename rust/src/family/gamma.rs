//! Positive responses whose variance is that of their squared mean: mu^2 / nu with the shape nu = exp(phi). Log link.

use crate::family::Responses;
use crate::family::density::{AtPhi, Density, Row, Sink};
use crate::special::{digamma, trigamma};
use libm::lgamma;

#[derive(Clone, Copy, Debug)]
pub struct Gamma;

#[derive(Clone, Copy, Debug)]
pub struct GammaAt {
    shape: f64,
    /// What every row has, and its slope and curvature in phi.
    constant: [f64; 3],
}

impl Density for Gamma {
    type At = GammaAt;

    fn n_extra(self) -> usize {
        1
    }

    fn admits(self, y: f64, _: f64) -> bool {
        y > 0.0
    }

    fn start_eta(self, y: f64, _: f64) -> f64 {
        y.ln()
    }

    fn start_phi(self, _: &Responses, spread: f64) -> Vec<f64> {
        vec![-spread.max(1e-3).ln()]
    }

    fn at(self, phi: &[f64]) -> GammaAt {
        let (phi, nu) = (phi[0], phi[0].exp());
        let slope = nu * (phi + 1.0 - digamma(nu));
        GammaAt { shape: nu, constant: [nu * phi - lgamma(nu), slope, nu * (1.0 - nu * trigamma(nu))] }
    }
}

impl AtPhi for GammaAt {
    #[inline]
    fn row(&self, y: f64, _: f64, eta: f64) -> Row {
        let nu = self.shape;
        let e = y * (-eta).exp();
        let log_y = y.ln();
        Row { l: self.constant[0] - log_y + nu * (log_y - eta - e), d1: nu * (e - 1.0), d2: -nu * e, d3: nu * e }
    }

    fn extra(&self, y: f64, _: f64, eta: f64, out: &mut dyn Sink) {
        let nu = self.shape;
        let e = y * (-eta).exp();
        let l = self.constant[1] + nu * (y.ln() - eta - e);
        out.first(0, l, nu * (e - 1.0), -nu * e);
        out.second(0, 0, l + self.constant[2]);
    }
}
