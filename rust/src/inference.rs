//! What inference needs at an optimum, from the cross-products and the factor: never an n x n or a q x q matrix.
//!
//! In engine coordinates V0 = W^-1 + Z~ S~ Z~', P0 = V0^-1 - V0^-1X (X'V0^-1X)^-1 X'V0^-1. With X~ = M^-1 Lambda' Z'WX the
//! rows B = Z'V0^-1X are Lambda^-T X~, and Lambda' Z'V0^-1Z Lambda = I - M^-1; a zero in Lambda is lifted as in
//! `deviance`.

use crate::block;
use crate::deviance::{Derivatives, Factorization, Parameter, Problem};
use crate::memory::{before_product, before_products, zeros};
use crate::schur;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef};

/// Step of the differences in S~, as a share of the scale on which tr(P0 G) changes.
const STEP: f64 = 0.003;
/// A singular S~ is approached from inside: its zero axes at one to four times this share of that scale, ...
const INSIDE: f64 = 0.003;
/// ... from where a cubic leads to zero.
const TO_ZERO: [f64; 4] = [4.0, -6.0, 4.0, -1.0];
/// First derivative by five points on one side (Fornberg 1988), so that S~ stays positive semidefinite.
const ONE_SIDED: [f64; 5] = [-25.0 / 12.0, 4.0, -3.0, 4.0 / 3.0, -0.25];

/// Multiplications, strips between levels, and levels of one evaluation from which on the Hessian takes half as many.
const MANY_FLOPS: f64 = 5e7;
const MANY_STRIPS: usize = 200_000;
const MANY_LEVELS: usize = 20_000;

/// See `_engine.pyi`: information.
pub struct Information {
    pub theta: Vec<f64>,
    pub hessian: Vec<f64>,
    pub sensitivity: Vec<f64>,
}

/// See `_engine.pyi`: kenward_roger.
pub struct KenwardRoger {
    pub covariances: Vec<f64>,
    pub p_hat: Vec<f64>,
    pub q_hat: Vec<f64>,
    pub trace_1: Vec<f64>,
    pub trace_2: Vec<f64>,
}

/// Rows of whitened fixed effects: K'X'V0^-1Z of each level, p values for each of its q columns (column-major q x p).
type Whitened = Vec<Vec<f64>>;

impl Problem {
    /// Deviance, s2 and their derivatives at the engine's theta, residual variances in the user's units.
    pub fn evaluate(&self, theta: &[f64], reml: bool) -> Option<(f64, f64, Derivatives)> {
        let at = self.factorize(theta, reml)?;
        let mut derivatives = self.derivatives(theta, &at, true)?;
        let square = self.products.scale * self.products.scale;
        derivatives.s2_gradient.iter_mut().for_each(|g| *g *= square);
        derivatives.s2_hessian.iter_mut().for_each(|h| *h *= square);
        Some((self.criterion(at.deviance, reml), at.s2 * square, derivatives))
    }

