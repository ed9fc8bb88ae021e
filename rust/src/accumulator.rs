//! Products of rows that come in parts, none of which is kept: any split, and any order of merges, gives the same.
//!
//! The first part fixes a provisional basis of the columns of X and of Z and a first fit of y, in which all sums are
//! formed; parts that are merged share them. What `products.rs` needs is linear in these columns, so the sums are
//! turned into the basis of all rows at the end. Where that would cost digits, because the first part was unlike the
//! whole, another pass is asked for, with what the first one found as its provisional basis.
//!
//! Levels are codes that the caller's dictionaries hand out as labels appear; at the end these are put in order.

use crate::basis::{Basis, ColumnSums, Settled};
use crate::block::{self, MAX_SIZE, with_size};
use crate::bytes::{Reader, Writer};
use crate::memory::{copied, filled, reserve, reserved, zeros};
use crate::model::inverse_upper;
use crate::pairs::Pairs;
use crate::products::{
    Block, Factor, FactorBasis, FactorRows, Layout, ModelRows, PERFECT, Products, Strips, cross_products, rest_products,
};
use crate::rows::{CHUNK, Source, add_to};
use crate::threads::Stop;
use std::ops::Range;
use std::sync::Arc;

/// Share of the sum of squares about the first fit that must be left, lest digits be lost.
const LOST: f64 = 1e-4;

/// For how many rows each row stands; None for itself alone.
pub type Counts<'a> = Option<&'a [f64]>;

/// Sums over rows of [1, q, r]: q in the provisional basis of X, r the residual of the first fit.
#[derive(Clone)]
pub struct FixedSums {
    pub basis: Basis,
    /// Coefficients of the first fit in that basis.
    pub first: Vec<f64>,
    /// Without weights, (p + 2) x (p + 2).
    pub plain: Vec<f64>,
    /// With them, (p + 1) x (p + 1) of [q, r]; empty where there are none.
    weighted: Vec<f64>,
    /// Squares of the raw columns, without weights and with them.
    squares: [Vec<f64>; 2],
    /// Weighted square of y.
    y_square: f64,
}

/// Sums by the levels of one factor.
#[derive(Clone)]
pub struct FactorSums {
    pub n_levels: usize,
    pub basis: FactorBasis,
    blocks: Vec<Block>,
    /// Of all columns together, where they are in several blocks: which of them depend on others.
    joint: Option<(Basis, Vec<f64>)>,
    /// Products of its columns without weights, q x q; empty where there are none.
    plain: Vec<f64>,
    squares: [Vec<f64>; 2],
    /// Products with [z, q, r] a level, a row of q + p + 1 for each of its columns: one visit to memory for a row.
    sums: Vec<f64>,
}

/// The sums of one model.
#[derive(Clone)]
pub struct Accumulator {
    pub n: usize,
    pub is_weighted: bool,
    log_weights: f64,
    /// The smallest and the largest.
    weights: (f64, f64),
    pub fixed: FixedSums,
    pub factors: Vec<FactorSums>,
    /// Of factors j < k, in order (0, 1), (0, 2), (1, 2), ...
    pairs: Vec<Pairs>,
}

/// What the sums came to.
pub enum Finished {
    Products(Box<Products>),
    /// Without sums, for another pass over the same rows.
    Again(Box<Accumulator>),
    PerfectFit,
}

impl FixedSums {
    fn of(rows: &ModelRows) -> FixedSums {
        let p = rows.x.n_cols();
        let basis = Basis::provisional(&rows.x, p, rows.weights);
        let n = rows.y.len() as f64;
        let (mut first, mut q) = (zeros(p), zeros(p));
        for (i, y) in rows.y.iter().enumerate() {
            basis.apply(rows.x.row(i), &mut q);
            let w = rows.weights.map_or(1.0, |w| w[i]);
            first.iter_mut().zip(&q).for_each(|(b, q)| *b += w * q * y / n);
        }
        basis.dependent.iter().for_each(|&j| first[j] = 0.0);
        FixedSums::empty(basis, first, rows.weights.is_some())
    }

    fn empty(basis: Basis, first: Vec<f64>, is_weighted: bool) -> FixedSums {
        let p = basis.len();
        FixedSums {
            basis,
            first,
            plain: zeros((p + 2) * (p + 2)),
            weighted: zeros(if is_weighted { (p + 1) * (p + 1) } else { 0 }),
            squares: [zeros(p), zeros(if is_weighted { p } else { 0 })],
            y_square: 0.0,
        }
    }

    pub fn p(&self) -> usize {
        self.basis.len()
    }

    /// Adds some rows; `out` is sqrt(w) [q, r] of each, with its count under the root.
    fn add(&mut self, rows: &ModelRows, counts: Counts, range: Range<usize>, out: &mut [f64]) {
        let p = self.p();
        with_size!(p, self.add_rows(rows, counts, range, out, p));
    }

