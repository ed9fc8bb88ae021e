//! One pass over the rows: every cross-product that the likelihood needs, in orthonormal bases.
//!
//! After this nothing touches the rows again. Factors stand in elimination order: the one with most random effects
//! first, the others ("the rest") behind it. Columns `q` of X and `z` of Z are in the bases of `basis.rs`; the response
//! is its least-squares residual on X over its root mean square; weights are inside all products.

use crate::basis::Basis;
use crate::block::{self, with_size};
use crate::memory::{self, copied, filled, reserve, reserved, zeros};
use crate::relation::Relation;
use crate::rows::{ByLevel, CHUNK, Source, add_to, chunks_together, sum_over_rows};
use crate::threads::Stop;
use rayon::prelude::*;
use std::sync::Arc;

/// Root mean square of the residual of least squares, in that of the response, that is rounding.
pub const PERFECT: f64 = 64.0 * f64::EPSILON;

/// One block of columns of a factor: an unstructured covariance, or one variance common to all (no covariances).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub size: usize,
    pub tied: bool,
}

/// What the caller hands over for one grouping factor; without blocks it is a factor of fixed effects, of one column.
#[derive(Clone)]
pub struct FactorRows<'a> {
    pub codes: &'a [i32],
    pub n_levels: usize,
    pub z: Source<'a>,
    pub blocks: Vec<Block>,
    /// What is known of the covariances among levels; None where they are independent.
    pub relation: Option<Arc<Relation>>,
}

/// A model by rows.
#[derive(Clone)]
pub struct ModelRows<'a> {
    pub y: &'a [f64],
    pub x: Source<'a>,
    pub weights: Option<&'a [f64]>,
    pub factors: Vec<FactorRows<'a>>,
}

/// The blocks of columns of one factor, each with its basis.
#[derive(Clone, Debug)]
pub struct FactorBasis {
    /// Each with its first column.
    pub parts: Vec<(usize, Basis)>,
    pub q: usize,
}

impl FactorRows<'_> {
    /// A factor without levels and blocks, for models in which no other can be eliminated first.
    pub fn none(n_rows: usize) -> FactorRows<'static> {
        FactorRows { codes: &[], n_levels: 0, z: Source::Ones(n_rows), blocks: vec![], relation: None }
    }

    /// Whether all columns are those of `source`, and vary together.
    fn is_one_block_of(&self, source: &Source) -> bool {
        self.z.is_same(source) && matches!(self.blocks[..], [Block { tied: false, .. }])
    }
}

impl FactorBasis {
    /// The bases of some rows for all rows, in which no column is zero for sure.
    pub fn provisional(factor: &FactorRows, weights: Option<&[f64]>) -> FactorBasis {
        let mut out = FactorBasis::of(factor, weights);
        out.parts.iter_mut().for_each(|(_, basis)| basis.keep_all());
        out
    }

    fn whole(basis: Basis) -> FactorBasis {
        FactorBasis { q: basis.len(), parts: vec![(0, basis)] }
    }

    fn of(factor: &FactorRows, weights: Option<&[f64]>) -> FactorBasis {
        let q = factor.z.n_cols();
        let n = factor.z.n_rows();
        let mut start = 0;
        let mut parts = Vec::new();
        if factor.blocks.is_empty() {
            return FactorBasis::whole(Basis::unmapped(q));
        }
        for &Block { size, tied } in &factor.blocks {
            if tied {
                parts.push((start, Basis::scaling(&factor.z, start..start + size, weights)));
                start += size;
                continue;
            }
            let basis = match factor.z {
                Source::Columns { values, .. } if size < q => {
                    let mut part = reserved(n * size);
                    (0..n).for_each(|i| part.extend_from_slice(&values[i * q + start..i * q + start + size]));
                    let source = Source::Columns { values: &part, n_rows: n, n_cols: size };
                    Basis::with_dependent(&source, size, weights, 1)
                }
                _ => Basis::with_dependent(&factor.z, size, weights, 1),
            };
            parts.push((start, basis));
            start += size;
        }
        FactorBasis { parts, q }
    }

