//! Products of rows that come in parts, none of which is kept: any split, and any order of merges, gives the same.
//!
//! The first part fixes a provisional basis of the columns of X and of Z and a first fit of y, in which all sums are
//! formed; parts that are merged share them. What `products.rs` needs is linear in these columns, so the sums are
//! turned into the basis of all rows at the end. Where that would cost digits, because the first part was unlike the
//! whole, another pass is asked for, with what the first one found as its provisional basis.
//!
//! Levels are codes that the caller's dictionaries hand out as labels appear; at the end these are put in order.

mod as_bytes;
mod factor_sums;
mod finish;
mod fixed_sums;
mod pairs;
pub(crate) mod piece;

use crate::basis::{Basis, ColumnSums, Settled};
use crate::bytes::Writer;
use crate::memory::{copied, zeros};
use crate::products::ModelRows;
use crate::rows::CHUNK;
use crate::threads::Stop;
use factor_sums::FactorSums;
pub use finish::Finished;
use fixed_sums::FixedSums;
use pairs::Pairs;
use std::ops::Range;

/// Share of the sum of squares about the first fit that must be left, lest digits be lost.
const LOST: f64 = 1e-4;

/// For how many rows each row stands; None for itself alone.
pub type Counts<'a> = Option<&'a [f64]>;

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
}

/// `squares` of the raw columns without weights and, where there are some, with them.
fn settle(basis: &Basis, gram: &[f64], plain: &[f64], squares: &[Vec<f64>; 2], n: usize, keep: bool) -> Settled {
    let [plain_length, length] = squares.each_ref().map(|s| s.iter().map(|v| v.sqrt()).collect::<Vec<f64>>());
    let length = if length.is_empty() { &plain_length } else { &length };
    basis.settle(&ColumnSums { gram, plain, length, plain_length: &plain_length }, n, keep)
}

fn total(counts: Counts, range: Range<usize>) -> f64 {
    counts.map_or(range.len() as f64, |c| c[range].iter().sum())
}

/// Pairs of factors j < k, in the order in which they are held.
fn pairs_of(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |j| (j + 1..n).map(move |k| (j, k)))
}

fn add_slice(own: &mut [f64], of: &[f64]) {
    own.iter_mut().zip(of).for_each(|(a, b)| *a += b);
}
