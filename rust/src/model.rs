//! A model in the user's units: maps between the user's theta and the orthonormal one, and chooses the optimum.

use crate::block;
use crate::deviance::Problem;
use crate::trust_region::{self, Iteration, Run, Status};

/// Work (multiplications of one run) below which several starts are tried.
const CHEAP_FLOPS: f64 = 3e7;
/// Extra starts, as multiples of the identity, for cheap models.
const EXTRA_STARTS: [f64; 2] = [0.2, 4.0];
/// Optima that differ by less than this are one.
const SAME_OPTIMUM: f64 = 1e-5;

/// The best optimum found, in the user's units.
pub struct Minimum {
    pub theta: Vec<f64>,
    pub deviance: f64,
    pub status: Status,
    pub gradient_norm: f64,
    pub n_evaluations: usize,
    pub trace: Vec<Iteration>,
    pub other_optima: Vec<f64>,
    pub singular: bool,
}

/// Estimates at a theta, in the user's units.
pub struct Estimates {
    pub beta: Vec<f64>,
    /// (X'V^-1X)^-1, p x p.
    pub cov: Vec<f64>,
    pub sigma: f64,
    /// Conditional modes by the caller's factors, q values a level.
    pub b: Vec<Vec<f64>>,
}

impl Problem {
    /// Lambda of each factor (elimination order) in the user's columns.
    fn user_lambda(&self, theta: &[f64]) -> Vec<Vec<f64>> {
        self.lambda(theta)
    }

    /// The engine's theta of a user's theta.
    fn to_engine(&self, theta: &[f64]) -> Vec<f64> {
        let lambda = self.user_lambda(theta);
        let mapped: Vec<Vec<f64>> = lambda
            .iter()
            .zip(&self.products.factors)
            .map(|(l, f)| {
                let mut product = vec![0.0; f.q * f.q];
                block::times(
                    &inverse_upper(&f.basis.matrix(), f.q),
                    l,
                    f.q,
                    f.q,
                    f.q,
                    &mut product,
                );
                block::lower_factor(&product, f.q)
            })
            .collect();
        self.collect(&mapped)
    }

    /// The user's theta of an engine's theta.
    fn to_user(&self, theta: &[f64]) -> Vec<f64> {
        let lambda = self.lambda(theta);
        let mapped: Vec<Vec<f64>> = lambda
            .iter()
            .zip(&self.products.factors)
            .map(|(l, f)| {
                let mut product = vec![0.0; f.q * f.q];
                block::times(&f.basis.matrix(), l, f.q, f.q, f.q, &mut product);
                block::lower_factor(&product, f.q)
            })
            .collect();
        self.collect(&mapped)
    }

    fn collect(&self, lambda: &[Vec<f64>]) -> Vec<f64> {
        let q = |factor: usize| self.products.factors[factor].q;
        self.parameters
            .iter()
            .map(|p| lambda[p.factor][p.column * q(p.factor) + p.row])
            .collect()
    }

    /// The criterion at a user's theta; None where it cannot be evaluated.
    pub fn user_deviance(&self, theta: &[f64], reml: bool) -> Option<f64> {
        let at = self.factorize(&self.to_engine(theta), reml)?;
        Some(self.criterion(at.deviance, reml))
    }

    /// Its gradient in the user's theta.
    pub fn user_gradient(&self, theta: &[f64], reml: bool) -> Option<Vec<f64>> {
        let engine = self.to_engine(theta);
        let at = self.factorize(&engine, reml)?;
        let derivatives = self.derivatives(&engine, &at, false)?;
        let lambda = self.user_lambda(theta);
        let by_covariance: Vec<Vec<f64>> = derivatives
            .by_covariance
            .iter()
            .zip(&self.products.factors)
            .map(|(g, f)| {
                let inverse = inverse_upper(&f.basis.matrix(), f.q);
                let (mut right, mut both) = (vec![0.0; f.q * f.q], vec![0.0; f.q * f.q]);
                block::times(g, &inverse, f.q, f.q, f.q, &mut right);
                block::transpose_times(&inverse, &right, f.q, f.q, f.q, &mut both);
                both
            })
            .collect();
        let one = |p: &crate::deviance::Parameter| {
            let q = self.products.factors[p.factor].q;
            let (g, l) = (&by_covariance[p.factor], &lambda[p.factor]);
            2.0 * (0..q)
                .map(|k| g[k * q + p.row] * l[p.column * q + k])
                .sum::<f64>()
        };
        Some(self.parameters.iter().map(one).collect())
    }

