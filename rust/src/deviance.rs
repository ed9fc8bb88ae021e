//! -2 log-likelihood of the scaled problem as a function of theta, its gradient and curvature.
//!
//! M = Lambda' Z'WZ Lambda + I = L L' is factored in `factor`. Everything is computed in spherical
//! coordinates, where nothing cancels however large the variances: u = Lambda' Z'Py, X~ = M^-1 Lambda' Z'WX and
//! Lambda' Z'V^-1 Z Lambda = I - M^-1. The derivative in S_k = Lambda_k Lambda_k' is then
//! G_k = Lambda_k^-T [sum_l (I - M^-1)_ll - u_l u_l'/s2 - (REML) X~_l (X'V^-1X)^-1 X~_l'] Lambda_k^-1.

use crate::block::{self, with_size};
use crate::cholesky::{LONG, Pattern};
use crate::factor::{LowerFactor, add_rest_block, subtract_from_identity};
use crate::level_sums::{LevelSums, MOMENTS, fill_directions};
use crate::memory::{copied, gathered, reserved, zeros};
use crate::products::{Block, Factor, Products};
use crate::relation::Relation;
use crate::schur::{self, Values};
use crate::selected_inverse::selected_inverse;
use crate::threads;
use faer::Par;

/// Bias and rounding of a derivative at a variance of zero balance at this relative size (see `lift`).
const LIFT_SQUARED: f64 = 1e-8;
/// Multiplications in one evaluation below which everything runs on one thread.
const PARALLEL_FLOPS: f64 = 2e6;

/// Steps of differences in theta.
const CENTRAL_STEP: f64 = 1e-5;
const FORWARD_STEP: f64 = 1e-8;

/// One free element of Lambda; a tied block has one for all elements of its diagonal.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Factor, in elimination order.
    pub factor: usize,
    pub row: usize,
    pub column: usize,
    /// Elements it stands for: (row, column), (row + 1, column + 1), ...
    pub count: usize,
}

impl Parameter {
    /// The elements (row, column).
    pub fn elements(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.count).map(move |t| (self.row + t, self.column + t))
    }
}

/// A model ready to be evaluated at any theta.
pub struct Problem {
    pub products: Products,
    pub pattern: std::sync::Arc<Pattern>,
    pub parameters: Vec<Parameter>,
    pub pieces: Vec<usize>,
    pub par: Par,
    /// The model without absorbed factors, whose M has the determinant of V; None where nothing is absorbed.
    pub without_absorbed: Option<Box<Problem>>,
}

/// The factorisation at one theta.
pub struct Factorization<'a> {
    pub problem: &'a Problem,
    pub factor: LowerFactor<'a>,
    /// L of the model without absorbed factors, by ML where there are some.
    random: Option<LowerFactor<'a>>,
    reml: bool,
    /// L_S^-1 Lambda_2' Z_2'V_1^-1 [X y], n_rest x (p + 1).
    rest_x: Vec<f64>,
    /// Cholesky factor of [X y]'V^-1[X y], (p + 1) x (p + 1), column-major lower.
    rx: Vec<f64>,
    pub deviance: f64,
    /// Profiled residual variance of the scaled problem.
    pub s2: f64,
}

/// Gradient and model of the Hessian in theta.
pub struct Derivatives {
    pub gradient: Vec<f64>,
    /// n_theta x n_theta, column-major, symmetric.
    pub curvature: Vec<f64>,
    /// Gradient and Hessian of s2, both exact; empty without curvature.
    pub s2_gradient: Vec<f64>,
    pub s2_hessian: Vec<f64>,
    /// G_k, q x q a factor.
    pub by_covariance: Vec<Vec<f64>>,
}

/// Estimates at one theta, scaled problem.
pub struct Solution {
    pub beta: Vec<f64>,
    /// Spherical modes u, q values a level, one vector a factor.
    pub u: Vec<Vec<f64>>,
}

impl Products {
    /// Their numbers with [X y] on the right.
    fn values(&self) -> Values<'_> {
        Values {
            zz: self.factors.iter().map(|f| &f.zz[..]).collect(),
            cross: &self.cross.value,
            rest: &self.rest_values,
            zx: &self.factors[0].zx,
            m: self.p + 1,
        }
    }
}

impl Problem {
    pub fn new(products: Products, dense: Option<bool>, par: Par) -> Problem {
        let pattern = Pattern::new(&products, dense);
        Problem::with_pattern(products, std::sync::Arc::new(pattern), par)
    }