    #[inline(always)]
    fn add_rows(&mut self, rows: &ModelRows, counts: Counts, range: Range<usize>, out: &mut [f64], p: usize) {
        let (m, s) = (p + 1, p + 2);
        let (mean, map) = self.basis.centred();
        // sums of few columns stay in registers
        let mut few = [0.0; (MAX_SIZE + 1) * (MAX_SIZE + 1)];
        let mut many = zeros(if p > MAX_SIZE { m * m } else { 0 });
        let gram = if p > MAX_SIZE { &mut many[..m * m] } else { &mut few[..m * m] };
        let mut sums = zeros(m);
        for (i, out) in range.clone().zip(out.chunks_exact_mut(m)) {
            provisional(rows.x.row(i), mean, map, p, out);
            let fit: f64 = out[..p].iter().zip(&self.first[..p]).map(|(q, b)| q * b).sum();
            out[p] = rows.y[i] - fit;
            match counts {
                None => sums.iter_mut().zip(&*out).for_each(|(s, v)| *s += v),
                Some(counts) => {
                    sums.iter_mut().zip(&*out).for_each(|(s, v)| *s += counts[i] * v);
                    let root = counts[i].sqrt();
                    out.iter_mut().for_each(|v| *v *= root);
                }
            }
            for b in 0..m {
                (b..m).for_each(|a| gram[b * m + a] += out[a] * out[b]);
            }
        }
        self.plain[0] += total(counts, range.clone());
        for b in 0..m {
            self.plain[b + 1] += sums[b];
            (b..m).for_each(|a| self.plain[(b + 1) * s + a + 1] += gram[b * m + a]);
        }
        for i in range.clone() {
            let count = counts.map_or(1.0, |c| c[i]);
            self.squares[0].iter_mut().zip(rows.x.row(i)).for_each(|(s, x)| *s += count * x * x);
            self.y_square += count * rows.weights.map_or(1.0, |w| w[i]) * rows.y[i] * rows.y[i];
        }
        let Some(weights) = rows.weights else { return };
        let mut weighted = zeros(m * m);
        for (i, out) in range.zip(out.chunks_exact_mut(m)) {
            let root = weights[i].sqrt();
            out.iter_mut().for_each(|v| *v *= root);
            for b in 0..m {
                (b..m).for_each(|a| weighted[b * m + a] += out[a] * out[b]);
            }
            self.squares[1].iter_mut().zip(rows.x.row(i)).for_each(|(s, x)| *s += weights[i] * x * x);
        }
        add_to(&mut self.weighted, weighted);
    }

    fn merge(&mut self, other: &FixedSums) {
        add_slice(&mut self.plain, &other.plain);
        add_slice(&mut self.weighted, &other.weighted);
        self.squares.iter_mut().zip(&other.squares).for_each(|(a, b)| add_slice(a, b));
        self.y_square += other.y_square;
    }

    /// Weighted products of q, p x p, those with r, p, and the square of r.
    fn products(&self) -> (Vec<f64>, Vec<f64>, f64) {
        let p = self.p();
        let (of, size, first) =
            if self.weighted.is_empty() { (&self.plain, p + 2, 1) } else { (&self.weighted, p + 1, 0) };
        let at = |a: usize, b: usize| of[(b.min(a) + first) * size + b.max(a) + first];
        let gram = (0..p * p).map(|k| at(k % p, k / p)).collect();
        (gram, (0..p).map(|j| at(j, p)).collect(), at(p, p))
    }

    fn settle(&self, n: usize) -> Settled {
        let p = self.p();
        let (gram, ..) = self.products();
        let plain: Vec<f64> = (1..=p).map(|j| self.plain[j * (p + 2) + j]).collect();
        settle(&self.basis, &gram, &plain, &self.squares, n, false)
    }
}

impl FactorSums {
    fn of(factor: &FactorRows, weights: Option<&[f64]>, p: usize) -> FactorSums {
        let basis = FactorBasis::provisional(factor, weights);
        let joint = (factor.blocks.len() > 1).then(|| Basis::provisional(&factor.z, basis.q, weights));
        FactorSums::empty(factor.n_levels, basis, factor.blocks.clone(), joint, weights.is_some(), p)
    }

    fn empty(
        n_levels: usize,
        basis: FactorBasis,
        blocks: Vec<Block>,
        joint: Option<Basis>,
        is_weighted: bool,
        p: usize,
    ) -> FactorSums {
        let q = basis.q;
        FactorSums {
            n_levels,
            basis,
            blocks,
            joint: joint.map(|basis| (basis, zeros(q * q))),
            plain: zeros(if is_weighted { q * q } else { 0 }),
            squares: [zeros(q), zeros(if is_weighted { q } else { 0 })],
            sums: zeros(n_levels * q * (q + p + 1)),
        }
    }

