//! Variances of linear combinations of fixed and random effects (Henderson 1975).
//!
//! With a = [x, Lambda'z] and C the mixed-model equations in spherical coordinates, a' C^-1 a = |f|^2 + |R_X^-T g|^2,
//! f = L^-1 Lambda'z and g = x - (X'WZ Lambda L^-T) f. A row meets few columns of the rest: where there are many rows and
//! S^-1 is known at those columns, what they add comes from it; otherwise from a solve.

use crate::basis::Basis;
use crate::block;
use crate::cholesky::Pattern;
use crate::deviance::{Factorization, Problem};
use crate::memory::{copied, reserve, zeros};
use crate::rows::Source;
use crate::schur;
use crate::selected_inverse::selected_inverse;
use crate::threads::Stop;
use rayon::prelude::*;

/// Rows solved together.
const ROWS: usize = 64;
/// Values of the rest that a solve passes in the time that one value of S^-1 is looked up.
const LOOKUP: usize = 32;

/// New rows: the caller's fixed columns that are kept, and by the caller's factors levels (-1: none) and columns.
pub struct NewRows<'a> {
    pub x: Source<'a>,
    pub codes: Vec<&'a [i32]>,
    pub z: Vec<Source<'a>>,
}

/// S^-1 on the pattern of S.
struct RestInverse {
    values: Vec<f64>,
    /// S^-1 times the columns of X in the rest, n_rest x p.
    x: Vec<f64>,
    /// W_l S^-1 W_l' of the levels of the first factor, q x q.
    levels: Vec<f64>,
}

/// Entries r of Lambda'z in the rest after the first factor is eliminated.
#[derive(Default)]
struct RestEntries {
    column: Vec<usize>,
    value: Vec<f64>,
    /// The level of the first factor, with a = L_l^-1 Lambda'z: the first entries are those of -W_l'a.
    first: Option<usize>,
    a: Vec<f64>,
    n_first: usize,
}

impl Problem {
    /// Var(x'(beta^ - beta) + z'(b^ - b)) / sigma^2 of each row, at a user's theta.
    pub fn quadratic_forms(&self, theta: &[f64], rows: &NewRows) -> Option<Vec<f64>> {
        let at = self.factorize(theta, false)?;
        let n_rows = rows.x.n_rows();
        let inverse = (n_rows > self.products.n_rest).then(|| at.rest_inverse());
        let x_basis = self.products.x_basis.on_kept();
        let stop = Stop::current();
        let piece = |(k, out): (usize, &mut [f64])| {
            stop.check();
            let start = k * ROWS;
            out.copy_from_slice(&at.quadratic_forms(rows, &x_basis, inverse.as_ref(), start..start + out.len()));
        };
        let mut out = zeros(n_rows);
        out.par_chunks_mut(ROWS).enumerate().for_each(piece);
        Some(out)
    }
}

impl RestEntries {
    /// r'S^-1 r, if S^-1 is known at all pairs of columns and looking them up is cheaper than a solve.
    fn square(&self, pattern: &Pattern, inverse: &RestInverse) -> Option<f64> {
        let own = self.column.len() - self.n_first;
        if own * self.column.len() * LOOKUP > pattern.len() {
            return None;
        }
        let mut sum = self.first.map_or(0.0, |level| inverse.square_of_level(level, &self.a));
        for (k, (&i, u)) in self.column.iter().zip(&self.value).enumerate().skip(self.n_first) {
            let mut across = 0.0;
            for (&j, v) in self.column[..k].iter().zip(&self.value) {
                across += v * inverse.values[pattern.find(i.max(j), i.min(j))?];
            }
            sum += u * (2.0 * across + u * inverse.values[pattern.find(i, i)?]);
        }
        Some(sum)
    }
}

impl RestInverse {
    fn square_of_level(&self, level: usize, a: &[f64]) -> f64 {
        let q = a.len();
        let block = &self.levels[level * q * q..(level + 1) * q * q];
        block.chunks_exact(q).zip(a).map(|(column, u)| u * column.iter().zip(a).map(|(b, v)| b * v).sum::<f64>()).sum()
    }
}

