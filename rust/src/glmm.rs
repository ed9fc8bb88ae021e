//! A generalised model in the user's units: its optimum, and what is estimated there.

use crate::block;
use crate::deviance::Problem;
use crate::effects::Effects;
use crate::family::{Covariates, Family, Responses};
use crate::glm::Starts;
use crate::kept_rows::KeptRows;
use crate::memory::{copied, zeros};
use crate::model::{MinimumError, inverse_upper};
use crate::modes::Glmm;
use crate::objective::Objective;
use crate::products::{ModelRows, Products};
use crate::quadrature::Rule;
use crate::trust_region::{self, Iteration, Run, Status};
use faer::Par;

/// Work (multiplications of one run) below which several starts are tried, and the standard deviations they have.
const CHEAP_FLOPS: f64 = 3e6;
const EXTRA_STARTS: [f64; 3] = [0.05, 1.0, 4.0];
/// Root of a dispersion at which it is asked whether zero is a minimum.
const BESIDE: f64 = 0.01;
/// Saddles that are left.
const MAX_SADDLES: usize = 2;
/// What exact zeros may cost at the end.
const SNAP_TOL: f64 = 1e-9;
/// Multiplications that a row's density is worth.
const ROW_FLOPS: f64 = 60.0;

/// What stands in `Responses`, by the caller's rows.
pub struct Observed<'a> {
    pub y: &'a [f64],
    pub trials: Option<&'a [f64]>,
    pub weights: Option<&'a [f64]>,
    pub offset: Option<&'a [f64]>,
    /// Parameters of the family with covariates: which, how many columns, by the caller's rows.
    pub covariates: Vec<(usize, usize, &'a [f64])>,
}

/// The best optimum found.
pub struct GlmmMinimum {
    /// In the bases of the problem.
    pub psi: Vec<f64>,
    pub deviance: f64,
    pub status: Status,
    pub gradient_norm: f64,
    pub n_evaluations: usize,
    pub trace: Vec<Iteration>,
    pub other_optima: Vec<f64>,
    pub singular: bool,
    /// Model of the Hessian, with what steps showed to be missing.
    pub curvature: Vec<f64>,
    /// Up to the signs of columns of Lambda.
    pub modes: Effects,
}

/// What is estimated at a psi, in the user's units.
pub struct GlmmEstimates {
    pub theta: Vec<f64>,
    pub beta: Vec<f64>,
    pub phi: Vec<f64>,
    /// Conditional modes by the caller's factors, q values a level.
    pub b: Vec<Vec<f64>>,
    /// Lambda H^-1 Lambda' of each level.
    pub conditional: Vec<Vec<f64>>,
    /// By the caller's rows.
    pub eta: Vec<f64>,
}

/// Walks from several starts.
struct Search<'g> {
    glmm: &'g Glmm,
    max_iterations: usize,
    runs: Vec<Run<Effects>>,
    n_evaluations: usize,
}

impl Search<'_> {
    /// From psi, unless it becomes plain that it will end where a walk before it did.
    fn walk(&mut self, psi: Vec<f64>) {
        if let Some(mut run) = trust_region::minimize(self.glmm, psi, &self.runs, self.max_iterations) {
            self.n_evaluations += run.n_evaluations;
            if run.status != Status::Known {
                self.glmm.snap(&mut run);
                self.runs.push(run);
            }
        }
    }

    fn best(&self) -> Option<&Run<Effects>> {
        Some(&self.runs[trust_region::best(&self.runs)?])
    }

    /// On from where a dispersion is zero if that is no minimum: the gradient says nothing there, nor does the model of the
    /// Hessian, which lacks log |H|.
    fn leave_saddle(&mut self) {
        for _ in 0..MAX_SADDLES {
            let Some(psi) = self.best().and_then(|best| self.glmm.beside_saddle(best)) else { return };
            self.walk(psi);
        }
    }
}

