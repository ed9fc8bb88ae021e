//! Elimination of the first factor: its block of M is block-diagonal, so L_11 is one small Cholesky a level.
//!
//! With strips W_l = L_l^-1 Lambda_1' Z_1l'Z_2 Lambda_2 the rest is S = Lambda_2' Z_2'Z_2 Lambda_2 + I - sum_l W_l' W_l.

use crate::block::{self, LogProduct, with_size};
use crate::cholesky::{Pattern, TILE, subtract_square};
use crate::memory::{before_products, reserved, zeros};
use crate::products::{Cross, Products};
use crate::threads::{self, Stop};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Above this share of filled strips the products of strips are dense matrix products.
const DENSE_STRIPS: f64 = 0.2;
/// Multiplications below which a second thread costs more than it brings.
const PARALLEL_WORK: usize = 100_000;

/// Levels of one factor, or columns of the rest, between two checks whether to go on.
pub const LEVELS: usize = 32;

/// The numbers of a model's products, apart from where they stand: its own, or those of other weights.
pub struct Values<'a> {
    /// Z_l'WZ_l by factor, as `Factor::zz`.
    pub zz: Vec<&'a [f64]>,
    /// As `Cross::value`.
    pub cross: &'a [f64],
    /// As `Products::rest_values`.
    pub rest: &'a [f64],
    /// Z_1l'W times `m` right-hand columns, as `Factor::zx`.
    pub zx: &'a [f64],
    pub m: usize,
}

/// What elimination leaves of the first factor, level by level.
#[derive(Default)]
pub struct Eliminated {
    /// L_l, q x q a level.
    pub l: Vec<f64>,
    /// W_l, q values a position of the cross strips.
    pub w: Vec<f64>,
    /// L_l^-1 Lambda_1' Z_1l' [X y], q x (p + 1) a level.
    pub wx: Vec<f64>,
    /// log |L_11 L_11'|.
    pub log_det: f64,
    /// sum_l (W_l [X y])' (W_l [X y]), (p + 1) x (p + 1).
    pub xx: Vec<f64>,
}

/// Pieces of levels with about equal work: boundaries, first 0 and last n_levels.
pub fn level_pieces(products: &Products) -> Vec<usize> {
    let n_levels = products.factors[0].n_levels;
    let cross = &products.cross;
    let work = |l: usize| cross.start[l] + 8 * l;
    let n_pieces = (work(n_levels) / 16_384).clamp(1, 256);
    let mut out = vec![0];
    for k in 1..n_pieces {
        let target = work(n_levels) / n_pieces * k;
        let (mut low, mut high) = (*out.last().expect("starts with 0"), n_levels);
        while low < high {
            let middle = (low + high) / 2;
            if work(middle) < target { low = middle + 1 } else { high = middle }
        }
        out.push(low);
    }
    out.push(n_levels);
    out
}

/// Cuts `values` at `bounds * size`.
pub fn cut<'a>(mut values: &'a mut [f64], bounds: &[usize], size: impl Fn(usize) -> usize) -> Vec<&'a mut [f64]> {
    let mut out = reserved(bounds.len() - 1);
    for pair in bounds.windows(2) {
        let (head, tail) = values.split_at_mut(size(pair[1]) - size(pair[0]));
        out.push(head);
        values = tail;
    }
    out
}

/// Runs `f` over the pieces, in parallel if there are several, and returns its results in order.
pub fn over_pieces<T: Send, R: Send>(pieces: Vec<T>, f: impl Fn(usize, T) -> R + Sync) -> Vec<R> {
    if pieces.len() > 1 {
        let stop = Stop::current();
        pieces.into_par_iter().enumerate().map(|(k, piece)| stop.about(|| f(k, piece))).collect()
    } else {
        pieces.into_iter().enumerate().map(|(k, piece)| f(k, piece)).collect()
    }
}