    /// See `Information`; of a `long` evaluation the Hessian takes half as many.
    pub fn information(&self, theta: &[f64], reml: bool, long: bool) -> Option<Information> {
        let (theta, k) = (self.to_engine(theta), self.n_theta());
        let at = self.factorize(&theta, reml)?;
        let lifted = self.lift(&self.lambda(&theta)).and_then(|lambda| self.factorize_lambda(lambda, reml));
        let at = lifted.as_ref().unwrap_or(&at);
        let derivatives = self.derivatives(&theta, at, true)?;
        let profiled = match lifted {
            None if long => self.quick_hessian(&theta, &derivatives.gradient, reml)?,
            _ => self.hessian(&theta, reml)?,
        };
        // d(theta, t) = log|M| + r2(theta) exp(-2t) + 2 dof t with t = log sigma, minimal in t where r2 = dof sigma^2
        let m = k + 1;
        let log_sigma = 4.0 * self.dof(reml);
        let across: Vec<f64> = derivatives.s2_gradient.iter().map(|g| -2.0 * self.dof(reml) * g / at.s2).collect();
        let mut hessian = zeros(m * m);
        for j in 0..k {
            for i in 0..k {
                hessian[j * m + i] = profiled[j * k + i] + across[i] * across[j] / log_sigma;
            }
            hessian[j * m + k] = across[j];
            hessian[k * m + j] = across[j];
        }
        hessian[k * m + k] = log_sigma;

        let lambda = self.lambda(&theta);
        let rows = at.whitened();
        let p = self.products.p;
        let mut sensitivity = zeros(k * p * p);
        for (par, out) in self.parameters.iter().zip(sensitivity.chunks_exact_mut((p * p).max(1))) {
            let q = self.products.factors[par.factor].q;
            let own = &rows[par.factor];
            let weighted = self.products.factors[par.factor].relation.as_ref().map(|r| r.times(own, q * p));
            let pairs =
                own.chunks_exact((q * p).max(1)).zip(weighted.as_ref().unwrap_or(own).chunks_exact((q * p).max(1)));
            for (level, other) in pairs {
                for (row, column) in par.elements() {
                    // dS = e_row lambda' + lambda e_row' with lambda the column of Lambda
                    let l = &lambda[par.factor][column * q..(column + 1) * q];
                    let along = |of: &[f64]| -> Vec<f64> {
                        of.chunks_exact(q).map(|b| b.iter().zip(l).map(|(b, l)| b * l).sum()).collect()
                    };
                    let (one, two) = (along(level), along(other));
                    for b in 0..p {
                        for a in 0..p {
                            let ab = level[a * q + row] * two[b] + one[a] * other[b * q + row];
                            let ba = level[b * q + row] * two[a] + one[b] * other[a * q + row];
                            out[b * p + a] += 0.5 * (ab + ba);
                        }
                    }
                }
            }
        }
        Some(Information { theta, hessian, sensitivity })
    }

    pub fn is_long(&self) -> bool {
        let products = &self.products;
        self.flops() > MANY_FLOPS
            || products.cross.column.len() > MANY_STRIPS
            || products.factors[0].n_levels > MANY_LEVELS
    }

    pub fn kenward_roger(&self, theta: &[f64]) -> Option<KenwardRoger> {
        let theta = self.to_engine(theta);
        let lambda = self.lambda(&theta);
        let at = self.factorize_lambda(self.lift(&lambda).unwrap_or_else(|| lambda.clone()), true)?;
        let covariances: Vec<Vec<f64>> =
            lambda.iter().zip(&self.products.factors).map(|(l, f)| square(l, f.q)).collect();
        let (p_hat, q_hat) = at.adjustment_terms();
        let trace_1 = self.traces(&at)?;
        let trace_2 = self.second_traces_from_inside(&lambda, &trace_1)?;
        let of = |p: &Parameter| covariances[p.factor][p.column * self.products.factors[p.factor].q + p.row];
        Some(KenwardRoger { covariances: self.parameters.iter().map(of).collect(), p_hat, q_hat, trace_1, trace_2 })
    }

    /// K in the user's columns.
    pub fn user_root(&self, at: &Factorization) -> Vec<f64> {
        let p = self.products.p;
        let mut root = zeros(p * p);
        block::times(&self.products.x_basis.matrix(), &at.inverse_root(), p, p, p, &mut root);
        root
    }

    /// tr(P0 G_i) for each element of S~.
    fn traces(&self, at: &Factorization) -> Option<Vec<f64>> {
        let by_covariance = at.projected_traces()?;
        let one = |par: &Parameter| {
            let q = self.products.factors[par.factor].q;
            let twice = if par.row == par.column { 1.0 } else { 2.0 };
            twice * par.elements().map(|(row, column)| by_covariance[par.factor][column * q + row]).sum::<f64>()
        };
        Some(self.parameters.iter().map(one).collect())
    }

