//! What is left of a model with crossed factors once the levels of the first are eliminated, I - X with X = R'R less what the
//! others share, applied without being formed; and Lanczos' method on it, several columns at a time.

use crate::meetings::{Columns, Meetings, scale_by};
use crate::memory::{reserve, reserved};
use crate::products::Products;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Columns of Lanczos' method that share a pass.
pub const TOGETHER: usize = 8;

/// Rows of a vector that are one piece of work, which fixes the order of sums.
const CHUNK: usize = 4096;

/// Meetings of the first factor with the others, and of the others among each other.
pub struct Crossing {
    pub first: Meetings,
    pub among: Vec<Meetings>,
}

impl Crossing {
    /// That of a model's products.
    pub fn of_products(products: &Products) -> Crossing {
        let meetings = |e| Meetings::of_products(products, e);
        Crossing { first: meetings(0), among: (1..products.factors.len() - 1).map(meetings).collect() }
    }
}

/// A crossing scaled by S of each factor, (n_levels, q, q).
pub struct Scaled {
    pub crossing: Arc<Crossing>,
    pub scales: Vec<Vec<f64>>,
}

impl Scaled {
    /// X x and R x.
    pub fn product<const K: usize>(&self, x: &[[f64; K]]) -> (Columns<K>, Columns<K>) {
        let first = &self.crossing.first;
        let inside = self.inside(x, false);
        let (there, mut out) = first.product(&self.scales[0], &inside);
        let mut begin = 0;
        for (j, meetings) in self.crossing.among.iter().enumerate() {
            let (rows, size) = (meetings.n_rows(), meetings.n_columns());
            let end = begin + rows;
            let (across, back) = meetings.both_ways(&inside[end..end + size], &inside[begin..end]);
            debug_assert_eq!(self.widths()[j].1, meetings.q);
            subtract(&mut out[begin..end], &across);
            subtract(&mut out[end..end + size], &back);
            begin = end;
        }
        (self.inside(&out, true), there)
    }

    /// R'y.
    pub fn back<const K: usize>(&self, y: &[[f64; K]]) -> Columns<K> {
        let first = &self.crossing.first;
        let mut inside = y.to_vec();
        scale_by(&self.scales[0], first.q, false, &mut inside);
        self.inside(&first.back(&inside), true)
    }

    /// Sums of the squares of R and of what the others share, of each factor's levels (n_levels, q, q): R R' and R'R of
    /// the first with all, and of each other with those behind it.
    pub fn squares(&self) -> Vec<(Vec<f64>, Vec<f64>)> {
        let all = std::iter::once(&self.crossing.first).chain(&self.crossing.among).enumerate();
        all.map(|(j, meetings)| meetings.squares(&self.scales[j], &self.scales[j + 1..])).collect()
    }

    /// Levels and effects of the factors but the first.
    fn widths(&self) -> &[(usize, usize)] {
        &self.crossing.first.others
    }

    /// S x, or S'x, of the factors but the first.
    fn inside<const K: usize>(&self, x: &[[f64; K]], transposed: bool) -> Columns<K> {
        let (mut out, mut begin) = (x.to_vec(), 0);
        for (&(levels, q), scale) in self.widths().iter().zip(&self.scales[1..]) {
            scale_by(scale, q, transposed, &mut out[begin..begin + levels * q]);
            begin += levels * q;
        }
        out
    }
}

fn subtract<const K: usize>(out: &mut [[f64; K]], x: &[[f64; K]]) {
    out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| {
        for (out, x) in out.iter_mut().zip(x) {
            for k in 0..K {
                out[k] -= x[k];
            }
        }
    });
}

type Block = Columns<TOGETHER>;
type Numbers = [f64; TOGETHER];

/// Lanczos' method with full reorthogonalisation (Parlett 1980), a column of the block for itself.
pub struct Lanczos {
    scaled: Arc<Scaled>,
    /// Orthonormal bases.
    basis: Vec<Block>,
    /// X and R times these.
    images: Vec<Block>,
    there: Vec<Block>,
    /// The next vectors, and their lengths.
    next: Block,
}

impl Lanczos {
    /// Starts at columns of length one; those of zeros stay so.
    pub fn new(scaled: Arc<Scaled>, start: Block) -> Lanczos {
        Lanczos { scaled, basis: vec![], images: vec![], there: vec![], next: start }
    }

    pub fn len(&self) -> usize {
        self.basis.len()
    }