    /// Columns of the factor that are combinations of columns before them, whatever their blocks; `zz` by levels.
    fn dependent(&self, zz: &[f64], factor: &FactorRows, weights: Option<&[f64]>) -> Vec<usize> {
        if let ([(_, basis)], [Block { tied: false, .. }]) = (&self.parts[..], &factor.blocks[..]) {
            return basis.dependent.clone();
        }
        let mut gram = zeros(self.q * self.q);
        for level in zz.chunks_exact(self.q * self.q) {
            gram.iter_mut().zip(level).for_each(|(g, z)| *g += z);
        }
        Basis::dependent_across(&gram, &factor.z, self.q, weights)
    }

    #[inline]
    pub fn apply(&self, raw: &[f64], out: &mut [f64]) {
        for (start, basis) in &self.parts {
            basis.apply(&raw[*start..*start + basis.len()], &mut out[*start..*start + basis.len()]);
        }
    }

    /// The first column of each column's block, the mean that is taken off it times that, and the map behind it, q x q
    /// column-major.
    pub fn centred(&self) -> (Vec<usize>, Vec<f64>, Vec<f64>) {
        let (mut first, mut mean, mut map) = (vec![0; self.q], zeros(self.q), zeros(self.q * self.q));
        for (start, basis) in &self.parts {
            let (size, (part, t)) = (basis.len(), basis.centred());
            for j in 0..size {
                (first[start + j], mean[start + j]) = (*start, part[j]);
                let column = (start + j) * self.q + start;
                map[column..column + size].copy_from_slice(&t[j * size..(j + 1) * size]);
            }
        }
        (first, mean, map)
    }

    /// The map as a q x q matrix: z = raw * map.
    pub fn matrix(&self) -> Vec<f64> {
        if self.parts.is_empty() {
            return block::identity(self.q);
        }
        let mut out = zeros(self.q * self.q);
        for (start, basis) in &self.parts {
            let size = basis.len();
            let part = basis.matrix();
            for j in 0..size {
                for i in 0..size {
                    out[(start + j) * self.q + start + i] = part[j * size + i];
                }
            }
        }
        out
    }
}

/// Levels of one effect that meet neither X nor y, as `alike` makes them, and so count in log|M| alone.
#[derive(Clone)]
pub struct Idle {
    /// z_l'Wz_l of each.
    pub zz: f64,
    pub count: f64,
}

/// Products of one factor with itself and with [X y].
#[derive(Clone)]
pub struct Factor {
    pub n_levels: usize,
    pub q: usize,
    pub blocks: Vec<Block>,
    /// Position in the caller's list.
    pub public: usize,
    pub basis: FactorBasis,
    /// Columns that are combinations of columns before them.
    pub dependent: Vec<usize>,
    /// Z_l' W Z_l, q x q a level.
    pub zz: Arc<Vec<f64>>,
    /// Z_l' W [X y], q x (p + 1) a level.
    pub zx: Vec<f64>,
    /// Beside the levels; of the first factor only.
    pub idle: Arc<Vec<Idle>>,
    /// Known covariances among levels; the first factor has none.
    pub relation: Option<Arc<Relation>>,
}

impl Factor {
    /// Whether its effects are fixed: absorbed, which is eliminated as a random factor is, with Lambda = I and without the
    /// identity in M.
    pub fn is_absorbed(&self) -> bool {
        self.blocks.is_empty() && self.n_levels > 0
    }

    /// What stands beside Lambda'Z_l'WZ_l Lambda on the diagonal of M: nothing for a level of fixed effects, unless it
    /// has no column, being a combination of others, when it takes no part.
    #[inline]
    pub fn own_diagonal(&self, level: usize) -> f64 {
        let is_known_elsewhere = self.relation.is_some() || (self.is_absorbed() && self.zz[level] != 0.0);
        if is_known_elsewhere { 0.0 } else { 1.0 }
    }

    /// Fixed effects that are absorbed in it.
    pub fn n_absorbed(&self) -> usize {
        if self.is_absorbed() { self.zz.iter().filter(|zz| **zz != 0.0).count() } else { 0 }
    }