/// Eliminates the first factor at Lambda; None if a level's block is not positive definite.
pub fn eliminate(
    products: &Products,
    values: &Values,
    lambda: &[Vec<f64>],
    pieces: &[usize],
    out: &mut Eliminated,
) -> Option<()> {
    let factor = &products.factors[0];
    let (q, m) = (factor.q, values.m);
    let cross = &products.cross;
    out.l = zeros(factor.n_levels * q * q);
    out.w = zeros(cross.column.len() * q);
    out.wx = zeros(factor.n_levels * q * m);
    let ls = cut(&mut out.l, pieces, |l| l * q * q);
    let ws = cut(&mut out.w, pieces, |l| cross.start[l] * q);
    let wxs = cut(&mut out.wx, pieces, |l| l * q * m);
    let work: Vec<_> = ls.into_iter().zip(ws).zip(wxs).map(|((l, w), wx)| (l, w, wx)).collect();
    let parts = over_pieces(work, |k, (l, w, wx)| {
        with_size!(q, eliminate_piece(products, values, lambda, pieces[k]..pieces[k + 1], q, l, w, wx))
    });
    out.log_det = 0.0;
    out.xx = zeros(m * m);
    for part in parts {
        let (log_det, xx) = part?;
        out.log_det += log_det;
        out.xx.iter_mut().zip(xx).for_each(|(a, b)| *a += b);
    }
    let square = lambda[0][0] * lambda[0][0];
    out.log_det += factor.idle.iter().map(|idle| idle.count * (square * idle.zz).ln_1p()).sum::<f64>();
    Some(())
}

#[inline(always)]
fn eliminate_piece(
    products: &Products,
    values: &Values,
    lambda: &[Vec<f64>],
    levels: std::ops::Range<usize>,
    q: usize,
    l_out: &mut [f64],
    w_out: &mut [f64],
    wx_out: &mut [f64],
) -> Option<(f64, Vec<f64>)> {
    let (m, zz, zx) = (values.m, values.zz[0], values.zx);
    let cross = &products.cross;
    let (factor, lambda_1) = (&products.factors[0], &lambda[0]);
    let mut diagonal = LogProduct::new();
    let mut xx = zeros(m * m);
    let mut product = zeros(q * q);
    let mut w_at = 0;
    let widest = products.factors.iter().map(|f| f.q).max().unwrap_or(1);
    let mut strip = zeros(q * widest);
    for (k, level) in levels.enumerate() {
        if k % LEVELS == 0 {
            threads::check();
        }
        let l = &mut l_out[k * q * q..(k + 1) * q * q];
        block::times(&zz[level * q * q..(level + 1) * q * q], lambda_1, q, q, q, &mut product);
        block::transpose_times(lambda_1, &product, q, q, q, l);
        let own = factor.own_diagonal(level);
        for i in 0..q {
            l[i * q + i] += own;
        }
        block::cholesky_and_product(l, q, &mut diagonal)?;

        let wx = &mut wx_out[k * q * m..(k + 1) * q * m];
        block::transpose_times(lambda_1, &zx[level * q * m..(level + 1) * q * m], q, q, m, wx);
        block::forward(l, q, wx);
        for b in 0..m {
            for a in 0..m {
                for i in 0..q {
                    xx[b * m + a] += wx[a * q + i] * wx[b * q + i];
                }
            }
        }

        let (first, last) = (cross.start[level], cross.start[level + 1]);
        let w = &mut w_out[w_at..w_at + (last - first) * q];
        w_at += w.len();
        let mut t = first;
        let mut e = 1;
        while t < last {
            while e + 1 < products.factors.len() && cross.column[t] as usize >= products.offset[e + 1] {
                e += 1;
            }
            let q_2 = products.factors[e].q;
            let raw = &values.cross[t * q..(t + q_2) * q];
            let out = &mut w[(t - first) * q..(t - first + q_2) * q];
            if q_2 == 1 {
                let scale = lambda[e][0];
                for (s, v) in strip[..q].iter_mut().zip(raw) {
                    *s = v * scale;
                }
            } else {
                block::times(raw, &lambda[e], q, q_2, q_2, &mut strip[..q * q_2]);
            }
            block::transpose_times(lambda_1, &strip[..q * q_2], q, q, q_2, out);
            t += q_2;
        }
        block::forward(l, q, w);
    }
    Some((2.0 * diagonal.log(), xx))
}