    /// Minimises from `start` (user's theta), or from the engine's own starts; keeps the best optimum.
    pub fn find_minimum(
        &self,
        reml: bool,
        start: Option<&[f64]>,
        max_iterations: usize,
        n_starts: usize,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Option<Minimum> {
        let identity = self.start();
        let first = start.map_or_else(|| identity.clone(), |theta| self.to_engine(theta));
        let cheap = self.flops() * 30.0 * (self.n_theta() as f64) < CHEAP_FLOPS;
        let n_starts = if n_starts > 0 {
            n_starts
        } else {
            1 + if cheap { EXTRA_STARTS.len() } else { 0 }
        };
        let mut starts = vec![first];
        for k in 0..n_starts - 1 {
            let scale = EXTRA_STARTS[k % 2].powi(1 + k as i32 / 2);
            starts.push(identity.iter().map(|t| t * scale).collect());
        }
        let mut runs: Vec<Run> = Vec::new();
        let mut n_evaluations = 0;
        for theta in starts {
            if let Some(mut run) =
                trust_region::minimize(self, reml, theta, max_iterations, interrupted)
            {
                n_evaluations += run.n_evaluations;
                self.snap(&mut run, reml);
                let stop = run.status == Status::Interrupted;
                runs.push(run);
                if stop {
                    break;
                }
            }
        }
        let best =
            (0..runs.len()).min_by(|&a, &b| runs[a].deviance.total_cmp(&runs[b].deviance))?;
        let mut other_optima: Vec<f64> = Vec::new();
        for run in &runs {
            let excess = run.deviance - runs[best].deviance;
            let value = self.criterion(run.deviance, reml);
            let known = other_optima
                .iter()
                .any(|o| (o - value).abs() < SAME_OPTIMUM);
            if run.status == Status::Converged && excess > SAME_OPTIMUM && !known {
                other_optima.push(value);
            }
        }
        let run = runs.swap_remove(best);
        Some(Minimum {
            theta: self.to_user(&run.theta),
            deviance: self.criterion(run.deviance, reml),
            status: run.status,
            gradient_norm: run.gradient_norm,
            n_evaluations,
            singular: self
                .parameters
                .iter()
                .zip(&run.theta)
                .any(|(p, t)| p.row == p.column && *t == 0.0),
            trace: run
                .trace
                .iter()
                .map(|i| Iteration {
                    deviance: self.criterion(i.deviance, reml),
                    ..*i
                })
                .collect(),
            other_optima,
        })
    }

    /// Sets columns of Lambda that are nearly zero to exact zeros where that does not raise the deviance.
    fn snap(&self, run: &mut Run, reml: bool) {
        let tolerance = 1e-9_f64.max(trust_region::noise(self, run.deviance));
        let columns: Vec<(usize, usize)> = self
            .parameters
            .iter()
            .filter(|p| p.row == p.column)
            .map(|p| (p.factor, p.column))
            .collect();
        for (factor, column) in columns {
            let own: Vec<usize> = (0..self.n_theta())
                .filter(|&i| {
                    self.parameters[i].factor == factor && self.parameters[i].column == column
                })
                .collect();
            if own.iter().any(|&i| run.theta[i].abs() > 1e-2)
                || own.iter().all(|&i| run.theta[i] == 0.0)
            {
                continue;
            }
            let mut theta = run.theta.clone();
            own.iter().for_each(|&i| theta[i] = 0.0);
            if let Some(at) = self.factorize(&theta, reml) {
                run.n_evaluations += 1;
                if at.deviance <= run.deviance + tolerance {
                    run.theta = theta;
                    run.deviance = at.deviance;
                }
            }
        }
    }

    /// Everything that is estimated at a user's theta.
    pub fn estimates(&self, theta: &[f64], reml: bool) -> Option<Estimates> {
        let engine = self.to_engine(theta);
        let at = self.factorize(&engine, reml)?;
        let solution = at.solution();
        let products = &self.products;
        let p = products.p;
        let map = products.x_basis.matrix();
        let scaled: Vec<f64> = solution
            .beta
            .iter()
            .zip(&products.beta0)
            .map(|(b, b0)| b0 + products.scale * b)
            .collect();
        let mut beta = vec![0.0; p];
        block::times(&map, &scaled, p, p, 1, &mut beta);
        let mut root = vec![0.0; p * p];
        block::times(&map, &at.inverse_root(), p, p, p, &mut root);
        let mut cov = vec![0.0; p * p];
        block::times_transpose(&root, &root, p, p, p, &mut cov);
        let lambda = self.lambda(&engine);
        let mut b = vec![vec![]; products.factors.len()];
        for ((f, l), u) in products.factors.iter().zip(&lambda).zip(&solution.u) {
            let map = self.effect_map(f.q, &f.basis.matrix(), l);
            let mut out = vec![0.0; u.len()];
            for (out, u) in out.chunks_exact_mut(f.q).zip(u.chunks_exact(f.q)) {
                block::times(&map, u, f.q, f.q, 1, out);
                out.iter_mut().for_each(|v| *v *= products.scale);
            }
            b[f.public] = out;
        }
        Some(Estimates {
            beta,
            cov,
            sigma: at.s2.sqrt() * products.scale,
            b,
        })
    }

    /// Lambda M^-1 Lambda' of each level in the user's columns, by the caller's factors.
    pub fn conditional_covariances(&self, theta: &[f64]) -> Option<Vec<Vec<f64>>> {
        let engine = self.to_engine(theta);
        let at = self.factorize(&engine, false)?;
        let lambda = self.lambda(&engine);
        let mut out = vec![vec![]; self.products.factors.len()];
        for ((f, l), blocks) in self
            .products
            .factors
            .iter()
            .zip(&lambda)
            .zip(at.level_inverses())
        {
            let q = f.q;
            let map = self.effect_map(q, &f.basis.matrix(), l);
            let mut result = vec![0.0; blocks.len()];
            let mut left = vec![0.0; q * q];
            for (out, inverse) in result
                .chunks_exact_mut(q * q)
                .zip(blocks.chunks_exact(q * q))
            {
                block::times(&map, inverse, q, q, q, &mut left);
                block::times_transpose(&left, &map, q, q, q, out);
            }
            out[f.public] = result;
        }
        Some(out)
    }

    /// From spherical effects to the user's: basis times Lambda.
    fn effect_map(&self, q: usize, basis: &[f64], lambda: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; q * q];
        block::times(basis, lambda, q, q, q, &mut out);
        out
    }
}

fn inverse_upper(a: &[f64], q: usize) -> Vec<f64> {
    block::transpose(&block::inverse_lower(&block::transpose(a, q, q), q), q, q)
}