    /// Values of one level: its columns' products with themselves, q x q, and with [q, r], q x (p + 1).
    fn level(&self, level: usize, zz: &mut [f64], zx: &mut [f64]) {
        let q = self.basis.q;
        let width = q + zx.len() / q;
        for (a, row) in self.sums[level * q * width..(level + 1) * q * width].chunks_exact(width).enumerate() {
            (0..q).for_each(|b| zz[b * q + a] = row[b]);
            (q..width).for_each(|x| zx[(x - q) * q + a] = row[x]);
        }
    }

    /// Makes room for levels that appeared.
    fn grow(&mut self, n_levels: usize, p: usize) {
        let q = self.basis.q;
        if n_levels > self.n_levels {
            self.n_levels = n_levels;
            let size = n_levels * q * (q + p + 1);
            let more = size - self.sums.len();
            reserve(&mut self.sums, more);
            self.sums.resize(size, 0.0);
        }
    }

    /// Adds some rows, whose sqrt(w) [q, r] are `xr`; `out` is sqrt(w) z of each.
    fn add(
        &mut self,
        rows: &ModelRows,
        factor: &FactorRows,
        counts: Counts,
        range: Range<usize>,
        xr: &[f64],
        out: &mut [f64],
    ) {
        let (q, m) = (self.basis.q, xr.len() / range.len());
        self.map_rows(factor, counts, range.clone(), out);
        if let Some(counts) = counts {
            for (count, out) in counts[range.clone()].iter().zip(out.chunks_exact_mut(q)) {
                let root = count.sqrt();
                out.iter_mut().for_each(|v| *v *= root);
            }
        }
        if let Some(weights) = rows.weights {
            for (i, out) in range.clone().zip(out.chunks_exact_mut(q)) {
                add_lower(&mut self.plain, out, q);
                let root = weights[i].sqrt();
                out.iter_mut().for_each(|v| *v *= root);
                self.squares[1].iter_mut().zip(factor.z.row(i)).for_each(|(s, z)| *s += weights[i] * z * z);
            }
        }
        if let Some((basis, gram)) = &mut self.joint {
            let mut joint = zeros(q);
            for i in range.clone() {
                basis.apply(factor.z.row(i), &mut joint);
                let root = rows.weights.or(counts).map_or(1.0, |w| w[i].sqrt());
                joint.iter_mut().for_each(|v| *v *= root);
                add_lower(gram, &joint, q);
            }
        }
        let codes = &factor.codes[range];
        with_size!(q, with_size!(m, add_by_level(&mut self.sums, codes, out, xr, q, m)));
    }

    /// Provisional columns of some rows, and the squares of the raw ones.
    fn map_rows(&mut self, factor: &FactorRows, counts: Counts, range: Range<usize>, out: &mut [f64]) {
        let q = self.basis.q;
        let count = |i: usize| counts.map_or(1.0, |c| c[i]);
        match (&factor.z, &self.basis.parts[..]) {
            (Source::Ones(_), _) => {
                self.basis.apply(&[1.0], &mut out[..1]);
                let one = out[0];
                out.fill(one);
                self.squares[0][0] += total(counts, range);
            }
            (_, [(_, basis)]) => {
                let (mean, map) = basis.centred();
                let squares = &mut self.squares[0];
                with_size!(q, {
                    for (i, out) in range.zip(out.chunks_exact_mut(q)) {
                        let raw = factor.z.row(i);
                        provisional(raw, mean, map, q, out);
                        let count = count(i);
                        squares.iter_mut().zip(raw).for_each(|(s, z)| *s += count * z * z);
                    }
                });
            }
            _ => {
                for (i, out) in range.zip(out.chunks_exact_mut(q)) {
                    let raw = factor.z.row(i);
                    self.basis.apply(raw, out);
                    self.squares[0].iter_mut().zip(raw).for_each(|(s, z)| *s += count(i) * z * z);
                }
            }
        }
    }

    fn merge(&mut self, other: &FactorSums, codes: &[i32], p: usize) {
        let n_levels = codes.iter().map(|&c| c as usize + 1).max().unwrap_or(0);
        self.grow(n_levels.max(self.n_levels), p);
        let q = self.basis.q;
        let size = q * (q + p + 1);
        for (of, &code) in other.sums.chunks_exact(size).zip(codes) {
            let at = code as usize * size;
            add_slice(&mut self.sums[at..at + size], of);
        }
        add_slice(&mut self.plain, &other.plain);
        self.squares.iter_mut().zip(&other.squares).for_each(|(a, b)| add_slice(a, b));
        if let (Some((_, own)), Some((_, of))) = (&mut self.joint, &other.joint) {
            add_slice(own, of);
        }
    }

    /// Products of its columns over all levels, q x q, with weights and without.
    pub fn grams(&self) -> [Vec<f64>; 2] {
        let q = self.basis.q;
        let width = self.sums.len() / (self.n_levels * q).max(1);
        let mut gram = zeros(q * q);
        for level in self.sums.chunks_exact((q * width).max(1)) {
            for (column, row) in gram.chunks_exact_mut(q).zip(level.chunks_exact(width)) {
                add_slice(column, &row[..q]);
            }
        }
        let plain = if self.plain.is_empty() { copied(&gram) } else { copied(&self.plain) };
        [gram, plain]
    }