pub fn strips_are_dense(products: &Products) -> bool {
    let n_rest = products.n_rest as f64;
    let filled = products.cross.column.len() as f64;
    n_rest > 0.0 && filled > DENSE_STRIPS * n_rest * products.factors[0].n_levels as f64
}

/// The strips as one dense (n_levels q) x n_rest matrix.
fn dense_strips(cross: &Cross, w: &[f64], q: usize, n_rest: usize) -> Vec<f64> {
    let n_levels = cross.start.len() - 1;
    let n_rows = n_levels * q;
    let mut out = zeros(n_rows * n_rest);
    for level in 0..n_levels {
        for t in cross.start[level]..cross.start[level + 1] {
            let at = cross.column[t] as usize * n_rows + level * q;
            out[at..at + q].copy_from_slice(&w[t * q..(t + 1) * q]);
        }
    }
    out
}

/// Multiplications of one assembly of the rest.
pub fn assembly_flops(products: &Products) -> f64 {
    let cross = &products.cross;
    let q = products.factors[0].q as f64;
    if strips_are_dense(products) {
        return products.factors[0].n_levels as f64 * q * (products.n_rest as f64).powi(2) / 8.0;
    }
    cross.start.windows(2).map(|s| ((s[1] - s[0]) as f64).powi(2) / 2.0 * q).sum()
}

/// Lower triangle of S on `pattern`.
pub fn assemble_rest(
    products: &Products,
    numbers: &Values,
    lambda: &[Vec<f64>],
    pattern: &Pattern,
    w: &[f64],
    par: Par,
) -> Vec<f64> {
    let mut values = zeros(pattern.len());
    subtract_strips(products, pattern, w, par, &mut values);
    for (e, factor) in products.factors.iter().enumerate().skip(1) {
        let q = factor.q;
        let (mut right, mut both) = (zeros(q * q), zeros(q * q));
        for level in 0..factor.n_levels {
            block::times(&numbers.zz[e][level * q * q..(level + 1) * q * q], &lambda[e], q, q, q, &mut right);
            block::transpose_times(&lambda[e], &right, q, q, q, &mut both);
            let first = products.offset[e] + level * q;
            let own = factor.own_diagonal(level);
            for j in 0..q {
                let at = pattern.index(first + j, first + j);
                values[at] += own;
                for i in j..q {
                    values[at + i - j] += both[j * q + i];
                }
            }
        }
    }
    add_relations(products, pattern, &mut values);
    for cell in products.rest_cells.iter() {
        let (q_row, q_column) = (products.factors[cell.row_factor].q, products.factors[cell.column_factor].q);
        let raw = &numbers.rest[cell.value..cell.value + q_row * q_column];
        let (mut right, mut both) = (zeros(q_row * q_column), zeros(q_row * q_column));
        block::times(raw, &lambda[cell.column_factor], q_row, q_column, q_column, &mut right);
        block::transpose_times(&lambda[cell.row_factor], &right, q_row, q_row, q_column, &mut both);
        for j in 0..q_column {
            let at = pattern.index(cell.row, cell.column + j);
            for i in 0..q_row {
                values[at + i] += both[j * q_row + i];
            }
        }
    }
    values
}

/// values += A^-1 x I of related levels, lower triangle.
fn add_relations(products: &Products, pattern: &Pattern, values: &mut [f64]) {
    for (e, factor) in products.factors.iter().enumerate() {
        let Some(relation) = &factor.relation else { continue };
        let first = |level: usize| products.offset[e] + level * factor.q;
        for column in 0..factor.n_levels {
            for (row, a) in relation.column(column) {
                (0..factor.q).for_each(|k| values[pattern.index(first(row) + k, first(column) + k)] += a);
            }
        }
    }
}

