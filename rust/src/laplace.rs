//! Laplace's approximation d(psi) = h(u^) + log|H(u^)|, psi = (theta, beta, phi), with its exact gradient; that of the
//! quadrature is put together here too, from other parts.
//!
//! All in the bases of the problem. With leverages v_i = a_i'H^-1 a_i of the rows of A = Z Lambda, g_i = -v_i l'''_i and
//! a = H^-1 A'g, the derivative in beta is X'(g - WAa - 2s), that in phi is -2 sum l_phi - v'l''_phi + (l'_phi)'Aa, and
//! that in Lambda_k is 2 G_k Lambda_k, Lambda_k'G_k Lambda_k = sum_l (I - H^-1)_ll - u_l u_l' + (a_l u_l' + u_l a_l') / 2.

use crate::block;
use crate::effects::Effects;
use crate::family::ExtraRows;
use crate::memory::{copied, zeros};
use crate::modes::{Glmm, Mode};
use crate::objective::{Objective, Slopes};

/// Distance from which on modes nearby are not predicted.
const FAR: f64 = 0.5;
/// Steps of differences on one side, relative.
const STEP: f64 = 2e-6;
/// Pivot of H from which down log |H| says little: where a weight is negative, H can become singular, and then log |H| falls
/// without bound. The integrand is wider there than the normal density of the effects, whose pivots are one.
const LEAST_PIVOT: f64 = 0.1;
/// Rounding of one evaluation, relative.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// One evaluation.
pub struct LaplaceAt<'a> {
    psi: Vec<f64>,
    pub mode: Mode<'a>,
    pub value: f64,
    /// du^/dpsi, once derivatives were formed.
    slope: Option<Effects>,
}

/// psi in its parts.
pub struct Psi<'v> {
    pub lambda: Vec<Vec<f64>>,
    pub beta: &'v [f64],
    pub phi: &'v [f64],
}

/// How a criterion depends on what it is made of, at the mode.
pub struct Parts {
    /// In the weights of the rows.
    leverages: Vec<f64>,
    /// In eta: directly, and through the weights.
    direct: Vec<f64>,
    bent: Vec<f64>,
    /// In u^.
    pub adjoint: Effects,
    /// A'c less a, with c the derivative through eta but for what is direct; none in Laplace's approximation.
    pub unlike: Option<Effects>,
    /// Half of Lambda' times the derivative in Lambda, but for what a adds; q x q a factor.
    kernels: Vec<Vec<f64>>,
    /// In phi, directly.
    phi: Vec<f64>,
}

impl Glmm {
    pub fn n_psi(&self) -> usize {
        self.problem.n_theta() + self.rows.p + self.responses.n_phi()
    }