    /// The basis of all rows, the map into it from the provisional one, q x q, the columns that depend on others, and
    /// whether another pass is wanted; for that the provisional bases.
    fn settle(&self, n: usize) -> SettledFactor {
        let q = self.basis.q;
        let [gram, plain] = self.grams();
        let mut out = SettledFactor {
            basis: FactorBasis { parts: vec![], q },
            turn: zeros(q * q),
            dependent: vec![],
            again: false,
            next: FactorBasis { parts: vec![], q },
            joint: None,
        };
        for ((start, basis), block) in self.basis.parts.iter().zip(&self.blocks) {
            let (start, size) = (*start, basis.len());
            let among: Vec<f64> = (0..size * size).map(|k| gram[(start + k / size) * q + start + k % size]).collect();
            let settled = if block.tied {
                rescaled(basis, &among, n)
            } else {
                let plain: Vec<f64> = (start..start + size).map(|j| plain[j * q + j]).collect();
                let own = |k: usize| self.squares[k].get(start..start + size).unwrap_or(&[]).to_vec();
                settle(basis, &among, &plain, &[own(0), own(1)], n, true)
            };
            for j in 0..size {
                let column = (start + j) * q + start;
                out.turn[column..column + size].copy_from_slice(&settled.turn[j * size..(j + 1) * size]);
            }
            out.again |= settled.again;
            out.dependent.extend(settled.basis.dependent.iter().map(|j| start + j));
            out.next.parts.push((start, basis.turned(&settled.next)));
            out.basis.parts.push((start, settled.basis));
        }
        if let Some((basis, gram)) = &self.joint {
            let plain: Vec<f64> = (0..q).map(|j| gram[j * q + j]).collect();
            let full: Vec<f64> = (0..q * q).map(|k| gram[(k % q).min(k / q) * q + (k % q).max(k / q)]).collect();
            let [unweighted, weighted] = &self.squares;
            let squares = if weighted.is_empty() { unweighted } else { weighted };
            let settled = settle(basis, &full, &plain, &[copied(squares), vec![]], n, true);
            out.again |= settled.again;
            out.joint = Some(basis.turned(&settled.next));
            out.dependent = settled.basis.dependent;
        }
        out
    }
}

struct SettledFactor {
    basis: FactorBasis,
    turn: Vec<f64>,
    dependent: Vec<usize>,
    again: bool,
    next: FactorBasis,
    joint: Option<Basis>,
}

/// A tied block over its common root mean square.
fn rescaled(basis: &Basis, gram: &[f64], n: usize) -> Settled {
    let size = basis.len();
    let square: f64 = (0..size).map(|j| gram[j * size + j]).sum();
    let scale = if square > 0.0 { ((n * size) as f64 / square).sqrt() } else { 1.0 };
    let turn: Vec<f64> = block::identity(size).into_iter().map(|v| scale * v).collect();
    Settled { basis: basis.turned(&turn), next: copied(&turn), turn, again: false }
}

/// `squares` of the raw columns without weights and, where there are some, with them.
fn settle(basis: &Basis, gram: &[f64], plain: &[f64], squares: &[Vec<f64>; 2], n: usize, keep: bool) -> Settled {
    let [plain_length, length] = squares.each_ref().map(|s| s.iter().map(|v| v.sqrt()).collect::<Vec<f64>>());
    let length = if length.is_empty() { &plain_length } else { &length };
    basis.settle(&ColumnSums { gram, plain, length, plain_length: &plain_length }, n, keep)
}

impl Accumulator {
    /// Without sums, in the provisional bases of some rows.
    pub fn like(rows: &ModelRows) -> Accumulator {
        let fixed = FixedSums::of(rows);
        let p = fixed.p();
        let factors = rows.factors.iter().map(|f| FactorSums::of(f, rows.weights, p)).collect();
        Accumulator::empty(fixed, factors, rows.weights.is_some())
    }

    fn empty(fixed: FixedSums, factors: Vec<FactorSums>, is_weighted: bool) -> Accumulator {
        let widths = pairs_of(factors.len()).map(|(j, k)| factors[j].basis.q * factors[k].basis.q);
        let pairs = widths.map(Pairs::new).collect();
        Accumulator { n: 0, is_weighted, log_weights: 0.0, weights: (f64::INFINITY, 0.0), fixed, factors, pairs }
    }

    /// The same bases without sums and levels, for rows that another process has.
    pub fn fork(&self) -> Accumulator {
        let fixed = FixedSums::empty(self.fixed.basis.clone(), copied(&self.fixed.first), self.is_weighted);
        let one = |f: &FactorSums| {
            let joint = f.joint.as_ref().map(|(basis, _)| basis.clone());
            FactorSums::empty(0, f.basis.clone(), f.blocks.clone(), joint, self.is_weighted, fixed.p())
        };
        let factors = self.factors.iter().map(one).collect();
        Accumulator::empty(fixed, factors, self.is_weighted)
    }