    /// The largest sum of v'Z_l'(I + Z_l S Z_l')^-1 Z_l v over all levels: S + h v v' changes at the scale of its inverse.
    fn largest_information(&self, e: usize, lambda: &[f64], directions: &[Vec<(usize, f64)>]) -> f64 {
        let f = &self.products.factors[e];
        let q = f.q;
        let (mut nl, mut m) = (zeros(q * q), zeros(q * q));
        let mut largest: f64 = 0.0;
        for zz in f.zz.chunks_exact(q * q) {
            block::times(zz, lambda, q, q, q, &mut nl);
            block::transpose_times(lambda, &nl, q, q, q, &mut m);
            (0..q).for_each(|i| m[i * q + i] += 1.0);
            if block::cholesky(&mut m, q).is_none() {
                continue;
            }
            let mut sum = 0.0;
            for v in directions {
                let own: f64 = v
                    .iter()
                    .flat_map(|a| v.iter().map(move |b| (a, b)))
                    .map(|(a, b)| a.1 * b.1 * zz[a.0 * q + b.0])
                    .sum();
                let mut across: Vec<f64> =
                    (0..q).map(|c| v.iter().map(|&(axis, length)| length * nl[c * q + axis]).sum()).collect();
                block::forward(&m, q, &mut across);
                sum += own - across.iter().map(|x| x * x).sum::<f64>();
            }
            largest = largest.max(sum);
        }
        // a column that others determine is zero here: S changes nothing along it, at any scale
        if largest > 0.0 { largest } else { 1.0 }
    }

    /// tr(P0 G_i P0 G_j), by extrapolation where Lambda has zeros on its diagonal.
    fn second_traces_from_inside(&self, lambda: &[Vec<f64>], at_zero: &[f64]) -> Option<Vec<f64>> {
        let Some(lifted) = self.lift(lambda) else { return self.second_traces(lambda, at_zero) };
        let mut total = zeros(self.n_theta() * self.n_theta());
        for (j, weight) in TO_ZERO.iter().enumerate() {
            let mut inside = lambda.to_vec();
            for (e, f) in self.products.factors.iter().enumerate() {
                let zero = (0..f.q).filter(|&i| lifted[e][i * f.q + i] != lambda[e][i * f.q + i]);
                let unit = |i: usize| (i, self.largest_information(e, &lambda[e], &[vec![(i, 1.0)]]).sqrt().recip());
                let axes: Vec<Vec<(usize, f64)>> = zero.map(|i| vec![unit(i)]).collect();
                inside[e] = stretched(&lambda[e], f.q, &axes, INSIDE * (j + 1) as f64);
            }
            let traces = self.traces(&self.factorize_lambda(inside.clone(), true)?)?;
            let part = self.second_traces(&inside, &traces)?;
            total.iter_mut().zip(part).for_each(|(t, p)| *t += weight * p);
        }
        Some(total)
    }

    /// tr(P0 G_i P0 G_j) = -d tr(P0 G_i) / dS~_j, by differences along directions v v' that keep S~ semidefinite.
    fn second_traces(&self, lambda: &[Vec<f64>], at_zero: &[f64]) -> Option<Vec<f64>> {
        let k = self.n_theta();
        let along = |e: usize, directions: &[Vec<(usize, f64)>]| -> Option<Vec<f64>> {
            let h = STEP / self.largest_information(e, &lambda[e], directions);
            let mut sum: Vec<f64> = at_zero.iter().map(|t| t * ONE_SIDED[0]).collect();
            for (j, weight) in ONE_SIDED.iter().enumerate().skip(1) {
                let mut moved = lambda.to_vec();
                moved[e] = stretched(&lambda[e], self.products.factors[e].q, directions, j as f64 * h);
                let moved = self.lift(&moved).unwrap_or(moved);
                let traces = self.traces(&self.factorize_lambda(moved, true)?)?;
                sum.iter_mut().zip(traces).for_each(|(s, t)| *s += weight * t);
            }
            Some(sum.into_iter().map(|d| -d / h).collect())
        };
        let mut out = zeros(k * k);
        for (j, par) in self.parameters.iter().enumerate().filter(|(_, p)| p.row == p.column) {
            let axes: Vec<Vec<(usize, f64)>> = par.elements().map(|(row, _)| vec![(row, 1.0)]).collect();
            out[j * k..(j + 1) * k].copy_from_slice(&along(par.factor, &axes)?);
        }
        for (j, par) in self.parameters.iter().enumerate().filter(|(_, p)| p.row != p.column) {
            let own =
                |a: usize| self.parameters.iter().position(|p| p.factor == par.factor && p.row == a && p.column == a);
            let length =
                |a: usize| self.largest_information(par.factor, &lambda[par.factor], &[vec![(a, 1.0)]]).sqrt().recip();
            let (row, column) = (own(par.row)?, own(par.column)?);
            let (x, y) = (length(par.row), length(par.column));
            let both = along(par.factor, &[vec![(par.row, x), (par.column, y)]])?;
            for i in 0..k {
                out[j * k + i] = (both[i] - x * x * out[row * k + i] - y * y * out[column * k + i]) / (x * y);
            }
        }
        for j in 0..k {
            for i in 0..j {
                let mean = 0.5 * (out[j * k + i] + out[i * k + j]);
                out[j * k + i] = mean;
                out[i * k + j] = mean;
            }
        }
        Some(out)
    }
}

