//! A few rows, column by column: what sums over rows are made of runs along columns, several rows at a time.

use super::Counts;
use crate::memory::filled;
use crate::rows::Source;
use std::ops::Range;

/// Rows of a piece; one that has fewer is filled up with zeros, which add nothing.
pub const ROWS: usize = 64;
/// Sums of products that run side by side.
const LANES: usize = 8;

pub type Column = [f64; ROWS];

/// Raw columns of some rows, and what they are in a provisional basis.
pub struct Piece {
    raw: Vec<Column>,
    pub columns: Vec<Column>,
}

impl Piece {
    /// Of so many columns, with room for `more` behind them.
    pub fn new(p: usize, more: usize) -> Piece {
        Piece { raw: filled([0.0; ROWS], p), columns: filled([0.0; ROWS], p + more) }
    }

    /// Takes the raw columns of some rows, and adds their squares, each as often as `times` says.
    #[inline(always)]
    pub fn load(&mut self, from: &Source, range: Range<usize>, p: usize, times: Option<&Column>, squares: &mut [f64]) {
        for (i, row) in range.clone().enumerate() {
            let row = &from.row(row)[..p];
            (0..p).for_each(|a| self.raw[a][i] = row[a]);
        }
        self.raw.iter_mut().for_each(|column| column[range.len()..].fill(0.0));
        self.add_squares(times, squares);
    }

    /// Adds the squares of the raw columns.
    #[inline(always)]
    pub fn add_squares(&self, times: Option<&Column>, squares: &mut [f64]) {
        for (square, column) in squares.iter_mut().zip(&self.raw) {
            *square += match times {
                None => dot(column, column),
                Some(times) => dot(&product(column, times), column),
            };
        }
    }

    /// Turns the raw columns into (raw - mean raw_1) map, map upper triangular.
    #[inline(always)]
    pub fn map(&mut self, mean: &[f64], map: &[f64], p: usize) {
        let raw = &mut self.raw[..p];
        let first = raw.first().copied().unwrap_or([0.0; ROWS]);
        for (column, mean) in raw.iter_mut().zip(mean) {
            (0..ROWS).for_each(|i| column[i] -= mean * first[i]);
        }
        for (b, out) in self.columns[..p].iter_mut().enumerate() {
            out.fill(0.0);
            for (column, t) in raw.iter().zip(&map[b * p..b * p + b + 1]) {
                (0..ROWS).for_each(|i| out[i] += t * column[i]);
            }
        }
    }

    /// Multiplies all columns by the root of `times`.
    #[inline(always)]
    pub fn scale(&mut self, times: &Column) {
        let root = times.map(f64::sqrt);
        for column in &mut self.columns {
            (0..ROWS).for_each(|i| column[i] *= root[i]);
        }
    }

    /// Adds the products of `m` columns, m x m, the lower triangle.
    #[inline(always)]
    pub fn add_products(&self, m: usize, gram: &mut [f64]) {
        let columns = &self.columns[..m];
        for b in 0..m {
            (b..m).for_each(|a| gram[b * m + a] += dot(&columns[a], &columns[b]));
        }
    }

    /// Writes `m` columns as rows.
    #[inline(always)]
    pub fn store(&self, m: usize, out: &mut [f64]) {
        let columns = &self.columns[..m];
        for (i, row) in out.chunks_exact_mut(m).enumerate() {
            (0..m).for_each(|a| row[a] = columns[a][i]);
        }
    }
}

/// Some numbers, one a row, as a column of a piece.
pub fn column_of(values: &[f64]) -> Column {
    let mut out = [0.0; ROWS];
    out[..values.len()].copy_from_slice(values);
    out
}

/// How often each of some rows is counted; None for once.
pub fn times_of(counts: Counts, range: Range<usize>) -> Option<Column> {
    counts.map(|counts| column_of(&counts[range]))
}

#[inline(always)]
pub fn product(a: &Column, b: &Column) -> Column {
    std::array::from_fn(|i| a[i] * b[i])
}

#[inline(always)]
pub fn dot(a: &Column, b: &Column) -> f64 {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        (0..LANES).for_each(|i| lanes[i] += a[i] * b[i]);
    }
    lanes.iter().sum()
}

#[inline(always)]
pub fn sum(a: &Column) -> f64 {
    dot(a, &[1.0; ROWS])
}