    /// Whether sums of two are in the same columns, and so can be added.
    pub fn is_like(&self, other: &Accumulator) -> bool {
        let columns = |a: &Accumulator| {
            let mut out = Writer::default();
            a.write_bases(&mut out);
            out.0
        };
        columns(self) == columns(other)
    }

    /// Adds rows, each as often as `counts` says, which go without weights; factors may have more levels than before.
    pub fn add(&mut self, rows: &ModelRows, counts: Counts) {
        let p = self.fixed.p();
        let n = rows.y.len();
        self.n += total(counts, 0..n).round() as usize;
        self.factors.iter_mut().zip(&rows.factors).for_each(|(f, of)| f.grow(of.n_levels, p));
        if let Some(w) = rows.weights {
            let (mut low, mut high) = self.weights;
            for &w in w {
                self.log_weights += w.ln();
                (low, high) = (low.min(w), high.max(w));
            }
            self.weights = (low, high);
        }
        let stop = Stop::current();
        let most = n.min(CHUNK);
        let mut xr = zeros(most * (p + 1));
        let mut z: Vec<Vec<f64>> = self.factors.iter().map(|f| zeros(most * f.basis.q)).collect();
        for start in (0..n).step_by(CHUNK) {
            stop.check();
            let range = start..n.min(start + CHUNK);
            let xr = &mut xr[..range.len() * (p + 1)];
            self.fixed.add(rows, counts, range.clone(), xr);
            for ((sums, factor), z) in self.factors.iter_mut().zip(&rows.factors).zip(&mut z) {
                let z = &mut z[..range.len() * sums.basis.q];
                sums.add(rows, factor, counts, range.clone(), xr, z);
            }
            for ((j, k), pairs) in pairs_of(self.factors.len()).zip(&mut self.pairs) {
                let codes = [&rows.factors[j].codes[range.clone()], &rows.factors[k].codes[range.clone()]];
                let (a, b) = (&self.factors[j], &self.factors[k]);
                pairs.make_room([a.n_levels, b.n_levels], 0);
                pairs.add(codes, [&z[j], &z[k]], [a.basis.q, b.basis.q]);
            }
        }
    }

    /// Adds the sums of another; `codes[k]` are this one's codes of the other's levels of factor k.
    pub fn merge(&mut self, other: &Accumulator, codes: &[&[i32]]) {
        let p = self.fixed.p();
        self.n += other.n;
        self.log_weights += other.log_weights;
        self.weights = (self.weights.0.min(other.weights.0), self.weights.1.max(other.weights.1));
        self.fixed.merge(&other.fixed);
        self.factors.iter_mut().zip(&other.factors).zip(codes).for_each(|((f, of), codes)| f.merge(of, codes, p));
        for ((j, k), (own, of)) in pairs_of(self.factors.len()).zip(self.pairs.iter_mut().zip(&other.pairs)) {
            own.make_room([self.factors[j].n_levels, self.factors[k].n_levels], of.len());
            own.merge(of, codes[j], codes[k]);
        }
    }

    /// How many pairs of levels of factors j < k occur, in order (0, 1), (0, 2), (1, 2), ...
    pub fn n_pairs(&self) -> Vec<usize> {
        self.pairs.iter().map(Pairs::len).collect()
    }