/// values -= sum_l W_l' W_l, lower triangle.
fn subtract_strips(products: &Products, pattern: &Pattern, w: &[f64], par: Par, values: &mut [f64]) {
    let cross = &products.cross;
    let (q, n) = (products.factors[0].q, products.n_rest);
    if cross.column.is_empty() {
        return;
    }
    if let (Pattern::Dense { .. }, true) = (pattern, strips_are_dense(products)) {
        let n_rows = products.factors[0].n_levels * q;
        let strips = dense_strips(cross, w, q, n);
        let strips = MatRef::from_column_major_slice(&strips, n_rows, n);
        let target = MatMut::from_column_major_slice_mut(values, n, n);
        subtract_square(target, strips.transpose(), par);
        return;
    }
    let stop = Stop::current();
    let parallel = par != Par::Seq && assembly_flops(products) as usize > PARALLEL_WORK;
    match pattern {
        Pattern::Dense { .. } => {
            let one = |(j, column): (usize, &mut [f64])| {
                stop.check();
                with_size!(q, subtract_column(cross, w, q, j, column));
            };
            if parallel {
                values.par_chunks_mut(n).enumerate().for_each(one);
            } else {
                values.chunks_mut(n).enumerate().for_each(one);
            }
        }
        Pattern::Sparse(s) => {
            let columns: Vec<(usize, &mut [f64])> =
                cut(values, &(0..=n).collect::<Vec<_>>(), |j| s.column_start[j]).into_iter().enumerate().collect();
            let one = |work: &mut Vec<f64>, (j, out): (usize, &mut [f64])| {
                stop.check();
                with_size!(q, subtract_column(cross, w, q, j, work));
                for (v, &i) in out.iter_mut().zip(&s.row[s.column_start[j]..s.column_start[j + 1]]) {
                    *v += work[i];
                    work[i] = 0.0;
                }
            };
            if parallel {
                columns.into_par_iter().for_each_init(|| zeros(n), one);
            } else {
                let mut work = zeros(n);
                columns.into_iter().for_each(|column| one(&mut work, column));
            }
        }
    }
}

/// column[i] -= sum_l W_l[:, i]' W_l[:, j] for i >= j.
#[inline(always)]
fn subtract_column(cross: &Cross, w: &[f64], q: usize, j: usize, column: &mut [f64]) {
    for &(level, t) in &cross.by_column[cross.column_start[j]..cross.column_start[j + 1]] {
        let from = cross.start[level as usize] + t as usize;
        let to = cross.start[level as usize + 1];
        let own = &w[from * q..(from + 1) * q];
        for (&i, strip) in cross.column[from..to].iter().zip(w[from * q..to * q].chunks_exact(q)) {
            let mut s = 0.0;
            for k in 0..q {
                s += strip[k] * own[k];
            }
            column[i as usize] -= s;
        }
    }
}

/// out (m x n_rest, row j contiguous) = sum_l (W_l' B_l)' for B of q x m a level.
pub fn strips_transpose_times(products: &Products, w: &[f64], b: &[f64], m: usize, par: Par) -> Vec<f64> {
    let cross = &products.cross;
    let (q, n) = (products.factors[0].q, products.n_rest);
    let mut out = zeros(n * m);
    if m == 0 {
        return out;
    }
    if strips_are_dense(products) {
        let n_rows = products.factors[0].n_levels * q;
        let strips = dense_strips(cross, w, q, n);
        let strips = MatRef::from_column_major_slice(&strips, n_rows, n);
        before_products(par);
        let mut by_column = reserved(n_rows * m);
        (0..m).for_each(|c| by_column.extend((0..n_rows).map(|i| b[(i / q * m + c) * q + i % q])));
        let b = MatRef::from_column_major_slice(&by_column, n_rows, m);
        let target = MatMut::from_column_major_slice_mut(&mut out, m, n);
        matmul(target, Accum::Replace, b.transpose(), strips, 1.0, par);
        return out;
    }
    let one = |(j, row): (usize, &mut [f64])| {
        with_size!(q, {
            for &(level, t) in &cross.by_column[cross.column_start[j]..cross.column_start[j + 1]] {
                let at = cross.start[level as usize] + t as usize;
                let strip = &w[at * q..(at + 1) * q];
                let b = &b[level as usize * q * m..(level as usize + 1) * q * m];
                for (r, b) in row.iter_mut().zip(b.chunks_exact(q)) {
                    for k in 0..q {
                        *r += strip[k] * b[k];
                    }
                }
            }
        })
    };
    if par != Par::Seq && cross.column.len() * q * m > PARALLEL_WORK {
        out.par_chunks_mut(m).enumerate().for_each(one);
    } else {
        out.chunks_mut(m).enumerate().for_each(one);
    }
    out
}

