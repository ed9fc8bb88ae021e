//! What the data can tell of the variance parameters: the directions along which V, or A'VA of REML, does not change.
//!
//! V = sigma^2 W^-1 + sum_i sigma^2 S~_i G_i is linear in phi = sigma^2 (1, S~_1, ..., S~_k), so the criterion is flat
//! along phi where the map to W^1/2 V W^1/2 is singular (by ML), or to A'VA with A'X = 0 (by REML, which sees nothing
//! else). The Gram matrices of both maps come from the cross-products: with B = Z'WZ and C = Z'WX R_X^-1 in orthonormal
//! bases, tr(G_i W G_j W) = sum_ll' tr(B_ll' E_j B_l'l E_i), and by REML N = B - C C' stands for B.

use crate::block::{self, with_size};
use crate::deviance::{Parameter, Problem};
use crate::memory::{before_product, copied, zeros};
use crate::threads;
use crate::trust_region::eigen;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Squared sine of the angle to the other directions below which one is rounding.
const NONE_SQUARED: f64 = 1e-13;

/// What rounding may make of a squared length, relative to that before the fixed effects are taken out.
const ROUNDING_SQUARED: f64 = 1e-14;
/// Blocks whose products are summed at a time.
const BLOCKS: usize = 512;
/// Elements of a block above which only those products are formed that are used.
const LARGE: usize = 144;
/// Share of the mean square of an effect left by the fixed effects from which it is seen.
const UNSEEN: f64 = 1e-12;

/// Directions of phi without effect, and what the fixed part leaves of each effect.
pub struct Identification {
    /// Directions along which V is constant, n x (k + 1), sigma^2 first, rows one after the other.
    pub covariance: Vec<f64>,
    /// The same for A'VA.
    pub contrasts: Vec<f64>,
    /// sum_l N_ll of each factor by the caller's order, q x q, in orthonormal bases.
    pub visible: Vec<Vec<f64>>,
}

/// Elements (row, column) of the symmetric matrix E_i.
fn elements(par: Parameter) -> Vec<(usize, usize)> {
    if par.row == par.column { par.elements().collect() } else { vec![(par.row, par.column), (par.column, par.row)] }
}

/// Parameters of one factor, each with its elements.
struct Own {
    q: usize,
    parameters: Vec<usize>,
    elements: Vec<Vec<(usize, usize)>>,
}