impl Factorization<'_> {
    /// K'B' of every level, B = Lambda^-T X~.
    fn whitened(&self) -> Whitened {
        let products = &self.problem.products;
        let (p, root) = (products.p, self.inverse_root());
        let factors = products.factors.iter().zip(&self.factor.lambda).zip(self.fixed_effects_of_levels());
        factors
            .map(|((f, lambda), mut levels)| {
                let mut raw = zeros(f.q * p);
                for level in levels.chunks_exact_mut((f.q * p).max(1)) {
                    block::backward(lambda, f.q, level);
                    raw.copy_from_slice(level);
                    block::times(&raw, &root, f.q, p, p, level);
                }
                levels
            })
            .collect()
    }

    /// K'X'V0^-1 G_i V0^-1 X K and K'X'V0^-1 G_i V0^-1 G_j V0^-1 X K for all elements of S~.
    ///
    /// With U~_i = Lambda^-1 E_i B K the second is U~_i' U~_j - (L^-1 U~_i)' (L^-1 U~_j).
    fn adjustment_terms(&self) -> (Vec<f64>, Vec<f64>) {
        let problem = self.problem;
        let products = &problem.products;
        let (p, k, n) = (products.p, problem.n_theta(), products.n_rest);
        let rows = self.whitened();
        let mut p_hat = zeros(k * p * p);
        let mut gram = zeros((k * p) * (k * p));
        let mut rest = zeros(n * k * p);
        for (e, f) in products.factors.iter().enumerate() {
            let q = f.q;
            let own: Vec<usize> = (0..k).filter(|&i| problem.parameters[i].factor == e).collect();
            let columns = own.len() * p;
            let n_rows = f.n_levels * q;
            // U~, rows of a level contiguous: q x columns a level
            let mut u = zeros(n_rows * columns);
            let relation = f.relation.as_ref();
            let weighted = relation.map(|r| r.times(&rows[e], q * p));
            let others = weighted.as_ref().unwrap_or(&rows[e]).chunks_exact((q * p).max(1));
            let levels = rows[e].chunks_exact((q * p).max(1)).zip(others);
            for ((level, other), out) in levels.zip(u.chunks_exact_mut((q * columns).max(1))) {
                for (c, &i) in own.iter().enumerate() {
                    for (row, column) in problem.parameters[i].elements() {
                        for a in 0..p {
                            let (to_row, to_column) = (level[a * q + column], level[a * q + row]);
                            out[(c * p + a) * q + row] += to_row;
                            if row != column {
                                out[(c * p + a) * q + column] += to_column;
                            }
                        }
                    }
                    for b in 0..p {
                        for a in 0..p {
                            let directed = &out[(c * p + b) * q..(c * p + b + 1) * q];
                            let own = &other[a * q..(a + 1) * q];
                            p_hat[(i * p + b) * p + a] += own.iter().zip(directed).map(|(x, y)| x * y).sum::<f64>();
                        }
                    }
                }
                block::forward(&self.factor.lambda[e], q, out);
            }
            match relation {
                Some(relation) => {
                    let weighted = relation.times(&u, q * columns);
                    self.add_gram(&u, &weighted, q, &own, 1.0, &mut gram);
                    u = weighted;
                }
                None => self.add_gram(&u, &u, q, &own, 1.0, &mut gram),
            }
            if e == 0 {
                for (level, out) in u.chunks_exact_mut((q * columns).max(1)).enumerate() {
                    block::forward(self.factor.level_factor(level), q, out);
                }
                self.add_gram(&u, &u, q, &own, -1.0, &mut gram);
            }
            if n > 0 {
                let at = |c: usize| (own[c / p] * p + c % p) * n;
                if e == 0 {
                    let done = schur::strips_transpose_times(products, self.factor.strips(), &u, columns, problem.par);
                    for c in 0..columns {
                        (0..n).for_each(|j| rest[at(c) + j] = -done[j * columns + c]);
                    }
                } else {
                    for (l, level) in u.chunks_exact((q * columns).max(1)).enumerate() {
                        for c in 0..columns {
                            let first = at(c) + products.offset[e] + l * q;
                            rest[first..first + q].copy_from_slice(&level[c * q..(c + 1) * q]);
                        }
                    }
                }
            }
        }
        self.factor.rest.forward(&mut rest, k * p);
        if n > 0 {
            before_products(problem.par);
            let rest = MatRef::from_column_major_slice(&rest, n, k * p);
            let target = MatMut::from_column_major_slice_mut(&mut gram, k * p, k * p);
            matmul(target, Accum::Add, rest.transpose(), rest, -1.0, problem.par);
        }
        // from rows (i, a), columns (j, b) to [i][j][a][b]
        let mut q_hat = zeros(k * k * p * p);
        for i in 0..k {
            for j in 0..k {
                for a in 0..p {
                    for b in 0..p {
                        q_hat[((i * k + j) * p + a) * p + b] = gram[(j * p + b) * k * p + i * p + a];
                    }
                }
            }
        }
        (p_hat, q_hat)
    }

    /// gram += sign U'V at the rows and columns of the parameters `own`; `u` and `v` are q x (own p) a level.
    fn add_gram(&self, u: &[f64], v: &[f64], q: usize, own: &[usize], sign: f64, gram: &mut [f64]) {
        let p = self.problem.products.p;
        let (k, columns) = (self.problem.n_theta(), own.len() * p);
        before_product(columns, q, columns, faer::Par::Seq);
        let mut part = zeros(columns * columns);
        for (one, other) in u.chunks_exact((q * columns).max(1)).zip(v.chunks_exact((q * columns).max(1))) {
            let one = MatRef::from_column_major_slice(one, q, columns);
            let other = MatRef::from_column_major_slice(other, q, columns);
            let target = MatMut::from_column_major_slice_mut(&mut part, columns, columns);
            matmul(target, Accum::Add, one.transpose(), other, sign, faer::Par::Seq);
        }
        let at = |c: usize| own[c / p] * p + c % p;
        for d in 0..columns {
            for c in 0..columns {
                gram[at(d) * k * p + at(c)] += part[d * columns + c];
            }
        }
    }
}