impl Glmm {
    /// `nodes` and weights of the standard normal density: none for Laplace's approximation, which models of several factors
    /// have.
    pub fn new(
        rows: &ModelRows,
        observed: &Observed,
        family: Family,
        nodes: Option<(&[f64], &[f64])>,
        dense: Option<bool>,
        par: Par,
    ) -> Glmm {
        let problem = Problem::new(Products::of_columns(rows), dense, par);
        let kept = KeptRows::new(&problem, rows);
        let or = |values: Option<&[f64]>, other: f64| {
            values.map_or_else(|| vec![other; kept.n], |values| kept.sorted(values))
        };
        let weights = observed.weights.map(|w| kept.sorted(w));
        let (trials, offset) = (or(observed.trials, 1.0), or(observed.offset, 0.0));
        let covariates = observed.covariates.iter().map(|&(parameter, n_columns, values)| {
            let rows = kept.order.iter().flat_map(|&i| &values[i as usize * n_columns..(i as usize + 1) * n_columns]);
            Covariates { parameter, n_columns, values: rows.copied().collect() }
        });
        let covariates = covariates.collect();
        let responses = Responses::new(family, kept.sorted(observed.y), trials, weights, offset, covariates);
        let rule = nodes.map(|(z, w)| Rule::product(z, w, problem.products.factors[0].q));
        Glmm { problem, rows: kept, responses, family, rule }
    }

    /// Rough count of multiplications in one evaluation with its derivatives.
    pub fn flops(&self) -> f64 {
        let nodes = self.rule.as_ref().map_or(0, Rule::n_nodes) as f64;
        4.0 * (self.problem.flops() + ROW_FLOPS * (1.0 + 0.5 * nodes) * self.rows.n as f64)
    }

    /// psi of a user's theta, beta and phi.
    pub fn to_psi(&self, theta: &[f64], beta: &[f64], phi: &[f64]) -> Vec<f64> {
        let p = self.rows.p;
        let mut own = zeros(p);
        block::times(&inverse_upper(&self.problem.products.x_basis.matrix(), p), beta, p, p, 1, &mut own);
        [&self.problem.to_engine(theta), &own, phi].concat()
    }

    /// Minimises from `start`, or from the own starts; keeps the best optimum.
    pub fn find_minimum(
        &self,
        start: Option<Vec<f64>>,
        max_iterations: usize,
        n_starts: usize,
    ) -> Result<GlmmMinimum, MinimumError> {
        let cheap = self.flops() * 10.0 * (self.n_psi() as f64) < CHEAP_FLOPS;
        let extra = match n_starts {
            0 if cheap => EXTRA_STARTS.len(),
            n => n.saturating_sub(1).min(EXTRA_STARTS.len()),
        };
        let mut search = Search { glmm: self, max_iterations, runs: vec![], n_evaluations: 0 };
        match start {
            Some(psi) => search.walk(psi),
            None => {
                let starts = Starts::new(self).ok_or(MinimumError::CannotEvaluate)?;
                search.walk(starts.by_moments(extra == 0));
                EXTRA_STARTS[..extra].iter().for_each(|sd| search.walk(starts.of_size(*sd)));
                let is_lost = || search.best().is_none_or(|best| best.status == Status::Edge);
                if self.family.is_mixed() && (extra > 0 || (n_starts == 0 && is_lost())) {
                    starts.further().into_iter().for_each(|psi| search.walk(psi));
                }
            }
        }
        search.leave_saddle();
        let Search { mut runs, n_evaluations, .. } = search;
        let best = trust_region::best(&runs).ok_or(MinimumError::CannotEvaluate)?;
        let other_optima = trust_region::other_optima(&runs, best);
        let run = runs.swap_remove(best);
        Ok(GlmmMinimum {
            singular: self.is_singular(&run.point),
            deviance: run.value,
            status: run.status,
            gradient_norm: run.gradient_norm,
            n_evaluations,
            trace: run.trace,
            other_optima,
            curvature: run.curvature,
            modes: run.kept,
            psi: self.with_positive_diagonals(run.point),
        })
    }

    /// Whether a column of Lambda is zero.
    fn is_singular(&self, psi: &[f64]) -> bool {
        self.problem.parameters.iter().zip(psi).any(|(p, t)| p.row == p.column && *t == 0.0)
    }

