//! What a family is: its log density and derivatives, and where a fit begins.

use crate::family::Responses;
use std::fmt::Debug;

/// Largest exponent that is taken.
pub const LARGEST: f64 = 700.0;

/// l and its derivatives in eta.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    pub l: f64,
    pub d1: f64,
    pub d2: f64,
    pub d3: f64,
}

/// A family of densities. It is one file here and a line in `families!`.
pub trait Density: Copy + Debug {
    type At: AtPhi;
    /// l depends on the squares of phi alone, and phi of zero is an ordinary point.
    const EVEN: bool = false;

    /// Some responses may come from either of two parts.
    const MIXED: bool = false;
    /// phi takes what the random effects leave over, so that its fit without them says little.
    const TAKES_THE_REST: bool = Self::EVEN;

    /// How many parameters phi it has beside the mean.
    fn n_extra(self) -> usize {
        0
    }

    /// How many of phi, from the first on, l depends on the squares of alone.
    fn n_even(self) -> usize {
        if Self::EVEN { self.n_extra() } else { 0 }
    }

    /// Whether a response can be.
    fn admits(self, y: f64, trials: f64) -> bool;

    /// What `Row::l` leaves out of the log density.
    fn saturated(self, _y: f64, _trials: f64) -> f64 {
        0.0
    }

    /// A first guess of eta in a row.
    fn start_eta(self, y: f64, trials: f64) -> f64;

    /// A first guess of eta in all rows.
    fn start(self, seen: &Responses) -> Vec<f64> {
        seen.y.iter().zip(&seen.trials).map(|(y, m)| self.start_eta(*y, *m)).collect()
    }

    /// A first guess of phi, given the variance of `start` about the fixed effects.
    fn start_phi(self, _seen: &Responses, _spread: f64) -> Vec<f64> {
        vec![]
    }

    /// Other guesses of eta in all rows and of phi, where the likelihood may have several optima.
    fn other_guesses(self, _seen: &Responses) -> Vec<(Vec<f64>, Vec<f64>)> {
        vec![]
    }

    /// The family at one phi; where there is none, l of its rows is no number.
    fn at(self, phi: &[f64]) -> Self::At;
}

/// A family at one phi, with what is computed once.
pub trait AtPhi {
    fn row(&self, y: f64, trials: f64, eta: f64) -> Row;

    /// Puts derivatives of one row in phi; none without phi.
    fn extra(&self, _y: f64, _trials: f64, _eta: f64, _out: &mut dyn Sink) {}
}

/// Takes derivatives of one row in phi.
pub trait Sink {
    /// Of l, l' and l'' in phi_j.
    fn first(&mut self, j: usize, l: f64, d1: f64, d2: f64);

    /// Of l in phi_i and phi_j.
    fn second(&mut self, _i: usize, _j: usize, _ll: f64) {}
}

/// Sums of derivatives of l in phi, (n_extra,).
pub struct Scores<'s> {
    pub weight: f64,
    pub sums: &'s mut [f64],
}

impl Sink for Scores<'_> {
    fn first(&mut self, j: usize, l: f64, _: f64, _: f64) {
        self.sums[j] += self.weight * l;
    }
}