    pub fn with_pattern(products: Products, pattern: std::sync::Arc<Pattern>, par: Par) -> Problem {
        let mut parameters = Vec::new();
        let mut by_public: Vec<usize> = (0..products.factors.len()).collect();
        by_public.sort_by_key(|&e| products.factors[e].public);
        for e in by_public {
            let mut start = 0;
            for &Block { size, tied } in &products.factors[e].blocks {
                if tied {
                    parameters.push(Parameter { factor: e, row: start, column: start, count: size });
                } else {
                    for column in start..start + size {
                        let rows = column..start + size;
                        parameters.extend(rows.map(|row| Parameter { factor: e, row, column, count: 1 }));
                    }
                }
                start += size;
            }
        }
        let without_absorbed = products.without_absorbed().map(|random| Box::new(Problem::new(random, None, par)));
        let mut problem = Problem { products, pattern, parameters, pieces: vec![], par, without_absorbed };
        if problem.flops() < PARALLEL_FLOPS {
            problem.par = Par::Seq;
        }
        problem.pieces = match problem.par {
            _ if problem.products.factors[0].n_levels == 0 => vec![0, 0],
            Par::Seq => vec![0, problem.products.factors[0].n_levels],
            _ => schur::level_pieces(&problem.products),
        };
        problem
    }

    /// Rough count of multiplications in one evaluation.
    pub fn flops(&self) -> f64 {
        let f = &self.products.factors[0];
        let q = f.q as f64;
        let levels = f.n_levels as f64 * q * (q + self.products.p as f64 + 1.0).powi(2);
        levels + schur::assembly_flops(&self.products) + self.pattern.flops()
    }

    /// Bytes that a fit takes besides the products: two factorisations, the later of which is differentiated.
    pub fn bytes_of_a_fit(&self) -> f64 {
        let products = &self.products;
        let (n, m, k) = (products.n_rest as f64, products.p as f64 + 1.0, self.n_theta() as f64);
        let effects = (products.factors[0].n_levels * products.factors[0].q) as f64;
        let strips = (products.cross.column.len() * products.factors[0].q) as f64;
        let dense_strips = if schur::strips_are_dense(products) { effects * n } else { 0.0 };
        // the other half of a dense matrix is never touched
        let (rest, factor) = match *self.pattern {
            Pattern::Dense { .. } => (n * n / 2.0, n * n / 2.0),
            Pattern::Sparse(_) => (self.pattern.len() as f64, self.pattern.factor_len() as f64),
        };
        let own = effects * (products.factors[0].q as f64 + m) + strips + n * m + factor;
        let (assembling, inverting) = match *self.pattern {
            Pattern::Dense { n } if n <= LONG => (dense_strips, 0.0),
            Pattern::Dense { .. } => (dense_strips, rest),
            Pattern::Sparse(_) => (rest, factor),
        };
        let derivatives = rest + inverting.max(strips + 2.0 * dense_strips) + (effects + 2.0 * n) * k + 2.0 * n * m;
        size_of::<f64>() as f64 * (2.0 * own + assembling.max(derivatives))
    }

    pub fn n_theta(&self) -> usize {
        self.parameters.len()
    }