    /// One more step: the next elements of the tridiagonal matrices, on the diagonal and beside it.
    pub fn step(&mut self) -> (Numbers, Numbers) {
        for kept in [&mut self.basis, &mut self.images, &mut self.there] {
            reserve(kept, 1);
        }
        self.basis.push(std::mem::take(&mut self.next));
        let (image, there) = self.scaled.product(&self.basis[self.len() - 1]);
        let mut next = reserved(image.len());
        next.extend_from_slice(&image);
        let mut diagonal = [0.0; TOGETHER];
        for round in 0..2 {
            // twice is enough (Parlett 1980, section 6-9)
            let along = dots(&self.basis, &next);
            if round == 0 {
                diagonal = along[self.len() - 1];
            }
            take_off(&self.basis, &along, &mut next);
        }
        let beside = dots(std::slice::from_ref(&next), &next)[0].map(f64::sqrt);
        let inverse = beside.map(|length| 1.0 / length.max(1e-300));
        next.par_chunks_mut(CHUNK).for_each(|rows| {
            for row in rows {
                for k in 0..TOGETHER {
                    row[k] *= inverse[k];
                }
            }
        });
        self.images.push(image);
        self.there.push(there);
        self.next = next;
        (diagonal, beside)
    }

    /// tr(K Q'N'X Q) of each other factor, and tr(K Q'R'N R Q) of the first, for matrices N of the levels. ``weights`` are
    /// the matrices K, (m, m, columns) flat; ``turns`` are (n, n_levels, q, q) a factor; n numbers a factor come out.
    pub fn slopes(&self, weights: &[Numbers], turns: &[&[f64]]) -> Vec<Vec<Numbers>> {
        let first = &self.scaled.crossing.first;
        let mut out = vec![traces(&self.there, &self.there, 0..first.n_levels, first.q, 0, weights, turns[0])];
        let mut begin = 0;
        for (&(levels, q), turns) in first.others.iter().zip(&turns[1..]) {
            out.push(traces(&self.basis, &self.images, 0..levels, q, begin, weights, turns));
            begin += levels * q;
        }
        out
    }
}

/// Products of each block with x, column by column.
fn dots(blocks: &[Block], x: &Block) -> Vec<Numbers> {
    let starts: Vec<usize> = (0..x.len()).step_by(CHUNK).collect();
    let part = |&start: &usize| -> Vec<Numbers> {
        let rows = start..x.len().min(start + CHUNK);
        let one = |block: &Block| {
            let mut sum = [0.0; TOGETHER];
            for (a, b) in block[rows.clone()].iter().zip(&x[rows.clone()]) {
                for k in 0..TOGETHER {
                    sum[k] += a[k] * b[k];
                }
            }
            sum
        };
        blocks.iter().map(one).collect()
    };
    let parts: Vec<Vec<Numbers>> = starts.par_iter().map(part).collect();
    added(parts, blocks.len())
}

/// x less the blocks times numbers, column by column.
fn take_off(blocks: &[Block], along: &[Numbers], x: &mut Block) {
    x.par_chunks_mut(CHUNK).enumerate().for_each(|(c, rows)| {
        for (block, along) in blocks.iter().zip(along) {
            for (row, q) in rows.iter_mut().zip(&block[c * CHUNK..]) {
                for k in 0..TOGETHER {
                    row[k] -= along[k] * q[k];
                }
            }
        }
    });
}

/// Sums over levels, i, j of K_ij a_i'N'b_j for each matrix N, column by column.
fn traces(
    a: &[Block],
    b: &[Block],
    levels: Range<usize>,
    q: usize,
    begin: usize,
    weights: &[Numbers],
    turns: &[f64],
) -> Vec<Numbers> {
    let (m, size, n_levels) = (a.len(), q * q, levels.len());
    let n = turns.len() / (n_levels * size).max(1);
    let starts: Vec<usize> = levels.step_by(CHUNK).collect();
    let part = |&start: &usize| -> Vec<Numbers> {
        let mut sums = vec![[0.0; TOGETHER]; n];
        let mut turned = vec![[0.0; TOGETHER]; q];
        for level in start..n_levels.min(start + CHUNK) {
            let row = begin + level * q;
            for i in 0..m {
                turned.fill([0.0; TOGETHER]);
                for j in 0..m {
                    let weight = &weights[i * m + j];
                    for (s, turned) in turned.iter_mut().enumerate() {
                        let value = &b[j][row + s];
                        for k in 0..TOGETHER {
                            turned[k] += weight[k] * value[k];
                        }
                    }
                }
                for (p, sum) in sums.iter_mut().enumerate() {
                    let turn = &turns[(p * n_levels + level) * size..][..size];
                    for r in 0..q {
                        for s in 0..q {
                            // a'N'b: element (s, r) of N
                            let (v, left) = (turn[s * q + r], &a[i][row + r]);
                            for k in 0..TOGETHER {
                                sum[k] += v * left[k] * turned[s][k];
                            }
                        }
                    }
                }
            }
        }
        sums
    };
    let parts: Vec<Vec<Numbers>> = starts.par_iter().map(part).collect();
    added(parts, n)
}

fn added(parts: Vec<Vec<Numbers>>, n: usize) -> Vec<Numbers> {
    let mut sums = vec![[0.0; TOGETHER]; n];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            for k in 0..TOGETHER {
                sum[k] += part[k];
            }
        }
    }
    sums
}
