//! L of M = Lambda' Z'WZ Lambda + I = L L', apart from any right-hand side.

use crate::block::{self, with_size};
use crate::cholesky::{Factored, Pattern};
use crate::deviance::Problem;
use crate::kept_rows::Filled;
use crate::memory::{copied, zeros};
use crate::schur::{self, Eliminated, Values};
use crate::selected_inverse::selected_inverse;
use crate::threads;

/// The factor at one Lambda.
pub struct LowerFactor<'a> {
    /// Where its entries stand.
    pub problem: &'a Problem,
    pub lambda: Vec<Vec<f64>>,
    pub eliminated: Eliminated,
    pub rest: Factored<'a>,
}

impl<'a> LowerFactor<'a> {
    /// None if M is not positive definite.
    pub fn new(problem: &'a Problem, values: &Values, lambda: Vec<Vec<f64>>) -> Option<LowerFactor<'a>> {
        let products = &problem.products;
        let mut eliminated = Eliminated::default();
        schur::eliminate(products, values, &lambda, &problem.pieces, &mut eliminated)?;
        let rest = schur::assemble_rest(products, values, &lambda, &problem.pattern, &eliminated.w, problem.par);
        let rest = Factored::new(&problem.pattern, rest, problem.par)?;
        Some(LowerFactor { problem, lambda, eliminated, rest })
    }
}

impl LowerFactor<'_> {
    /// log |M|, and log |A| of related levels.
    pub fn log_det(&self) -> f64 {
        let related =
            self.problem.products.factors.iter().filter_map(|f| Some(f.q as f64 * f.relation.as_ref()?.log_det));
        self.eliminated.log_det + self.rest.log_det() + related.sum::<f64>()
    }

    /// The smallest pivot: below one only where a weight is negative, and near zero where M is nearly singular.
    pub fn least_pivot(&self) -> f64 {
        let q = self.problem.products.factors[0].q;
        let own = self.eliminated.l.chunks_exact(q * q).flat_map(|l| l.iter().step_by(q + 1));
        own.map(|d| d * d).fold(self.rest.least_pivot(), f64::min)
    }

    /// L_l of one level of the first factor.
    pub fn level_factor(&self, level: usize) -> &[f64] {
        let q = self.problem.products.factors[0].q;
        &self.eliminated.l[level * q * q..(level + 1) * q * q]
    }

    /// The same with zeros above its diagonal, where that has what the factorisation left there.
    pub fn level_lower(&self, level: usize) -> Vec<f64> {
        let q = self.problem.products.factors[0].q;
        let mut out = copied(self.level_factor(level));
        (0..q).for_each(|j| out[j * q..j * q + j].fill(0.0));
        out
    }

    /// W of all strips.
    pub fn strips(&self) -> &[f64] {
        &self.eliminated.w
    }

    /// M^-1 of each level, q x q, one vector a factor (elimination order).
    pub fn level_inverses(&self) -> Vec<Vec<f64>> {
        let products = &self.problem.products;
        let inverse = selected_inverse(&self.rest, self.problem.par);
        let y = self.backward_strips();
        let mut first = schur::sandwich_levels(products, &self.problem.pattern, &y, &inverse);
        let q = products.factors[0].q;
        for (level, out) in first.chunks_exact_mut(q * q).enumerate() {
            add_inverse(&self.eliminated.l[level * q * q..(level + 1) * q * q], q, out);
        }
        let mut all = vec![first];
        for (e, f) in products.factors.iter().enumerate().skip(1) {
            let mut out = zeros(f.n_levels * f.q * f.q);
            for (level, block) in out.chunks_exact_mut(f.q * f.q).enumerate() {
                add_rest_block(&self.problem.pattern, &inverse, products.offset[e] + level * f.q, f.q, block);
            }
            all.push(out);
        }
        all
    }

    /// Lambda M^-1 Lambda' on the pattern of Z'Z: H^22 = S^-1, H^12 = -Y S^-1 and H^11 = (L_l L_l')^-1 - H^12 Y'. With it
    /// M^-1 of each level, summed by factors.
    pub fn inverse_on_pattern(&self) -> (Filled, Vec<Vec<f64>>) {
        let problem = self.problem;
        let products = &problem.products;
        let (q, cross) = (products.factors[0].q, &products.cross);
        let inverse = selected_inverse(&self.rest, problem.par);
        let mut out = Filled::zeros(problem);
        if !cross.column.is_empty() {
            let y = self.backward_strips();
            self.across(&inverse, &y, &mut out.cross);
            for level in 0..products.factors[0].n_levels {
                let block = &mut out.zz[0][level * q * q..(level + 1) * q * q];
                let strip = cross.start[level] * q..cross.start[level + 1] * q;
                for (h, y) in out.cross[strip.clone()].chunks_exact(q).zip(y[strip].chunks_exact(q)) {
                    for b in 0..q {
                        for a in 0..q {
                            block[b * q + a] -= h[a] * y[b];
                        }
                    }
                }
            }
        }
        for (level, block) in out.zz[0].chunks_exact_mut(q * q).enumerate() {
            add_inverse(self.level_factor(level), q, block);
        }
        for (e, f) in products.factors.iter().enumerate().skip(1) {
            for (level, block) in out.zz[e].chunks_exact_mut(f.q * f.q).enumerate() {
                add_rest_block(&problem.pattern, &inverse, products.offset[e] + level * f.q, f.q, block);
            }
        }
        for cell in products.rest_cells.iter() {
            let (rows, columns) = (products.factors[cell.row_factor].q, products.factors[cell.column_factor].q);
            for j in 0..columns {
                let (to, from) = (cell.value + j * rows, problem.pattern.index(cell.row, cell.column + j));
                out.rest[to..to + rows].copy_from_slice(&inverse[from..from + rows]);
            }
        }
        let sums = out.zz.iter().zip(&products.factors).map(|(blocks, f)| {
            let mut sum = zeros(f.q * f.q);
            blocks.chunks_exact(f.q * f.q).for_each(|block| sum.iter_mut().zip(block).for_each(|(s, b)| *s += b));
            sum
        });
        let sums = sums.collect();
        self.map_blocks(&mut out);
        (out, sums)
    }