    /// How far two thetas are apart; the signs of the columns of Lambda do not count.
    pub fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let mut sum = 0.0;
        let mut sign = 1.0;
        for ((a, b), p) in a.iter().zip(b).zip(&self.parameters) {
            if p.row == p.column {
                sign = (a * b).signum();
            }
            sum += (a - sign * b).powi(2);
        }
        sum.sqrt()
    }

    /// Degrees of freedom of the residual variance.
    pub fn dof(&self, reml: bool) -> f64 {
        let products = &self.products;
        products.n as f64 - if reml { (products.p + products.n_absorbed()) as f64 } else { 0.0 }
    }

    /// The criterion of the user's problem from that of the scaled one.
    pub fn criterion(&self, scaled: f64, reml: bool) -> f64 {
        let basis = if reml { -2.0 * self.products.x_basis.log_det() } else { 0.0 };
        scaled + 2.0 * self.dof(reml) * self.products.scale.ln() + basis
    }

    /// Lambda of each factor (elimination order), q x q lower triangular.
    pub fn lambda(&self, theta: &[f64]) -> Vec<Vec<f64>> {
        let start = |f: &Factor| if f.blocks.is_empty() { block::identity(f.q) } else { zeros(f.q * f.q) };
        let mut out: Vec<Vec<f64>> = self.products.factors.iter().map(start).collect();
        for (value, p) in theta.iter().zip(&self.parameters) {
            for (row, column) in p.elements() {
                out[p.factor][column * self.products.factors[p.factor].q + row] = *value;
            }
        }
        out
    }

    /// The identity: every term as large as the residual.
    pub fn start(&self) -> Vec<f64> {
        self.parameters.iter().map(|p| if p.row == p.column { 1.0 } else { 0.0 }).collect()
    }

    pub fn factorize(&self, theta: &[f64], reml: bool) -> Option<Factorization<'_>> {
        if theta.iter().any(|t| !t.is_finite()) {
            return None;
        }
        self.factorize_lambda(self.lambda(theta), reml)
    }

    pub fn factorize_lambda(&self, lambda: Vec<Vec<f64>>, reml: bool) -> Option<Factorization<'_>> {
        let products = &self.products;
        let (p, m, n) = (products.p, products.p + 1, products.n_rest);
        let factor = LowerFactor::new(self, &products.values(), lambda)?;
        let LowerFactor { lambda, eliminated, rest, .. } = &factor;
        let mut rest_x = zeros(n * m);
        if n > 0 {
            let done = schur::strips_transpose_times(products, &eliminated.w, &eliminated.wx, m, self.par);
            for (e, f) in products.factors.iter().enumerate().skip(1) {
                let q = f.q;
                let mut scaled = zeros(q * m);
                for level in 0..f.n_levels {
                    let raw = &f.zx[level * q * m..(level + 1) * q * m];
                    block::transpose_times(&lambda[e], raw, q, q, m, &mut scaled);
                    let first = products.offset[e] + level * q;
                    for c in 0..m {
                        for i in 0..q {
                            rest_x[c * n + first + i] = scaled[c * q + i] - done[(first + i) * m + c];
                        }
                    }
                }
            }
            rest.forward(&mut rest_x, m);
        }

        let mut rx = copied(&products.xx);
        rx.iter_mut().zip(&eliminated.xx).for_each(|(a, b)| *a -= b);
        for b in 0..m {
            for a in b..m {
                let (left, right) = (&rest_x[a * n..(a + 1) * n], &rest_x[b * n..(b + 1) * n]);
                rx[b * m + a] -= left.iter().zip(right).map(|(x, y)| x * y).sum::<f64>();
            }
        }
        block::cholesky(&mut rx, m)?;
        let dof = self.dof(reml);
        let r2 = rx[p * m + p] * rx[p * m + p];
        let log_det_x: f64 = (0..p).map(|j| 2.0 * rx[j * m + j].ln()).sum();
        let s2 = r2 / dof;
        // V has the determinant of M of the random factors alone; that of all and of R_X is REML's with absorbed columns
        let random = match &self.without_absorbed {
            Some(random) if !reml => Some(LowerFactor::new(random, &random.products.values(), self.of_random(lambda))?),
            _ => None,
        };
        let mut deviance = random.as_ref().unwrap_or(&factor).log_det() - products.log_weights;
        deviance += dof * (1.0 + (2.0 * std::f64::consts::PI * s2).ln());
        if reml {
            deviance += log_det_x;
        }
        deviance.is_finite().then_some(Factorization { problem: self, factor, random, reml, rest_x, rx, deviance, s2 })
    }

    /// Lambda of the factors that are not absorbed.
    fn of_random(&self, lambda: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let factors = lambda.iter().zip(&self.products.factors);
        factors.filter(|(_, f)| !f.is_absorbed()).map(|(l, _)| copied(l)).collect()
    }

    /// The model whose random effects are predicted given all fixed effects, and which tells their covariances apart.
    pub fn of_random_effects(&self) -> &Problem {
        self.without_absorbed.as_deref().unwrap_or(self)
    }

    /// Hessian in theta from central differences of the gradient, right to ten digits.
    pub fn hessian(&self, theta: &[f64], reml: bool) -> Option<Vec<f64>> {
        self.differences(theta, |at, j| {
            let h = CENTRAL_STEP * (1.0 + theta[j].abs());
            let (up, down) = (self.gradient(&moved(at, j, h), reml)?, self.gradient(&moved(at, j, -h), reml)?);
            Some(up.iter().zip(down).map(|(u, d)| (u - d) / (2.0 * h)).collect())
        })
    }

    /// Hessian in theta from differences with the gradient at theta, in half the time and right to six digits.
    pub fn quick_hessian(&self, theta: &[f64], gradient: &[f64], reml: bool) -> Option<Vec<f64>> {
        self.differences(theta, |at, j| {
            let h = FORWARD_STEP * (1.0 + theta[j].abs());
            Some(self.gradient(&moved(at, j, h), reml)?.iter().zip(gradient).map(|(u, g)| (u - g) / h).collect())
        })
    }

    /// The symmetric part of a matrix from its columns.
    fn differences(&self, at: &[f64], column: impl Fn(&[f64], usize) -> Option<Vec<f64>>) -> Option<Vec<f64>> {
        let k = at.len();
        let mut out = zeros(k * k);
        for j in 0..k {
            for (i, d) in column(at, j)?.into_iter().enumerate() {
                out[j * k + i] += 0.5 * d;
                out[i * k + j] += 0.5 * d;
            }
        }
        Some(out)
    }

    fn gradient(&self, theta: &[f64], reml: bool) -> Option<Vec<f64>> {
        Some(self.derivatives(theta, &self.factorize(theta, reml)?, false)?.gradient)
    }

    /// The size of a diagonal of Lambda below which derivatives are taken at Lambda lifted.
    pub fn negligible(&self, factor: &Factor) -> f64 {
        (LIFT_SQUARED * factor.n_in_data() / self.products.n as f64).sqrt()
    }

    /// Lambda with diagonals at zero lifted to a size where Lambda^-1 loses no more than it gains.
    ///
    /// G is a smooth function of S, so evaluating it at Lambda + eps I changes it by eps^2 Z'Z relative, while
    /// (I - M^-1) carries eps^2 Z'Z as its own size: rounding is the machine's epsilon over that.
    pub fn lift(&self, lambda: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
        let mut lifted: Option<Vec<Vec<f64>>> = None;
        for (e, f) in self.products.factors.iter().enumerate() {
            let eps = self.negligible(f);
            for at in (0..f.q).map(|i| i * f.q + i) {
                let d = lambda[e][at];
                if d.abs() < eps {
                    lifted.get_or_insert_with(|| lambda.to_vec())[e][at] = eps.copysign(d);
                }
            }
        }
        lifted
    }

    /// 2 <K, dLambda_i Lambda'>: the derivative in a theta from the one in S, q x q a factor.
    pub fn along(&self, par: &Parameter, by_covariance: &[Vec<f64>], lambda: &[Vec<f64>]) -> f64 {
        let (q, k, l) = (self.products.factors[par.factor].q, &by_covariance[par.factor], &lambda[par.factor]);
        let one = |(row, column): (usize, usize)| (0..q).map(|m| k[m * q + row] * l[column * q + m]).sum::<f64>();
        2.0 * par.elements().map(one).sum::<f64>()
    }

    /// <Lambda^-T (K - K'), dLambda>: what of the derivative is not one in S, with K half of Lambda' times it. Criteria are
    /// even in every column of Lambda, so that nothing of it is in one of zeros.
    pub fn turned(&self, par: &Parameter, kernels: &[Vec<f64>], inverses: &[Vec<f64>], lambda: &[Vec<f64>]) -> f64 {
        let q = self.products.factors[par.factor].q;
        let (k, inverse, l) = (&kernels[par.factor], &inverses[par.factor], &lambda[par.factor]);
        let one = |(row, column): (usize, usize)| {
            if l[column * q..(column + 1) * q].iter().all(|v| *v == 0.0) {
                return 0.0;
            }
            (0..q).map(|r| inverse[row * q + r] * (k[column * q + r] - k[r * q + column])).sum::<f64>()
        };
        par.elements().map(one).sum()
    }

    /// Gradient and curvature at theta, given its factorisation.
    pub fn derivatives(&self, theta: &[f64], at: &Factorization, curvature: bool) -> Option<Derivatives> {
        match self.lift(&self.lambda(theta)) {
            Some(lambda) => self.factorize_lambda(lambda, at.reml)?.derivatives(theta, curvature),
            None => at.derivatives(theta, curvature),
        }
    }
}