    /// Levels in the data.
    pub fn n_in_data(&self) -> f64 {
        self.n_levels as f64 + self.idle.iter().map(|idle| idle.count).sum::<f64>()
    }
}

/// Products of the first factor with the rest, by levels of the first: a sparse matrix of q-row strips.
pub struct Cross {
    /// Strip of level l: positions `start[l]..start[l + 1]` of `column`.
    pub start: Vec<usize>,
    /// Column among all columns of the rest, ascending within a strip.
    pub column: Vec<u32>,
    /// q values a position.
    pub value: Vec<f64>,
    /// The same by columns: `by_column[column_start[j]..column_start[j + 1]]` are (level, position).
    pub column_start: Vec<usize>,
    pub by_column: Vec<(u32, u32)>,
}

/// One block of products among the factors of the rest, lower triangle: rows of the later factor.
pub struct RestCell {
    pub row: usize,
    pub column: usize,
    /// Factors (positions in elimination order) of the rows and of the columns.
    pub row_factor: usize,
    pub column_factor: usize,
    /// Where its values start in `rest_values`, rows x columns, column-major.
    pub value: usize,
}

/// All cross-products of one model.
#[derive(Clone)]
pub struct Products {
    pub n: usize,
    /// Columns of X kept.
    pub p: usize,
    pub log_weights: f64,
    /// The largest weight over the smallest.
    pub weight_ratio: f64,
    pub x_basis: Arc<Basis>,
    /// Least-squares coefficients of y in the basis of X.
    pub beta0: Vec<f64>,
    /// Root mean square of the least-squares residual.
    pub scale: f64,
    pub factors: Vec<Factor>,
    /// First column of each factor of the rest among the rest's columns (0 for the first factor, unused).
    pub offset: Vec<usize>,
    /// Columns of the rest.
    pub n_rest: usize,
    pub cross: Arc<Cross>,
    pub rest_cells: Arc<Vec<RestCell>>,
    pub rest_values: Arc<Vec<f64>>,
    /// [X y]' W [X y], (p + 1) x (p + 1).
    pub xx: Vec<f64>,
}

/// Why no products could be formed.
#[derive(Debug, PartialEq, Eq)]
pub enum ProductsError {
    /// The response is a linear combination of the fixed columns.
    PerfectFit,
}

/// Factors in elimination order, and where their columns are among the rest's.
pub struct Layout {
    /// Positions in the caller's list.
    pub order: Vec<usize>,
    /// Levels, and columns of each level.
    pub shape: Vec<(usize, usize)>,
    /// First column of each factor of the rest among the rest's columns (0 for the first factor, unused).
    pub offset: Vec<usize>,
    /// Columns of the rest.
    pub n_rest: usize,
}

impl Layout {
    /// That of factors of so many levels and columns, in the caller's order; those whose levels are related stand last.
    pub fn new(shapes: &[(usize, usize)], is_related: impl Fn(usize) -> bool) -> Layout {
        let mut order: Vec<usize> = (0..shapes.len()).collect();
        order.sort_by_key(|&k| (is_related(k), std::cmp::Reverse(shapes[k].0 * shapes[k].1)));
        let shape = order.iter().map(|&k| shapes[k]).collect();
        Layout::in_order(order, shape)
    }

    /// That of factors of these shapes in elimination order.
    fn in_order(order: Vec<usize>, shape: Vec<(usize, usize)>) -> Layout {
        let mut offset = vec![0; order.len()];
        let mut n_rest = 0;
        for e in 1..order.len() {
            offset[e] = n_rest;
            n_rest += shape[e].0 * shape[e].1;
        }
        Layout { order, shape, offset, n_rest }
    }

    /// First column in the rest, and factor, of each level of the factors behind `e`.
    fn blocks_behind(&self, e: usize) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        for o in e + 1..self.order.len() {
            let (n_levels, q) = self.shape[o];
            reserve(&mut out, n_levels);
            out.extend((0..n_levels).map(|l| (self.offset[o] + l * q, o)));
        }
        out
    }
}