    pub fn split<'v>(&self, psi: &'v [f64]) -> Psi<'v> {
        let (theta, rest) = psi.split_at(self.problem.n_theta());
        let (beta, phi) = rest.split_at(self.rows.p);
        Psi { lambda: self.problem.lambda(theta), beta, phi }
    }

    /// Gradient at psi.
    pub fn gradient(&self, psi: &[f64], near: Option<&LaplaceAt>) -> Option<Vec<f64>> {
        let at = self.evaluate_from(psi, near)?;
        Some(self.slopes(psi, &at, false)?.0.gradient)
    }

    fn evaluate_from(&self, psi: &[f64], near: Option<&LaplaceAt>) -> Option<LaplaceAt<'_>> {
        self.evaluate_at(psi, near.map(|near| self.predicted(psi, near)))
    }

    /// The same from modes `u` on.
    pub fn evaluate_at(&self, psi: &[f64], u: Option<Effects>) -> Option<LaplaceAt<'_>> {
        if psi.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let Psi { lambda, beta, phi } = self.split(psi);
        let mode = self.mode(lambda, beta, phi, u)?;
        let beyond = self.rule.as_ref().map_or(0.0, |rule| self.beyond_laplace(rule, &mode, phi));
        let value = mode.h + mode.factor.log_det() + beyond - 2.0 * self.responses.saturated;
        value.is_finite().then(|| LaplaceAt { psi: copied(psi), mode, value, slope: None })
    }

    /// The mode at psi as an evaluation nearby shows it.
    fn predicted(&self, psi: &[f64], near: &LaplaceAt) -> Effects {
        let mut u = near.mode.u.clone();
        let step: Vec<f64> = psi.iter().zip(&near.psi).map(|(a, b)| a - b).collect();
        if let Some(slope) = &near.slope
            && step.iter().map(|s| s * s).sum::<f64>().sqrt() < FAR
        {
            step.iter().enumerate().filter(|(_, s)| **s != 0.0).for_each(|(j, s)| {
                u.add_column(&self.problem, *s, slope, j);
            });
        }
        u
    }

    /// Gradient and model of the Hessian, with du^/dpsi, at Lambda lifted off zero.
    pub fn slopes(&self, psi: &[f64], at: &LaplaceAt, model: bool) -> Option<(Slopes, Option<Effects>)> {
        let Psi { lambda, beta, phi } = self.split(psi);
        match self.problem.lift(&lambda) {
            Some(lifted) => {
                let mode = self.mode(lifted, beta, phi, Some(at.mode.u.clone()))?;
                self.assemble(&mode, &lambda, phi, model)
            }
            None => self.assemble(&at.mode, &lambda, phi, model),
        }
    }

    /// Parts whose determinant depends on the weights of rows by `leverages`.
    pub fn parts(
        &self,
        mode: &Mode,
        leverages: Vec<f64>,
        direct: Vec<f64>,
        phi: Vec<f64>,
        kernels: Vec<Vec<f64>>,
    ) -> Parts {
        let bent: Vec<f64> = leverages.iter().zip(&mode.rows.d3).map(|(v, d)| -v * d).collect();
        let adjoint = self.spherical(&mode.factor.lambda, &self.rows.transposed(&bent));
        Parts { leverages, direct, bent, adjoint, unlike: None, kernels, phi }
    }

    fn laplace_parts(&self, mode: &Mode, extra: &ExtraRows) -> Parts {
        let (filled, sums) = mode.factor.inverse_on_pattern();
        let kernels = sums.into_iter().enumerate().map(|(e, sum)| {
            let f = &self.problem.products.factors[e];
            let mut kernel: Vec<f64> = sum.iter().map(|v| -v).collect();
            (0..f.q).for_each(|i| kernel[i * f.q + i] += f.n_levels as f64);
            for level in 0..f.n_levels {
                let u = mode.u.at(&self.problem, e, level, 0);
                for b in 0..f.q {
                    (0..f.q).for_each(|a| kernel[b * f.q + a] -= u[a] * u[b]);
                }
            }
            kernel
        });
        let direct = mode.rows.d1.iter().map(|d| -2.0 * d).collect();
        let phi = extra.l.iter().map(|l| -2.0 * l).collect();
        self.parts(mode, self.rows.squares(&filled), direct, phi, kernels.collect())
    }

    /// The gradient by one solve; the model of the Hessian and du^/dpsi by another with a column a parameter.
    fn assemble(
        &self,
        mode: &Mode,
        lambda: &[Vec<f64>],
        phi: &[f64],
        model: bool,
    ) -> Option<(Slopes, Option<Effects>)> {
        let problem = &self.problem;
        let extra = self.responses.extra(self.family, &mode.eta, phi);
        let n_extra = self.responses.n_phi();
        let n = self.rows.n;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let column = |values: &'_ [f64], j: usize| values[j * n..(j + 1) * n].to_vec();
        let parts = match &self.rule {
            None => self.laplace_parts(mode, &extra),
            Some(rule) => self.quadrature_parts(rule, mode, phi),
        };

        let mut a = parts.adjoint.clone();
        mode.factor.solve(&mut a);
        let along = self.times(&mode.factor.lambda, &a);
        let rows = &mode.rows;
        let score: Vec<f64> = (0..n).map(|i| parts.direct[i] + parts.bent[i] + rows.d2[i] * along[i]).collect();
        let in_beta = self.rows.fixed_transposed(&score);
        let in_phi = (0..n_extra)
            .map(|j| parts.phi[j] - dot(&parts.leverages, &column(&extra.d2, j)) + dot(&column(&extra.d1, j), &along));
        let inverses: Vec<Vec<f64>> = mode
            .factor
            .lambda
            .iter()
            .zip(&problem.products.factors)
            .map(|(l, f)| block::inverse_lower(l, f.q))
            .collect();
        let kernels: Vec<Vec<f64>> = (0..inverses.len()).map(|e| self.kernel(mode, &parts, &a, e)).collect();
        // G of each factor
        let by_covariance: Vec<Vec<f64>> = (kernels.iter().zip(&inverses).zip(&problem.products.factors))
            .map(|((kernel, inverse), f)| block::sandwich(inverse, kernel, f.q))
            .collect();
        let in_theta = problem.parameters.iter().map(|p| {
            let even = problem.along(p, &by_covariance, lambda);
            if parts.unlike.is_none() { even } else { even + problem.turned(p, &kernels, &inverses, lambda) }
        });
        let gradient: Vec<f64> = in_theta.chain(in_beta).chain(in_phi).collect();
        if gradient.iter().any(|g| !g.is_finite()) {
            return None;
        }
        if !model {
            return Some((Slopes { gradient, curvature: vec![] }, None));
        }
        let (curvature, slope) = self.model(mode, &inverses, &by_covariance, &extra);
        Some((Slopes { gradient, curvature }, Some(slope)))
    }

    /// Half of Lambda' times the derivative in Lambda of factor e.
    fn kernel(&self, mode: &Mode, parts: &Parts, a: &Effects, e: usize) -> Vec<f64> {
        let f = &self.problem.products.factors[e];
        let mut kernel = copied(&parts.kernels[e]);
        for level in 0..f.n_levels {
            let (u, a) = (mode.u.at(&self.problem, e, level, 0), a.at(&self.problem, e, level, 0));
            for c in 0..f.q {
                (0..f.q).for_each(|r| kernel[c * f.q + r] += 0.5 * (a[r] * u[c] + u[r] * a[c]));
            }
            if let Some(unlike) = &parts.unlike {
                let more = unlike.at(&self.problem, e, level, 0);
                for c in 0..f.q {
                    (0..f.q).for_each(|r| kernel[c * f.q + r] += 0.5 * more[r] * u[c]);
                }
            }
        }
        kernel
    }

    /// Average information in theta, the Hessian of min_u h elsewhere; and du^/dpsi.
    fn model(
        &self,
        mode: &Mode,
        inverses: &[Vec<f64>],
        by_covariance: &[Vec<f64>],
        extra: &ExtraRows,
    ) -> (Vec<f64>, Effects) {
        let problem = &self.problem;
        let (k, p, m) = (problem.n_theta(), self.rows.p, self.responses.n_phi());
        let n = self.rows.n;
        let size = k + p + m;
        let weights: Vec<f64> = mode.rows.d2.iter().map(|d| -d).collect();
        let mut right = Effects::zeros(problem, size);
        let mut shift = Effects::zeros(problem, k);
        for (j, par) in problem.parameters.iter().enumerate() {
            let (e, f) = (par.factor, &problem.products.factors[par.factor]);
            let (q, inverse) = (f.q, &inverses[par.factor]);
            for level in 0..f.n_levels {
                let u = mode.u.at(problem, e, level, 0).to_vec();
                for (row, column) in par.elements() {
                    // Lambda^-1 dLambda u, and dLambda' Lambda^-T u
                    let t: f64 = (row..q).map(|r| inverse[row * q + r] * u[r]).sum();
                    let moved = shift.at_mut(problem, e, level, j);
                    (row..q).for_each(|r| moved[r] += inverse[row * q + r] * u[column]);
                    let out = right.at_mut(problem, e, level, j);
                    (row..q).for_each(|r| out[r] += inverse[row * q + r] * u[column]);
                    out[column] += t;
                }
            }
        }
        let fixed = self.rows.across(&weights).into_iter();
        let phis = (0..m).map(|j| self.rows.transposed(&extra.d1[j * n..(j + 1) * n]));
        for (j, column) in fixed.chain(phis).enumerate() {
            let column = self.spherical(&mode.factor.lambda, &column);
            for (e, f) in problem.products.factors.iter().enumerate() {
                for level in 0..f.n_levels {
                    right.at_mut(problem, e, level, k + j).copy_from_slice(column.at(problem, e, level, 0));
                }
            }
        }
        let mut solved = right.clone();
        mode.factor.solve(&mut solved);
        let cross = right.products(problem, &solved);
        let own = right.products(problem, &right);
        let square = self.rows.fixed_square(&weights);
        let by_phi: Vec<Vec<f64>> = (0..m).map(|j| self.rows.fixed_transposed(&extra.d1[j * n..(j + 1) * n])).collect();
        let mut out = zeros(size * size);
        for j in 0..size {
            for i in 0..=j {
                let c = 0.5 * (cross[j * size + i] + cross[i * size + j]);
                let kind = |v: usize| {
                    if v < k {
                        0
                    } else if v < k + p {
                        1
                    } else {
                        2
                    }
                };
                let value = match (kind(i), kind(j)) {
                    (0, 0) => {
                        let (a, b) = (problem.parameters[i], problem.parameters[j]);
                        let mut value = own[j * size + i] - c;
                        if a.factor == b.factor && a.column == b.column {
                            let q = problem.products.factors[a.factor].q;
                            let places = (0..a.count).map(|t| (b.row + t) * q + a.row + t);
                            value += 2.0 * places.map(|at| by_covariance[a.factor][at]).sum::<f64>();
                        }
                        value
                    }
                    (0, 1) => 2.0 * c,
                    (0, _) => -2.0 * c,
                    (1, 1) => 2.0 * (square[(j - k) * p + i - k] - c),
                    (1, _) => -2.0 * (by_phi[j - k - p][i - k] - c),
                    _ => -2.0 * extra.ll[(j - k - p) * m + i - k - p] - 2.0 * c,
                };
                out[j * size + i] = value;
                out[i * size + j] = value;
            }
        }
        // du/dtheta = H^-1 U~ - Lambda^-1 dLambda u, du/dbeta = -H^-1 A'WX, du/dphi = H^-1 A'l'_phi
        for (e, f) in problem.products.factors.iter().enumerate() {
            for level in 0..f.n_levels {
                for j in 0..k {
                    let moved = shift.at(problem, e, level, j).to_vec();
                    solved.at_mut(problem, e, level, j).iter_mut().zip(moved).for_each(|(s, v)| *s -= v);
                }
                for j in k..k + p {
                    solved.at_mut(problem, e, level, j).iter_mut().for_each(|s| *s = -*s);
                }
            }
        }
        (out, solved)
    }
}