impl Factorization<'_> {
    /// (X'V^-1X)^-1 = P P' with P = R_X^-T, p x p column-major upper triangular.
    pub fn inverse_root(&self) -> Vec<f64> {
        let (p, m) = (self.problem.products.p, self.problem.products.p + 1);
        let mut lower = zeros(p * p);
        for j in 0..p {
            lower[j * p..(j + 1) * p].copy_from_slice(&self.rx[j * m..j * m + p]);
        }
        block::transpose(&block::inverse_lower(&lower, p), p, p)
    }

    pub fn beta(&self) -> Vec<f64> {
        let (p, m) = (self.problem.products.p, self.problem.products.p + 1);
        let mut beta: Vec<f64> = (0..p).map(|j| self.rx[j * m + p]).collect();
        for i in (0..p).rev() {
            let s: f64 = (i + 1..p).map(|k| self.rx[i * m + k] * beta[k]).sum();
            beta[i] = (beta[i] - s) / self.rx[i * m + i];
        }
        beta
    }

    /// [X~ u] of the rest, n_rest x (p + 1) with rows contiguous: backward solves of [R_ZX, r - R_ZX beta].
    fn rest_effects(&self, beta: &[f64]) -> Vec<f64> {
        let (p, m, n) = (self.problem.products.p, self.problem.products.p + 1, self.problem.products.n_rest);
        let mut out = copied(&self.rest_x);
        let (x, y) = out.split_at_mut(n * p);
        for (column, b) in x.chunks_exact(n.max(1)).zip(beta) {
            y.iter_mut().zip(column).for_each(|(y, x)| *y -= b * x);
        }
        self.factor.rest.backward(&mut out, m);
        block::transpose(&out, n, m)
    }

    /// [X~_l u_l] of one level of the first factor, q x (p + 1).
    #[inline(always)]
    fn first_effects(&self, level: usize, beta: &[f64], rest: &[f64], q: usize, out: &mut [f64]) {
        let products = &self.problem.products;
        let (p, m) = (products.p, products.p + 1);
        out.copy_from_slice(&self.factor.eliminated.wx[level * q * m..(level + 1) * q * m]);
        let (x, y) = out.split_at_mut(q * p);
        for (column, b) in x.chunks_exact(q).zip(beta) {
            y.iter_mut().zip(column).for_each(|(y, x)| *y -= b * x);
        }
        schur::subtract_strip_times(&products.cross, &self.factor.eliminated.w, level, rest, q, m, out);
        block::backward(&self.factor.eliminated.l[level * q * q..(level + 1) * q * q], q, out);
    }

    /// Fixed effects and spherical random effects.
    pub fn solution(&self) -> Solution {
        let products = &self.problem.products;
        let (p, m) = (products.p, products.p + 1);
        let beta = self.beta();
        let rest = self.rest_effects(&beta);
        let mut u = Vec::with_capacity(products.factors.len());
        let q = products.factors[0].q;
        let mut first = reserved(products.factors[0].n_levels * q);
        let mut effects = zeros(q * m);
        for level in 0..products.factors[0].n_levels {
            self.first_effects(level, &beta, &rest, q, &mut effects);
            first.extend_from_slice(&effects[q * p..]);
        }
        u.push(first);
        for (e, f) in products.factors.iter().enumerate().skip(1) {
            let rows = products.offset[e]..products.offset[e] + f.n_levels * f.q;
            u.push(gathered(rows.map(|j| rest[j * m + p])));
        }
        Solution { beta, u }
    }

    /// X~ of each level, q x p, one vector a factor (elimination order).
    pub fn fixed_effects_of_levels(&self) -> Vec<Vec<f64>> {
        let products = &self.problem.products;
        let (p, m) = (products.p, products.p + 1);
        let beta = self.beta();
        let rest = self.rest_effects(&beta);
        let q = products.factors[0].q;
        let mut effects = zeros(q * m);
        let mut first = reserved(products.factors[0].n_levels * q * p);
        for level in 0..products.factors[0].n_levels {
            self.first_effects(level, &beta, &rest, q, &mut effects);
            first.extend_from_slice(&effects[..q * p]);
        }
        let mut all = vec![first];
        for (e, f) in products.factors.iter().enumerate().skip(1) {
            let mut out = reserved(f.n_levels * f.q * p);
            for level in 0..f.n_levels {
                let start = products.offset[e] + level * f.q;
                out.extend((0..p).flat_map(|c| (0..f.q).map(move |i| (i, c))).map(|(i, c)| rest[(start + i) * m + c]));
            }
            all.push(out);
        }
        all
    }

    /// sum_l Z_l' P0 Z_l of each factor, q x q; Lambda must have no zero on its diagonal.
    pub fn projected_traces(&self) -> Option<Vec<Vec<f64>>> {
        let products = &self.problem.products;
        let mut out = self.derivatives(&self.problem.start(), false)?.by_covariance;
        for (((sum, u), lambda), f) in
            out.iter_mut().zip(self.solution().u).zip(&self.factor.lambda).zip(&products.factors)
        {
            let weighted = f.relation.as_ref().map(|relation| relation.times(&u, f.q));
            let (mut v, mut w) = (zeros(f.q), zeros(f.q));
            for (u, other) in u.chunks_exact(f.q).zip(weighted.as_ref().unwrap_or(&u).chunks_exact(f.q)) {
                v.copy_from_slice(u);
                w.copy_from_slice(other);
                block::backward(lambda, f.q, &mut v);
                block::backward(lambda, f.q, &mut w);
                for b in 0..f.q {
                    (0..f.q).for_each(|a| sum[b * f.q + a] += 0.5 * (v[a] * w[b] + v[b] * w[a]) / self.s2);
                }
            }
        }
        Some(out)
    }

    /// L_l^-1 Lambda_1' Z_1l' [X y] of the levels of the first factor.
    pub fn fixed_strips(&self) -> &[f64] {
        &self.factor.eliminated.wx
    }

    /// L_S^-1 Lambda_2' Z_2'V_1^-1 [X y].
    pub fn rest_x(&self) -> &[f64] {
        &self.rest_x
    }

    /// g <- R_X^-T g.
    pub fn forward_fixed(&self, g: &mut [f64]) {
        let m = self.problem.products.p + 1;
        for i in 0..g.len() {
            let s: f64 = (0..i).map(|k| self.rx[k * m + i] * g[k]).sum();
            g[i] = (g[i] - s) / self.rx[i * m + i];
        }
    }

    /// See `Problem::derivatives`; here Lambda has no zero on its diagonal, but `theta` may.
    fn derivatives(&self, theta: &[f64], curvature: bool) -> Option<Derivatives> {
        let problem = self.problem;
        let products = &problem.products;
        let (p, m, n) = (products.p, products.p + 1, products.n_rest);
        let beta = self.beta();
        let root = self.inverse_root();
        let rest = self.rest_effects(&beta);

        // parameters by factor, in elimination order
        let own: Vec<Vec<usize>> = (0..products.factors.len())
            .map(|e| (0..problem.n_theta()).filter(|&i| problem.parameters[i].factor == e).collect())
            .collect();
        let inverses: Vec<Vec<f64>> =
            self.factor.lambda.iter().zip(&products.factors).map(|(l, f)| block::inverse_lower(l, f.q)).collect();

        // the first factor: one loop over its levels
        let q = products.factors[0].q;
        let wanted: &[usize] = if curvature { &own[0] } else { &[] };
        let by_moments = n == 0 && !wanted.is_empty() && q <= MOMENTS;
        let keep_rows = n > 0 && !wanted.is_empty();
        let parts = schur::over_pieces(
            problem.pieces.windows(2).map(|w| w[0]..w[1]).collect(),
            |_, levels: std::ops::Range<usize>| {
                let mut sums = LevelSums::new(q, p, wanted.len(), keep_rows);
                if by_moments {
                    sums.start_moments(q, p);
                }
                with_size!(q, {
                    let mut effects = zeros(q * m);
                    for level in levels {
                        if level % schur::LEVELS == 0 {
                            threads::check();
                        }
                        let l = &self.factor.eliminated.l[level * q * q..(level + 1) * q * q];
                        self.first_effects(level, &beta, &rest, q, &mut effects);
                        sums.add_effects(&effects, &root, q, p, self.reml);
                        if by_moments {
                            sums.add_moments(&effects, l, self.random.is_none(), q, p);
                            continue;
                        }
                        if self.random.is_none() {
                            subtract_from_identity(l, q, &mut sums.kernel);
                        }
                        sums.add_directions(&effects, &inverses[0], wanted, problem, Some(l), q, p);
                    }
                });
                sums
            },
        );
        let mut parts = parts.into_iter();
        let mut first = parts.next().expect("there is a piece");
        parts.for_each(|part| first.merge(part));
        if by_moments {
            first.directions_of_moments(&inverses[0], wanted, problem, q, p);
        }
        for idle in products.factors[0].idle.iter() {
            let square = self.factor.lambda[0][0] * self.factor.lambda[0][0] * idle.zz;
            first.kernel[0] += idle.count * square / (1.0 + square);
        }
        let inverse = self.random.is_none().then(|| selected_inverse(&self.factor.rest, problem.par));
        if let Some(inverse) = &inverse {
            let y = self.factor.backward_strips();
            let fill = schur::sandwich_sum(products, &problem.pattern, &y, inverse, problem.par);
            first.kernel.iter_mut().zip(&fill).for_each(|(k, f)| *k -= f);
        }
        let mut all = vec![first];

        // the rest: its levels are rows of `rest`, its inverse blocks entries of `inverse`
        for (e, f) in products.factors.iter().enumerate().skip(1) {
            let q = f.q;
            let wanted: &[usize] = if curvature { &own[e] } else { &[] };
            // models with absorbed factors have no relations
            if let (Some(relation), Some(inverse)) = (&f.relation, &inverse) {
                all.push(self.related_sums(e, relation, (&rest, inverse, &root), &inverses[e], wanted));
                continue;
            }
            let mut sums = LevelSums::new(q, p, wanted.len(), true);
            let mut effects = zeros(q * m);
            let mut block = zeros(q * q);
            for level in 0..f.n_levels {
                let start = products.offset[e] + level * q;
                for c in 0..m {
                    for i in 0..q {
                        effects[c * q + i] = rest[(start + i) * m + c];
                    }
                }
                sums.add_effects(&effects, &root, q, p, self.reml);
                if let Some(inverse) = &inverse {
                    block.fill(0.0);
                    add_rest_block(&problem.pattern, inverse, start, q, &mut block);
                    for i in 0..q {
                        sums.kernel[i * q + i] += 1.0;
                        for j in 0..q {
                            sums.kernel[j * q + i] -= block[j * q + i];
                        }
                    }
                }
                sums.add_directions(&effects, &inverses[e], wanted, problem, None, q, p);
            }
            all.push(sums);
        }
        if let Some(random) = &self.random {
            self.add_traces_of_random(random, &mut all);
        }
        all.iter_mut().for_each(|sums| sums.take_out_squares(self.s2));

        let by_covariance: Vec<Vec<f64>> = all
            .iter()
            .zip(&inverses)
            .zip(&products.factors)
            .map(|((sums, inverse), f)| block::sandwich(inverse, &sums.kernel, f.q))
            .collect();
        let lambda = problem.lambda(theta);
        let along = |matrices: &[Vec<f64>], par: &Parameter| problem.along(par, matrices, &lambda);
        let gradient: Vec<f64> = problem.parameters.iter().map(|par| along(&by_covariance, par)).collect();
        if gradient.iter().any(|g| !g.is_finite()) {
            return None;
        }
        if !curvature {
            return Some(Derivatives {
                gradient,
                curvature: vec![],
                s2_gradient: vec![],
                s2_hessian: vec![],
                by_covariance,
            });
        }
        // sum_l v_l v_l' with v = Lambda^-T u
        let squares: Vec<Vec<f64>> = all
            .iter()
            .zip(&inverses)
            .zip(&products.factors)
            .map(|((sums, inverse), f)| block::sandwich(inverse, &sums.squares, f.q))
            .collect();
        let dof = problem.dof(self.reml);
        let s2_gradient = problem.parameters.iter().map(|par| -along(&squares, par) / dof).collect();
        let (curvature, s2_hessian) = self.curvature(&all, &own, &by_covariance, &squares, &root);
        Some(Derivatives { gradient, curvature, s2_gradient, s2_hessian, by_covariance })
    }

    /// Adds sum_l (I - M^-1)_ll of the model without absorbed factors, where log|V| comes from it.
    fn add_traces_of_random(&self, random: &LowerFactor, all: &mut [LevelSums]) {
        let own = all.iter_mut().zip(&self.problem.products.factors).filter(|(_, f)| !f.is_absorbed());
        for ((sums, f), inverses) in own.zip(random.level_inverses()) {
            for inverse in inverses.chunks_exact(f.q * f.q) {
                for (at, (kernel, inverse)) in sums.kernel.iter_mut().zip(inverse).enumerate() {
                    *kernel += if at % (f.q + 1) == 0 { 1.0 - inverse } else { -inverse };
                }
            }
        }
    }

    /// The sums of a factor whose levels are related: over pairs of levels, weighted by A^-1.
    ///
    /// A sum of a_l b_l' with a = Lambda' Z'V^-1 x becomes one of u_l (A^-1 v)_l', u = A a being what M is solved for;
    /// I - M^-1 becomes I - A^-1 M^-1.
    fn related_sums(
        &self,
        e: usize,
        relation: &Relation,
        (rest, inverse, root): (&[f64], &[f64], &[f64]),
        lambda_inverse: &[f64],
        wanted: &[usize],
    ) -> LevelSums {
        let products = &self.problem.products;
        let (q, p, m) = (products.factors[e].q, products.p, products.p + 1);
        let (n_levels, k) = (products.factors[e].n_levels, wanted.len());
        let first = |level: usize| products.offset[e] + level * q;
        let mut sums = LevelSums::new(q, p, k, true);
        let mut effects = zeros(n_levels * q * m);
        for (level, out) in effects.chunks_exact_mut(q * m).enumerate() {
            (0..q * m).for_each(|at| out[at] = rest[(first(level) + at % q) * m + at / q]);
        }
        let weighted = relation.times(&effects, q * m);
        for (one, other) in effects.chunks_exact(q * m).zip(weighted.chunks_exact(q * m)) {
            sums.add_pair(one, other, root, q, p, self.reml);
        }
        (0..q).for_each(|i| sums.kernel[i * q + i] += n_levels as f64);
        for column in 0..n_levels {
            for (row, a) in relation.column(column) {
                for j in 0..q {
                    for i in 0..q {
                        let (r, c) = (first(row) + i, first(column) + j);
                        if row == column && i < j {
                            continue;
                        }
                        let value = a * inverse[self.problem.pattern.index(r, c)];
                        sums.kernel[j * q + i] -= value;
                        if r != c {
                            sums.kernel[i * q + j] -= value;
                        }
                    }
                }
            }
        }
        if k == 0 {
            return sums;
        }
        let mut directions = zeros(n_levels * q * k);
        for (level, out) in effects.chunks_exact(q * m).zip(directions.chunks_exact_mut(q * k)) {
            fill_directions(&level[q * p..], lambda_inverse, wanted, self.problem, q, out);
        }
        let solved = relation.times(&directions, q * k);
        for ((level, t), s) in
            effects.chunks_exact(q * m).zip(directions.chunks_exact(q * k)).zip(solved.chunks_exact(q * k))
        {
            for c in 0..k {
                let s = &s[c * q..(c + 1) * q];
                let with_s = |other: &[f64]| other.iter().zip(s).map(|(a, b)| a * b).sum::<f64>();
                sums.along[c] += with_s(&level[q * p..]);
                (0..p).for_each(|a| sums.fixed[c * p + a] += with_s(&level[a * q..(a + 1) * q]));
                (0..k).for_each(|d| sums.information[d * k + c] += with_s(&t[d * q..(d + 1) * q]));
            }
        }
        sums.rows = solved;
        sums
    }

    /// Average information (Gilmour, Thompson and Cullis 1995) plus the part of the second derivative that
    /// keeps S fixed in its first order: 2 <G, dLambda_i dLambda_j'>. Behind it the Hessian of s2.
    fn curvature(
        &self,
        all: &[LevelSums],
        own: &[Vec<usize>],
        by_covariance: &[Vec<f64>],
        squares: &[Vec<f64>],
        root: &[f64],
    ) -> (Vec<f64>, Vec<f64>) {
        let problem = self.problem;
        let products = &problem.products;
        let (p, n, k) = (products.p, products.n_rest, problem.n_theta());
        let dof = problem.dof(self.reml);
        // L^-1 U~ in the rows of the rest
        let mut rest = zeros(n * k);
        if n > 0 {
            let done = schur::strips_transpose_times(
                products,
                &self.factor.eliminated.w,
                &all[0].rows,
                own[0].len(),
                problem.par,
            );
            for (c, &i) in own[0].iter().enumerate() {
                for j in 0..n {
                    rest[i * n + j] = -done[j * own[0].len() + c];
                }
            }
            for (e, f) in products.factors.iter().enumerate().skip(1) {
                for (c, &i) in own[e].iter().enumerate() {
                    for level in 0..f.n_levels {
                        let at = (level * own[e].len() + c) * f.q;
                        let first = i * n + products.offset[e] + level * f.q;
                        rest[first..first + f.q].copy_from_slice(&all[e].rows[at..at + f.q]);
                    }
                }
            }
            self.factor.rest.forward(&mut rest, k);
        }
        let mut out = zeros(k * k);
        let mut fixed = zeros(p * k); // P' X~' U~
        let mut along = zeros(k); // U~' u
        for (sums, own) in all.iter().zip(own) {
            for (c, &i) in own.iter().enumerate() {
                along[i] = sums.along[c];
                for a in 0..p {
                    fixed[i * p + a] = (0..=a).map(|b| root[a * p + b] * sums.fixed[c * p + b]).sum();
                }
                for (d, &j) in own.iter().enumerate() {
                    out[j * k + i] += sums.information[d * own.len() + c];
                }
            }
        }
        let mut s2_hessian = zeros(k * k);
        for j in 0..k {
            for i in 0..k {
                let dot = |v: &[f64], m: usize| -> f64 { (0..m).map(|r| v[i * m + r] * v[j * m + r]).sum() };
                let projected = out[j * k + i] - dot(&rest, n) - dot(&fixed, p);
                let mut h = projected / self.s2 - along[i] * along[j] / (self.s2 * self.s2 * dof);
                let mut bend = 2.0 * projected;
                let (a, b) = (problem.parameters[i], problem.parameters[j]);
                if a.factor == b.factor && a.column == b.column {
                    let q = products.factors[a.factor].q;
                    let places = (0..a.count).map(|t| (b.row + t) * q + a.row + t);
                    h += 2.0 * places.clone().map(|at| by_covariance[a.factor][at]).sum::<f64>();
                    bend -= 2.0 * places.map(|at| squares[a.factor][at]).sum::<f64>();
                }
                out[j * k + i] = h;
                s2_hessian[j * k + i] = bend / dof;
            }
        }
        (out, s2_hessian)
    }
}

fn moved(theta: &[f64], j: usize, by: f64) -> Vec<f64> {
    let mut theta = theta.to_vec();
    theta[j] += by;
    theta
}