impl Products {
    pub fn new(rows: &ModelRows) -> Result<Products, ProductsError> {
        Products::with_residual(rows, Residual::of)
    }

    /// Of the columns alone: what has the response in it is zero.
    pub fn of_columns(rows: &ModelRows) -> Products {
        Products::with_residual(rows, Residual::none).expect("only a response can be fitted perfectly")
    }

    fn with_residual(
        rows: &ModelRows,
        residual: fn(&ModelRows, &Basis) -> Result<Residual, ProductsError>,
    ) -> Result<Products, ProductsError> {
        let n = rows.y.len();
        let (x_once, x_basis) = Basis::by_passes(&rows.x, rows.x.n_cols(), rows.weights, 2);
        let p = x_basis.len();

        let shapes: Vec<(usize, usize)> = rows.factors.iter().map(|f| (f.n_levels, f.z.n_cols())).collect();
        let layout = Layout::new(&shapes, |k| rows.factors[k].relation.is_some());
        let order = &layout.order;

        // random effects of all fixed columns have the basis that these have after one pass over the rows
        let same = |f: &FactorRows| x_once.clone().filter(|b| b.dependent.is_empty() && f.is_one_block_of(&rows.x));
        let basis = |f: &FactorRows| same(f).map_or_else(|| FactorBasis::of(f, rows.weights), FactorBasis::whole);
        let bases: Vec<FactorBasis> = order.iter().map(|&k| basis(&rows.factors[k])).collect();
        let Residual { beta0, scale, xr, xx } = residual(rows, &x_basis)?;
        let factors: Vec<Factor> = order
            .iter()
            .zip(&bases)
            .map(|(&k, basis)| {
                let f = &rows.factors[k];
                let by_level = ByLevel::new(f.codes, f.n_levels);
                let (zz, zx) = level_products(rows, f, basis, &by_level, &xr, p + 1, scale);
                Factor {
                    n_levels: f.n_levels,
                    q: f.z.n_cols(),
                    blocks: f.blocks.clone(),
                    public: k,
                    basis: basis.clone(),
                    dependent: basis.dependent(&zz, f, rows.weights),
                    zz: Arc::new(zz),
                    zx,
                    idle: Arc::default(),
                    relation: f.relation.clone(),
                }
            })
            .collect();
        let behind = |e: usize| strips(rows, order, &bases, e, &(e + 1..order.len()).collect::<Vec<usize>>());
        let cross = cross_products(&layout, behind);
        let (rest_cells, rest_values) = rest_products(&layout, behind);

        Ok(Products {
            n,
            p,
            log_weights: rows.weights.map_or(0.0, |w| w.iter().map(|w| w.ln()).sum()),
            weight_ratio: rows.weights.map_or(1.0, |w| {
                let (low, high) = w.iter().fold((f64::INFINITY, 0.0), |(l, h): (f64, f64), &w| (l.min(w), h.max(w)));
                high / low
            }),
            x_basis: Arc::new(x_basis),
            beta0,
            scale,
            factors,
            offset: layout.offset,
            n_rest: layout.n_rest,
            cross: Arc::new(cross),
            rest_cells: Arc::new(rest_cells),
            rest_values: Arc::new(rest_values),
            xx,
        })
    }

    /// Fixed effects that are absorbed.
    pub fn n_absorbed(&self) -> usize {
        self.factors.iter().map(Factor::n_absorbed).sum()
    }

    /// The model of the random factors without the absorbed ones; None if there are none of these.
    pub fn without_absorbed(&self) -> Option<Products> {
        let kept: Vec<usize> = (0..self.factors.len()).filter(|&e| !self.factors[e].is_absorbed()).collect();
        if kept.len() == self.factors.len() {
            return None;
        }
        let shape: Vec<(usize, usize)> = kept.iter().map(|&e| (self.factors[e].n_levels, self.factors[e].q)).collect();
        let layout = Layout::in_order(kept.clone(), shape);
        let strips = |e: usize| self.strips_among(&kept, e);
        let cross = cross_products(&layout, strips);
        let (rest_cells, rest_values) = rest_products(&layout, strips);
        Some(Products {
            factors: kept.iter().map(|&e| self.factors[e].clone()).collect(),
            offset: layout.offset,
            n_rest: layout.n_rest,
            cross: Arc::new(cross),
            rest_cells: Arc::new(rest_cells),
            rest_values: Arc::new(rest_values),
            ..self.clone()
        })
    }

