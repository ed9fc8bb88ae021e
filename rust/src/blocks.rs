//! Covariances of blocks of rows that are told one by one: residuals with variances or times of their own, and random
//! effects beside them.
//!
//! A block is a pattern of `patterns.rs` with a matrix V of its own, m x m for its m rows; blocks that share V are one
//! pattern. The matrices come one after the other, as do their derivatives in k parameters. What `patterns.rs` returns by
//! pairs of visits is here summed over the blocks along the derivatives, k numbers or k x k, so that ten thousand blocks
//! of different V need no more memory than their derivatives do.

use crate::block;
use crate::memory::{before_products, reserved, zeros};
use crate::patterns::{Pattern, Patterns, Solved, Whitened, precision};
use crate::threads;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// The criterion and its derivatives along k directions, in the columns q U^-T.
pub struct BlockDerivatives {
    pub value: f64,
    /// In each V, one after the other.
    pub gradient: Vec<f64>,
    /// Second derivatives of the determinant, of the residual and of X, k x k each.
    pub parts: [Vec<f64>; 3],
    /// [q r]'K dV_i K [q r], k matrices (p + 1, p + 1).
    pub products: Vec<f64>,
}

/// One block at one V.
struct Turned {
    /// K = V^-1.
    inverse: Vec<f64>,
    /// K [q U^-T, r], n_rows x m (p + 1).
    rows: Vec<f64>,
    /// Sums over the rows of products at any two places: of r, and of q U^-T.
    of_rest: Vec<f64>,
    of_fixed: Vec<f64>,
}

impl Patterns {
    /// Numbers that the matrices of all blocks are.
    pub fn block_values(&self) -> usize {
        self.patterns.iter().map(|p| p.visits.len().pow(2)).sum()
    }

    /// The criterion without its constant; None where a V is not positive definite.
    pub fn block_value(&self, v: &[f64], reml: bool) -> Option<f64> {
        let mut sums = zeros((self.p + 1) * (self.p + 1));
        let mut log_det = 0.0;
        for (pattern, at) in self.patterns.iter().zip(self.places()) {
            threads::check();
            let white = pattern.whiten_by(self.lower_of(pattern, v, at), self.p + 1)?;
            log_det += 2.0 * pattern.n_subjects as f64 * white.log_diagonal;
            pattern.add_products(&white.rows, self.p + 1, &mut sums);
        }
        Some(self.solve(&sums, log_det, reml)?.value)
    }

    /// Coefficients of the fixed effects less beta0, over scale, and U^-T, p x p.
    pub fn block_root(&self, v: &[f64], reml: bool) -> Option<(Vec<f64>, Vec<f64>)> {
        let (_, at) = self.whiten_blocks(v, reml)?;
        Some((at.beta, at.root))
    }

    /// The criterion with its derivatives along `slopes`, k matrices a block.
    pub fn block_derivatives(&self, v: &[f64], slopes: &[f64], k: usize, reml: bool) -> Option<BlockDerivatives> {
        let c = self.p + 1;
        let (white, at) = self.whiten_blocks(v, reml)?;
        let mut out = BlockDerivatives {
            value: at.value,
            gradient: zeros(v.len()),
            parts: [0; 3].map(|_| zeros(k * k)),
            products: zeros(k * c * c),
        };
        for ((pattern, white), first) in self.patterns.iter().zip(&white).zip(self.places()) {
            threads::check();
            let (m, count) = (pattern.visits.len(), pattern.n_subjects as f64);
            let turned = self.turn(pattern, white, &at);
            let gradient = &mut out.gradient[first..first + m * m];
            for (i, g) in gradient.iter_mut().enumerate() {
                *g = count * turned.inverse[i] - turned.of_rest[i] - if reml { turned.of_fixed[i] } else { 0.0 };
            }
            let along: Vec<&[f64]> =
                (0..k).map(|i| &slopes[k * first + i * m * m..k * first + (i + 1) * m * m]).collect();
            let times = |by: &[f64]| -> Vec<Vec<f64>> { along.iter().map(|d| product(d, m, m, by, m)).collect() };
            let (by_inverse, by_rest) = (times(&turned.inverse), times(&turned.of_rest));
            let by_fixed = if reml { times(&turned.of_fixed) } else { vec![] };
            for i in 0..k {
                for j in 0..k {
                    out.parts[0][i * k + j] += count * trace(&by_inverse[i], &by_inverse[j], m);
                    let both = |by: &[Vec<f64>]| trace(&by_inverse[i], &by[j], m) + trace(&by_inverse[j], &by[i], m);
                    out.parts[1][i * k + j] += both(&by_rest);
                    if reml {
                        out.parts[2][i * k + j] += both(&by_fixed);
                    }
                }
                pattern.add_quadratic(&turned.rows, along[i], c, &mut out.products[i * c * c..(i + 1) * c * c]);
            }
        }
        Some(out)
    }

