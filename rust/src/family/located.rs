//! A family at one phi: one set of parameters for all rows, or those that covariates give each row.

use crate::family::density::{Row, Sink};
use crate::family::{At, Family, Responses};

/// Parameters of a family that has some by rows.
pub const MAX_PARAMETERS: usize = 4;

/// Covariates of a parameter of the family: its value in row i is theirs times its part of phi.
pub struct Covariates {
    pub parameter: usize,
    pub n_columns: usize,
    /// n x n_columns, by rows.
    pub values: Vec<f64>,
}

/// Where each parameter's part of phi starts, and the length of phi.
pub fn layout(n_extra: usize, covariates: &[Covariates]) -> Vec<usize> {
    let mut out = vec![0];
    for parameter in 0..n_extra {
        let own = covariates.iter().find(|c| c.parameter == parameter).map_or(1, |c| c.n_columns);
        out.push(out[parameter] + own);
    }
    out
}

pub struct Located<'a> {
    family: Family,
    responses: &'a Responses,
    phi: &'a [f64],
    /// None where rows have their own.
    same: Option<At>,
}

impl<'a> Located<'a> {
    pub fn new(family: Family, responses: &'a Responses, phi: &'a [f64]) -> Located<'a> {
        let same = responses.covariates.is_empty().then(|| family.at(phi));
        Located { family, responses, phi, same }
    }

    /// The parameters of row i.
    fn at(&self, i: usize) -> At {
        let mut own = [0.0; MAX_PARAMETERS];
        let n_extra = self.family.n_extra();
        for (parameter, value) in own[..n_extra].iter_mut().enumerate() {
            let part = &self.phi[self.responses.layout[parameter]..];
            *value = match self.responses.covariates_of(parameter, i) {
                None => part[0],
                Some(x) => x.iter().zip(part).map(|(x, p)| x * p).sum(),
            };
        }
        self.family.at(&own[..n_extra])
    }

    /// Row i, at eta.
    #[inline]
    pub fn row(&self, i: usize, eta: f64) -> Row {
        let (y, trials) = (self.responses.y[i], self.responses.trials[i]);
        match &self.same {
            Some(at) => at.row(y, trials, eta),
            None => self.at(i).row(y, trials, eta),
        }
    }

    /// Puts the derivatives of row i in phi.
    pub fn extra(&self, i: usize, eta: f64, out: &mut dyn Sink) {
        let (y, trials) = (self.responses.y[i], self.responses.trials[i]);
        match &self.same {
            Some(at) => at.extra(y, trials, eta, out),
            None => self.at(i).extra(y, trials, eta, &mut Spread { responses: self.responses, i, out }),
        }
    }
}

/// Hands derivatives in parameters of a row on as those in phi.
struct Spread<'s> {
    responses: &'s Responses,
    i: usize,
    out: &'s mut dyn Sink,
}

impl Spread<'_> {
    fn columns(&self, parameter: usize) -> &[f64] {
        self.responses.covariates_of(parameter, self.i).unwrap_or(&[1.0])
    }
}

impl Sink for Spread<'_> {
    fn first(&mut self, j: usize, l: f64, d1: f64, d2: f64) {
        let start = self.responses.layout[j];
        for (c, x) in self.responses.covariates_of(j, self.i).unwrap_or(&[1.0]).iter().enumerate() {
            self.out.first(start + c, l * x, d1 * x, d2 * x);
        }
    }

    fn second(&mut self, i: usize, j: usize, ll: f64) {
        let (at_i, at_j) = (self.responses.layout[i], self.responses.layout[j]);
        for a in 0..self.columns(i).len() {
            let first = if i == j { a } else { 0 };
            for b in first..self.columns(j).len() {
                let value = ll * self.columns(i)[a] * self.columns(j)[b];
                self.out.second(at_i + a, at_j + b, value);
            }
        }
    }
}