    /// Products of the factor at place `k` of those kept with the ones kept behind it.
    fn strips_among(&self, kept: &[usize], k: usize) -> Strips {
        let e = kept[k];
        let (n_levels, q) = (self.factors[e].n_levels, self.factors[e].q);
        let mut first_block = vec![None; self.factors.len()];
        let mut n_blocks = 0;
        for &o in &kept[k + 1..] {
            first_block[o] = Some(n_blocks);
            n_blocks += self.factors[o].n_levels;
        }
        let mut out = Strips { count: filled(0, n_levels), block: vec![], value: vec![] };
        let mut add = |level: usize, o: usize, column: usize, values: &[f64]| {
            let Some(first) = first_block[o] else { return };
            out.count[level] += 1;
            reserve(&mut out.block, 1);
            out.block.push((first + (column - self.offset[o]) / self.factors[o].q) as u32);
            reserve(&mut out.value, values.len());
            out.value.extend_from_slice(values);
        };
        if e > 0 {
            for cell in self.rest_cells.iter().filter(|cell| cell.column_factor == e) {
                let q_row = self.factors[cell.row_factor].q;
                let values = &self.rest_values[cell.value..cell.value + q * q_row];
                let level = (cell.column - self.offset[e]) / q;
                add(level, cell.row_factor, cell.row, &block::transpose(values, q_row, q));
            }
            return out;
        }
        for level in 0..n_levels {
            let mut t = self.cross.start[level];
            while t < self.cross.start[level + 1] {
                let column = self.cross.column[t] as usize;
                let o = (1..self.factors.len()).rev().find(|&o| self.offset[o] <= column).unwrap_or(1);
                let width = self.factors[o].q;
                add(level, o, column, &self.cross.value[t * q..(t + width) * q]);
                t += width;
            }
        }
        out
    }

    /// Root mean square of a least-squares residual from its sum of squares; None if that is rounding of the response's.
    pub fn residual_scale(square: f64, of_response: f64, n: usize) -> Option<f64> {
        let is_rounding = square.is_nan() || square <= PERFECT * PERFECT * of_response || square == 0.0;
        (!is_rounding).then(|| (square / n as f64).sqrt())
    }

    /// The same model with the response in `rows`; only what depends on it is formed anew.
    pub fn with_response(&self, rows: &ModelRows) -> Result<Products, ProductsError> {
        let Residual { beta0, scale, xr, xx } = Residual::of(rows, &self.x_basis)?;
        let with_its_products = |factor: &Factor| {
            let f = &rows.factors[factor.public];
            let by_level = ByLevel::new(f.codes, f.n_levels);
            let (_, zx) = level_products(rows, f, &factor.basis, &by_level, &xr, self.p + 1, scale);
            Factor {
                zx,
                zz: factor.zz.clone(),
                blocks: factor.blocks.clone(),
                basis: factor.basis.clone(),
                dependent: factor.dependent.clone(),
                idle: factor.idle.clone(),
                relation: factor.relation.clone(),
                ..*factor
            }
        };
        Ok(Products {
            beta0,
            scale,
            xx,
            factors: self.factors.iter().map(with_its_products).collect(),
            x_basis: self.x_basis.clone(),
            offset: self.offset.clone(),
            cross: self.cross.clone(),
            rest_cells: self.rest_cells.clone(),
            rest_values: self.rest_values.clone(),
            ..*self
        })
    }
}

/// Least squares of y on X, and the rows that all further products are formed from.
pub struct Residual {
    /// Coefficients in the basis of X.
    pub beta0: Vec<f64>,
    /// Root mean square of the residual.
    pub scale: f64,
    /// sqrt(w) [q, residual] by rows.
    pub xr: Vec<f64>,
    /// [q, residual / scale]' W [q, residual / scale], (p + 1) x (p + 1).
    pub xx: Vec<f64>,
}

