//! The data by rows, as the caller holds them: the only place where the number of observations matters.

use crate::memory::{copied, filled, zeros};
use crate::threads::Stop;
use rayon::prelude::*;
use std::ops::Range;

/// Rows handled as one piece of work; also what fixes the order of summation, whatever the number of threads.
pub const CHUNK: usize = 8192;
/// Values that sums of chunks hold at a time, if there are not more threads.
const SUMS: usize = 1 << 22;

/// A row-major block of columns, or the single column of ones.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    Ones(usize),
    Columns { values: &'a [f64], n_rows: usize, n_cols: usize },
}

impl<'a> Source<'a> {
    pub fn n_rows(&self) -> usize {
        match *self {
            Source::Ones(n) => n,
            Source::Columns { n_rows, .. } => n_rows,
        }
    }

    pub fn n_cols(&self) -> usize {
        match *self {
            Source::Ones(_) => 1,
            Source::Columns { n_cols, .. } => n_cols,
        }
    }

    /// Whether both are the same memory.
    pub fn is_same(&self, other: &Source) -> bool {
        match (*self, *other) {
            (Source::Columns { values: a, n_cols: p, .. }, Source::Columns { values: b, n_cols: q, .. }) => {
                std::ptr::eq(a, b) && p == q
            }
            _ => false,
        }
    }

    #[inline]
    pub fn row(&self, i: usize) -> &'a [f64] {
        match *self {
            Source::Ones(_) => &[1.0],
            Source::Columns { values, n_cols, .. } => &values[i * n_cols..(i + 1) * n_cols],
        }
    }
}

/// Sums what `add` accumulates over chunks of rows; chunks run in parallel, their sums are added in order.
pub fn sum_over_rows(n: usize, size: usize, add: impl Fn(Range<usize>, &mut [f64]) + Sync) -> Vec<f64> {
    let stop = Stop::current();
    let one = |c: usize| {
        stop.check();
        let mut acc = zeros(size);
        add(c * CHUNK..n.min((c + 1) * CHUNK), &mut acc);
        acc
    };
    let n_chunks = n.div_ceil(CHUNK);
    let mut total = zeros(size);
    if n_chunks <= 1 {
        (0..n_chunks).map(one).for_each(|part| add_to(&mut total, part));
        return total;
    }
    let together = chunks_together(size);
    for first in (0..n_chunks).step_by(together) {
        let parts: Vec<Vec<f64>> = (first..n_chunks.min(first + together)).into_par_iter().map(one).collect();
        parts.into_iter().for_each(|part| add_to(&mut total, part));
    }
    total
}

/// How many chunks are summed side by side, each to `size` values, before the sums are added.
pub fn chunks_together(size: usize) -> usize {
    (SUMS / size.max(1)).max(4 * rayon::current_num_threads())
}

/// total += part.
pub fn add_to(total: &mut [f64], part: Vec<f64>) {
    total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
}

/// Rows sorted by the level of one factor: `order[start[l]..start[l + 1]]` are the rows of level l.
pub struct ByLevel {
    pub start: Vec<usize>,
    pub order: Vec<u32>,
}

impl ByLevel {
    /// Counting sort, stable.
    pub fn new(codes: &[i32], n_levels: usize) -> ByLevel {
        let mut start = filled(0usize, n_levels + 1);
        for &c in codes {
            start[c as usize + 1] += 1;
        }
        for l in 0..n_levels {
            start[l + 1] += start[l];
        }
        let mut next = copied(&start);
        let mut order = filled(0u32, codes.len());
        for (i, &c) in codes.iter().enumerate() {
            let at = &mut next[c as usize];
            order[*at] = i as u32;
            *at += 1;
        }
        ByLevel { start, order }
    }

    #[inline]
    pub fn rows(&self, level: usize) -> &[u32] {
        &self.order[self.start[level]..self.start[level + 1]]
    }
}