/// B_l -= W_l R for one level, R (m x n_rest, row j contiguous), B_l q x m.
#[inline(always)]
pub fn subtract_strip_times(cross: &Cross, w: &[f64], level: usize, rest: &[f64], q: usize, m: usize, b: &mut [f64]) {
    for t in cross.start[level]..cross.start[level + 1] {
        let strip = &w[t * q..(t + 1) * q];
        let row = &rest[cross.column[t] as usize * m..(cross.column[t] as usize + 1) * m];
        for (column, r) in b.chunks_exact_mut(q).zip(row) {
            for k in 0..q {
                column[k] -= strip[k] * r;
            }
        }
    }
}

/// Y_l S^-1 Y_l' summed over all levels, q x q; `inverse` is S^-1 on the pattern, lower triangle.
pub fn sandwich_sum(products: &Products, pattern: &Pattern, y: &[f64], inverse: &[f64], par: Par) -> Vec<f64> {
    let cross = &products.cross;
    let (q, n) = (products.factors[0].q, products.n_rest);
    let mut total = zeros(q * q);
    if cross.column.is_empty() {
        return total;
    }
    if let (Pattern::Dense { .. }, true) = (pattern, strips_are_dense(products)) {
        let n_rows = products.factors[0].n_levels * q;
        let strips = dense_strips(cross, y, q, n);
        let strips = MatRef::from_column_major_slice(&strips, n_rows, n);
        let inverse = MatRef::from_column_major_slice(inverse, n, n);
        // Y S^-1 with S^-1 = T + T', T lower with halved diagonal: Y S^-1 Y' = Y T Y' + (Y T Y')'
        before_products(par);
        let mut half = zeros(n_rows * n);
        let mut half = MatMut::from_column_major_slice_mut(&mut half, n_rows, n);
        let (full, lower) = (BlockStructure::Rectangular, BlockStructure::TriangularLower);
        for j in (0..n).step_by(TILE) {
            threads::check();
            let size = TILE.min(n - j);
            let mut out = half.rb_mut().subcols_mut(j, size);
            let (own, diagonal) = (strips.subcols(j, size), inverse.submatrix(j, j, size, size));
            triangular::matmul(out.rb_mut(), full, Accum::Replace, own, full, diagonal, lower, 1.0, par);
            let (behind, below) =
                (strips.subcols(j + size, n - j - size), inverse.submatrix(j + size, j, n - j - size, size));
            matmul(out, Accum::Add, behind, below, 1.0, par);
        }
        let both = strips_products(half.rb(), strips, inverse, q);
        for b in 0..q {
            for a in 0..q {
                total[b * q + a] = both[b * q + a] + both[a * q + b];
            }
        }
        return total;
    }
    let add = |j: usize, column: &[f64], sum: &mut [f64]| {
        with_size!(
            q,
            sandwich_column(cross, y, column, q, j, |_, part| {
                sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
            })
        );
    };
    let n_pieces = if par != Par::Seq && assembly_flops(products) as usize > PARALLEL_WORK { 64.min(n) } else { 1 };
    let pieces: Vec<usize> = (0..n_pieces).collect();
    let parts = over_pieces(pieces, |_, k| {
        let mut sum = zeros(q * q);
        let mut work = zeros(n);
        for j in k * n / n_pieces..(k + 1) * n / n_pieces {
            threads::check();
            with_inverse_column(pattern, inverse, j, &mut work, |column| add(j, column, &mut sum));
        }
        sum
    });
    for part in parts {
        total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
    }
    total
}