    /// What Kenward and Roger's covariance needs for W_ij (k x k) and D = sum W_ij d2V_ij: sum W_ij Q_ij and q'K D K q, p x
    /// p each, in the columns q U^-T, and tr(K dV_j K D) less twice tr(C K dV_j K D K) with C = q Phi q', k.
    pub fn block_kenward_roger(
        &self,
        v: &[f64],
        slopes: &[f64],
        k: usize,
        weights: &[f64],
        bend: &[f64],
    ) -> Option<[Vec<f64>; 3]> {
        let (p, c) = (self.p, self.p + 1);
        let (white, at) = self.whiten_blocks(v, true)?;
        let (mut q, mut r, mut t) = (zeros(c * c), zeros(c * c), zeros(k));
        for ((pattern, white), first) in self.patterns.iter().zip(&white).zip(self.places()) {
            threads::check();
            let (m, count) = (pattern.visits.len(), pattern.n_subjects as f64);
            let turned = self.turn(pattern, white, &at);
            let along: Vec<&[f64]> =
                (0..k).map(|i| &slopes[k * first + i * m * m..k * first + (i + 1) * m * m]).collect();
            let own = &bend[first..first + m * m];
            let mut middle = zeros(m * m);
            for i in 0..k {
                let mut mixed = zeros(m * m);
                for j in 0..k {
                    mixed.iter_mut().zip(along[j]).for_each(|(t, d)| *t += weights[i * k + j] * d);
                }
                let half = product(along[i], m, m, &turned.inverse, m);
                middle.iter_mut().zip(product(&half, m, m, &mixed, m)).for_each(|(t, d)| *t += d);
            }
            pattern.add_quadratic(&turned.rows, &middle, c, &mut q);
            pattern.add_quadratic(&turned.rows, own, c, &mut r);
            let half = product(&turned.inverse, m, m, own, m);
            let (whole, crossed) =
                (product(&half, m, m, &turned.inverse, m), product(&half, m, m, &turned.of_fixed, m));
            for (total, d) in t.iter_mut().zip(&along) {
                *total += (0..m * m).map(|i| d[i] * (count * whole[i] - 2.0 * crossed[i])).sum::<f64>();
            }
        }
        let fixed = |of: Vec<f64>| (0..p * p).map(|i| of[i / p * c + i % p]).collect();
        Some([fixed(q), fixed(r), t])
    }

