//! A model in the user's units: maps between the user's theta and the orthonormal one, and chooses the optimum.

use crate::block;
use crate::deviance::{Factorization, Problem};
use crate::memory::zeros;
use crate::objective::{Objective, Slopes};
use crate::products::Block;
use crate::trust_region::{self, Iteration, Run, Status};

/// Work (multiplications of one run) below which several starts are tried.
const CHEAP_FLOPS: f64 = 3e7;
/// Extra starts for cheap models: multiples of the identity's odd and even diagonals. Chosen on 36,000 small simulated
/// data sets with several optima; see tests/boundary.
const EXTRA_STARTS: [(f64, f64); 3] = [(0.003, 0.003), (20.0, 20.0), (1.0, 0.1)];

/// Eigenvalue of S below which taking it out is tried.
const SMALL_VARIANCE: f64 = 1e-4;
/// Residual variance, as a share of that of least squares, that rounding cannot tell from none.
const PERFECT_FIT: f64 = 1e-13;

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

/// Why there is no minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinimumError {
    /// The likelihood cannot be evaluated at the start.
    CannotEvaluate,
    /// The likelihood grows without bound as the residual variance goes to zero.
    PerfectFit,
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

/// What a refit keeps of the fixed effects, in the user's units.
pub struct FixedEffects {
    pub beta: Vec<f64>,
    /// K with (X'V0^-1X)^-1 = K K', p x p.
    pub root: Vec<f64>,
    pub sigma: f64,
}

/// The deviance with beta and sigma profiled out, as a function of the engine's theta.
pub struct Profiled<'p> {
    pub problem: &'p Problem,
    pub reml: bool,
}

impl Objective for Profiled<'_> {
    type At<'a>
        = Factorization<'a>
    where
        Self: 'a;
    /// Residual variance of the scaled problem.
    type Kept = f64;
    const PATIENCE: usize = 2;

    fn evaluate<'a>(&'a self, theta: &[f64], _: Option<&Factorization<'a>>) -> Option<Factorization<'a>> {
        self.problem.factorize(theta, self.reml)
    }

    fn value(&self, at: &Factorization) -> f64 {
        at.deviance
    }

    fn derivatives<'a>(&'a self, theta: &[f64], at: &mut Factorization<'a>) -> Option<Slopes> {
        let derivatives = self.problem.derivatives(theta, at, true)?;
        Some(Slopes { gradient: derivatives.gradient, curvature: derivatives.curvature })
    }

    fn hessian<'a>(&'a self, theta: &[f64], _: &Factorization<'a>) -> Option<Vec<f64>> {
        self.problem.hessian(theta, self.reml)
    }

    fn reduce(&self, theta: &[f64], at: &Factorization, tolerance: f64) -> (Option<Vec<f64>>, usize) {
        let (mut reduced, mut deviance) = (theta.to_vec(), at.deviance);
        let n_evaluations = self.problem.reduce(&mut reduced, &mut deviance, self.reml, tolerance);
        ((reduced != theta).then_some(reduced), n_evaluations)
    }

    fn noise(&self, deviance: f64) -> f64 {
        4.0 * f64::EPSILON * (deviance.abs() + self.problem.products.n as f64)
    }

    fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        self.problem.distance(a, b)
    }

    fn keep(&self, at: Factorization) -> f64 {
        at.s2
    }
}

impl FixedEffects {
    pub fn std_errors(&self) -> Vec<f64> {
        let p = self.beta.len();
        let length = |j: usize| self.root.iter().skip(j).step_by(p).map(|k| k * k).sum::<f64>().sqrt();
        (0..p).map(|j| self.sigma * length(j)).collect()
    }
}

/// Where to begin a walk.
#[derive(Clone, Copy)]
pub struct Starts<'a> {
    /// The user's theta, or the engine's own.
    pub first: Option<&'a [f64]>,
    /// How many; 0 lets the engine choose.
    pub number: usize,
    /// More for weights that span decades.
    pub of_light_rows: bool,
}