/// A A' for a lower triangular A.
fn square(a: &[f64], q: usize) -> Vec<f64> {
    let mut out = zeros(q * q);
    block::times_transpose(a, a, q, q, q, &mut out);
    out
}

/// Lower factor of Lambda Lambda' + h sum_v v v'; each v lists (axis, length).
fn stretched(lambda: &[f64], q: usize, directions: &[Vec<(usize, f64)>], h: f64) -> Vec<f64> {
    let m = q + 1;
    let mut out = lambda.to_vec();
    for v in directions {
        let mut wide = zeros(m * m);
        for j in 0..q {
            wide[j * m..j * m + q].copy_from_slice(&out[j * q..(j + 1) * q]);
        }
        v.iter().for_each(|&(axis, length)| wide[q * m + axis] = length * h.sqrt());
        let lower = block::lower_factor(&wide, m);
        for j in 0..q {
            out[j * q..(j + 1) * q].copy_from_slice(&lower[j * m..j * m + q]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretching_adds_a_rank_one_square() {
        // Lambda of rank one, stretched along (1, 2)
        let lambda = [1.0, 0.5, 0.0, 0.0];
        let moved = stretched(&lambda, 2, &[vec![(0, 1.0), (1, 2.0)]], 0.25);
        let expected = [1.25, 1.0, 1.0, 1.25];
        square(&moved, 2).iter().zip(expected).for_each(|(s, e)| assert!((s - e).abs() < 1e-14));
    }
}
