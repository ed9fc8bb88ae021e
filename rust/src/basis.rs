//! Orthonormal bases of column spaces: what makes a fit independent of units and origins.
//!
//! Columns x become q = (x - mean) T with q'Wq/n = I. When the first column is constant the others are centred on it
//! before any product is formed, so that a calendar year loses no digits; a second pass over the rows then repairs
//! what squaring the condition number cost (CholeskyQR2, Yamamoto et al. 2015).

use crate::block;
use crate::rows::{Source, sum_over_rows};
use std::ops::Range;

/// A pivot whose square falls below this share of its column's square is a linear combination of columns before it.
const ALIAS_TOL_SQUARED: f64 = 1e-13;

/// A map from raw columns to an orthonormal basis of their span.
#[derive(Clone, Debug)]
pub struct Basis {
    /// Raw columns that are kept, in order.
    pub kept: Vec<usize>,
    /// Subtracted from each kept column (times the first one); all zero without a constant column.
    mean: Vec<f64>,
    /// Upper triangular, n_kept x n_kept, column-major.
    t: Vec<f64>,
}

impl Basis {
    /// Orthonormalises the columns of `source` over all rows, weights included.
    ///
    /// With `drop`, aliased columns are left out (leftmost kept); without, they stay as they are, only scaled.
    pub fn of(source: &Source, n_cols: usize, weights: Option<&[f64]>, passes: usize, drop: bool) -> Basis {
        let n = source.n_rows();
        if let (Source::Ones(_), None) = (source, weights) {
            return Basis { kept: vec![0], mean: vec![0.0], t: vec![1.0] };
        }
        let weight = |i: usize| weights.map_or(1.0, |w| w[i]);
        let all: Vec<usize> = (0..n_cols).collect();
        let mean = centre(source, n_cols, &weight);
        let mut basis = Basis { kept: all, mean, t: block::identity(n_cols) };
        for pass in 0..passes {
            let p = basis.kept.len();
            let gram = sum_over_rows(n, p * p, |rows, acc| {
                let mut q = vec![0.0; p];
                for i in rows {
                    basis.apply(source.row(i), &mut q);
                    let w = weight(i);
                    for b in 0..p {
                        let wq = w * q[b];
                        for a in b..p {
                            acc[b * p + a] += wq * q[a];
                        }
                    }
                }
            });
            let total: f64 = weights.map_or(n as f64, |w| w.iter().sum());
            basis = basis.refine(&gram, total, n as f64, drop && pass == 0);
        }
        basis
    }

    /// Divides some columns by their common root mean square; nothing is centred or rotated.
    pub fn scaling(source: &Source, columns: Range<usize>, weights: Option<&[f64]>) -> Basis {
        let size = columns.len();
        let squares = sum_over_rows(source.n_rows(), 1, |rows, acc| {
            for i in rows {
                let w = weights.map_or(1.0, |w| w[i]);
                acc[0] += w * source.row(i)[columns.clone()].iter().map(|z| z * z).sum::<f64>();
            }
        });
        let scale = (squares[0] / (source.n_rows() * size) as f64).sqrt();
        let t = block::identity(size).into_iter().map(|v| if scale > 0.0 { v / scale } else { v }).collect();
        Basis { kept: (0..size).collect(), mean: vec![0.0; size], t }
    }

    /// The same map for rows that hold the kept columns only.
    pub fn on_kept(&self) -> Basis {
        Basis { kept: (0..self.kept.len()).collect(), ..self.clone() }
    }

