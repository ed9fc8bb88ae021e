//! Sums by the levels of one factor, in provisional bases of its columns.

use super::piece::{Piece, ROWS, times_of};
use super::{Counts, add_slice, settle, total};
use crate::basis::{Basis, Settled};
use crate::block::{self, with_size};
use crate::memory::{copied, reserve, zeros};
use crate::products::{Block, FactorBasis, FactorRows, ModelRows};
use crate::rows::Source;
use std::ops::Range;

/// Sums by the levels of one factor.
#[derive(Clone)]
pub struct FactorSums {
    pub n_levels: usize,
    pub basis: FactorBasis,
    pub blocks: Vec<Block>,
    /// Of all columns together, where they are in several blocks: which of them depend on others.
    pub joint: Option<(Basis, Vec<f64>)>,
    /// Products of its columns without weights, q x q; empty where there are none.
    pub plain: Vec<f64>,
    pub squares: [Vec<f64>; 2],
    /// Products with [z, q, r] a level, a row of q + p + 1 for each of its columns: one visit to memory for a row.
    pub sums: Vec<f64>,
}

impl FactorSums {
    pub fn of(factor: &FactorRows, weights: Option<&[f64]>, p: usize) -> FactorSums {
        let basis = FactorBasis::provisional(factor, weights);
        let joint = (factor.blocks.len() > 1).then(|| Basis::provisional(&factor.z, basis.q, weights));
        FactorSums::empty(factor.n_levels, basis, factor.blocks.clone(), joint, weights.is_some(), p)
    }

    pub fn empty(
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
    pub fn level(&self, level: usize, zz: &mut [f64], zx: &mut [f64]) {
        let q = self.basis.q;
        let width = q + zx.len() / q;
        for (a, row) in self.sums[level * q * width..(level + 1) * q * width].chunks_exact(width).enumerate() {
            (0..q).for_each(|b| zz[b * q + a] = row[b]);
            (q..width).for_each(|x| zx[(x - q) * q + a] = row[x]);
        }
    }

    /// Makes room for levels that appeared.
    pub fn grow(&mut self, n_levels: usize, p: usize) {
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
    pub fn add(
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
                let mut squares = zeros(q);
                with_size!(q, {
                    let mut piece = Piece::new(q, 0);
                    for (start, out) in range.clone().step_by(ROWS).zip(out.chunks_mut(ROWS * q)) {
                        let range = start..range.end.min(start + ROWS);
                        let times = times_of(counts, range.clone());
                        piece.load(&factor.z, range, q, times.as_ref(), &mut squares);
                        piece.map(mean, map, q);
                        piece.store(q, out);
                    }
                });
                add_slice(&mut self.squares[0], &squares);
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

    pub fn merge(&mut self, other: &FactorSums, codes: &[i32], p: usize) {
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
    pub fn settle(&self, n: usize) -> SettledFactor {
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

pub struct SettledFactor {
    pub basis: FactorBasis,
    pub turn: Vec<f64>,
    pub dependent: Vec<usize>,
    pub again: bool,
    pub next: FactorBasis,
    pub joint: Option<Basis>,
}

/// A tied block over its common root mean square.
fn rescaled(basis: &Basis, gram: &[f64], n: usize) -> Settled {
    let size = basis.len();
    let square: f64 = (0..size).map(|j| gram[j * size + j]).sum();
    let scale = if square > 0.0 { ((n * size) as f64 / square).sqrt() } else { 1.0 };
    let turn: Vec<f64> = block::identity(size).into_iter().map(|v| scale * v).collect();
    Settled { basis: basis.turned(&turn), next: copied(&turn), turn, again: false }
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