    /// H^12 = -Y S^-1 at the positions of the strips.
    fn across(&self, inverse: &[f64], y: &[f64], out: &mut [f64]) {
        let products = &self.problem.products;
        let (q, n, cross) = (products.factors[0].q, products.n_rest, &products.cross);
        let mut work = zeros(n);
        for j in 0..n {
            threads::check();
            schur::with_inverse_column(&self.problem.pattern, inverse, j, &mut work, |column| {
                for &(level, t) in &cross.by_column[cross.column_start[j]..cross.column_start[j + 1]] {
                    let (from, to) = (cross.start[level as usize] + t as usize, cross.start[level as usize + 1]);
                    let own = &y[from * q..(from + 1) * q];
                    let mut sum = zeros(q);
                    for i in from + 1..to {
                        let value = column[cross.column[i] as usize];
                        for k in 0..q {
                            sum[k] += value * y[i * q + k];
                            out[i * q + k] -= value * own[k];
                        }
                    }
                    for k in 0..q {
                        out[from * q + k] -= sum[k] + column[j] * own[k];
                    }
                }
            });
        }
    }

    /// Every block B of two factors becomes Lambda B Lambda'.
    fn map_blocks(&self, out: &mut Filled) {
        let products = &self.problem.products;
        let mut left = vec![];
        let mut map = |block: &mut [f64], row: usize, column: usize| {
            let (m, n) = (products.factors[row].q, products.factors[column].q);
            if m * n == 1 {
                block[0] *= self.lambda[row][0] * self.lambda[column][0];
                return;
            }
            left.resize(m * n, 0.0);
            block::times(&self.lambda[row], block, m, m, n, &mut left);
            block::times_transpose(&left, &self.lambda[column], m, n, n, block);
        };
        for (e, f) in products.factors.iter().enumerate() {
            out.zz[e].chunks_exact_mut(f.q * f.q).for_each(|block| map(block, e, e));
        }
        let (q, cross) = (products.factors[0].q, &products.cross);
        let (mut t, mut e) = (0, 1);
        while t < cross.column.len() {
            let column = cross.column[t] as usize;
            if e > 1 && column < products.offset[e] {
                e = 1;
            }
            while e + 1 < products.factors.len() && column >= products.offset[e + 1] {
                e += 1;
            }
            let size = products.factors[e].q;
            map(&mut out.cross[t * q..(t + size) * q], 0, e);
            t += size;
        }
        for cell in products.rest_cells.iter() {
            let size = products.factors[cell.row_factor].q * products.factors[cell.column_factor].q;
            map(&mut out.rest[cell.value..cell.value + size], cell.row_factor, cell.column_factor);
        }
    }

    /// Y_l = L_l^-T W_l for all strips.
    pub fn backward_strips(&self) -> Vec<f64> {
        let products = &self.problem.products;
        let (q, cross) = (products.factors[0].q, &products.cross);
        let mut y = copied(&self.eliminated.w);
        let pieces = &self.problem.pieces;
        let parts = schur::cut(&mut y, pieces, |l| cross.start[l] * q);
        schur::over_pieces(parts, |k, part| {
            let start = cross.start[pieces[k]];
            for level in pieces[k]..pieces[k + 1] {
                let l = &self.eliminated.l[level * q * q..(level + 1) * q * q];
                let strip = &mut part[(cross.start[level] - start) * q..(cross.start[level + 1] - start) * q];
                with_size!(q, block::backward(l, q, strip));
            }
        });
        y
    }
}

/// kernel += I - (L L')^-1.
#[inline(always)]
pub fn subtract_from_identity(l: &[f64], q: usize, kernel: &mut [f64]) {
    if q == 1 {
        let square = l[0] * l[0];
        kernel[0] += (square - 1.0) / square;
        return;
    }
    let mut inverse = [0.0; 64];
    let mut large = if q > 8 { zeros(q * q) } else { vec![] };
    let inverse: &mut [f64] = if q > 8 { &mut large } else { &mut inverse[..q * q] };
    for i in 0..q {
        inverse[i * q + i] = 1.0;
        kernel[i * q + i] += 1.0;
    }
    block::forward(l, q, inverse);
    for b in 0..q {
        for a in 0..q {
            for k in a.max(b)..q {
                kernel[b * q + a] -= inverse[a * q + k] * inverse[b * q + k];
            }
        }
    }
}

/// out += (L L')^-1.
pub fn add_inverse(l: &[f64], q: usize, out: &mut [f64]) {
    let inverse = block::inverse_lower(l, q);
    for b in 0..q {
        for a in 0..q {
            out[b * q + a] += (0..q).map(|k| inverse[a * q + k] * inverse[b * q + k]).sum::<f64>();
        }
    }
}

/// out += the diagonal block of the rest's inverse that starts at `first`.
pub fn add_rest_block(pattern: &Pattern, inverse: &[f64], first: usize, q: usize, out: &mut [f64]) {
    for j in 0..q {
        let at = pattern.index(first + j, first + j);
        for i in j..q {
            let value = inverse[at + i - j];
            out[j * q + i] += value;
            if i > j {
                out[i * q + j] += value;
            }
        }
    }
}