impl Residual {
    fn none(rows: &ModelRows, basis: &Basis) -> Result<Residual, ProductsError> {
        let m = basis.len() + 1;
        Ok(Residual { beta0: zeros(m - 1), scale: 1.0, xr: zeros(rows.y.len() * m), xx: zeros(m * m) })
    }

    pub fn of(rows: &ModelRows, basis: &Basis) -> Result<Residual, ProductsError> {
        let n = rows.y.len();
        let (p, m) = (basis.len(), basis.len() + 1);
        let weight = |i: usize| rows.weights.map_or(1.0, |w| w[i]);
        let sums = sum_over_rows(n, m, |range, acc| {
            let mut q = zeros(p);
            for i in range {
                basis.apply(rows.x.row(i), &mut q);
                let wy = weight(i) * rows.y[i];
                acc.iter_mut().zip(&q).for_each(|(a, v)| *a += v * wy);
                acc[p] += wy * rows.y[i];
            }
        });
        let beta0: Vec<f64> = sums[..p].iter().map(|s| s / n as f64).collect();
        let mut xr = zeros(n * m);
        let stop = Stop::current();
        let part = |(c, out): (usize, &mut [f64])| {
            stop.check();
            let mut xx = zeros(m * m);
            for (k, row) in out.chunks_exact_mut(m).enumerate() {
                let i = c * CHUNK + k;
                basis.apply(rows.x.row(i), &mut row[..p]);
                let fit: f64 = row.iter().zip(&beta0).map(|(q, b)| q * b).sum();
                row[p] = rows.y[i] - fit;
                if rows.weights.is_some() {
                    let root = weight(i).sqrt();
                    row.iter_mut().for_each(|v| *v *= root);
                }
                for b in 0..m {
                    for a in 0..m {
                        xx[b * m + a] += row[b] * row[a];
                    }
                }
            }
            xx
        };
        let size = CHUNK * m;
        let mut xx = zeros(m * m);
        if n > CHUNK {
            let together = chunks_together(m * m);
            for (k, rows) in xr.chunks_mut(together * size).enumerate() {
                let chunks = rows.par_chunks_mut(size).enumerate();
                let parts: Vec<Vec<f64>> = chunks.map(|(c, rows)| part((k * together + c, rows))).collect();
                parts.into_iter().for_each(|part| add_to(&mut xx, part));
            }
        } else {
            xr.chunks_mut(size).enumerate().map(part).for_each(|part| add_to(&mut xx, part));
        }
        let scale = Products::residual_scale(xx[p * m + p], sums[p], n).ok_or(ProductsError::PerfectFit)?;
        for j in 0..m {
            xx[p * m + j] /= scale;
            xx[j * m + p] /= scale;
        }
        Ok(Residual { beta0, scale, xr, xx })
    }
}

/// One row of Z in its basis, times the root of its weight.
#[inline]
fn z_row(rows: &ModelRows, factor: &FactorRows, basis: &FactorBasis, i: usize, out: &mut [f64]) {
    basis.apply(factor.z.row(i), out);
    if let Some(w) = rows.weights {
        let root = w[i].sqrt();
        out.iter_mut().for_each(|v| *v *= root);
    }
}

/// Levels handled as one piece of work, so that a piece has some thousands of rows.
fn levels_per_piece(n: usize, n_levels: usize) -> usize {
    (n_levels * 8192).div_ceil(n.max(1)).clamp(1, n_levels.max(1))
}