    /// The products of all rows; `places[k]` are where the levels of factor k go, which is the `ranks[k]`-th of the model.
    pub fn finish(&self, places: &[&[i32]], ranks: &[usize]) -> Finished {
        let n = self.n;
        let (p, m) = (self.fixed.p(), self.fixed.p() + 1);
        let settled = self.fixed.settle(n);
        let factors: Vec<SettledFactor> = self.factors.iter().map(|f| f.settle(n)).collect();
        let kept = settled.basis.len();
        let (gram, with_r, r_square) = self.fixed.products();
        // coefficients of r in the basis of all rows, and in the provisional one
        let mut own = zeros(kept);
        block::transpose_times(&settled.turn, &with_r, p, kept, 1, &mut own);
        own.iter_mut().for_each(|v| *v /= n as f64);
        let mut moved = zeros(p);
        block::times(&settled.turn, &own, p, kept, 1, &mut moved);
        let square = r_square - n as f64 * own.iter().map(|v| v * v).sum::<f64>();
        let rounding = PERFECT * PERFECT * self.fixed.y_square;
        if r_square <= rounding {
            return Finished::PerfectFit;
        }
        let fit: Vec<f64> = self.fixed.first.iter().zip(&moved).map(|(b, c)| b + c).collect();
        if settled.again || square.is_nan() || square < LOST * r_square || factors.iter().any(|f| f.again) {
            return Finished::Again(Box::new(self.again(&settled, factors, &fit)));
        }
        if square <= rounding {
            return Finished::PerfectFit;
        }
        let scale = (square / n as f64).sqrt();
        let mut beta0 = zeros(kept);
        block::times(&inverse_within(&settled, p), &self.fixed.first, kept, p, 1, &mut beta0);
        beta0.iter_mut().zip(&own).for_each(|(b, c)| *b += c);

        let shapes: Vec<(usize, usize)> = places.iter().zip(&factors).map(|(o, f)| (o.len(), f.basis.q)).collect();
        let layout = Layout::new(&shapes, |_| false);
        // [q, r] of the provisional basis to that of all rows and the scaled residual, m x (kept + 1)
        let mut to_final = zeros(m * (kept + 1));
        for j in 0..kept {
            to_final[j * m..j * m + p].copy_from_slice(&settled.turn[j * p..(j + 1) * p]);
        }
        (0..p).for_each(|a| to_final[kept * m + a] = -moved[a] / scale);
        to_final[kept * m + p] = 1.0 / scale;
        let mut xx = zeros((kept + 1) * (kept + 1));
        let mut half = zeros(p * kept);
        block::times(&gram, &settled.turn, p, p, kept, &mut half);
        let mut inner = zeros(kept * kept);
        block::transpose_times(&settled.turn, &half, p, kept, kept, &mut inner);
        for b in 0..kept {
            xx[b * (kept + 1)..b * (kept + 1) + kept].copy_from_slice(&inner[b * kept..(b + 1) * kept]);
        }
        xx[(kept + 1) * (kept + 1) - 1] = n as f64;

        let strips = |e: usize| self.strips(&layout, places, &factors, e);
        let cross = cross_products(&layout, strips);
        let (rest_cells, rest_values) = rest_products(&layout, strips);
        let turned = layout.order.iter().map(|&k| {
            let (zz, zx) = turn_levels(&self.factors[k], &factors[k], places[k], &to_final, m);
            Factor {
                n_levels: places[k].len(),
                q: factors[k].basis.q,
                blocks: self.factors[k].blocks.clone(),
                public: ranks[k],
                basis: factors[k].basis.clone(),
                dependent: factors[k].dependent.clone(),
                zz: Arc::new(zz),
                zx,
                idle: Arc::default(),
                relation: None,
            }
        });
        let turned: Vec<Factor> = turned.collect();
        Finished::Products(Box::new(Products {
            n,
            p: kept,
            log_weights: self.log_weights,
            weight_ratio: if self.is_weighted { self.weights.1 / self.weights.0 } else { 1.0 },
            x_basis: Arc::new(settled.basis),
            beta0,
            scale,
            factors: turned,
            offset: layout.offset,
            n_rest: layout.n_rest,
            cross: Arc::new(cross),
            rest_cells: Arc::new(rest_cells),
            rest_values: Arc::new(rest_values),
            xx,
        }))
    }

    /// Without sums, in the bases and about the fit that these sums have found.
    fn again(&self, settled: &Settled, factors: Vec<SettledFactor>, fit: &[f64]) -> Accumulator {
        let p = self.fixed.p();
        let mut first = zeros(p);
        block::times(&inverse_upper(&settled.next, p), fit, p, p, 1, &mut first);
        let fixed = FixedSums::empty(self.fixed.basis.turned(&settled.next), first, self.is_weighted);
        let sums = self.factors.iter().zip(factors);
        let one = |(f, s): (&FactorSums, SettledFactor)| {
            FactorSums::empty(0, s.next, f.blocks.clone(), s.joint, self.is_weighted, p)
        };
        Accumulator::empty(fixed, sums.map(one).collect(), self.is_weighted)
    }