impl Problem {
    pub fn identification(&self) -> Identification {
        let products = &self.products;
        let (n, m) = (products.n as f64, self.n_theta() + 1);
        let own: Vec<Own> = (0..products.factors.len()).map(|e| self.own(e)).collect();
        let fixed: Vec<Vec<f64>> = (0..products.factors.len()).map(|e| self.fixed_products(e)).collect();

        let mut v = zeros(m * m);
        let mut reduction = zeros(m * m);
        v[0] = n;
        reduction[0] = products.p as f64;
        let mut visible = vec![vec![]; products.factors.len()];
        for (e, f) in products.factors.iter().enumerate() {
            let q = f.q;
            let mut whole = zeros(q * q);
            f.zz.chunks_exact(q * q).for_each(|zz| whole.iter_mut().zip(zz).for_each(|(s, z)| *s += z));
            let mut seen = copied(&whole);
            for a in 0..q {
                for b in 0..q {
                    seen[b * q + a] -= dot(self.column(&fixed[e], e, a), self.column(&fixed[e], e, b));
                }
            }
            for (&i, pairs) in own[e].parameters.iter().zip(&own[e].elements) {
                let sum = |s: &[f64]| pairs.iter().map(|&(a, b)| s[b * q + a]).sum::<f64>();
                v[(i + 1) * m] = sum(&whole);
                reduction[(i + 1) * m] = sum(&whole) - sum(&seen);
            }
            visible[f.public] = seen;
        }
        let mut gram = Gram { own: &own, v: &mut v, reduction: &mut reduction, m };
        let mut sums: Vec<Vec<Sums>> =
            own.iter().map(|row| own.iter().map(|o| Sums::none(row.q * o.q)).collect()).collect();
        let mut taken = vec![];
        let mut add = |e: usize, level: usize, o: usize, other: usize, values: &[f64]| {
            self.fixed_block((&fixed[e], e, level), (&fixed[o], o, other), &mut taken);
            if values.len() > LARGE {
                let product = |s: usize, t: usize| (values[s] * values[t], values[s] * taken[t] + taken[s] * values[t]);
                gram.add(e, o, product);
            } else {
                sums[e][o].add(values, &taken, self.par);
            }
        };
        for (e, f) in products.factors.iter().enumerate() {
            f.zz.chunks_exact(f.q * f.q).enumerate().for_each(|(level, zz)| add(e, level, e, level, zz));
        }
        self.for_each_cell(add);
        for (e, row) in sums.iter_mut().enumerate() {
            for (o, sums) in row.iter_mut().enumerate() {
                sums.finish(self.par);
                if !sums.whole.is_empty() {
                    gram.add(e, o, |s, t| sums.product(s, t));
                }
            }
        }
        self.add_fixed(&own, &fixed, &mut reduction);
        for j in 0..m {
            for i in 0..j {
                v[i * m + j] = v[j * m + i];
                reduction[i * m + j] = reduction[j * m + i];
            }
        }
        let mut contrasts: Vec<f64> = v.iter().zip(&reduction).map(|(v, r)| v - r).collect();
        let squared: Vec<f64> = (0..m).map(|i| v[i * m + i]).collect();
        let mut seen_squared = squared.clone();
        for (i, seen) in seen_squared.iter_mut().enumerate().skip(1) {
            if let Some(least) = self.least_seen(i - 1, &visible) {
                *seen = contrasts[i * m + i].max(least);
                contrasts[i * m + i] = *seen;
            }
        }
        // far from the origin little of an effect is left, and that little is what counts
        let rounding = |i: usize| (ROUNDING_SQUARED * squared[i] / seen_squared[i].max(1e-300)).min(0.5);
        Identification {
            covariance: kernel(&v, &squared, |_| 0.0),
            contrasts: kernel(&contrasts, &seen_squared, rounding),
            visible,
        }
    }

    /// What tr(N E N E) of a variance is at least, (sum_l N_ll)^2 over the number of terms; None if that is rounding.
    fn least_seen(&self, i: usize, visible: &[Vec<f64>]) -> Option<f64> {
        let par = self.parameters[i];
        if par.row != par.column {
            return None;
        }
        let f = &self.products.factors[par.factor];
        let diagonal = |matrix: &[f64]| par.elements().map(|(a, _)| matrix[a * f.q + a]).sum::<f64>();
        let whole: f64 = f.zz.chunks_exact(f.q * f.q).map(diagonal).sum();
        let seen = diagonal(&visible[f.public]);
        (seen > UNSEEN * whole).then(|| seen * seen / (f.n_levels * par.elements().count()) as f64)
    }

    fn own(&self, factor: usize) -> Own {
        let parameters: Vec<usize> = (0..self.n_theta()).filter(|&i| self.parameters[i].factor == factor).collect();
        let elements = parameters.iter().map(|&i| elements(self.parameters[i])).collect();
        Own { q: self.products.factors[factor].q, parameters, elements }
    }

    /// C = Z'WX R_X^-1 of a factor: for each of its q columns the levels' p values, n_levels x p row by row.
    pub(crate) fn fixed_products(&self, e: usize) -> Vec<f64> {
        let products = &self.products;
        let (f, p, m) = (&products.factors[e], products.p, products.p + 1);
        let mut gram = zeros(p * p);
        (0..p).for_each(|j| gram[j * p..(j + 1) * p].copy_from_slice(&products.xx[j * m..j * m + p]));
        if block::cholesky(&mut gram, p).is_none() {
            gram = block::identity(p); // an orthonormal basis has a definite Gram matrix
        }
        let mut out = zeros(f.q * f.n_levels * p);
        for (level, zx) in f.zx.chunks_exact(f.q * m).enumerate() {
            for a in 0..f.q {
                let row = &mut out[(a * f.n_levels + level) * p..][..p];
                row.iter_mut().enumerate().for_each(|(c, r)| *r = zx[c * f.q + a]);
                with_size!(p, block::forward(&gram, p, row));
            }
        }
        out
    }