impl Problem {
    /// The engine's theta of a user's theta.
    pub fn to_engine(&self, theta: &[f64]) -> Vec<f64> {
        let lambda = self.lambda(theta);
        let mapped: Vec<Vec<f64>> = lambda
            .iter()
            .zip(&self.products.factors)
            .map(|(l, f)| {
                let mut product = zeros(f.q * f.q);
                block::times(&inverse_upper(&f.basis.matrix(), f.q), l, f.q, f.q, f.q, &mut product);
                block::lower_factor(&product, f.q)
            })
            .collect();
        self.collect(&mapped)
    }

    /// The user's theta of an engine's theta.
    pub fn to_user(&self, theta: &[f64]) -> Vec<f64> {
        let lambda = self.lambda(theta);
        let mapped: Vec<Vec<f64>> = lambda
            .iter()
            .zip(&self.products.factors)
            .map(|(l, f)| {
                let mut product = zeros(f.q * f.q);
                block::times(&f.basis.matrix(), l, f.q, f.q, f.q, &mut product);
                block::lower_factor(&product, f.q)
            })
            .collect();
        self.collect(&mapped)
    }

    fn collect(&self, lambda: &[Vec<f64>]) -> Vec<f64> {
        let q = |factor: usize| self.products.factors[factor].q;
        self.parameters.iter().map(|p| lambda[p.factor][p.column * q(p.factor) + p.row]).collect()
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
        let lambda = self.lambda(theta);
        let by_covariance: Vec<Vec<f64>> = derivatives
            .by_covariance
            .iter()
            .zip(&self.products.factors)
            .map(|(g, f)| {
                let inverse = inverse_upper(&f.basis.matrix(), f.q);
                let (mut right, mut both) = (zeros(f.q * f.q), zeros(f.q * f.q));
                block::times(g, &inverse, f.q, f.q, f.q, &mut right);
                block::transpose_times(&inverse, &right, f.q, f.q, f.q, &mut both);
                both
            })
            .collect();
        let one = |p: &crate::deviance::Parameter| {
            let q = self.products.factors[p.factor].q;
            let (g, l) = (&by_covariance[p.factor], &lambda[p.factor]);
            let one = |(row, column): (usize, usize)| (0..q).map(|k| g[k * q + row] * l[column * q + k]).sum::<f64>();
            2.0 * p.elements().map(one).sum::<f64>()
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
    ) -> Result<Minimum, MinimumError> {
        let starts = self.settled(Starts { first: start, number: n_starts, of_light_rows: n_starts == 0 });
        self.minimum_from(reml, self.starts(reml, starts), max_iterations)
    }

    fn is_cheap(&self) -> bool {
        self.flops() * 30.0 * (self.n_theta() as f64) < CHEAP_FLOPS
    }

    /// The same with the number that the engine chooses, which no response has part in.
    pub fn settled<'a>(&self, starts: Starts<'a>) -> Starts<'a> {
        let number = match starts.number {
            0 if self.is_cheap() && !self.is_complete() => 1 + EXTRA_STARTS.len(),
            n => n.max(1),
        };
        Starts { number, ..starts }
    }

    /// The engine's thetas to begin at.
    pub fn starts(&self, reml: bool, of: Starts) -> Vec<Vec<f64>> {
        let identity = self.start();
        let first = match of.first {
            Some(theta) => self.to_engine(theta),
            None if self.is_cheap() => identity.clone(),
            None => self.moment_start(),
        };
        let mut starts = vec![first];
        for k in 0..of.number - 1 {
            let (odd, even) = EXTRA_STARTS[k % 3];
            let power = 1 + k as i32 / 3;
            let mut diagonals = 0;
            starts.push(
                identity
                    .iter()
                    .map(|t| {
                        if *t != 0.0 {
                            diagonals += 1;
                        }
                        t * if diagonals % 2 == 1 { odd } else { even }.powi(power)
                    })
                    .collect(),
            );
        }
        if of.of_light_rows {
            starts.extend(self.starts_of_light_rows(reml));
        }
        starts
    }

    /// The best optimum that walks from some of the engine's thetas end at.
    pub fn minimum_from(
        &self,
        reml: bool,
        starts: Vec<Vec<f64>>,
        max_iterations: usize,
    ) -> Result<Minimum, MinimumError> {
        let profiled = Profiled { problem: self, reml };
        let mut runs: Vec<Run<f64>> = Vec::new();
        let mut n_evaluations = 0;
        for theta in starts {
            if let Some(mut run) = trust_region::minimize(&profiled, theta, &runs, max_iterations) {
                n_evaluations += run.n_evaluations;
                if run.status == Status::Known {
                    continue;
                }
                self.snap(&mut run, reml);
                runs.push(run);
            }
        }
        let best = trust_region::best(&runs).ok_or(MinimumError::CannotEvaluate)?;
        if runs[best].kept < PERFECT_FIT {
            return Err(MinimumError::PerfectFit);
        }
        let others = trust_region::other_optima(&runs, best);
        let other_optima = others.into_iter().map(|value| self.criterion(value, reml)).collect();
        let run = runs.swap_remove(best);
        Ok(Minimum {
            theta: self.to_user(&run.point),
            deviance: self.criterion(run.value, reml),
            status: run.status,
            gradient_norm: run.gradient_norm,
            n_evaluations,
            singular: self.parameters.iter().zip(&run.point).any(|(p, t)| p.row == p.column && *t == 0.0),
            trace: run.trace.iter().map(|i| Iteration { deviance: self.criterion(i.deviance, reml), ..*i }).collect(),
            other_optima,
        })
    }

    /// Takes the smallest principal component out of every block of S where that does not raise the deviance, until
    /// none is left that can go: a variance of zero, a correlation of one. Exact zeros are left on Lambda's diagonal.
    /// Returns the number of evaluations.
    pub fn reduce(&self, theta: &mut Vec<f64>, deviance: &mut f64, reml: bool, tolerance: f64) -> usize {
        self.reduce_by(theta, deviance, tolerance, &mut |theta| Some(self.factorize(theta, reml)?.deviance))
    }

    /// The same with any criterion of theta.
    pub fn reduce_by(
        &self,
        theta: &mut Vec<f64>,
        value: &mut f64,
        tolerance: f64,
        criterion: &mut dyn FnMut(&[f64]) -> Option<f64>,
    ) -> usize {
        let mut n_evaluations = 0;
        for e in 0..self.products.factors.len() {
            let mut start = 0;
            for &block in &self.products.factors[e].blocks {
                let mut accepted = |new: Vec<f64>, theta: &mut Vec<f64>| {
                    n_evaluations += 1;
                    let low = criterion(&new).filter(|d| *d <= *value + tolerance);
                    if let Some(low) = low {
                        (*theta, *value) = (new, low);
                    }
                    low.is_some()
                };
                while let Some(new) = self.without_smallest(theta, e, start, block) {
                    if !accepted(new, theta) {
                        break;
                    }
                }
                if let Some(new) = self.without_small_pivots(theta, e, start, block) {
                    accepted(new, theta);
                }
                start += block.size;
            }
        }
        n_evaluations
    }

    /// Theta with the smallest nonzero eigenvalue of one block of S set to zero; None if it is not small.
    fn without_smallest(&self, theta: &[f64], factor: usize, start: usize, of: Block) -> Option<Vec<f64>> {
        if of.tied {
            let i = self.parameters.iter().position(|p| p.factor == factor && p.row == start)?;
            let mut out = theta.to_vec();
            out[i] = 0.0;
            return (theta[i] != 0.0 && theta[i] * theta[i] <= SMALL_VARIANCE).then_some(out);
        }
        let size = of.size;
        let block = self.block_of(theta, factor, start, size);
        let mut s = zeros(size * size);
        block::times_transpose(&block, &block, size, size, size, &mut s);
        let (values, vectors) = trust_region::eigen(&s, size);
        let last = (0..size).filter(|&j| block[j * size + j] == 0.0).count();
        if last >= size || values[last] > SMALL_VARIANCE {
            return None;
        }
        let mut root = zeros(size * size);
        for k in last + 1..size {
            (0..size).for_each(|i| root[k * size + i] = vectors[k * size + i] * values[k].max(0.0).sqrt());
        }
        Some(self.with_block(theta, factor, start, &block::lower_factor(&root, size)))
    }

    /// Theta with pivots of one block that are next to zero made zero, their columns rotated into those behind them;
    /// None if there are none. Lambda with a small pivot above a full column, and a zero further down, has derivatives
    /// of no digits.
    fn without_small_pivots(&self, theta: &[f64], factor: usize, start: usize, of: Block) -> Option<Vec<f64>> {
        let size = of.size;
        let smallest = self.negligible(&self.products.factors[factor]);
        let block = self.block_of(theta, factor, start, size);
        let small = |j: usize| {
            let column = &block[j * size..(j + 1) * size];
            column[j].abs() < smallest && column.iter().any(|v| *v != 0.0)
        };
        if of.tied || !(0..size).any(small) {
            return None;
        }
        Some(self.with_block(theta, factor, start, &block::lower_factor_above(&block, size, smallest)))
    }

    /// One block of Lambda at theta, size x size.
    fn block_of(&self, theta: &[f64], factor: usize, start: usize, size: usize) -> Vec<f64> {
        let q = self.products.factors[factor].q;
        let lambda = &self.lambda(theta)[factor];
        (0..size).flat_map(|j| (0..size).map(move |i| lambda[(start + j) * q + start + i])).collect()
    }

    /// Theta with another lower triangular block of Lambda.
    fn with_block(&self, theta: &[f64], factor: usize, start: usize, lower: &[f64]) -> Vec<f64> {
        let size = lower.len().isqrt();
        let mut out = theta.to_vec();
        for (t, p) in out.iter_mut().zip(&self.parameters) {
            if p.factor == factor && p.column >= start && p.column < start + size {
                *t = lower[(p.column - start) * size + p.row - start];
            }
        }
        out
    }

    /// Sets what is nearly zero to exact zeros where that does not raise the deviance.
    fn snap(&self, run: &mut Run<f64>, reml: bool) {
        let tolerance = 1e-9_f64.max(Profiled { problem: self, reml }.noise(run.value));
        run.n_evaluations += self.reduce(&mut run.point, &mut run.value, reml, tolerance);
    }

    /// Everything that is estimated at a user's theta.
    pub fn estimates(&self, theta: &[f64], reml: bool) -> Option<Estimates> {
        let engine = self.to_engine(theta);
        let at = self.factorize(&engine, reml)?;
        let solution = at.solution();
        let products = &self.products;
        let p = products.p;
        let map = products.x_basis.matrix();
        let beta = self.user_beta(&solution.beta);
        let mut root = zeros(p * p);
        block::times(&map, &at.inverse_root(), p, p, p, &mut root);
        let mut cov = zeros(p * p);
        block::times_transpose(&root, &root, p, p, p, &mut cov);
        let lambda = self.lambda(&engine);
        let maps: Vec<Vec<f64>> =
            products.factors.iter().zip(&lambda).map(|(f, l)| self.effect_map(f.q, &f.basis.matrix(), l)).collect();
        let b = self.modes(&maps, &solution.u);
        Some(Estimates { beta, cov, sigma: at.s2.sqrt() * products.scale, b })
    }

    /// Fixed effects and conditional modes in the bases of their columns, at the engine's theta.
    pub fn estimates_in_bases(&self, theta: &[f64]) -> Option<(Vec<f64>, Vec<Vec<f64>>)> {
        let at = self.factorize(theta, false)?;
        let solution = at.solution();
        Some((self.scaled_beta(&solution.beta), self.modes(&self.lambda(theta), &solution.u)))
    }

    /// Modes by the caller's factors, in units of the response: spherical ones by a map (q, q) of each factor.
    fn modes(&self, maps: &[Vec<f64>], u: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut b = vec![vec![]; self.products.factors.len()];
        for ((f, map), u) in self.products.factors.iter().zip(maps).zip(u) {
            let mut out = zeros(u.len());
            for (out, u) in out.chunks_exact_mut(f.q).zip(u.chunks_exact(f.q)) {
                block::times(map, u, f.q, f.q, 1, out);
                out.iter_mut().for_each(|v| *v *= self.products.scale);
            }
            b[f.public] = out;
        }
        b
    }

    /// Fixed effects and sigma at a user's theta.
    pub fn fixed_effects(&self, theta: &[f64], reml: bool) -> Option<FixedEffects> {
        let at = self.factorize(&self.to_engine(theta), reml)?;
        let sigma = at.s2.sqrt() * self.products.scale;
        Some(FixedEffects { beta: self.user_beta(&at.beta()), root: self.user_root(&at), sigma })
    }

    /// Fixed effects and a root of (X'V0^-1X)^-1 in the basis of the fixed columns, at the engine's theta.
    pub fn fixed_in_basis(&self, theta: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
        let at = self.factorize(theta, false)?;
        Some((self.scaled_beta(&at.beta()), at.inverse_root()))
    }

    /// In the basis, in units of the response.
    fn scaled_beta(&self, beta: &[f64]) -> Vec<f64> {
        let products = &self.products;
        beta.iter().zip(&products.beta0).map(|(b, b0)| b0 + products.scale * b).collect()
    }

    /// Root mean square of the response about user's fixed effects, weights included: Q'WQ = n I, and residuals of least
    /// squares are orthogonal to Q.
    pub fn spread(&self, beta: &[f64]) -> f64 {
        let products = &self.products;
        let p = products.p;
        let mut scaled = zeros(p);
        block::times(&inverse_upper(&products.x_basis.matrix(), p), beta, p, p, 1, &mut scaled);
        let between: f64 = scaled.iter().zip(&products.beta0).map(|(b, b0)| (b - b0).powi(2)).sum();
        (products.scale * products.scale + between).sqrt()
    }

    fn user_beta(&self, beta: &[f64]) -> Vec<f64> {
        let p = self.products.p;
        let mut out = zeros(p);
        block::times(&self.products.x_basis.matrix(), &self.scaled_beta(beta), p, p, 1, &mut out);
        out
    }

    /// Lambda M^-1 Lambda' of each level in the user's columns, by the caller's factors.
    pub fn conditional_covariances(&self, theta: &[f64]) -> Option<Vec<Vec<f64>>> {
        let random = self.of_random_effects();
        let engine = random.to_engine(theta);
        let at = random.factorize(&engine, false)?;
        let lambda = random.lambda(&engine);
        let mut out = vec![vec![]; random.products.factors.len()];
        for ((f, l), blocks) in random.products.factors.iter().zip(&lambda).zip(at.factor.level_inverses()) {
            let q = f.q;
            let map = self.effect_map(q, &f.basis.matrix(), l);
            let mut result = zeros(blocks.len());
            let mut left = zeros(q * q);
            for (out, inverse) in result.chunks_exact_mut(q * q).zip(blocks.chunks_exact(q * q)) {
                block::times(&map, inverse, q, q, q, &mut left);
                block::times_transpose(&left, &map, q, q, q, out);
            }
            out[f.public] = result;
        }
        Some(out)
    }

    /// From spherical effects to the user's: basis times Lambda.
    fn effect_map(&self, q: usize, basis: &[f64], lambda: &[f64]) -> Vec<f64> {
        let mut out = zeros(q * q);
        block::times(basis, lambda, q, q, q, &mut out);
        out
    }
}

pub fn inverse_upper(a: &[f64], q: usize) -> Vec<f64> {
    block::transpose(&block::inverse_lower(&block::transpose(a, q, q), q), q, q)
}