    /// Products of the factor at `e` in the order of elimination with those behind it.
    fn strips(&self, layout: &Layout, places: &[&[i32]], settled: &[SettledFactor], e: usize) -> Strips {
        let own = layout.order[e];
        let n_levels = places[own].len();
        let mut first = 0;
        let mut tables = vec![];
        for (o, &other) in layout.order.iter().enumerate().skip(e + 1) {
            let (j, k) = (own.min(other), own.max(other));
            let at = pairs_of(layout.order.len()).position(|pair| pair == (j, k)).expect("all pairs are there");
            tables.push((&self.pairs[at], own > other, other, first));
            first += layout.shape[o].0;
        }
        let mut count = filled(0usize, n_levels);
        for &(pairs, swapped, ..) in &tables {
            pairs.for_each(None, |_, a, b| count[places[own][if swapped { b } else { a }] as usize] += 1);
        }
        let mut next = reserved(n_levels);
        let mut total = 0;
        for c in &count {
            next.push(total);
            total += c;
        }
        let mut met = filled((0u32, 0u32, 0u32), total); // block, table, slot
        let known = places.iter().zip(&self.factors);
        let orders: Vec<Vec<u32>> = known.map(|(places, f)| in_order(places, f.n_levels)).collect();
        for (t, &(pairs, swapped, other, first)) in tables.iter().enumerate() {
            let (j, k) = (own.min(other), own.max(other));
            pairs.for_each(Some([&orders[j], &orders[k]]), |slot, a, b| {
                let (a, b) = if swapped { (b, a) } else { (a, b) };
                let at = &mut next[places[own][a] as usize];
                met[*at] = ((first + places[other][b] as usize) as u32, t as u32, slot as u32);
                *at += 1;
            });
        }
        if tables.iter().any(|(pairs, ..)| !pairs.is_ordered()) {
            let mut start = 0;
            for c in &count {
                met[start..start + c].sort_unstable();
                start += c;
            }
        }
        let size: usize = tables.iter().map(|(pairs, ..)| pairs.len() * pairs.width).sum();
        let (mut block, mut value) = (reserved(total), reserved(size));
        let stop = Stop::current();
        let q = settled[own].basis.q;
        let mut half = vec![];
        for (at, &(b, t, slot)) in met.iter().enumerate() {
            if at % CHUNK == 0 {
                stop.check();
            }
            let (pairs, swapped, other, _) = tables[t as usize];
            let q_other = settled[other].basis.q;
            block.push(b);
            let stored = pairs.values(slot as usize);
            if q * q_other == 1 {
                value.push(settled[own].turn[0] * stored.next_value() * settled[other].turn[0]);
                continue;
            }
            let stored: Vec<f64> = stored.collect();
            let raw = if swapped { block::transpose(&stored, q_other, q) } else { stored };
            half.resize(q * q_other, 0.0);
            block::transpose_times(&settled[own].turn, &raw, q, q, q_other, &mut half);
            let from = value.len();
            value.resize(from + q * q_other, 0.0);
            block::times(&half, &settled[other].turn, q, q_other, q_other, &mut value[from..]);
        }
        Strips { count, block, value }
    }

    fn write_bases(&self, out: &mut Writer) {
        out.size(usize::from(self.is_weighted));
        self.fixed.basis.write(out);
        out.numbers(&self.fixed.first);
        out.size(self.factors.len());
        for f in &self.factors {
            out.sizes(&f.blocks.iter().flat_map(|b| [b.size, usize::from(b.tied)]).collect::<Vec<usize>>());
            f.basis.parts.iter().for_each(|(_, basis)| basis.write(out));
            if let Some((basis, _)) = &f.joint {
                basis.write(out);
            }
        }
    }

    fn read_bases(from: &mut Reader) -> Option<Accumulator> {
        let is_weighted = from.size()? == 1;
        let fixed = FixedSums::empty(Basis::read(from)?, from.numbers()?, is_weighted);
        let n_factors = from.length()?;
        let mut factors = vec![];
        for _ in 0..n_factors {
            let blocks: Vec<Block> =
                from.sizes()?.chunks_exact(2).map(|b| Block { size: b[0], tied: b[1] == 1 }).collect();
            let mut parts = vec![];
            let mut q = 0;
            for block in &blocks {
                parts.push((q, Basis::read(from)?));
                q += block.size;
            }
            let joint = if blocks.len() > 1 { Some(Basis::read(from)?) } else { None };
            factors.push(FactorSums::empty(0, FactorBasis { parts, q }, blocks, joint, is_weighted, fixed.p()));
        }
        Some(Accumulator::empty(fixed, factors, is_weighted))
    }

    /// All of it as bytes, for another process of the same version.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.write_bases(&mut out);
        out.size(self.n);
        [self.log_weights, self.weights.0, self.weights.1, self.fixed.y_square].into_iter().for_each(|v| out.number(v));
        [&self.fixed.plain, &self.fixed.weighted].into_iter().for_each(|v| out.numbers(v));
        self.fixed.squares.iter().for_each(|v| out.numbers(v));
        for f in &self.factors {
            out.size(f.n_levels);
            [&f.plain, &f.squares[0], &f.squares[1], &f.sums].into_iter().for_each(|v| out.numbers(v));
            if let Some((_, gram)) = &f.joint {
                out.numbers(gram);
            }
        }
        self.pairs.iter().for_each(|pairs| pairs.write(&mut out));
        out.0
    }

    /// What `to_bytes` wrote; None for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Accumulator> {
        let from = &mut Reader(bytes);
        let mut a = Accumulator::read_bases(from)?;
        a.n = from.size()?;
        a.log_weights = from.number()?;
        a.weights = (from.number()?, from.number()?);
        a.fixed.y_square = from.number()?;
        fn fill(into: &mut Vec<f64>, from: &mut Reader) -> Option<()> {
            let values = from.numbers()?;
            (values.len() == into.len()).then(|| *into = values)
        }
        fill(&mut a.fixed.plain, from)?;
        fill(&mut a.fixed.weighted, from)?;
        a.fixed.squares.iter_mut().try_for_each(|s| fill(s, from))?;
        let p = a.fixed.p();
        for f in &mut a.factors {
            let n_levels = from.size()?;
            f.plain = from.numbers()?;
            f.squares = [from.numbers()?, from.numbers()?];
            f.sums = from.numbers()?;
            let q = f.basis.q;
            if f.sums.len() != n_levels.checked_mul(q * (q + p + 1))? {
                return None;
            }
            f.n_levels = n_levels;
            if let Some((_, gram)) = &mut f.joint {
                fill(gram, from)?;
            }
        }
        for ((j, k), pairs) in pairs_of(a.factors.len()).zip(&mut a.pairs) {
            pairs.read(from, a.factors[j].n_levels, a.factors[k].n_levels)?;
        }
        from.0.is_empty().then_some(a)
    }
}