    /// All levels of one column of a factor in what `fixed_products` returns.
    fn column<'a>(&self, fixed: &'a [f64], e: usize, a: usize) -> &'a [f64] {
        let size = self.products.factors[e].n_levels * self.products.p;
        &fixed[a * size..(a + 1) * size]
    }

    /// C_l C_l'' of one level with another, q x q' column-major.
    fn fixed_block(&self, row: (&[f64], usize, usize), column: (&[f64], usize, usize), out: &mut Vec<f64>) {
        let p = self.products.p;
        let of = |(fixed, e, level): (&[f64], usize, usize), a: usize| {
            let from = (a * self.products.factors[e].n_levels + level) * p;
            from..from + p.min(fixed.len())
        };
        let (q, q_other) = (self.products.factors[row.1].q, self.products.factors[column.1].q);
        out.clear();
        for d in 0..q_other {
            out.extend((0..q).map(|a| dot(&row.0[of(row, a)], &column.0[of(column, d)])));
        }
    }

    /// Calls `each(factor, level, other factor, other level, block)` for every block between two factors.
    fn for_each_cell(&self, mut each: impl FnMut(usize, usize, usize, usize, &[f64])) {
        let products = &self.products;
        let place = |column: usize| {
            let o = (1..products.factors.len()).rev().find(|&o| products.offset[o] <= column).unwrap_or(1);
            (o, (column - products.offset[o]) / products.factors[o].q)
        };
        let (q, cross) = (products.factors[0].q, &products.cross);
        for level in 0..products.factors[0].n_levels {
            threads::check();
            let mut at = cross.start[level];
            while at < cross.start[level + 1] {
                let (o, other) = place(cross.column[at] as usize);
                let width = products.factors[o].q;
                each(0, level, o, other, &cross.value[at * q..(at + width) * q]);
                at += width;
            }
        }
        for cell in products.rest_cells.iter() {
            let (o, e) = (cell.row_factor, cell.column_factor);
            let (q_row, q_column) = (products.factors[o].q, products.factors[e].q);
            let values = &products.rest_values[cell.value..cell.value + q_row * q_column];
            let other = (cell.row - products.offset[o]) / q_row;
            let level = (cell.column - products.offset[e]) / q_column;
            each(o, other, e, level, values);
        }
    }

    /// Takes off what C C' C C' gives: the products of A_i = sum_l C_l' E_i C_l.
    fn add_fixed(&self, own: &[Own], fixed: &[Vec<f64>], reduction: &mut [f64]) {
        let (p, k) = (self.products.p, self.n_theta());
        let mut sums = zeros(k * p * p);
        let mut part = zeros(p * p);
        for (e, of) in own.iter().enumerate() {
            let n_levels = self.products.factors[e].n_levels;
            before_product(p, n_levels, p, self.par);
            for (&i, pairs) in of.parameters.iter().zip(&of.elements) {
                let sum = &mut sums[i * p * p..(i + 1) * p * p];
                for &(a, b) in pairs {
                    // rows of C are contiguous: C' as p x n_levels
                    let left = MatRef::from_column_major_slice(self.column(&fixed[e], e, a), p, n_levels);
                    let right = MatRef::from_column_major_slice(self.column(&fixed[e], e, b), p, n_levels);
                    let target = MatMut::from_column_major_slice_mut(&mut part, p, p);
                    matmul(target, Accum::Replace, left, right.transpose(), 1.0, self.par);
                    sum.iter_mut().zip(&part).for_each(|(s, v)| *s += v);
                }
            }
        }
        for j in 0..k {
            for i in 0..=j {
                let both = dot(&sums[i * p * p..(i + 1) * p * p], &sums[j * p * p..(j + 1) * p * p]);
                reduction[(j + 1) * (k + 1) + i + 1] -= both;
            }
        }
    }
}

/// The two Gram matrices, upper triangle: of V, and what the fixed effects take off it.
struct Gram<'a> {
    own: &'a [Own],
    v: &'a mut [f64],
    reduction: &'a mut [f64],
    m: usize,
}

