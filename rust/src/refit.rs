//! Fits of many responses to one model, side by side: what a bootstrap or a simulation does.

use crate::deviance::Problem;
use crate::model::FixedEffects;
use crate::products::ModelRows;
use crate::threads::Stop;
use faer::Par;
use rayon::prelude::*;

/// One fit.
pub struct Refit {
    pub fixed: FixedEffects,
    pub theta: Vec<f64>,
    pub deviance: f64,
    /// As `Status`; -1: cannot be fitted.
    pub status: i32,
    pub singular: bool,
}

const MAX_ITERATIONS: usize = 200;

impl Problem {
    /// The fit of each response (rows of `responses`, n values each) from `start` (user's theta) or the own starts.
    pub fn refit_many(&self, rows: &ModelRows, responses: &[f64], reml: bool, start: Option<&[f64]>) -> Vec<Refit> {
        let n = rows.y.len();
        let par = if responses.len() > n { Par::Seq } else { self.par };
        let one = |y: &[f64]| self.refit(&ModelRows { y, ..rows.clone() }, reml, start, par);
        let stop = Stop::current();
        let each = |y: &[f64]| stop.about(|| one(y).unwrap_or_else(|| self.failed()));
        responses.par_chunks_exact(n).map(each).collect()
    }

    fn refit(&self, rows: &ModelRows, reml: bool, start: Option<&[f64]>, par: Par) -> Option<Refit> {
        if rows.y.iter().any(|y| !y.is_finite()) {
            return None;
        }
        let products = self.products.with_response(rows).ok()?;
        let problem = Problem::with_pattern(products, self.pattern.clone(), par);
        let n_starts = usize::from(start.is_some());
        let minimum = problem.find_minimum(reml, start, MAX_ITERATIONS, n_starts).ok()?;
        Some(Refit {
            fixed: problem.fixed_effects(&minimum.theta, reml)?,
            deviance: minimum.deviance,
            status: minimum.status as i32,
            singular: minimum.singular,
            theta: minimum.theta,
        })
    }

    fn failed(&self) -> Refit {
        let missing = vec![f64::NAN; self.products.p];
        Refit {
            fixed: FixedEffects { beta: missing.clone(), std_errors: missing, sigma: f64::NAN },
            theta: vec![f64::NAN; self.n_theta()],
            deviance: f64::NAN,
            status: -1,
            singular: false,
        }
    }
}