/// The codes below `n_levels` in the order of their places.
fn in_order(places: &[i32], n_levels: usize) -> Vec<u32> {
    let mut out = filled(0, places.len());
    places.iter().enumerate().for_each(|(code, &place)| out[place as usize] = code as u32);
    out.retain(|&code| (code as usize) < n_levels);
    out
}

fn total(counts: Counts, range: Range<usize>) -> f64 {
    counts.map_or(range.len() as f64, |c| c[range].iter().sum())
}

/// Sums by levels in the basis of all rows, the levels at their places.
fn turn_levels(
    sums: &FactorSums,
    settled: &SettledFactor,
    places: &[i32],
    to_final: &[f64],
    m: usize,
) -> (Vec<f64>, Vec<f64>) {
    let q = sums.basis.q;
    let m_final = to_final.len() / m;
    let mut zz = zeros(places.len() * q * q);
    let mut zx = zeros(places.len() * q * m_final);
    let (mut half, mut half_x) = (zeros(q * q), zeros(q * m));
    let (mut own, mut own_x) = (zeros(q * q), zeros(q * m));
    for (level, &place) in places.iter().enumerate().take(sums.n_levels) {
        let place = place as usize;
        sums.level(level, &mut own, &mut own_x);
        block::transpose_times(&settled.turn, &own, q, q, q, &mut half);
        block::times(&half, &settled.turn, q, q, q, &mut zz[place * q * q..(place + 1) * q * q]);
        block::transpose_times(&settled.turn, &own_x, q, q, m, &mut half_x);
        block::times(&half_x, to_final, q, m, m_final, &mut zx[place * q * m_final..(place + 1) * q * m_final]);
    }
    (zz, zx)
}

/// The rows of the inverse of `next` that belong to columns kept, kept x p: coefficients into the basis of all rows.
fn inverse_within(settled: &Settled, p: usize) -> Vec<f64> {
    let kept = settled.basis.len();
    let inverse = inverse_upper(&settled.next, p);
    let stays: Vec<usize> = (0..p).filter(|j| !settled.basis.dependent.contains(j)).collect();
    let mut out = zeros(kept * p);
    for j in 0..p {
        stays.iter().enumerate().for_each(|(a, &i)| out[j * kept + a] = inverse[j * p + i]);
    }
    out
}

/// Pairs of factors j < k, in the order in which they are held.
fn pairs_of(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |j| (j + 1..n).map(move |k| (j, k)))
}

/// A row of raw columns in a provisional basis, which leaves none out.
#[inline(always)]
fn provisional(raw: &[f64], mean: &[f64], map: &[f64], p: usize, out: &mut [f64]) {
    let (raw, mean, out) = (&raw[..p], &mean[..p], &mut out[..p]);
    let first = raw.first().copied().unwrap_or(0.0);
    for b in 0..p {
        let column = &map[b * p..b * p + b + 1];
        out[b] = (0..=b).map(|a| column[a] * (raw[a] - mean[a] * first)).sum();
    }
}

/// Adds z [z, xr] of some rows to the sums of their levels; `q` columns and `m` of xr.
#[inline(always)]
fn add_by_level(sums: &mut [f64], codes: &[i32], z: &[f64], xr: &[f64], q: usize, m: usize) {
    let size = q * (q + m);
    for ((&code, z), xr) in codes.iter().zip(z.chunks_exact(q)).zip(xr.chunks_exact(m)) {
        let level = &mut sums[code as usize * size..(code as usize + 1) * size];
        for a in 0..q {
            let row = &mut level[a * (q + m)..(a + 1) * (q + m)];
            (0..q).for_each(|b| row[b] += z[a] * z[b]);
            (0..m).for_each(|x| row[q + x] += z[a] * xr[x]);
        }
    }
}

/// sums += row row', the lower triangle.
#[inline]
fn add_lower(sums: &mut [f64], row: &[f64], size: usize) {
    with_size!(size, {
        for b in 0..size {
            let (column, v) = (&mut sums[b * size..(b + 1) * size], row[b]);
            (b..size).for_each(|a| column[a] += v * row[a]);
        }
    });
}

fn add_slice(own: &mut [f64], of: &[f64]) {
    own.iter_mut().zip(of).for_each(|(a, b)| *a += b);
}