impl Gram<'_> {
    /// Adds what blocks of factor e with factor o give, from products of their elements s and t (column-major): those of
    /// blocks B, and those of B with C C' both ways.
    fn add(&mut self, e: usize, o: usize, product: impl Fn(usize, usize) -> (f64, f64)) {
        let (rows, columns) = (&self.own[e], &self.own[o]);
        for (&i, pairs) in rows.parameters.iter().zip(&rows.elements) {
            for (&j, others) in columns.parameters.iter().zip(&columns.elements) {
                if e == o && j < i {
                    continue;
                }
                let (mut whole, mut fixed) = (0.0, 0.0);
                // of (r, c) and (c, r) one is enough: swapping both pairs changes nothing
                let is_covariance = pairs.len() == 2 && pairs[0].0 != pairs[0].1;
                let (used, times) = if is_covariance { (&pairs[..1], 2.0) } else { (&pairs[..], 1.0) };
                for &(x, y) in used {
                    for &(c, d) in others {
                        let (w, f) = product(c * rows.q + y, d * rows.q + x);
                        whole += w;
                        fixed += f;
                    }
                }
                let at = (i.max(j) + 1) * self.m + i.min(j) + 1;
                self.v[at] += times * whole;
                self.reduction[at] += times * fixed;
            }
        }
    }
}

/// Sums over the blocks of one factor with another, of products of any two elements.
struct Sums {
    /// Elements of a block.
    size: usize,
    /// Blocks B that are not summed yet, one after the other, and their C C'.
    blocks: Vec<f64>,
    fixed: Vec<f64>,
    /// sum B B' and sum B (C C')' of blocks as vectors; empty before the first.
    whole: Vec<f64>,
    mixed: Vec<f64>,
}

impl Sums {
    fn none(size: usize) -> Sums {
        Sums { size, blocks: vec![], fixed: vec![], whole: vec![], mixed: vec![] }
    }

    fn add(&mut self, block: &[f64], fixed: &[f64], par: Par) {
        self.blocks.extend_from_slice(block);
        self.fixed.extend_from_slice(fixed);
        if self.blocks.len() >= BLOCKS * self.size {
            self.finish(par);
        }
    }

    fn finish(&mut self, par: Par) {
        let (size, n) = (self.size, self.blocks.len() / self.size.max(1));
        if n == 0 {
            return;
        }
        self.whole.resize(size * size, 0.0);
        self.mixed.resize(size * size, 0.0);
        let blocks = MatRef::from_column_major_slice(&self.blocks, size, n);
        for (out, right) in [(&mut self.whole, &self.blocks), (&mut self.mixed, &self.fixed)] {
            let right = MatRef::from_column_major_slice(right, size, n);
            let out = MatMut::from_column_major_slice_mut(out, size, size);
            before_product(blocks.nrows(), blocks.ncols(), right.nrows(), par);
            matmul(out, Accum::Add, blocks, right.transpose(), 1.0, par);
        }
        self.blocks.clear();
        self.fixed.clear();
    }

    fn product(&self, s: usize, t: usize) -> (f64, f64) {
        let at = |s: usize, t: usize| t * self.size + s;
        (self.whole[at(s, t)], self.mixed[at(s, t)] + self.mixed[at(t, s)])
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Directions in which a Gram matrix is zero, relative to lengths and beside rounding; rows of length k + 1, in units
/// of the first.
fn kernel(gram: &[f64], squared: &[f64], rounding: impl Fn(usize) -> f64) -> Vec<f64> {
    let m = squared.len();
    let scale: Vec<f64> = squared.iter().map(|&s| if s > 0.0 { s.sqrt() } else { 1.0 }).collect();
    let mut scaled: Vec<f64> = (0..m * m).map(|at| gram[at] / (scale[at % m] * scale[at / m])).collect();
    (0..m).for_each(|i| scaled[i * m + i] -= rounding(i));
    let (values, vectors) = eigen(&scaled, m);
    let none = (0..m).filter(|&j| values[j] < NONE_SQUARED);
    none.flat_map(|j| (0..m).map(move |i| (i, j))).map(|(i, j)| vectors[j * m + i] * scale[0] / scale[i]).collect()
}