impl Factorization<'_> {
    fn rest_inverse(&self) -> RestInverse {
        let products = &self.problem.products;
        let (p, n) = (products.p, products.n_rest);
        let mut x = copied(&self.rest_x()[..p * n]);
        self.factor.rest.backward(&mut x, p);
        let values = selected_inverse(&self.factor.rest, self.problem.par);
        let levels = schur::sandwich_levels(products, &self.problem.pattern, self.factor.strips(), &values);
        RestInverse { values, x, levels }
    }

    fn quadratic_forms(
        &self,
        rows: &NewRows,
        x_basis: &Basis,
        inverse: Option<&RestInverse>,
        range: std::ops::Range<usize>,
    ) -> Vec<f64> {
        let (p, n, pattern) = (self.problem.products.p, self.problem.products.n_rest, &self.problem.pattern);
        let mut fixed = zeros(p * range.len());
        let mut square = zeros(range.len());
        let mut entries = RestEntries::default();
        let mut unknown = vec![];
        let mut rest = vec![];
        for (k, i) in range.enumerate() {
            let g = &mut fixed[k * p..(k + 1) * p];
            x_basis.apply(rows.x.row(i), g);
            square[k] = self.eliminate(rows, i, g, &mut entries);
            match inverse.and_then(|inverse| Some((inverse, entries.square(pattern, inverse)?))) {
                Some((inverse, add)) => {
                    square[k] += add;
                    for (c, g) in g.iter_mut().enumerate() {
                        let x = &inverse.x[c * n..(c + 1) * n];
                        *g -= entries.column.iter().zip(&entries.value).map(|(&j, v)| x[j] * v).sum::<f64>();
                    }
                }
                None => {
                    unknown.push(k);
                    reserve(&mut rest, n);
                    rest.resize(unknown.len() * n, 0.0);
                    let column = &mut rest[(unknown.len() - 1) * n..];
                    entries.column.iter().zip(&entries.value).for_each(|(&j, v)| column[j] += v);
                }
            }
        }
        self.factor.rest.forward(&mut rest, unknown.len());
        for (&k, rest) in unknown.iter().zip(rest.chunks_exact(n.max(1))) {
            square[k] += rest.iter().map(|f| f * f).sum::<f64>();
            for (c, g) in fixed[k * p..(k + 1) * p].iter_mut().enumerate() {
                *g -= self.rest_x()[c * n..(c + 1) * n].iter().zip(rest).map(|(x, f)| x * f).sum::<f64>();
            }
        }
        for (square, g) in square.iter_mut().zip(fixed.chunks_exact_mut(p.max(1))) {
            self.forward_fixed(g);
            *square += g.iter().map(|g| g * g).sum::<f64>();
        }
        square
    }

    /// What the first factor adds to the square of row i; it is taken off `g`, and `entries` become those of the rest.
    fn eliminate(&self, rows: &NewRows, i: usize, g: &mut [f64], entries: &mut RestEntries) -> f64 {
        let products = &self.problem.products;
        let (m, cross) = (products.p + 1, &products.cross);
        let mut square = 0.0;
        (entries.first, entries.n_first) = (None, 0);
        entries.column.clear();
        entries.value.clear();
        for (e, f) in products.factors.iter().enumerate() {
            let code = rows.codes.get(f.public).map_or(-1, |codes| codes[i]);
            if code < 0 {
                continue;
            }
            let level = code as usize;
            let mut z = zeros(f.q);
            let mut a = zeros(f.q);
            f.basis.apply(rows.z[f.public].row(i), &mut z);
            block::transpose_times(&self.factor.lambda[e], &z, f.q, f.q, 1, &mut a);
            if e > 0 {
                let first = products.offset[e] + level * f.q;
                entries.column.extend(first..first + f.q);
                entries.value.extend(&a);
                continue;
            }
            block::forward(self.factor.level_factor(level), f.q, &mut a);
            square += a.iter().map(|f| f * f).sum::<f64>();
            for t in cross.start[level]..cross.start[level + 1] {
                let strip = &self.factor.strips()[t * f.q..(t + 1) * f.q];
                entries.column.push(cross.column[t] as usize);
                entries.value.push(-strip.iter().zip(&a).map(|(w, a)| w * a).sum::<f64>());
            }
            (entries.first, entries.n_first) = (Some(level), entries.column.len());
            for (c, g) in g.iter_mut().enumerate() {
                let column = &self.fixed_strips()[(level * m + c) * f.q..(level * m + c + 1) * f.q];
                *g -= column.iter().zip(&a).map(|(w, a)| w * a).sum::<f64>();
            }
            entries.a = a;
        }
        square
    }
}