/// Z_l' Z_l and Z_l' [X y] of each level; y is the last column of `xr` over `scale`.
fn level_products(
    rows: &ModelRows,
    factor: &FactorRows,
    basis: &FactorBasis,
    by_level: &ByLevel,
    xr: &[f64],
    m: usize,
    scale: f64,
) -> (Vec<f64>, Vec<f64>) {
    let q = factor.z.n_cols();
    let mut zz = zeros(factor.n_levels * q * q);
    let mut zx = zeros(factor.n_levels * q * m);
    let piece = levels_per_piece(rows.y.len(), factor.n_levels);
    let stop = Stop::current();
    let work = |(c, (zz, zx)): (usize, (&mut [f64], &mut [f64]))| {
        stop.check();
        let mut z = zeros(q);
        for (k, (zz, zx)) in zz.chunks_exact_mut(q * q).zip(zx.chunks_exact_mut(q * m)).enumerate() {
            let of_level = by_level.rows(c * piece + k);
            with_size!(q, {
                for &i in of_level {
                    let i = i as usize;
                    z_row(rows, factor, basis, i, &mut z);
                    let (z, zz) = (&z[..q], &mut zz[..q * q]);
                    for b in 0..q {
                        for a in 0..q {
                            zz[b * q + a] += z[a] * z[b];
                        }
                    }
                    for (column, x) in zx.chunks_exact_mut(q).zip(&xr[i * m..(i + 1) * m]) {
                        column.iter_mut().zip(z).for_each(|(s, z)| *s += z * x);
                    }
                }
            });
            zx[q * (m - 1)..].iter_mut().for_each(|v| *v /= scale);
        }
    };
    if rows.y.len() > 8192 {
        let pieces = zz.par_chunks_mut(piece * q * q).zip(zx.par_chunks_mut(piece * q * m));
        pieces.enumerate().for_each(work);
    } else {
        zz.chunks_mut(piece * q * q).zip(zx.chunks_mut(piece * q * m)).enumerate().for_each(work);
    }
    (zz, zx)
}

/// Products of one factor with those behind it, by its levels: their levels met, ascending, counted through all these
/// factors, and the values of each, a column of the other factor after the other.
pub struct Strips {
    pub count: Vec<usize>,
    pub block: Vec<u32>,
    pub value: Vec<f64>,
}

fn strips(rows: &ModelRows, order: &[usize], bases: &[FactorBasis], e: usize, others: &[usize]) -> Strips {
    let factor = &rows.factors[order[e]];
    let q = factor.z.n_cols();
    let by_level = ByLevel::new(factor.codes, factor.n_levels);
    let mut first_block = vec![0; order.len()];
    let mut n_blocks = 0;
    for &o in others {
        first_block[o] = n_blocks;
        n_blocks += rows.factors[order[o]].n_levels;
    }
    let widest = others.iter().map(|&o| rows.factors[order[o]].z.n_cols()).max().unwrap_or(0);
    let width = |block: u32| {
        let o = others.iter().rev().find(|&&o| first_block[o] <= block as usize);
        rows.factors[order[*o.expect("blocks belong to factors")]].z.n_cols()
    };
    let piece = levels_per_piece(rows.y.len(), factor.n_levels);
    let n_pieces = factor.n_levels.div_ceil(piece);
    let stop = Stop::current();
    let work = |slot: &mut Vec<usize>, c: usize| {
        stop.check();
        memory::headroom();
        let levels = c * piece..factor.n_levels.min((c + 1) * piece);
        let mut out = Strips { count: Vec::with_capacity(levels.len()), block: vec![], value: vec![] };
        let (mut z, mut z_other) = (zeros(q), zeros(widest));
        for level in levels {
            let start = out.block.len();
            for &i in by_level.rows(level) {
                for &o in others {
                    let b = first_block[o] + rows.factors[order[o]].codes[i as usize] as usize;
                    if slot[b] == usize::MAX {
                        slot[b] = 0;
                        out.block.push(b as u32);
                    }
                }
            }
            out.block[start..].sort_unstable();
            for &b in &out.block[start..] {
                slot[b as usize] = out.value.len();
                reserve(&mut out.value, q * width(b));
                out.value.resize(out.value.len() + q * width(b), 0.0);
            }
            for &i in by_level.rows(level) {
                let i = i as usize;
                z_row(rows, factor, &bases[e], i, &mut z);
                for &o in others {
                    let other = &rows.factors[order[o]];
                    let q_other = other.z.n_cols();
                    z_row(rows, other, &bases[o], i, &mut z_other[..q_other]);
                    let at = slot[first_block[o] + other.codes[i] as usize];
                    for (column, zo) in out.value[at..at + q * q_other].chunks_exact_mut(q).zip(&z_other) {
                        column.iter_mut().zip(&z).for_each(|(s, z)| *s += z * zo);
                    }
                }
            }
            for &b in &out.block[start..] {
                slot[b as usize] = usize::MAX;
            }
            out.count.push(out.block.len() - start);
        }
        out
    };
    let parts: Vec<Strips> = if n_pieces > 1 {
        (0..n_pieces).into_par_iter().map_init(|| filled(usize::MAX, n_blocks), |slot, c| work(slot, c)).collect()
    } else {
        let mut slot = filled(usize::MAX, n_blocks);
        (0..n_pieces).map(|c| work(&mut slot, c)).collect()
    };
    let mut all = Strips {
        count: reserved(factor.n_levels),
        block: reserved(parts.iter().map(|p| p.block.len()).sum()),
        value: reserved(parts.iter().map(|p| p.value.len()).sum()),
    };
    for part in parts {
        all.count.extend(part.count);
        all.block.extend(part.block);
        all.value.extend(part.value);
    }
    all
}