/// sum_l (H_l - Y_l D / 2) Y_l' of the levels' rows in H and Y, D the diagonal of the inverse.
fn strips_products(half: MatRef<f64>, strips: MatRef<f64>, inverse: MatRef<f64>, q: usize) -> Vec<f64> {
    let mut out = zeros(q * q);
    for j in 0..strips.ncols() {
        let diagonal = inverse[(j, j)] / 2.0;
        let columns = (column_of(half, j), column_of(strips, j));
        with_size!(q, {
            for (h, y) in columns.0.chunks_exact(q).zip(columns.1.chunks_exact(q)) {
                for b in 0..q {
                    for a in 0..q {
                        out[b * q + a] += (h[a] - diagonal * y[a]) * y[b];
                    }
                }
            }
        });
    }
    out
}

fn column_of<'a>(a: MatRef<'a, f64>, j: usize) -> &'a [f64] {
    a.try_as_col_major().expect("column-major").col(j).as_slice()
}

/// Y_l S^-1 Y_l' of every level, q x q each.
pub fn sandwich_levels(products: &Products, pattern: &Pattern, y: &[f64], inverse: &[f64]) -> Vec<f64> {
    let cross = &products.cross;
    let (q, n) = (products.factors[0].q, products.n_rest);
    let mut out = zeros(products.factors[0].n_levels * q * q);
    let mut work = zeros(n);
    for j in 0..if cross.column.is_empty() { 0 } else { n } {
        threads::check();
        with_inverse_column(pattern, inverse, j, &mut work, |column| {
            sandwich_column(cross, y, column, q, j, |level, part| {
                let sum = &mut out[level * q * q..(level + 1) * q * q];
                sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
            });
        });
    }
    out
}

/// Hands column j of S^-1 (rows at or below j) to `f`, indexed by row.
pub fn with_inverse_column(pattern: &Pattern, inverse: &[f64], j: usize, work: &mut [f64], f: impl FnOnce(&[f64])) {
    match pattern {
        Pattern::Dense { n } => f(&inverse[j * n..(j + 1) * n]),
        Pattern::Sparse(s) => {
            let range = s.column_start[j]..s.column_start[j + 1];
            for (&i, &v) in s.row[range.clone()].iter().zip(&inverse[range]) {
                work[i] = v;
            }
            f(work);
        }
    }
}

/// The part of each Y_l S^-1 Y_l' that comes from column j of the lower triangle.
#[inline(always)]
fn sandwich_column(cross: &Cross, y: &[f64], column: &[f64], q: usize, j: usize, mut add: impl FnMut(usize, &[f64])) {
    let mut below = zeros(q);
    let mut part = zeros(q * q);
    for &(level, t) in &cross.by_column[cross.column_start[j]..cross.column_start[j + 1]] {
        let from = cross.start[level as usize] + t as usize;
        let to = cross.start[level as usize + 1];
        let own = &y[from * q..(from + 1) * q];
        below.fill(0.0);
        for (&i, strip) in cross.column[from + 1..to].iter().zip(y[(from + 1) * q..to * q].chunks_exact(q)) {
            let value = column[i as usize];
            for k in 0..q {
                below[k] += value * strip[k];
            }
        }
        let diagonal = column[j];
        for b in 0..q {
            for a in 0..q {
                part[b * q + a] = diagonal * own[a] * own[b] + below[a] * own[b] + own[a] * below[b];
            }
        }
        add(level as usize, &part);
    }
}
