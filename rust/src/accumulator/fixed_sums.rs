//! Sums of the fixed part: products of its columns, in a provisional basis, and of the residual of a first fit.

use super::piece::{Piece, ROWS, column_of, dot, product, sum, times_of};
use super::{Counts, add_slice, settle, total};
use crate::basis::{Basis, Settled};
use crate::block::{MAX_SIZE, with_size};
use crate::memory::zeros;
use crate::products::ModelRows;
use crate::rows::add_to;
use std::ops::Range;

/// Sums over rows of [1, q, r]: q in the provisional basis of X, r the residual of the first fit.
#[derive(Clone)]
pub struct FixedSums {
    pub basis: Basis,
    /// Coefficients of the first fit in that basis.
    pub first: Vec<f64>,
    /// Without weights, (p + 2) x (p + 2).
    pub plain: Vec<f64>,
    /// With them, (p + 1) x (p + 1) of [q, r]; empty where there are none.
    pub weighted: Vec<f64>,
    /// Squares of the raw columns, without weights and with them.
    pub squares: [Vec<f64>; 2],
    /// Weighted square of y.
    pub y_square: f64,
}

impl FixedSums {
    pub fn of(rows: &ModelRows) -> FixedSums {
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

    pub fn empty(basis: Basis, first: Vec<f64>, is_weighted: bool) -> FixedSums {
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
    pub fn add(&mut self, rows: &ModelRows, counts: Counts, range: Range<usize>, out: &mut [f64]) {
        let p = self.p();
        with_size!(p, self.add_rows(rows, counts, range, out, p));
    }

    #[inline(always)]
    fn add_rows(&mut self, rows: &ModelRows, counts: Counts, range: Range<usize>, out: &mut [f64], p: usize) {
        let (m, s) = (p + 1, p + 2);
        let (mean, map) = self.basis.centred();
        // sums of few columns stay where they are at hand
        let mut few = [0.0; (MAX_SIZE + 1) * (MAX_SIZE + 1)];
        let mut many = zeros(if p > MAX_SIZE { m * m } else { 0 });
        let gram = if p > MAX_SIZE { &mut many[..m * m] } else { &mut few[..m * m] };
        let mut weighted = zeros(self.weighted.len());
        let (mut sums, mut squares) = (zeros(m), self.squares.each_ref().map(|s| zeros(s.len())));
        let mut piece = Piece::new(p, 1);
        for (start, out) in range.clone().step_by(ROWS).zip(out.chunks_mut(ROWS * m)) {
            let range = start..range.end.min(start + ROWS);
            let times = times_of(counts, range.clone());
            piece.load(&rows.x, range.clone(), p, times.as_ref(), &mut squares[0]);
            let weights = rows.weights.map(|w| column_of(&w[range.clone()]));
            if let Some(weights) = &weights {
                piece.add_squares(Some(weights), &mut squares[1]);
            }
            piece.map(mean, map, p);
            let y = column_of(&rows.y[range]);
            let (q, r) = piece.columns.split_at_mut(p);
            r[0] = y;
            for (q, b) in q.iter().zip(&self.first) {
                (0..ROWS).for_each(|i| r[0][i] -= b * q[i]);
            }
            for (total, column) in sums.iter_mut().zip(&piece.columns) {
                *total += times.as_ref().map_or_else(|| sum(column), |times| dot(times, column));
            }
            if let Some(times) = &times {
                piece.scale(times);
            }
            piece.add_products(m, gram);
            if let Some(weights) = &weights {
                piece.scale(weights);
                piece.add_products(m, &mut weighted);
            }
            let often = weights.or(times);
            self.y_square += often.map_or_else(|| dot(&y, &y), |often| dot(&product(&y, &often), &y));
            piece.store(m, out);
        }
        self.plain[0] += total(counts, range);
        for b in 0..m {
            self.plain[b + 1] += sums[b];
            (b..m).for_each(|a| self.plain[(b + 1) * s + a + 1] += gram[b * m + a]);
        }
        add_to(&mut self.weighted, weighted);
        self.squares.iter_mut().zip(squares).for_each(|(total, part)| add_to(total, part));
    }

    pub fn merge(&mut self, other: &FixedSums) {
        add_slice(&mut self.plain, &other.plain);
        add_slice(&mut self.weighted, &other.weighted);
        self.squares.iter_mut().zip(&other.squares).for_each(|(a, b)| add_slice(a, b));
        self.y_square += other.y_square;
    }

    /// Weighted products of q, p x p, those with r, p, and the square of r.
    pub fn products(&self) -> (Vec<f64>, Vec<f64>, f64) {
        let p = self.p();
        let (of, size, first) =
            if self.weighted.is_empty() { (&self.plain, p + 2, 1) } else { (&self.weighted, p + 1, 0) };
        let at = |a: usize, b: usize| of[(b.min(a) + first) * size + b.max(a) + first];
        let gram = (0..p * p).map(|k| at(k % p, k / p)).collect();
        (gram, (0..p).map(|j| at(j, p)).collect(), at(p, p))
    }

    pub fn settle(&self, n: usize) -> Settled {
        let p = self.p();
        let (gram, ..) = self.products();
        let plain: Vec<f64> = (1..=p).map(|j| self.plain[j * (p + 2) + j]).collect();
        settle(&self.basis, &gram, &plain, &self.squares, n, false)
    }
}