    /// A point beside the end of a run with a dispersion of zero, if the criterion falls from there.
    fn beside_saddle(&self, run: &Run<Effects>) -> Option<Vec<f64>> {
        let first = self.problem.n_theta() + self.rows.p;
        let even = first..first + self.responses.n_even(self.family);
        even.filter(|j| run.point[*j].abs() < BESIDE).find_map(|j| {
            let mut psi = copied(&run.point);
            psi[j] = BESIDE;
            let near = self.evaluate_at(&psi, Some(run.kept.clone()))?;
            (self.slopes(&psi, &near, false)?.0.gradient[j] < 0.0).then_some(psi)
        })
    }

    /// What is nearly zero becomes zero where that does not raise the criterion.
    fn snap(&self, run: &mut Run<Effects>) {
        let tolerance = SNAP_TOL.max(self.noise(run.value));
        let Some(at) = self.evaluate_at(&run.point, Some(run.kept.clone())) else { return };
        let (reduced, n_evaluations) = self.reduce(&run.point, &at, tolerance);
        run.n_evaluations += n_evaluations + 1;
        if let Some(psi) = reduced
            && let Some(at) = self.evaluate(&psi, Some(&at))
        {
            (run.value, run.point) = (at.value, psi);
            run.kept = self.keep(at);
        }
    }

    /// The same psi with columns of Lambda turned up, and phi positive where its sign says nothing.
    fn with_positive_diagonals(&self, psi: Vec<f64>) -> Vec<f64> {
        let k = self.problem.n_theta();
        let mut sign = 1.0;
        let mut out = copied(&psi);
        for (t, p) in out.iter_mut().zip(&self.problem.parameters) {
            if p.row == p.column {
                sign = if *t < 0.0 { -1.0 } else { 1.0 };
            }
            *t *= sign;
        }
        let phi = k + self.rows.p;
        out[phi..phi + self.responses.n_even(self.family)].iter_mut().for_each(|phi| *phi = phi.abs());
        out
    }

    /// Everything that is estimated at psi, with modes near which they are looked for.
    pub fn estimates(&self, psi: &[f64], modes: Option<&Effects>) -> Option<GlmmEstimates> {
        let at = self.evaluate_at(psi, modes.cloned())?;
        let products = &self.problem.products;
        let (k, p) = (self.problem.n_theta(), self.rows.p);
        let mut beta = zeros(p);
        block::times(&products.x_basis.matrix(), &psi[k..k + p], p, p, 1, &mut beta);
        let (filled, _) = at.mode.factor.inverse_on_pattern();
        let mut b = vec![vec![]; products.factors.len()];
        let mut conditional = vec![vec![]; products.factors.len()];
        for (e, f) in products.factors.iter().enumerate() {
            let (q, basis) = (f.q, f.basis.matrix());
            let mut map = zeros(q * q);
            block::times(&basis, &at.mode.factor.lambda[e], q, q, q, &mut map);
            let mut modes = zeros(f.n_levels * q);
            for (level, out) in modes.chunks_exact_mut(q).enumerate() {
                block::times(&map, at.mode.u.at(&self.problem, e, level, 0), q, q, 1, out);
            }
            let mut blocks = zeros(f.n_levels * q * q);
            let mut left = zeros(q * q);
            for (out, block) in blocks.chunks_exact_mut(q * q).zip(filled.zz[e].chunks_exact(q * q)) {
                block::times(&basis, block, q, q, q, &mut left);
                block::times_transpose(&left, &basis, q, q, q, out);
            }
            (b[f.public], conditional[f.public]) = (modes, blocks);
        }
        Some(GlmmEstimates {
            theta: self.problem.to_user(&psi[..k]),
            beta,
            phi: psi[k + p..].to_vec(),
            b,
            conditional,
            eta: self.rows.unsorted(&at.mode.eta),
        })
    }

    /// Exact Hessian of the criterion at psi, by differences of its gradient.
    pub fn hessian_at(&self, psi: &[f64]) -> Option<Vec<f64>> {
        let mut at = self.evaluate(psi, None)?;
        self.derivatives(psi, &mut at)?;
        self.hessian(psi, &at)
    }
}