/// Products of the first factor with the rest; `strips(e)` gives those of a factor with the factors behind it.
pub fn cross_products(layout: &Layout, strips: impl Fn(usize) -> Strips) -> Cross {
    let (n_levels, q) = layout.shape[0];
    if layout.order.len() < 2 {
        let start = filled(0, n_levels + 1);
        return Cross { start, column: vec![], value: vec![], column_start: vec![0], by_column: vec![] };
    }
    let strips = strips(0);
    let columns = layout.blocks_behind(0);
    let n_rest = layout.n_rest;
    let mut start = reserved(n_levels + 1);
    let mut column = reserved(strips.value.len() / q.max(1));
    start.push(0);
    let mut at = 0;
    for &count in &strips.count {
        for &b in &strips.block[at..at + count] {
            let (first, o) = columns[b as usize];
            column.extend((first..first + layout.shape[o].1).map(|c| c as u32));
        }
        at += count;
        start.push(column.len());
    }
    let mut column_start = filled(0usize, n_rest + 1);
    for &c in &column {
        column_start[c as usize + 1] += 1;
    }
    for j in 0..n_rest {
        column_start[j + 1] += column_start[j];
    }
    let mut next = copied(&column_start);
    let mut by_column = filled((0u32, 0u32), column.len());
    for level in 0..n_levels {
        for t in start[level]..start[level + 1] {
            let at = &mut next[column[t] as usize];
            by_column[*at] = (level as u32, (t - start[level]) as u32);
            *at += 1;
        }
    }
    Cross { start, column, value: strips.value, column_start, by_column }
}

/// Products among the rest: off-diagonal blocks between its factors (diagonal ones are in `Factor::zz`).
pub fn rest_products(layout: &Layout, strips: impl Fn(usize) -> Strips) -> (Vec<RestCell>, Vec<f64>) {
    let mut cells = Vec::new();
    let mut values = Vec::new();
    for e in 1..layout.order.len().saturating_sub(1) {
        let q = layout.shape[e].1;
        let strips = strips(e);
        let columns = layout.blocks_behind(e);
        reserve(&mut cells, strips.block.len());
        reserve(&mut values, strips.value.len());
        let (mut at, mut value) = (0, 0);
        for (level, &count) in strips.count.iter().enumerate() {
            for &b in &strips.block[at..at + count] {
                let (row, o) = columns[b as usize];
                let q_row = layout.shape[o].1;
                let cell = RestCell {
                    row,
                    column: layout.offset[e] + level * q,
                    row_factor: o,
                    column_factor: e,
                    value: values.len(),
                };
                cells.push(cell);
                values.extend(block::transpose(&strips.value[value..value + q * q_row], q, q_row));
                value += q * q_row;
            }
            at += count;
        }
    }
    (cells, values)
}