    /// Where the matrix of each block begins.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.patterns.iter().scan(0, |next, pattern| {
            let first = *next;
            *next += pattern.visits.len().pow(2);
            Some(first)
        })
    }

    fn lower_of(&self, pattern: &Pattern, v: &[f64], first: usize) -> Vec<f64> {
        v[first..first + pattern.visits.len().pow(2)].to_vec()
    }

    fn whiten_blocks(&self, v: &[f64], reml: bool) -> Option<(Vec<Whitened>, Solved)> {
        let c = self.p + 1;
        let mut sums = zeros(c * c);
        let mut log_det = 0.0;
        let mut all = reserved(self.patterns.len());
        for (pattern, at) in self.patterns.iter().zip(self.places()) {
            threads::check();
            let white = pattern.whiten_by(self.lower_of(pattern, v, at), c)?;
            log_det += 2.0 * pattern.n_subjects as f64 * white.log_diagonal;
            pattern.add_products(&white.rows, c, &mut sums);
            all.push(white);
        }
        let at = self.solve(&sums, log_det, reml)?;
        Some((all, at))
    }

    fn turn(&self, pattern: &Pattern, white: &Whitened, at: &Solved) -> Turned {
        let (m, c, k) = (pattern.visits.len(), self.p + 1, pattern.n_rows);
        let inverse = precision(&white.inverse, m);
        let rows = pattern.turned(white, self.p, &at.beta, &at.root);
        let sums = |first: usize, n_columns: usize| {
            let mut out = zeros(m * m);
            let (from, size) = (first * k, n_columns * k);
            if size * m * m <= SMALL {
                let column = |a: usize| &rows[a * c * k + from..a * c * k + from + size];
                for b in 0..m {
                    for a in b..m {
                        let value: f64 = column(a).iter().zip(column(b)).map(|(x, y)| x * y).sum();
                        out[b * m + a] = value;
                        out[a * m + b] = value;
                    }
                }
            } else {
                before_products(Par::Seq);
                let all = MatRef::from_column_major_slice(&rows, c * k, m).subrows(from, size);
                matmul(square(&mut out, m), Accum::Replace, all.transpose(), all, 1.0, Par::Seq);
            }
            out
        };
        let (of_rest, of_fixed) = (sums(self.p, 1), sums(0, self.p));
        Turned { inverse, of_rest, of_fixed, rows }
    }
}

impl Pattern {
    /// Adds the sum over the rows of w D w', (c, c), with w the values of c columns at the m places.
    fn add_quadratic(&self, rows: &[f64], d: &[f64], c: usize, sums: &mut [f64]) {
        let (m, k) = (self.visits.len(), self.n_rows);
        if k == 0 {
            return;
        }
        let turned = product(rows, c * k, m, d, m);
        if k < FEW_ROWS {
            for (left, right) in rows.chunks_exact(c * k).zip(turned.chunks_exact(c * k)) {
                for j in 0..c {
                    for i in 0..c {
                        sums[j * c + i] += (0..k).map(|s| left[i * k + s] * right[j * k + s]).sum::<f64>();
                    }
                }
            }
            return;
        }
        before_products(Par::Seq);
        for a in 0..m {
            let left = MatRef::from_column_major_slice(&rows[a * c * k..(a + 1) * c * k], k, c);
            let right = MatRef::from_column_major_slice(&turned[a * c * k..(a + 1) * c * k], k, c);
            matmul(square(sums, c), Accum::Add, left.transpose(), right, 1.0, Par::Seq);
        }
    }
}

fn square(values: &mut [f64], m: usize) -> MatMut<'_, f64> {
    MatMut::from_column_major_slice_mut(values, m, m)
}

/// A B, (n, m) times (m, q), column-major.
fn product(a: &[f64], n: usize, m: usize, b: &[f64], q: usize) -> Vec<f64> {
    let mut out = zeros(n * q);
    if n * m * q <= SMALL {
        block::times(a, b, n, m, q, &mut out);
        return out;
    }
    before_products(Par::Seq);
    matmul(
        MatMut::from_column_major_slice_mut(&mut out, n, q),
        Accum::Replace,
        MatRef::from_column_major_slice(a, n, m),
        MatRef::from_column_major_slice(b, m, q),
        1.0,
        Par::Seq,
    );
    out
}

/// Multiplications up to which a plain loop is quicker.
const SMALL: usize = 512;
/// The same in rows.
const FEW_ROWS: usize = 8;

/// tr(A B), (m, m).
fn trace(a: &[f64], b: &[f64], m: usize) -> f64 {
    let row = |i: usize| (0..m).map(|j| a[j * m + i] * b[i * m + j]).sum::<f64>();
    (0..m).map(row).sum()
}