    /// One Cholesky step: divides out the factor of `gram` (lower triangle) and, if asked, drops aliased columns.
    fn refine(&self, gram: &[f64], total_weight: f64, n: f64, drop: bool) -> Basis {
        let p = self.kept.len();
        let mut r = vec![0.0; p * p]; // R' lower triangular, rows of kept columns
        let mut keep = Vec::with_capacity(p);
        let mut dependent = vec![false; p];
        for j in 0..p {
            let square = gram[j * p + j];
            let mut pivot = square;
            for &k in &keep {
                let k: usize = k;
                let s: f64 = keep.iter().take_while(|&&m| m < k).map(|&m: &usize| r[m * p + j] * r[m * p + k]).sum();
                r[k * p + j] = (gram[k * p + j] - s) / r[k * p + k];
                pivot -= r[k * p + j] * r[k * p + j];
            }
            let rounding = 4.0 * f64::EPSILON * self.mean[j];
            if pivot > (ALIAS_TOL_SQUARED * square).max(rounding * rounding * total_weight) {
                r[j * p + j] = pivot.sqrt();
                keep.push(j);
            } else {
                dependent[j] = true;
            }
        }
        if !drop {
            // a dependent column keeps its place and is only scaled
            for j in (0..p).filter(|&j| dependent[j]) {
                for k in 0..p {
                    r[k * p + j] = 0.0;
                    r[j * p + k] = 0.0;
                }
                r[j * p + j] = gram[j * p + j].sqrt();
                if r[j * p + j] == 0.0 {
                    r[j * p + j] = n.sqrt();
                }
            }
            keep = (0..p).collect();
        }
        let m = keep.len();
        // T <- T[kept, kept] R^-1 sqrt(n)
        let lower: Vec<f64> =
            keep.iter().flat_map(|&k| keep.iter().map(move |&j| (k, j))).map(|(k, j)| r[k * p + j]).collect();
        let inverse = block::transpose(&block::inverse_lower(&lower, m), m, m);
        let old: Vec<f64> =
            keep.iter().flat_map(|&k| keep.iter().map(move |&j| (k, j))).map(|(k, j)| self.t[k * p + j]).collect();
        let mut t = vec![0.0; m * m];
        block::times(&old, &inverse, m, m, m, &mut t);
        t.iter_mut().for_each(|v| *v *= n.sqrt());
        Basis {
            kept: keep.iter().map(|&k| self.kept[k]).collect(),
            mean: keep.iter().map(|&k| self.mean[k]).collect(),
            t,
        }
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// One row of raw columns in the basis.
    #[inline]
    pub fn apply(&self, raw: &[f64], out: &mut [f64]) {
        let p = self.kept.len();
        if p == 0 {
            return;
        }
        let first = raw[self.kept[0]];
        for b in (0..p).rev() {
            let column = &self.t[b * p..b * p + b + 1];
            let mut s = column[0] * (first - self.mean[0] * first);
            for a in 1..=b {
                s += column[a] * (raw[self.kept[a]] - self.mean[a] * first);
            }
            out[b] = s;
        }
    }

    /// The whole map as a matrix on the kept raw columns: basis = raw * map, p x p column-major.
    pub fn matrix(&self) -> Vec<f64> {
        let p = self.kept.len();
        let mut out = self.t.clone();
        for b in 0..p {
            let shift: f64 = (1..p).map(|a| self.mean[a] * self.t[b * p + a]).sum();
            out[b * p] -= shift;
        }
        out
    }

    /// log |det| of the map.
    pub fn log_det(&self) -> f64 {
        let p = self.kept.len();
        (0..p).map(|j| self.t[j * p + j].abs().ln()).sum()
    }
}

/// Weighted means of the columns in units of the first one, if that is a nonzero constant; otherwise zeros.
fn centre(source: &Source, n_cols: usize, weight: &(impl Fn(usize) -> f64 + Sync)) -> Vec<f64> {
    let n = source.n_rows();
    let mut mean = vec![0.0; n_cols];
    if n == 0 || n_cols < 2 {
        return mean;
    }
    let constant = source.row(0)[0];
    if constant == 0.0 || (0..n).any(|i| source.row(i)[0] != constant) {
        return mean;
    }
    let sums = sum_over_rows(n, n_cols, |rows, acc| {
        for i in rows {
            let w = weight(i);
            acc[0] += w;
            for (a, x) in acc.iter_mut().zip(source.row(i)).skip(1) {
                *a += w * x;
            }
        }
    });
    for j in 1..n_cols {
        mean[j] = sums[j] / sums[0] / constant;
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(source: &Source, basis: &Basis) -> Vec<f64> {
        let (n, p) = (source.n_rows(), basis.len());
        let (mut out, mut q) = (vec![0.0; p * p], vec![0.0; p]);
        for i in 0..n {
            basis.apply(source.row(i), &mut q);
            for b in 0..p {
                (0..p).for_each(|a| out[b * p + a] += q[a] * q[b] / n as f64);
            }
        }
        out
    }

    #[test]
    fn a_calendar_year_is_orthonormalised_and_an_alias_dropped() {
        let n = 40;
        let values: Vec<f64> = (0..n)
            .flat_map(|i| {
                let year = 1990.0 + i as f64;
                [1.0, year, 2.0 * year + 5.0, (i * i % 7) as f64 * 1e6]
            })
            .collect();
        let source = Source::Columns { values: &values, n_rows: n, n_cols: 4 };
        let basis = Basis::of(&source, 4, None, 2, true);
        assert_eq!(basis.kept, [0, 1, 3]);
        for (k, g) in gram(&source, &basis).iter().enumerate() {
            assert!((g - f64::from(k % 4 == 0)).abs() < 1e-12);
        }
    }

    #[test]
    fn scaling_keeps_columns_apart() {
        let values = [3.0, 4.0, 0.0, 5.0];
        let source = Source::Columns { values: &values, n_rows: 2, n_cols: 2 };
        let basis = Basis::scaling(&source, 0..2, None);
        let scale = (50.0_f64 / 4.0).sqrt();
        let mut out = [0.0; 2];
        basis.apply(source.row(0), &mut out);
        assert!((out[0] - 3.0 / scale).abs() < 1e-15 && (out[1] - 4.0 / scale).abs() < 1e-15);
    }
}
