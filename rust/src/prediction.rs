//! Variances of linear combinations of fixed and random effects (Henderson 1975).
//!
//! With a = [x, Lambda'z] and C the mixed-model equations in spherical coordinates, a' C^-1 a = |f|^2 + |R_X^-T g|^2,
//! f = L^-1 Lambda'z and g = x - (X'WZ Lambda L^-T) f.

use crate::block;
use crate::deviance::{Factorization, Problem};
use crate::rows::Source;
use rayon::prelude::*;

/// Rows solved together.
const ROWS: usize = 64;

/// New rows: the caller's fixed columns that are kept, and by the caller's factors levels (-1: none) and columns.
pub struct NewRows<'a> {
    pub x: Source<'a>,
    pub codes: Vec<&'a [i32]>,
    pub z: Vec<Source<'a>>,
}

impl Problem {
    /// Var(x'(beta^ - beta) + z'(b^ - b)) / sigma^2 of each row, at a user's theta.
    pub fn quadratic_forms(&self, theta: &[f64], rows: &NewRows) -> Option<Vec<f64>> {
        let at = self.factorize(&self.to_engine(theta), false)?;
        let n_rows = rows.x.n_rows();
        let starts: Vec<usize> = (0..n_rows).step_by(ROWS).collect();
        let piece = |&start: &usize| at.quadratic_forms(rows, start..n_rows.min(start + ROWS));
        Some(starts.par_iter().flat_map_iter(piece).collect())
    }
}

impl Factorization<'_> {
    fn quadratic_forms(&self, rows: &NewRows, range: std::ops::Range<usize>) -> Vec<f64> {
        let products = &self.problem.products;
        let (p, m, n) = (products.p, products.p + 1, products.n_rest);
        let x_basis = products.x_basis.on_kept();
        let (cross, wx) = (&products.cross, self.fixed_strips());
        let mut fixed = vec![0.0; p * range.len()];
        let mut square = vec![0.0; range.len()];
        let mut rest = vec![0.0; n * range.len()];
        for (k, i) in range.clone().enumerate() {
            let g = &mut fixed[k * p..(k + 1) * p];
            x_basis.apply(rows.x.row(i), g);
            let rest = &mut rest[k * n..(k + 1) * n];
            for (e, f) in products.factors.iter().enumerate() {
                let code = rows.codes[f.public][i];
                if code < 0 {
                    continue;
                }
                let level = code as usize;
                let mut z = vec![0.0; f.q];
                let mut a = vec![0.0; f.q];
                f.basis.apply(rows.z[f.public].row(i), &mut z);
                block::transpose_times(&self.lambda[e], &z, f.q, f.q, 1, &mut a);
                if e > 0 {
                    let first = products.offset[e] + level * f.q;
                    rest[first..first + f.q].iter_mut().zip(&a).for_each(|(r, a)| *r += a);
                    continue;
                }
                block::forward(self.level_factor(level), f.q, &mut a);
                square[k] += a.iter().map(|f| f * f).sum::<f64>();
                for t in cross.start[level]..cross.start[level + 1] {
                    let strip = &self.strips()[t * f.q..(t + 1) * f.q];
                    rest[cross.column[t] as usize] -= strip.iter().zip(&a).map(|(w, a)| w * a).sum::<f64>();
                }
                for (c, g) in g.iter_mut().enumerate() {
                    let column = &wx[(level * m + c) * f.q..(level * m + c + 1) * f.q];
                    *g -= column.iter().zip(&a).map(|(w, a)| w * a).sum::<f64>();
                }
            }
        }
        self.forward_rest(&mut rest, range.len());
        for k in 0..range.len() {
            let rest = &rest[k * n..(k + 1) * n];
            square[k] += rest.iter().map(|f| f * f).sum::<f64>();
            let g = &mut fixed[k * p..(k + 1) * p];
            for (c, g) in g.iter_mut().enumerate() {
                *g -= self.rest_x()[c * n..(c + 1) * n].iter().zip(rest).map(|(x, f)| x * f).sum::<f64>();
            }
            self.forward_fixed(g);
            square[k] += g.iter().map(|g| g * g).sum::<f64>();
        }
        square
    }
}