impl Objective for Glmm {
    type At<'a> = LaplaceAt<'a>;
    type Kept = Effects;
    const PATIENCE: usize = 4;
    const SECANTS: bool = true;
    const LONG_WALK: usize = 25;

    fn evaluate<'a>(&'a self, psi: &[f64], near: Option<&LaplaceAt<'a>>) -> Option<LaplaceAt<'a>> {
        self.evaluate_from(psi, near)
    }

    fn value(&self, at: &LaplaceAt) -> f64 {
        at.value
    }

    fn is_regular(&self, at: &LaplaceAt) -> bool {
        at.mode.least_pivot > LEAST_PIVOT
    }

    fn derivatives<'a>(&'a self, psi: &[f64], at: &mut LaplaceAt<'a>) -> Option<Slopes> {
        let (slopes, slope) = self.slopes(psi, at, true)?;
        at.slope = slope;
        Some(slopes)
    }

    fn hessian<'a>(&'a self, psi: &[f64], at: &LaplaceAt<'a>) -> Option<Vec<f64>> {
        let k = psi.len();
        let mut out = zeros(k * k);
        let here = self.gradient(psi, Some(at))?;
        for j in 0..k {
            let h = STEP * (1.0 + psi[j].abs());
            let mut moved = copied(psi);
            moved[j] += h;
            let up = self.gradient(&moved, Some(at))?;
            for i in 0..k {
                let d = (up[i] - here[i]) / h;
                out[j * k + i] += 0.5 * d;
                out[i * k + j] += 0.5 * d;
            }
        }
        Some(out)
    }

    fn reduce(&self, psi: &[f64], at: &LaplaceAt, tolerance: f64) -> (Option<Vec<f64>>, usize) {
        let k = self.problem.n_theta();
        let (mut theta, mut value) = (psi[..k].to_vec(), at.value);
        let mut evaluate = |theta: &[f64]| {
            let psi = [theta, &psi[k..]].concat();
            Some(self.evaluate_from(&psi, Some(at))?.value)
        };
        let n_evaluations = self.problem.reduce_by(&mut theta, &mut value, tolerance, &mut evaluate);
        let changed = theta != psi[..k];
        (changed.then(|| [&theta, &psi[k..]].concat()), n_evaluations)
    }

    fn noise(&self, value: f64) -> f64 {
        ROUNDING * (value.abs() + self.rows.n as f64)
    }

    fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let k = self.problem.n_theta();
        let rest: f64 = a[k..].iter().zip(&b[k..]).map(|(a, b)| (a - b).powi(2)).sum();
        (self.problem.distance(&a[..k], &b[..k]).powi(2) + rest).sqrt()
    }

    fn keep(&self, at: LaplaceAt) -> Effects {
        at.mode.u
    }
}
